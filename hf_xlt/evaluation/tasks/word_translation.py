"""Word translation: is a translation of a word its nearest among the other language's words?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.metrics import PrecisionAt1
from hf_xlt.evaluation.models import Encoder, Side
from hf_xlt.evaluation.retrieval import LAST_LAYER, nearest, sentence_vectors
from hf_xlt.evaluation.tasks.data import read_pairs
from hf_xlt.evaluation.tasks.task import Outcome, TrainingFreeTask
from hf_xlt.evidence.token_ids import flat, token_ids
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.similarity import unit_rows

_SCORES = {"static_nn_p@1": (0,), "static_csls_p@1": (1,), "contextual_nn_p@1": (2,), "contextual_csls_p@1": (3,)}


@dataclass(frozen=True)
class WordTranslation(TrainingFreeTask):
    """Share of a dictionary's source words for which a translation is found among its target words.

    A word is the mean of its tokens' input embeddings (static), or of the states of the last layer where it stands
    alone (contextual). It is written as inside a sentence: after a space, where the tokenizer tells. Found is the
    nearest word by cosine, or by CSLS with 10 neighbors (Conneau et al. 2018, arXiv:1710.04087, §2.3). The source
    words are read as the encoder reads the source language: with the rows of a `source`, in a language of its own, or
    like the target.
    """

    name: ClassVar[str] = "word-translation"
    headline: ClassVar[str] = "static_csls_p@1"
    summary: ClassVar[str] = "P@1 of a dictionary's translations, by embeddings and by states, nearest and CSLS"
    roles: ClassVar[Mapping[str, bool]] = {"test": True}
    reads_source: ClassVar[bool] = True

    def metric(self, labels: Sequence[str] = ()) -> PrecisionAt1:
        """Counts of each source word: 1, and whether a translation was found, by each space and measure."""
        return PrecisionAt1(_SCORES)

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        """Find a target word for each source word."""
        text = read_pairs(places["test"])
        sources, targets = (_numbered(words) for words in zip(*text.pairs, strict=True))
        translations: list[set[int]] = [set() for _ in sources]
        for source, target in text.pairs:
            translations[sources[source]].add(targets[target])
        encoder = Encoder.open(model)
        of_source, of_target = _Words.of(encoder, "source", list(sources)), _Words.of(encoder, "target", list(targets))
        found = []
        for queries, keys in zip(of_source.spaces, of_target.spaces, strict=True):
            found += [nearest(queries, keys)[0], matches(unit_rows(queries), unit_rows(keys)).forward]
        notes = {
            "source words": len(sources),
            "target words": len(targets),
            "unknown words": of_source.unknown + of_target.unknown,
            "skipped": len(text.skipped),
        }
        predictions = torch.stack(found, dim=1).tolist()
        return Outcome(self.metric().counts(predictions, [sorted(gold) for gold in translations]), notes)


@dataclass(frozen=True, eq=False)
class _Words:
    """The words of a side: static and contextual vectors, each `(n, d)`, and how many words have no known token."""

    spaces: tuple[Tensor, Tensor]
    unknown: int

    @classmethod
    def of(cls, encoder: Encoder, side: Side, words: Sequence[str]) -> _Words:
        tokenizer = encoder.switch_to(side)
        bare, spaced = token_ids(tokenizer, ["a", " a"])
        written = [word if bare == spaced else f" {word}" for word in words]
        ids = token_ids(tokenizer, written)
        rows = cast(nn.Embedding, encoder.model.get_input_embeddings()).weight
        states = sentence_vectors(encoder.model, tokenizer, written, layers=LAST_LAYER)
        unknown = sum(set(of_word) <= {tokenizer.unk_token_id} for of_word in ids)
        return cls((_means(rows.detach().cpu(), ids), states[0]), unknown)


def _means(rows: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
    """The mean row of each word's tokens `(n, d)`; zero where it has none."""
    tokens, lengths = map(torch.from_numpy, flat(ids))
    return F.embedding_bag(tokens, rows, lengths.cumsum(0) - lengths, mode="mean")


def _numbered(words: Sequence[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate(dict.fromkeys(words))}

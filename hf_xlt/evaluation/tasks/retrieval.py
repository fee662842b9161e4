"""Sentence retrieval and word translation: is a translation found among all sentences or words of a language?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_xlt.checkpoint.contents import modules
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.metrics import PrecisionAt1
from hf_xlt.evaluation.models import SIDES, Encoder, Side, check_widths
from hf_xlt.evaluation.retrieval import ALL_LAYERS, LAST_LAYER, nearest, nearest_by_margin, retrieval, sentence_vectors
from hf_xlt.evaluation.sentence_encoder import SentenceEncoder, longer, sentence_encoder
from hf_xlt.evaluation.tasks.data import read_pairs
from hf_xlt.evaluation.tasks.task import Outcome, TrainingFreeTask
from hf_xlt.evidence.token_ids import flat, token_ids
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.similarity import unit_rows

SOURCE, TARGET = SIDES

_OF_SENTENCES = {"p@1": (0, 1), "forward": (0,), "backward": (1,), "margin_p@1": (2, 3)}
_OF_WORDS = {"static_nn_p@1": (0,), "static_csls_p@1": (1,), "contextual_nn_p@1": (2,), "contextual_csls_p@1": (3,)}


@dataclass(frozen=True)
class SentenceRetrieval(TrainingFreeTask):
    """Share of sentences whose translation is their nearest by cosine, mean of both directions.

    The vectors are the model's own. A sentence-transformers folder says how they are made: by which pooling, by which
    modules after it, with which prompt. Those of any other model are the means of the tokens' states, of the layer that
    is best on a dev file and else of the last one. The source sentences are encoded by the model itself, and where a
    `source` is given by that checkpoint, whole, with its last layer: the vectors that a model made from it and trained
    on the target language alone is to agree with.
    """

    name: ClassVar[str] = "retrieval"
    headline: ClassVar[str] = "p@1"
    summary: ClassVar[str] = "P@1 of translations among the sentences of a parallel text, both ways, and by margin"
    roles: ClassVar[Mapping[str, bool]] = {"test": True, "dev": False}
    reads_source: ClassVar[bool] = True

    def metric(self, labels: Sequence[str] = ()) -> PrecisionAt1:
        """Counts of each pair: 1, and whether it was found forward and backward, by cosine and by margin."""
        return PrecisionAt1(_OF_SENTENCES)

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        tables = {role: read_pairs(place) for role, place in places.items()}
        source = target = _opened(replace(model, source=None))
        if model.source is not None:
            source = _opened(replace(model, name=model.source, source=None, languages=None))
            sides = ((source, SOURCE), (target, TARGET))
            width, wanted = (_vectors(encoder, side, ["a"], LAST_LAYER).shape[-1] for encoder, side in sides)
            check_widths("vectors", model.source, width, model.name, wanted)
        layered = isinstance(target, Encoder)

        def vectors(text: ParallelText, layers: slice) -> tuple[Tensor, Tensor]:
            """Those `(layers, n, d)` of both sides; of a source of its own they are the same for all layers."""
            sources, targets = zip(*text.pairs, strict=True)
            of_targets = _vectors(target, TARGET, targets, layers)
            of_sources = _vectors(source, SOURCE, sources, layers if source is target else LAST_LAYER)
            return of_sources.expand_as(of_targets), of_targets

        dev = tables.get("dev") if layered else None
        layer = LAST_LAYER if dev is None else _best_layer(*vectors(dev, ALL_LAYERS))
        test = tables["test"]
        (sources,), (targets,) = vectors(test, layer)
        found = torch.stack([*nearest(sources, targets), *nearest_by_margin(sources, targets)], dim=1)
        chosen = f"{layer.start}, the best on dev" if dev is not None else "the last, as there is no dev file"
        by_source, by_target = ("mean" if isinstance(one, Encoder) else one.pooling for one in (source, target))
        notes: dict[str, str | int | float] = {
            "layer": chosen if layered else "the model's own output",
            "pooling": by_target,
            "source sentences by": model.source or model.name,
            "skipped": len(test.skipped),
            "truncated": _truncated(source, SOURCE, [pair[0] for pair in test.pairs])
            + _truncated(target, TARGET, [pair[1] for pair in test.pairs]),
        }
        if by_source != by_target:
            notes["pooling of source sentences"] = by_source
        return Outcome(self.metric().counts(found.tolist(), [[i] for i in range(len(found))]), notes)


def _opened(spec: ModelSpec) -> SentenceEncoder | Encoder:
    """What encodes sentences: a model that says how its vectors are made, or else an encoder with states of layers."""
    checkpoint = Checkpoint.open(spec.name, trust_remote_code=spec.trust_remote_code)
    return sentence_encoder(checkpoint) if modules(checkpoint.folder) else Encoder.open(spec)


def _vectors(encoder: SentenceEncoder | Encoder, side: Side, texts: Sequence[str], layers: slice) -> Tensor:
    """Vectors `(layers, n, d)`; of a model's own `(1, n, d)`."""
    if not isinstance(encoder, Encoder):
        return encoder.vectors(texts)[None]
    return sentence_vectors(encoder.model, encoder.switch_to(side), texts, layers=layers)


def _truncated(encoder: SentenceEncoder | Encoder, side: Side, texts: Sequence[str]) -> int:
    """Sentences that are longer than what is read of one."""
    if not isinstance(encoder, Encoder):
        return encoder.truncated(texts)
    return longer(encoder.setups[side].tokenizer, texts, encoder.max_length)


def _best_layer(sources: Tensor, targets: Tensor) -> slice:
    """The layer with the highest mean P@1; of equals the last, which is the one that is taken without a dev file."""
    found = [retrieval(*vectors) for vectors in zip(sources, targets, strict=True)]
    _, layer = max((both.forward + both.backward, layer) for layer, both in enumerate(found))
    return slice(layer, layer + 1)


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
        return PrecisionAt1(_OF_WORDS)

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        text = read_pairs(places["test"])
        words = (dict.fromkeys(side) for side in zip(*text.pairs, strict=True))
        sources, targets = ({word: number for number, word in enumerate(side)} for side in words)
        translations: list[set[int]] = [set() for _ in sources]
        for source, target in text.pairs:
            translations[sources[source]].add(targets[target])
        encoder = Encoder.open(model)
        of_source, unknown_sources = _word_spaces(encoder, SOURCE, list(sources))
        of_target, unknown_targets = _word_spaces(encoder, TARGET, list(targets))
        found = []
        for queries, keys in zip(of_source, of_target, strict=True):
            found += [nearest(queries, keys)[0], matches(unit_rows(queries), unit_rows(keys)).forward]
        notes = {
            "source words": len(sources),
            "target words": len(targets),
            "unknown words": unknown_sources + unknown_targets,
            "skipped": len(text.skipped),
        }
        predictions = torch.stack(found, dim=1).tolist()
        return Outcome(self.metric().counts(predictions, [sorted(gold) for gold in translations]), notes)


def _word_spaces(encoder: Encoder, side: Side, words: Sequence[str]) -> tuple[tuple[Tensor, Tensor], int]:
    """Static and contextual vectors of the words of a side, each `(n, d)`, and how many have no known token."""
    tokenizer = encoder.switch_to(side)
    bare, spaced = token_ids(tokenizer, ["a", " a"])
    written = [word if bare == spaced else f" {word}" for word in words]
    ids = token_ids(tokenizer, written)
    rows = cast(nn.Embedding, encoder.model.get_input_embeddings()).weight.detach().cpu()
    tokens, lengths = map(torch.from_numpy, flat(ids))
    means = F.embedding_bag(tokens, rows, lengths.cumsum(0) - lengths, mode="mean")  # zero where a word has no token
    (states,) = sentence_vectors(encoder.model, tokenizer, written, layers=LAST_LAYER)
    return (means, states), sum(set(of_word) <= {tokenizer.unk_token_id} for of_word in ids)

"""The text of a run: packed corpora, aligned translation pairs, held-out lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives import DataCollatorForTLM, Example, MaskedLM, Objective, objective_for
from hf_xlt.data.objectives.batch import full_batch, generator_for, languages_of
from hf_xlt.data.packing import pack
from hf_xlt.data.pairs import aligned_pairs, tokenized
from hf_xlt.data.stream import AlternatingStream, ShuffledStream, Stream
from hf_xlt.evaluation.held_out import HeldOut
from hf_xlt.evidence.alignment import WordAligner
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import LANGUAGES, Stage


@dataclass(frozen=True, kw_only=True)
class BilingualMaskedLM(MaskedLM):
    """Masked language modelling of texts in two languages, those of the source masked by a tokenizer of their own.

    Args:
        source: Masks the texts of the source language.
    """

    source: MaskedLM

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate packed sequences: `input_ids` and `labels` `(batch, length)`, `lang_ids` `(batch,)`."""
        maskers = {"source": self.source, "target": self}
        masked = (
            maskers[LANGUAGES[int(row["lang_ids"])]].mask(np.asarray(row["input_ids"]), generator_for(row))
            for row in examples
        )
        inputs, labels = zip(*masked, strict=True)
        return full_batch(inputs, labels) | languages_of(examples)


@dataclass(frozen=True)
class Text:
    """What every stage and every method of a run shares.

    Args:
        tokenizer: Of the target language, or of both.
        corpora: `target`, and for models of both languages `source` → packed training text.
        held_out_lines: Of the target language.
        length: Ids a sequence.
        pairs: Language read and language predicted → aligned translation pairs.
        source_tokenizer: Of the source language, where it has a vocabulary of its own.
        position_offset: The model's row of the first position, see `TreLMConfig`.
    """

    tokenizer: PreTrainedTokenizerBase
    corpora: Mapping[str, Dataset]
    held_out_lines: tuple[str, ...]
    length: int
    pairs: Mapping[tuple[str, ...], Dataset] = field(default_factory=dict)
    source_tokenizer: PreTrainedTokenizerBase | None = None
    position_offset: int = 0

    def objective(self, name: str) -> Objective:
        """The collator of an objective; with two vocabularies, of masked language modelling in both."""
        if name == "tlm":
            return DataCollatorForTLM(self.tokenizer, position_offset=self.position_offset)
        if self.source_tokenizer is None:
            return objective_for(name, self.tokenizer)
        return BilingualMaskedLM(self.tokenizer, source=MaskedLM(self.source_tokenizer))

    @property
    def sequences(self) -> int:
        """Packed sequences of the target language."""
        return len(self.corpora["target"])

    def held_out(self, name: str) -> HeldOut:
        """The held-out lines cut for an objective."""
        objective = objective_for(name, self.tokenizer)
        return HeldOut.cut(self.held_out_lines, self.tokenizer, self.length, objective)

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        """What a stage trains on, in the order of use."""
        if stage.on_pairs:
            return ShuffledStream(self.pairs[stage.languages], positions, seed)
        languages = stage.languages or tuple(self.corpora)
        share = -(-positions // len(languages))
        return AlternatingStream([ShuffledStream(self.corpora[language], share, seed) for language in languages])


def read_text(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    cache: Path,
    source_tokenizer: PreTrainedTokenizerBase | None = None,
    position_offset: int = 0,
) -> Text:
    """Pack the corpora of a recipe and align its translation pairs.

    Args:
        recipe: What to read.
        tokenizer: Of the target language, or of both.
        cache: Folder for the Arrow files.
        source_tokenizer: Of the source language, where it has a vocabulary of its own.
        position_offset: The model's row of the first position.

    Raises:
        InputError: If one of them cannot be read or is too short.
    """
    length = recipe.stages[0].sequence_length
    split = recipe.data.split()
    splits = {"target": split} if recipe.trelm is None else {"source": recipe.data.source_split(), "target": split}
    tokenizers = {"source": source_tokenizer or tokenizer, "target": tokenizer}
    corpora = {
        language: pack(part, tokenizers[language], length, recipe.data.max_sequences, cache)
        for language, part in splits.items()
    }
    if recipe.trelm is not None:
        corpora = {
            language: packed.add_column("lang_ids", [LANGUAGES.index(language)] * len(packed))
            for language, packed in corpora.items()
        }
    pairs = read_pairs(recipe, tokenizer, cache) if any(stage.on_pairs for stage in recipe.stages) else {}
    return Text(tokenizer, corpora, tuple(split.held_out_lines()), length, pairs, source_tokenizer, position_offset)


def read_pairs(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, cache: Path) -> dict[tuple[str, ...], Dataset]:
    """The translation pairs in each direction that a stage asks for, aligned token by token."""
    length = recipe.stages[0].sequence_length
    text = recipe.data.pairs()
    sides = (tokenized(side, tokenizer, length) for side in zip(*text.pairs, strict=True))
    pairs = [pair for pair in zip(*sides, strict=True) if all(map(len, pair))]
    links = WordAligner.train(pairs).align(pairs)
    made = {}
    for asked in {stage.languages for stage in recipe.stages if stage.on_pairs}:
        number = LANGUAGES.index(asked[0]), LANGUAGES.index(asked[1])
        step = 1 if asked == LANGUAGES else -1
        turned = [pair[::step] for pair in pairs], [link[:, ::step] for link in links]
        made[asked] = aligned_pairs(*turned, tokenizer, number, cache)
    return made

"""Objectives on translation pairs: cross-lingual language modeling of two kinds, and text and pairs side by side.

Both take the rows of `hf_xlt.data.pairs.aligned_pairs`: the source sentence as `input_ids`, its translation as
`labels`, the `alignment` of the two, and the languages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked, require_whole
from hf_xlt.data.objectives.objective import (
    IGNORED,
    UNALIGNED,
    Example,
    Objective,
    Setting,
    generator_for,
    padded,
    padded_batch,
)
from hf_xlt.data.objectives.text import MaskedLM
from hf_xlt.errors import InputError

_PARTS = ("input_ids", "labels", "alignment")  # of a pair
_LANGUAGE_OF = {"input_ids": "lang_ids", "labels": "target_lang_ids"}


@dataclass(frozen=True)
class _OnPairs(Objective):
    """What both objectives need of a joint tokenizer: pad and mask tokens, and how it masks a text."""

    tokenizer: PreTrainedTokenizerBase
    mlm_share: float = 0.15
    reads = "pairs"

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            raise InputError("Batches of pairs need a tokenizer with a pad token; add one first.")
        self._masked  # noqa: B018  refused here, before work starts

    @cached_property
    def _masked(self) -> MaskedLM:
        return MaskedLM(self.tokenizer, self.mlm_share)


@checked
@dataclass(frozen=True)
class DataCollatorForCdLM(_OnPairs):
    """TreLM's cross-lingual objective: read one language, write the other (CdLM).

    The input is the source sentence, unmasked; the label of every target position is the translation's token there,
    special tokens included. For each pair the batch also holds its translation as a masked-language-modeling
    example, aligned with itself: without it the model would never read the language that it writes.

    Args:
        tokenizer: The joint tokenizer; one without pad or mask token is refused.
        mlm_share: Part of the tokens predicted in the masked examples.
    """

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate `batch` pairs into `2 · batch` rows: first the pairs, then their translations masked.

        Returns:
            `input_ids`, `attention_mask` `(2b, n)`; `alignment`, `target_attention_mask`, `labels` `(2b, m)`;
            `lang_ids`, `target_lang_ids` `(2b,)`.
        """
        pairs = [_pair(example, i) for i, example in enumerate(examples)]
        masked = [self._masked_row(row["labels"], example) for row, example in zip(pairs, examples, strict=True)]
        inputs, labels, alignments = ([row[name] for row in pairs + masked] for name in _PARTS)
        lang_ids = [int(example["lang_ids"]) for example in examples]
        target_ids = [int(example["target_lang_ids"]) for example in examples]
        return padded_batch(inputs, labels, self.tokenizer.pad_token_id) | {
            "alignment": padded(alignments, UNALIGNED),
            "target_attention_mask": padded([np.ones(len(row)) for row in labels], 0),
            "lang_ids": torch.tensor(lang_ids + target_ids),
            "target_lang_ids": torch.tensor(target_ids + target_ids),
        }

    def _masked_row(self, ids: np.ndarray, example: Example) -> dict[str, np.ndarray]:
        inputs, labels = self._masked.mask(ids, generator_for(example))
        return {"input_ids": inputs, "labels": labels, "alignment": np.arange(len(ids))}


@checked
@dataclass(frozen=True)
class DataCollatorForTLM(_OnPairs):
    """Translation language modeling: both sentences in one row, masked alike (Lample & Conneau 2019, §3.4).

    Positions begin anew with the translation, and every token carries its own language.

    Args:
        tokenizer: The joint tokenizer; one without pad or mask token is refused.
        mlm_share: Part of the tokens predicted.
        position_offset: Row of the first position, as `TreLMConfig.position_offset` says.
    """

    position_offset: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("position_offset", self.position_offset, least=0)

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """That of a joint tokenizer and a model's positions."""
        return cls(setting.tokenizer, position_offset=setting.position_offset)

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids`, `attention_mask`, `labels`, `lang_ids` and `position_ids`, each `(b, n + m)`."""
        rows = [self._row(example) for example in examples]
        fill = {"input_ids": self.tokenizer.pad_token_id, "labels": IGNORED}
        return {name: padded([row[name] for row in rows], fill.get(name, 0)) for name in rows[0]}

    def _row(self, example: Example) -> dict[str, np.ndarray]:
        names = [name for name in _LANGUAGE_OF if name in example]  # a text alone has no translation
        sides = [np.asarray(example[name]) for name in names]
        inputs, labels = self._masked.mask(np.concatenate(sides), generator_for(example))
        lengths = [len(side) for side in sides]
        return {
            "input_ids": inputs,
            "attention_mask": np.ones(len(inputs)),
            "labels": labels,
            "lang_ids": np.repeat([int(example[_LANGUAGE_OF[name]]) for name in names], lengths),
            "position_ids": np.concatenate([self.position_offset + np.arange(length) for length in lengths]),
        }


def _pair(example: Example, number: int) -> dict[str, np.ndarray]:
    pair = {name: np.asarray(example[name]) for name in _PARTS}
    length, alignment = len(pair["input_ids"]), pair["alignment"]
    if len(alignment) != len(pair["labels"]):
        raise InputError(
            f"Pair {number} of the batch has {len(alignment)} alignments for {len(pair['labels'])} target tokens; "
            "expected one each. Make the pairs with aligned_pairs."
        )
    outside = np.flatnonzero((alignment < UNALIGNED) | (alignment >= length))
    if len(outside):
        raise InputError(
            f"Pair {number} of the batch aligns target position {outside[0]} with source position "
            f"{alignment[outside[0]]}; expected one of 0 to {length - 1}, or {UNALIGNED} for none."
        )
    return pair


@checked
@dataclass(frozen=True)
class DataCollatorForMultilingualMLM(DataCollatorForTLM):
    """MLM on texts and TLM on translation pairs, side by side in a batch (Lample & Conneau 2019, §3.3–3.4).

    Pairs are the examples with a translation as `labels`; the others are packed sequences. Arguments as in
    `DataCollatorForTLM`.
    """

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate; without a pair `input_ids`, `attention_mask`, `labels` `(b, n)` and `lang_ids` `(b,)`.

        With one, all of these and `position_ids` are `(b, n)`, and n is the length of the longest.
        """
        if any("labels" in example for example in examples):
            return super().__call__(examples)
        return self._masked(examples)

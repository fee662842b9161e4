"""Masked language modelling of several languages, mixed with translation language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hf_xlt.arguments import checked
from hf_xlt.data.objectives.batch import Example, generator_for
from hf_xlt.data.objectives.cross_lingual import DataCollatorForTLM


@checked
@dataclass(frozen=True)
class DataCollatorForMultilingualMLM(DataCollatorForTLM):
    """MLM on texts and TLM on translation pairs, side by side in a batch (Lample & Conneau 2019, §3.3–3.4).

    Pairs are the examples with a translation as `labels`; the others are packed sequences.

    Args:
        tokenizer: The joint tokenizer, with pad and mask tokens.
        mlm_share: Part of the tokens predicted.
        position_offset: The model's row of the first position, see `TreLMConfig`.

    Raises:
        InputError: If the tokenizer lacks one of these tokens.
    """

    position_offset: int = 0

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate.

        Returns:
            Without a pair `input_ids`, `attention_mask`, `labels` `(b, n)` and `lang_ids` `(b,)`. With one, all of
            these and `position_ids` are `(b, n)`, and n is the length of the longest.
        """
        if any("labels" in example for example in examples):
            return super().__call__(examples)
        return self._masked(examples)

    def _row(self, example: Example) -> dict[str, np.ndarray]:
        row = super()._row(example) if "labels" in example else self._text(example)
        return row | {"position_ids": row["position_ids"] + self.position_offset}

    def _text(self, example: Example) -> dict[str, np.ndarray]:
        inputs, labels = self._masked.mask(np.asarray(example["input_ids"]), generator_for(example))
        return {
            "input_ids": inputs,
            "attention_mask": np.ones(len(inputs)),
            "labels": labels,
            "lang_ids": np.full(len(inputs), int(example["lang_ids"])),
            "position_ids": np.arange(len(inputs)),
        }

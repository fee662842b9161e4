"""Distillation of a sentence encoder: target sentences with the vectors that they should get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked
from hf_xlt.data.objectives.batch import Example, padded
from hf_xlt.errors import InputError


@checked
@dataclass(frozen=True)
class DataCollatorForDistillation:
    """Target sentences beside the teacher's vectors of their translations.

    Args:
        tokenizer: The target's, with a pad token.

    Raises:
        InputError: If it has none.
    """

    tokenizer: PreTrainedTokenizerBase
    shifts_labels = False

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            raise InputError("Batches of sentences need a tokenizer with a pad token; add one first.")

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids`, `attention_mask` `(batch, longest)`, `teacher` float32 `(batch, d)`."""
        rows = [np.asarray(example["input_ids"]) for example in examples]
        return {
            "input_ids": padded(rows, self.tokenizer.pad_token_id),
            "attention_mask": padded([np.ones(len(row)) for row in rows], 0),
            "teacher": torch.from_numpy(np.stack([example["teacher"] for example in examples]).astype(np.float32)),
        }

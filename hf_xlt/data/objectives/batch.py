"""Rows of token ids as the tensors of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

IGNORED = -100
Example = dict[str, Any]


def stacked(rows: Sequence[np.ndarray]) -> Tensor:
    """Rows of one length as an int64 tensor `(batch, length)`."""
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    """Rows of any length as an int64 tensor `(batch, longest)`, filled up with `value`."""
    longest = max(len(row) for row in rows)
    return stacked([np.pad(row, (0, longest - len(row)), constant_values=value) for row in rows])


def full_batch(inputs: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """The batch of inputs without padding."""
    input_ids = stacked(inputs)
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": stacked(labels)}


def padded_batch(inputs: Sequence[np.ndarray], labels: Sequence[np.ndarray], pad: int) -> dict[str, Tensor]:
    """The batch of inputs and labels of unequal lengths; padding is masked, and ignored in labels."""
    attention_mask = padded([np.ones(len(row)) for row in inputs], 0)
    return {"input_ids": padded(inputs, pad), "attention_mask": attention_mask, "labels": padded(labels, IGNORED)}


def special_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Ids of all special tokens, ascending."""
    return np.array(sorted(set(tokenizer.all_special_ids)), dtype=np.int64)


def generator_for(example: Example) -> np.random.Generator:
    """The randomness of an example: decided by its `key`, or drawn from torch's where a plain `Trainer` gives none."""
    key = example.get("key")
    return np.random.default_rng(int(torch.randint(2**62, ())) if key is None else key)


def languages_of(examples: Sequence[Example]) -> dict[str, Tensor]:
    """The `lang_ids` `(batch,)` of examples that have them; nothing for those that have none."""
    if "lang_ids" not in examples[0]:
        return {}
    return {"lang_ids": torch.tensor([int(example["lang_ids"]) for example in examples])}

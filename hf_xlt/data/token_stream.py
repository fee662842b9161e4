"""A text as a stream of token ids, and what a tokenizer puts around a sequence and between documents."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked, require_text
from hf_xlt.data.objectives.objective import special_ids
from hf_xlt.errors import InputError

BATCH = 1000
T = TypeVar("T")


@dataclass(frozen=True)
class Frame:
    """What a tokenizer puts around a sequence and between documents, as token ids."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    separator: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Self:
        """Read the frame off a tokenizer by encoding a probe with and without special tokens."""
        probe = "a"
        bare = tokenizer(probe, add_special_tokens=False)["input_ids"]
        full = tokenizer(probe)["input_ids"]
        start = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), 0)
        ends = (tokenizer.eos_token_id, tokenizer.sep_token_id)
        separator = tuple(i for i in ends if i is not None)[:1]
        return cls(tuple(full[:start]), tuple(full[start + len(bare) :]), separator)

    @property
    def opening(self) -> tuple[int, ...]:
        """The token a text begins after, for models that read from left to right: one id, or none."""
        return self.prefix[-1:] or self.separator

    def room(self, length: int) -> int:
        """Ordinary tokens that fit into a sequence of `length`; fewer than two are refused."""
        inner = length - len(self.prefix) - len(self.suffix)
        if inner < 2:
            raise InputError(f"sequence_length {length} leaves no room for text between special tokens; raise it.")
        return inner

    def around(self, ids: np.ndarray) -> np.ndarray:
        """The sequence of `ids` between prefix and suffix, int32."""
        return np.concatenate([self.prefix, ids, self.suffix]).astype(np.int32)


def token_stream(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[np.ndarray]:
    """Tokenise lines in batches; each array holds the ids of a batch, a separator after every line."""
    separator = list(Frame.of(tokenizer).separator)
    for batch in batched(lines, BATCH):
        encoded = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)
        yield np.array([i for ids in encoded["input_ids"] for i in ids + separator], dtype=np.int32)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, in order; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@checked
def frequency_order(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Ids of the tokens of a text by falling frequency, int64; without special tokens and those that do not occur."""
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    for ids in token_stream(map(require_text, lines), tokenizer):
        counts += np.bincount(ids, minlength=len(counts))
    counts[special_ids(tokenizer)] = 0
    order = torch.from_numpy(counts).argsort(descending=True, stable=True)
    return order[: int((counts > 0).sum())]

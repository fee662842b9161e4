"""Pack lines of text into full sequences: no padding, no truncation, every token kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from datasets import Dataset, Features, Sequence, Value
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.arrow import fingerprint, memory_mapped
from hf_xlt.data.corpora import Split
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
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> Frame:
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
        """Ordinary tokens that fit into a sequence of `length`.

        Raises:
            InputError: If there are fewer than two.
        """
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
    for batch in _batched(lines, BATCH):
        encoded = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)
        yield np.array([i for ids in encoded["input_ids"] for i in ids + separator], dtype=np.int32)


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def blocks(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> Iterator[np.ndarray]:
    """Cut the token stream into sequences of exactly `length` ids, prefix and suffix included.

    The last, incomplete sequence is dropped. Each array has shape `(length,)` and dtype int32.

    Raises:
        InputError: If the special tokens alone fill a sequence.
    """
    frame = Frame.of(tokenizer)
    inner = frame.room(length)
    rest = np.empty(0, dtype=np.int32)
    for ids in token_stream(lines, tokenizer):
        rest = np.concatenate([rest, ids])
        whole = len(rest) // inner * inner
        yield from (frame.around(row) for row in rest[:whole].reshape(-1, inner))
        rest = rest[whole:]


def pack(split: Split, tokenizer: PreTrainedTokenizerBase, length: int, limit: int, cache: Path) -> Dataset:
    """The training lines of a split as a memory-mapped dataset of full sequences.

    Args:
        split: Which lines to train on.
        tokenizer: Its separator is put between lines, its own frame around every sequence.
        length: Ids a sequence, special tokens included.
        limit: Most sequences to pack; reading stops there.
        cache: Folder for the Arrow files; a second call with the same corpus and tokenizer reads them again.

    Returns:
        A dataset with one column, `input_ids`: int32, `(length,)`.

    Raises:
        InputError: If the corpus cannot be read or does not fill one sequence.
    """
    features = Features({"input_ids": Sequence(Value("int32"), length=length)})
    name = fingerprint(tokenizer, _state_of(split).encode(), repr((length, limit)).encode())

    def batches() -> Iterator[dict[str, np.ndarray]]:
        rows = islice(blocks(split.training_lines(), tokenizer, length), limit)
        for batch in _batched(tqdm(rows, desc="packing", unit=" sequences", disable=None), BATCH):
            yield {"input_ids": np.stack(batch)}

    dataset = memory_mapped(cache, name, features, batches)
    if len(dataset) == 0:
        raise InputError(
            f"Corpus {split.corpus.name} is shorter than one sequence of {length} tokens; "
            "give more text or a smaller sequence_length."
        )
    return dataset


def _state_of(split: Split) -> str:
    """The corpus of a split as it is now."""
    path = split.corpus.path
    stat = (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else ()
    return repr((split, stat))

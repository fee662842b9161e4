"""Pack lines of text into full sequences: no padding, no truncation, every token kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Sequence, Value
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.corpora import Split
from hf_xlt.errors import InputError

LINES_PER_BATCH = 1000


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


def token_stream(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[np.ndarray]:
    """Tokenise lines in batches; each array holds the ids of a batch, a separator after every line."""
    separator = list(Frame.of(tokenizer).separator)
    for batch in _batched(lines, LINES_PER_BATCH):
        encoded = tokenizer(batch, add_special_tokens=False, return_attention_mask=False, verbose=False)
        yield np.array([i for ids in encoded["input_ids"] for i in ids + separator], dtype=np.int32)


def _batched(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(lines)
    while batch := list(islice(iterator, size)):
        yield batch


def blocks(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> Iterator[np.ndarray]:
    """Cut the token stream into sequences of exactly `length` ids, prefix and suffix included.

    The last, incomplete sequence is dropped. Each array has shape `(length,)` and dtype int32.
    """
    frame = Frame.of(tokenizer)
    inner = length - len(frame.prefix) - len(frame.suffix)
    if inner < 2:
        raise InputError(f"sequence_length {length} leaves no room for text between special tokens; raise it.")
    prefix, suffix = np.array(frame.prefix, np.int32), np.array(frame.suffix, np.int32)
    rest = np.empty(0, dtype=np.int32)
    for ids in token_stream(lines, tokenizer):
        rest = np.concatenate([rest, ids])
        whole = len(rest) // inner
        for row in rest[: whole * inner].reshape(whole, inner):
            yield np.concatenate([prefix, row, suffix])
        rest = rest[whole * inner :]


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
        InputError: If the corpus does not fill one sequence.
    """
    features = Features({"input_ids": Sequence(Value("int32"), length=length)})
    dataset = Dataset.from_generator(
        _rows,
        features=features,
        cache_dir=str(cache),
        gen_kwargs={"source": _Packed(split, tokenizer, length, limit)},
        fingerprint=_fingerprint(split, tokenizer, length, limit),
    )
    if len(dataset) == 0:
        raise InputError(
            f"Corpus {split.corpus.name} is shorter than one sequence of {length} tokens; "
            "give more text or a smaller sequence_length."
        )
    return dataset.with_format("numpy")


@dataclass(frozen=True)
class _Packed:
    split: Split
    tokenizer: PreTrainedTokenizerBase
    length: int
    limit: int


def _rows(source: _Packed) -> Iterator[dict[str, np.ndarray]]:
    lines = source.split.training_lines()
    for row in islice(blocks(lines, source.tokenizer, source.length), source.limit):
        yield {"input_ids": row}


def _fingerprint(split: Split, tokenizer: PreTrainedTokenizerBase, length: int, limit: int) -> str:
    path = Path(split.corpus.name)
    stat = (path.stat().st_size, path.stat().st_mtime_ns) if path.is_file() else ()
    vocabulary = sorted(tokenizer.get_vocab().items())
    return hashlib.sha256(repr((split, stat, vocabulary, Frame.of(tokenizer), length, limit)).encode()).hexdigest()[:16]

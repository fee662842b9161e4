"""Sentence pairs as ids, in batches of like lengths."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_xlt.arguments import refused
from hf_xlt.errors import InputError

Sentence = Sequence[str] | Sequence[int] | np.ndarray
"""The tokens of a sentence: words or subwords as strings, or their ids."""

_BATCH_CELLS = 2**17
_MOST_CELLS = 2**24


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of one side, by id; `len` is the id of unknown tokens and the next one that of padding."""

    tokens: tuple[str | int, ...]

    @classmethod
    def of(cls, sentences: Sequence[Sentence]) -> Vocabulary:
        """All tokens of the sentences, in order of first appearance."""
        tokens: dict[Any, None] = dict.fromkeys(chain.from_iterable(map(_tokens, sentences)))
        return cls(tuple(token if isinstance(token, str) else int(token) for token in tokens))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def padding(self) -> int:
        """The id that fills a sentence up to its batch's length."""
        return len(self) + 1

    @cached_property
    def _ids(self) -> dict[Hashable, int]:
        return {token: i for i, token in enumerate(self.tokens)}

    def encode(self, sentences: Sequence[Sentence]) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all sentences, one after the other, and the sentences' lengths; both int64."""
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        ids = map(self._ids.get, chain.from_iterable(map(_tokens, sentences)), repeat(len(self)))
        return np.fromiter(ids, np.int64, lengths.sum()), lengths


@dataclass(frozen=True, eq=False)
class Batch:
    """Sentence pairs of like lengths, padded, seen in the direction in which one sentence generates the other."""

    pairs: Tensor  # int64 `(b,)`, the pairs' numbers
    sources: Tensor  # int64 `(b, m)`, ids of the generating sentences
    targets: Tensor  # int64 `(b, n)`, ids of the generated sentences
    source_lengths: Tensor  # int64 `(b,)`
    target_lengths: Tensor  # int64 `(b,)`

    @property
    def reverse(self) -> Batch:
        """The same pairs in the other direction."""
        return Batch(self.pairs, self.targets, self.sources, self.target_lengths, self.source_lengths)

    @property
    def source_mask(self) -> Tensor:
        """Bool `(b, m)`: the position holds a word."""
        return torch.arange(self.sources.shape[1]) < self.source_lengths[:, None]


@dataclass(frozen=True, eq=False)
class Bitext:
    """Sentence pairs of two vocabularies."""

    source: Vocabulary
    target: Vocabulary
    source_ids: np.ndarray  # int64, the source sentences one after the other
    target_ids: np.ndarray  # int64, the same for the target sentences
    source_lengths: np.ndarray  # int64 `(pairs,)`
    target_lengths: np.ndarray  # int64 `(pairs,)`

    @classmethod
    def encode(
        cls,
        pairs: Sequence[tuple[Sentence, Sentence]],
        source: Vocabulary | None = None,
        target: Vocabulary | None = None,
    ) -> Bitext:
        """Look the pairs' tokens up; a vocabulary that is not given is made of them."""
        if not len(pairs):
            raise InputError("There is no sentence pair", expected="at least one", hint="Give parallel text.")
        for pair in pairs:
            if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise refused("a pair", pair, "two sentences")
        sources, targets = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        for side, sentences in (("source", sources), ("target", targets)):
            _check(side, sentences)
        source = source or Vocabulary.of(sources)
        target = target or Vocabulary.of(targets)
        source_ids, source_lengths = source.encode(sources)
        target_ids, target_lengths = target.encode(targets)
        most = int((source_lengths * target_lengths).argmax())
        if (longest := (int(source_lengths[most]), int(target_lengths[most])))[0] * longest[1] > _MOST_CELLS:
            raise InputError(
                f"Pair {most} has {longest[0]} and {longest[1]} tokens, too many to be aligned",
                value=longest,
                expected=f"at most {_MOST_CELLS:,} pairs of a source and a target token",
                hint="Split it into sentences, or drop it.",
            )
        return cls(source, target, source_ids, target_ids, source_lengths, target_lengths)

    def __len__(self) -> int:
        return len(self.source_lengths)

    @cached_property
    def shapes(self) -> Tensor:
        """The different lengths of pairs and how many pairs have them: int64 `(s, 3)`, source, target, count."""
        lengths = np.stack([self.source_lengths, self.target_lengths], axis=1)
        different, counts = np.unique(lengths, axis=0, return_counts=True)
        return torch.from_numpy(np.column_stack([different, counts]))

    def batches(self, cells: int = _BATCH_CELLS) -> Iterator[Batch]:
        """All pairs, in batches of at most `cells` padded cells (b·m·n) unless a single pair has more."""
        # Within a narrow range of source lengths, target lengths rise: little is padded on either side.
        order = np.lexsort((self.target_lengths, (self.source_lengths + 1) // 2))
        source_starts = np.cumsum(self.source_lengths) - self.source_lengths
        target_starts = np.cumsum(self.target_lengths) - self.target_lengths
        for chosen in np.split(order, self._cuts(order, cells)):
            m, n = self.source_lengths[chosen], self.target_lengths[chosen]
            sources = _padded(self.source_ids, source_starts[chosen], m, self.source.padding)
            targets = _padded(self.target_ids, target_starts[chosen], n, self.target.padding)
            yield Batch(*map(torch.from_numpy, (chosen, sources, targets, m, n)))

    def _cuts(self, order: np.ndarray, cells: int) -> list[int]:
        """Where the pairs, in `order`, are cut into batches."""
        cuts, first, widest, longest = [], 0, 0, 0
        lengths = zip(self.source_lengths[order].tolist(), self.target_lengths[order].tolist(), strict=True)
        for place, (m, n) in enumerate(lengths):
            widest, longest = max(widest, m), max(longest, n)
            if place > first and (place + 1 - first) * widest * longest > cells:
                cuts.append(place)
                first, widest, longest = place, m, n
        return cuts


def _padded(ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, padding: int) -> np.ndarray:
    """Sentences as rows `(b, longest)`."""
    places = np.arange(lengths.max())
    inside = places < lengths[:, None]
    return np.where(inside, ids[np.where(inside, starts[:, None] + places, 0)], padding)


def _tokens(sentence: Sentence) -> Sequence[str] | Sequence[int]:
    """Tokens that hash as what they are; ids of an array become ints."""
    return sentence.tolist() if isinstance(sentence, np.ndarray | Tensor) else sentence


def _check(side: str, sentences: Sequence[Sentence]) -> None:
    for number, sentence in enumerate(sentences):
        if isinstance(sentence, str):
            raise InputError(
                f"The {side} of pair {number} is the string {sentence[:40]!r}",
                expected="a list of tokens or ids",
                hint="Split it first, e.g. with a tokenizer.",
            )
        if not len(sentence):
            raise InputError(
                f"The {side} of pair {number} has no token", expected="at least one", hint="Drop such pairs."
            )

"""Sentence pairs as ids, in batches of like lengths."""

from collections.abc import Iterator, Sequence
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
Vocabulary = tuple[str | int, ...]
"""The tokens of one side, by id; the number of them is the id of unknown tokens and the next one that of padding."""

_BATCH_CELLS = 2**17
_MOST_CELLS = 2**24


@dataclass(frozen=True, eq=False)
class Batch:
    """Sentence pairs of like lengths, padded, seen in the direction in which one sentence generates the other."""

    pairs: Tensor  # int64 `(b,)`, the pairs' numbers
    sources: Tensor  # int64 `(b, m)`, ids of the generating sentences
    targets: Tensor  # int64 `(b, n)`, ids of the generated sentences
    source_lengths: Tensor  # int64 `(b,)`
    target_lengths: Tensor  # int64 `(b,)`

    @property
    def reverse(self) -> "Batch":
        """The same pairs in the other direction."""
        return Batch(self.pairs, self.targets, self.sources, self.target_lengths, self.source_lengths)

    @property
    def source_mask(self) -> Tensor:
        """Bool `(b, m)`: the position holds a word."""
        return torch.arange(self.sources.shape[1]) < self.source_lengths[:, None]


@dataclass(frozen=True, eq=False)
class Side:
    """The sentences of one language."""

    vocabulary: Vocabulary
    ids: np.ndarray  # int64, one sentence after the other
    lengths: np.ndarray  # int64 `(pairs,)`

    @classmethod
    def of(cls, name: str, sentences: Sequence[Sentence], vocabulary: Vocabulary | None) -> "Side":
        """Look the tokens up; a vocabulary that is not given is made of them."""
        for number, sentence in enumerate(sentences):
            if isinstance(sentence, str):
                told = f"The {name} of pair {number} is the string {sentence[:40]!r}"
                hint = "Split it first, e.g. with a tokenizer."
                raise InputError(told, expected="a list of tokens or ids", hint=hint)
            if not len(sentence):
                told = f"The {name} of pair {number} has no token"
                raise InputError(told, expected="at least one", hint="Drop such pairs.")
        if vocabulary is None:
            tokens: dict[Any, None] = dict.fromkeys(
                chain.from_iterable(map(_tokens, sentences))
            )  # in order of first appearance
            vocabulary = tuple(token if isinstance(token, str) else int(token) for token in tokens)
        number_of: dict[Any, int] = {token: number for number, token in enumerate(vocabulary)}
        lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
        ids = map(number_of.get, chain.from_iterable(map(_tokens, sentences)), repeat(len(vocabulary)))
        return cls(vocabulary, np.fromiter(ids, np.int64, lengths.sum()), lengths)

    @cached_property
    def _starts(self) -> np.ndarray:
        return self.lengths.cumsum() - self.lengths

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """Some of the sentences as padded rows `(b, longest)`."""
        lengths = self.lengths[chosen, None]
        places = np.arange(lengths.max())
        inside = places < lengths
        ids = self.ids[np.where(inside, self._starts[chosen, None] + places, 0)]
        return np.where(inside, ids, len(self.vocabulary) + 1)


@dataclass(frozen=True, eq=False)
class Bitext:
    """Sentence pairs of two vocabularies."""

    source: Side
    target: Side

    @classmethod
    def encode(
        cls,
        pairs: Sequence[tuple[Sentence, Sentence]],
        source: Vocabulary | None = None,
        target: Vocabulary | None = None,
    ) -> "Bitext":
        """Look the pairs' tokens up; a vocabulary that is not given is made of them."""
        if not len(pairs):
            raise InputError("There is no sentence pair", expected="at least one", hint="Give parallel text.")
        for pair in pairs:
            if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise refused("a pair", pair, "two sentences")
        sides = Side.of("source", [pair[0] for pair in pairs], source), Side.of("target", [p[1] for p in pairs], target)
        most = int((sides[0].lengths * sides[1].lengths).argmax())
        longest = int(sides[0].lengths[most]), int(sides[1].lengths[most])
        if longest[0] * longest[1] > _MOST_CELLS:
            raise InputError(
                f"Pair {most} has {longest[0]} and {longest[1]} tokens, too many to be aligned",
                value=longest,
                expected=f"at most {_MOST_CELLS:,} pairs of a source and a target token",
                hint="Split it into sentences, or drop it.",
            )
        return cls(*sides)

    @cached_property
    def shapes(self) -> Tensor:
        """The different lengths of pairs and how many pairs have them: int64 `(s, 3)`, source, target, count."""
        lengths = np.stack([self.source.lengths, self.target.lengths], axis=1)
        different, counts = np.unique(lengths, axis=0, return_counts=True)
        return torch.from_numpy(np.column_stack([different, counts]))

    def batches(self, cells: int = _BATCH_CELLS) -> Iterator[Batch]:
        """All pairs, in batches of at most `cells` padded cells (b·m·n) unless a single pair has more."""
        # Within a narrow range of source lengths, target lengths rise: little is padded on either side.
        order = np.lexsort((self.target.lengths, (self.source.lengths + 1) // 2))
        for chosen in np.split(order, self._cuts(order, cells)):
            sides = self.source, self.target
            rows, lengths = [side.rows(chosen) for side in sides], [side.lengths[chosen] for side in sides]
            yield Batch(*map(torch.from_numpy, (chosen, *rows, *lengths)))

    def _cuts(self, order: np.ndarray, cells: int) -> list[int]:
        """Where the pairs, in `order`, are cut into batches."""
        cuts, first, widest, longest = [], 0, 0, 0
        lengths = zip(self.source.lengths[order].tolist(), self.target.lengths[order].tolist(), strict=True)
        for place, (m, n) in enumerate(lengths):
            widest, longest = max(widest, m), max(longest, n)
            if place > first and (place + 1 - first) * widest * longest > cells:
                cuts.append(place)
                first, widest, longest = place, m, n
        return cuts


def _tokens(sentence: Sentence) -> Sequence[str] | Sequence[int]:
    """Tokens that hash as what they are; ids of an array become ints."""
    return sentence.tolist() if isinstance(sentence, np.ndarray | Tensor) else sentence

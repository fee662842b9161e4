"""Links of words: of two directions made one set, and read from and written to files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hf_xlt.arguments import require_one_of
from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines

_NEIGHBORS = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)])

Rule = Callable[[np.ndarray], np.ndarray]
"""Which of some links, given by their numbers, may be added."""


def symmetrize(forward: Sequence[np.ndarray], backward: Sequence[np.ndarray], method: str) -> list[np.ndarray]:
    """Combine the links of two directions, pair by pair.

    Growing goes through the links that only one direction has in order of source and target position, again until none
    is added: one is added if it is next to a link already there, diagonally too, and its source or its target word has
    none. The final step adds links of the forward direction, then of the backward one, whose source or target word
    (`-final`) or whose source and target word (`-final-and`) has none.

    Args:
        forward: For each pair int `(k, 2)`, source and target positions linked in one direction.
        backward: The same for the other direction, source positions first here too.
        method: One of `SYMMETRIZATIONS`.

    Returns:
        For each pair int64 `(k, 2)`, in ascending order.
    """
    require_one_of("method", method, SYMMETRIZATIONS)
    if len(forward) != len(backward):
        raise InputError(f"There are links of {len(forward)} and of {len(backward)} pairs", expected="equal numbers")
    if not len(forward):
        return []
    return split(symmetrized(numbered(forward), numbered(backward), method), len(forward))


def symmetrized(forward: np.ndarray, backward: np.ndarray, method: str) -> np.ndarray:
    """What `symmetrize` does for links `(k, 3)` of many pairs: pair, source position, target position."""
    if not len(forward) + len(backward):
        return forward
    union = _Union.of(forward, backward)
    return union.links[SYMMETRIZATIONS[method](union)]


def numbered(links: Sequence[np.ndarray]) -> np.ndarray:
    """Links of all pairs `(k, 3)`, the number of the pair first."""
    rows = [np.asarray(of_pair, dtype=np.int64).reshape(-1, 2) for of_pair in links]
    return np.column_stack([np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows)])


def split(links: np.ndarray, pairs: int) -> list[np.ndarray]:
    """The inverse of `numbered`, for links in ascending order."""
    return np.split(links[:, 1:], np.searchsorted(links[:, 0], np.arange(1, pairs)))


@dataclass(frozen=True, eq=False)
class _Union:
    """The links of either direction."""

    keys: np.ndarray  # int64 `(u,)`, ascending: pair, source and target position of each link as one number
    # source and target positions that a key has room for, one before and one after those that occur
    shape: tuple[int, int]
    forward: np.ndarray  # bool `(u,)`, whether the forward direction has the link
    backward: np.ndarray  # bool `(u,)`, whether the backward one has

    @classmethod
    def of(cls, forward: np.ndarray, backward: np.ndarray) -> _Union:
        """The union of links `(k, 3)` of two directions."""
        highest = np.concatenate([forward, backward]).max(axis=0)
        shape = int(highest[1]) + 3, int(highest[2]) + 3
        first, second = _keys(forward, shape), _keys(backward, shape)
        keys = np.union1d(first, second)
        return cls(keys, shape, np.isin(keys, first), np.isin(keys, second))

    @cached_property
    def links(self) -> np.ndarray:
        """int64 `(u, 3)`: pair, source and target position."""
        rest, target = np.divmod(self.keys, self.shape[1])
        pair, source = np.divmod(rest, self.shape[0])
        return np.stack([pair, source - 1, target - 1], axis=1)

    @property
    def intersection(self) -> np.ndarray:
        """Bool `(u,)`: both directions have the link."""
        return self.forward & self.backward

    def grow_diag(self) -> np.ndarray:
        return self._grown().chosen

    def grow_diag_final(self) -> np.ndarray:
        growth = self._grown()
        return self._finished(growth, lambda links: ~(growth.source_taken(links) & growth.target_taken(links)))

    def grow_diag_final_and(self) -> np.ndarray:
        growth = self._grown()
        return self._finished(growth, lambda links: ~(growth.source_taken(links) | growth.target_taken(links)))

    def _grown(self) -> _Growth:
        growth, size = _Growth(self), -1
        while size < (size := int(growth.chosen.sum())):
            growth.add(~growth.chosen, growth.next_to_chosen)
        return growth

    def _finished(self, growth: _Growth, rule: Rule) -> np.ndarray:
        for direction in (self.forward, self.backward):
            growth.add(direction & ~growth.chosen, rule)
        return growth.chosen

    @cached_property
    def neighbors(self) -> np.ndarray:
        """int64 `(u, 8)`: numbers of the links around each, u where there is none."""
        wanted = self.keys[:, None] + _NEIGHBORS @ (self.shape[1], 1)
        found = np.searchsorted(self.keys, wanted).clip(max=len(self.keys) - 1)
        return np.where(self.keys[found] == wanted, found, len(self.keys))


class _Growth:
    """Links being chosen, pair beside pair."""

    def __init__(self, union: _Union) -> None:
        self._pairs, _, targets = union.links.T
        self._neighbors = union.neighbors
        self._sources = np.unique(union.keys // union.shape[1], return_inverse=True)[1]
        self._targets = np.unique(self._pairs * union.shape[1] + targets, return_inverse=True)[1]
        size = len(union.keys)
        self._taken_sources, self._taken_targets = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        self._chosen = np.zeros(size + 1, dtype=bool)  # the last is no link: where a neighbor is missing
        self._choose(np.flatnonzero(union.intersection))

    @property
    def chosen(self) -> np.ndarray:
        """Bool `(u,)`."""
        return self._chosen[:-1]

    def source_taken(self, links: np.ndarray) -> np.ndarray:
        """Whether the source word of each link has one already."""
        return self._taken_sources[self._sources[links]]

    def target_taken(self, links: np.ndarray) -> np.ndarray:
        """Whether the target word of each link has one already."""
        return self._taken_targets[self._targets[links]]

    def next_to_chosen(self, links: np.ndarray) -> np.ndarray:
        """Whether a link touches a chosen one and its source or its target word has none."""
        touching = self._chosen[self._neighbors[links]].any(axis=1)
        return touching & ~(self.source_taken(links) & self.target_taken(links))

    def add(self, candidates: np.ndarray, rule: Rule) -> None:
        """Go through candidates in order, in all pairs at a time, and choose those the rule allows at their turn."""
        for links in self._turns(np.flatnonzero(candidates)):
            self._choose(links[rule(links)])

    def _turns(self, links: np.ndarray) -> Iterator[np.ndarray]:
        """The first of some links of every pair, then the second of every pair, and so on."""
        pair = self._pairs[links]
        turn = np.arange(len(links)) - np.searchsorted(pair, pair)
        order = np.argsort(turn, kind="stable")
        yield from np.split(links[order], np.cumsum(np.bincount(turn))[:-1])

    def _choose(self, links: np.ndarray) -> None:
        self._chosen[links] = True
        self._taken_sources[self._sources[links]] = True
        self._taken_targets[self._targets[links]] = True


SYMMETRIZATIONS: dict[str, Callable[[_Union], np.ndarray]] = {
    "forward": lambda union: union.forward,
    "backward": lambda union: union.backward,
    "intersection": lambda union: union.intersection,
    "union": lambda union: union.forward | union.backward,
    "grow-diag": _Union.grow_diag,
    "grow-diag-final": _Union.grow_diag_final,
    "grow-diag-final-and": _Union.grow_diag_final_and,
}


def _keys(links: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """One int64 a link `(k, 3)`, ascending as they do."""
    pair, source, target = links.T
    return (pair * shape[0] + source + 1) * shape[1] + target + 1


_LINK = re.compile(r"[0-9]{1,9}-[0-9]{1,9}")


def read_pharaoh(path: str | Path, lengths: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Read the links of sentence pairs.

    Args:
        path: A text file, packed or not; an empty line is a pair without links.
        lengths: Number of source and target tokens of each pair.

    Returns:
        For each pair int64 `(k, 2)`, source and target positions from 0.
    """
    lines = list(text_lines(path))
    if len(lines) != len(lengths):
        raise InputError(f"{path} has {len(lines)} lines for {len(lengths)} pairs", expected="one line a pair")
    return [_links(line, f"{path}, pair {n}", *lengths[n - 1]) for n, line in enumerate(lines, start=1)]


def write_pharaoh(path: str | Path, links: Sequence[np.ndarray]) -> Path:
    """Write the links of sentence pairs, a line each, with source positions first."""
    path = Path(path)
    lines = (" ".join(f"{source}-{target}" for source, target in np.asarray(pair).tolist()) for pair in links)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _links(line: str, where: str, source_length: int, target_length: int) -> np.ndarray:
    for position, link in enumerate(words := line.split(), start=1):
        if not _LINK.fullmatch(link):
            raise InputError(f"{where}: {link!r} in place {position} is not a link", expected="the format 0-0 1-2")
    links = np.array([word.split("-") for word in words], dtype=np.int64).reshape(-1, 2)
    outside = np.flatnonzero((links >= (source_length, target_length)).any(axis=1))
    if len(outside):
        first = int(outside[0])
        raise InputError(
            f"{where}: the link {words[first]} in place {first + 1} is out of range; the pair has {source_length} "
            f"source and {target_length} target tokens, counted from 0",
            hint="Align the tokens that the pairs are made of.",
        )
    return links

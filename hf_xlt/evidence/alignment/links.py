"""Links of words: of two directions made one set, and read from and written to files."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hf_xlt.arguments import require_one_of
from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines

SYMMETRIZATIONS = (
    "forward", "backward", "intersection", "union", "grow-diag", "grow-diag-final", "grow-diag-final-and",
)  # fmt: skip

_NEIGHBORS = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)])
_LINK = re.compile(r"[0-9]{1,9}-[0-9]{1,9}")

Rule = Callable[[np.ndarray], np.ndarray]
"""Which of some links, given by their numbers, may be added."""


def symmetrize(forward: Sequence[np.ndarray], backward: Sequence[np.ndarray], method: str) -> list[np.ndarray]:
    """Combine the links of two directions, pair by pair, by one of `SYMMETRIZATIONS`.

    Growing goes through the links that only one direction has in order of source and target position, again until none
    is added: one is added if it is next to a link already there, diagonally too, and its source or its target word has
    none. The final step adds links of the forward direction, then of the backward one, whose source or target word
    (`-final`) or whose source and target word (`-final-and`) has none.

    The links of each pair are int `(k, 2)`, source and target positions; the result is int64, in ascending order.
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
    margin = np.array([0, 1, 1])  # room for a neighbor of the first and of the last position
    shape = np.concatenate([forward, backward]).max(axis=0) + 1 + 2 * margin
    first, second = (np.ravel_multi_index(tuple((links + margin).T), tuple(shape)) for links in (forward, backward))
    keys = np.union1d(first, second)
    links = np.stack(np.unravel_index(keys, tuple(shape)), axis=1) - margin
    in_forward, in_backward = np.isin(keys, first), np.isin(keys, second)
    match method:
        case "forward":
            return links[in_forward]
        case "backward":
            return links[in_backward]
        case "intersection":
            return links[in_forward & in_backward]
        case "union":
            return links
    growth, size = _Growth(keys, links, int(shape[2])), -1
    growth.choose(np.flatnonzero(in_forward & in_backward))
    while size < (size := int(growth.chosen.sum())):
        growth.add(~growth.chosen, growth.next_to_chosen)
    if method != "grow-diag":
        both_free = method.endswith("-and")
        for direction in (in_forward, in_backward):
            growth.add(direction & ~growth.chosen, growth.free if both_free else growth.half_free)
    return links[growth.chosen]


def numbered(links: Sequence[np.ndarray]) -> np.ndarray:
    """Links of all pairs `(k, 3)`, the number of the pair first."""
    rows = [np.asarray(of_pair, dtype=np.int64).reshape(-1, 2) for of_pair in links]
    return np.column_stack([np.repeat(np.arange(len(rows)), [len(row) for row in rows]), np.concatenate(rows)])


def split(links: np.ndarray, pairs: int) -> list[np.ndarray]:
    """The inverse of `numbered`, for links in ascending order."""
    return np.split(links[:, 1:], np.searchsorted(links[:, 0], np.arange(1, pairs)))


class _Growth:
    """Links being chosen, pair beside pair."""

    def __init__(self, keys: np.ndarray, links: np.ndarray, targets: int) -> None:
        self._pairs, _, places = links.T
        wanted = keys[:, None] + _NEIGHBORS @ (targets, 1)
        found = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        self._neighbors = np.where(keys[found] == wanted, found, len(keys))
        self._sources = np.unique(keys // targets, return_inverse=True)[1]
        self._targets = np.unique(self._pairs * targets + places, return_inverse=True)[1]
        self._taken_sources, self._taken_targets = np.zeros((2, len(keys)), dtype=bool)
        self._chosen = np.zeros(len(keys) + 1, dtype=bool)  # the last is no link: where a neighbor is missing

    @property
    def chosen(self) -> np.ndarray:
        return self._chosen[:-1]

    def half_free(self, links: np.ndarray) -> np.ndarray:
        """Whether the source or the target word of each link has none."""
        return ~(self._taken_sources[self._sources[links]] & self._taken_targets[self._targets[links]])

    def free(self, links: np.ndarray) -> np.ndarray:
        """Whether neither the source nor the target word of each link has one."""
        return ~(self._taken_sources[self._sources[links]] | self._taken_targets[self._targets[links]])

    def next_to_chosen(self, links: np.ndarray) -> np.ndarray:
        """Whether a link touches a chosen one and its source or its target word has none."""
        return self._chosen[self._neighbors[links]].any(axis=1) & self.half_free(links)

    def add(self, candidates: np.ndarray, rule: Rule) -> None:
        """Go through candidates in order, in all pairs at a time, and choose those the rule allows at their turn."""
        for links in self._turns(np.flatnonzero(candidates)):
            self.choose(links[rule(links)])

    def _turns(self, links: np.ndarray) -> Iterator[np.ndarray]:
        """The first of some links of every pair, then the second of every pair, and so on."""
        pair = self._pairs[links]
        turn = np.arange(len(links)) - np.searchsorted(pair, pair)
        order = np.argsort(turn, kind="stable")
        yield from np.split(links[order], np.cumsum(np.bincount(turn))[:-1])

    def choose(self, links: np.ndarray) -> None:
        self._chosen[links] = True
        self._taken_sources[self._sources[links]] = True
        self._taken_targets[self._targets[links]] = True


def read_pharaoh(path: str | Path, lengths: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Read the links of sentence pairs, a line each, from a text file, packed or not.

    Args:
        path: The file; an empty line is a pair without links.
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

"""Alignment links in Pharaoh's format: a line a sentence pair, `0-0 1-2`, source position first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines

_LINK = re.compile(r"[0-9]{1,9}-[0-9]{1,9}")


def read_pharaoh(path: str | Path, lengths: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Read the links of sentence pairs.

    Args:
        path: A text file, packed or not; an empty line is a pair without links.
        lengths: Number of source and target tokens of each pair.

    Returns:
        For each pair int64 `(k, 2)`, source and target positions from 0.

    Raises:
        InputError: If the file cannot be read, has another number of lines than there are pairs, holds anything but
            links, or a link leaves its pair. Pairs are counted from 1, as lines are.
    """
    lines = list(text_lines(path))
    if len(lines) != len(lengths):
        raise InputError(f"{path} has {len(lines)} lines for {len(lengths)} pairs; expected one line a pair.")
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
            raise InputError(f"{where}: {link!r} in place {position} is not a link; expected the format 0-0 1-2.")
    links = np.array([word.split("-") for word in words], dtype=np.int64).reshape(-1, 2)
    outside = np.flatnonzero((links >= (source_length, target_length)).any(axis=1))
    if len(outside):
        first = int(outside[0])
        raise InputError(
            f"{where}: the link {words[first]} in place {first + 1} is out of range; the pair has {source_length} "
            f"source and {target_length} target tokens, counted from 0. Align the tokens that the pairs are made of."
        )
    return links

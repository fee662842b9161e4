"""Text without spaces, or without line ends, in parts that tokenizers can be trained on.

The cost of byte-pair encoding grows with the length of words; parts hold entries of any useful length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LONGEST_WORD = 64
LONGEST_LINE = 10_000


def short_lines(lines: Iterable[str]) -> Iterator[str]:
    """Lines, and the parts of those that are too long to be handled whole."""
    return (part for line in lines for part in _parts(line, LONGEST_LINE))


def short_words(words: Iterable[str]) -> Iterator[str]:
    """Words, and the parts of those that are too long."""
    return (part for word in words for part in _parts(word, LONGEST_WORD))


def _parts(text: str, length: int) -> Iterator[str]:
    return (text[start : start + length] for start in range(0, len(text), length))

"""Texts that translate each other, as a table has them."""

from __future__ import annotations

from dataclasses import dataclass

from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import read_parallel


@dataclass(frozen=True)
class Pairs:
    """Source and target texts that translate each other.

    Attributes:
        entries: Source and target, stripped of surrounding white space; neither is empty.
        skipped: Lines left out because a side is empty.
    """

    entries: tuple[tuple[str, str], ...]
    skipped: int

    @classmethod
    def read(cls, place: str) -> Pairs:
        """Read a table of two columns, or two columns of a table: source first.

        Raises:
            InputError: If the place or the file cannot be read, or there are fewer than two pairs.
        """
        text = read_parallel(place)
        if len(text) < 2:
            raise InputError(
                f"{place}: {len(text)} pairs and {len(text.skipped)} lines with an empty side; expected two pairs or "
                "more, source and target with a tab between them."
            )
        return cls(text.pairs, len(text.skipped))

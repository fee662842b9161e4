"""Tables of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hf_xlt.hub.card import CardTable


def neighbours_table(caption: str, neighbours: Mapping[str, Sequence[tuple[str, float]]]) -> CardTable:
    """Words and what is nearest to them, with their cosines: the nearest first, a line a word.

    Args:
        caption: What was compared.
        neighbours: Word → its neighbours and their cosines, as many as there are.
    """
    most = max(map(len, neighbours.values()), default=0)
    lines = [
        (word, *(f"{near} {cosine:.2f}" for near, cosine in found), *[""] * (most - len(found)))
        for word, found in neighbours.items()
    ]
    return CardTable(caption, ("word", *map(str, range(1, most + 1))), tuple(lines))

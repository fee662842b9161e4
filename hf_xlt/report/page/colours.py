"""The colours of a page, each under a name: what it is on light paper, and on dark."""

from __future__ import annotations

from dataclasses import dataclass

from hf_xlt.report.tables import BASELINE_COLOURS, METHOD_COLOURS


@dataclass(frozen=True)
class Colour:
    """A colour under a name: what it is on light paper, and on dark."""

    name: str
    light: str
    dark: str


INK = Colour("ink", "#14171a", "#e8eaed")
FAINT = Colour("faint", "#5b636b", "#a3abb3")
PAGE = (Colour("paper", "#ffffff", "#15181b"), INK, FAINT, Colour("line", "#d9dde1", "#3a4148"))
LINES = tuple(
    Colour(f"line-{number}", light, dark)
    for number, (light, dark) in enumerate(
        zip(
            (*METHOD_COLOURS, *BASELINE_COLOURS),
            ("#6ea8ec", "#ef8379", "#5cc98e", "#b893e0", "#3fc1cc", "#a0a0a0", "#dcbf55"),
            strict=True,
        ),
        start=1,
    )
)
COLOURS = (*PAGE, *LINES)

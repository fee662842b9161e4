"""One page that shows everything: tables and pictures in a single HTML file that fetches nothing and runs nothing."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hf_xlt.errors import InputError
from hf_xlt.files.folders import check_file, write_whole
from hf_xlt.files.printable import printable
from hf_xlt.hub.card import CardTable

METHOD_COLORS = ("#1f5fa8", "#b8372f", "#2e8b57", "#7a4fa3", "#00838f")
BASELINE_COLORS = ("#8a8a8a", "#c9a227")


@dataclass(frozen=True)
class Color:
    """A color under a name: what it is on light paper, and on dark."""

    name: str
    light: str
    dark: str


INK = Color("ink", "#14171a", "#e8eaed")
FAINT = Color("faint", "#5b636b", "#a3abb3")
PAGE = (Color("paper", "#ffffff", "#15181b"), INK, FAINT, Color("line", "#d9dde1", "#3a4148"))
_ON_DARK = ("#6ea8ec", "#ef8379", "#5cc98e", "#b893e0", "#3fc1cc", "#a0a0a0", "#dcbf55")
LINES = tuple(
    Color(f"line-{number}", light, dark)
    for number, (light, dark) in enumerate(zip(METHOD_COLORS + BASELINE_COLORS, _ON_DARK, strict=True), start=1)
)
COLORS = (*PAGE, *LINES)


TEMPLATE = "page.html.j2"
# What tells a report of ours, and one from before they named their generator.
_SIGNS = ('<meta name="generator" content="hf-xlt">', '<meta name="color-scheme" content="light dark">\n<title>')
_NUMBER = re.compile(r"[-+±−]?\d|[–—-]?$")


@dataclass(frozen=True)
class Picture:
    """An SVG element as `hf_xlt.report.pictures` draws it, and plain text below it."""

    svg: str = field(repr=False)
    caption: str


@dataclass(frozen=True)
class Section:
    """Part of a report: plain text, then tables, then pictures."""

    heading: str
    text: str = field(default="", repr=False)  # paragraphs, an empty line between them
    tables: tuple[CardTable, ...] = field(default=(), repr=False)
    pictures: tuple[Picture, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for table in self.tables:
            for line in table.lines:
                if len(line) != (width := len(table.header)):
                    raise InputError(f"{table.caption!r}: the line {line} has {len(line)} cells", expected=f"{width}")


@dataclass(frozen=True)
class Report:
    """A report, all of it plain text but for the pictures."""

    title: str
    intro: str = field(repr=False)  # paragraphs, an empty line between them
    sections: tuple[Section, ...] = field(repr=False)


def write_report(path: str | Path, report: Report, *, overwrite: bool = False) -> Path:
    """Write a report as one file, whole or not at all; refused as by `check_report`."""
    path = Path(path)
    check_report(path, overwrite=overwrite)
    write_whole(path, render_report(report))
    return path


def check_report(path: Path, *, overwrite: bool) -> None:
    """Refuse a page that cannot be written."""
    check_file(path, overwrite=overwrite, ours=_is_report)


def _is_report(path: Path) -> bool:
    page = path.read_text(encoding="utf-8", errors="replace")
    return any(sign in page for sign in _SIGNS)


def render_report(report: Report) -> str:
    """The page of a report."""
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters |= {"paragraphs": _paragraphs, "picture": lambda picture: Markup(picture.svg), "numbers": _numbers}
    return page.get_template(TEMPLATE).render(report=report, colors=COLORS)


def _printable(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


def _numbers(table: CardTable) -> list[bool]:
    """Of each column, whether its cells begin with a number or say nothing."""
    return [all(_NUMBER.match(line[column]) for line in table.lines) for column in range(len(table.header))]

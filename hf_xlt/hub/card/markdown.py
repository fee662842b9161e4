"""Data inside Markdown: none of it is taken for markup, whatever it holds."""

from __future__ import annotations

import re
from urllib.parse import quote

from hf_xlt.files.printable import one_line, printable

# What Markdown, its tables, HTML inside it and formulas are made of; and what makes a link out of an address. An
# underscore inside a word is none of it.
_SPECIAL = re.compile(r"([\\`*\[\]<>|~#&$@]|(?<![a-z0-9])_|_(?![a-z0-9])|:(?=//)|(?<=\bwww)\.)", flags=re.IGNORECASE)
_BEGINNING = re.compile(r"([-+=]|\d+(?=[.)]))")
_TICKS = re.compile("`+")


def plain(text: str) -> str:
    """One line of text."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def paragraph(text: str) -> str:
    """One line of text that begins a paragraph, and no list or heading."""
    line = plain(text)
    begins = _BEGINNING.match(line)
    if begins is None:
        return line
    return f"\\{line}" if not begins[0].isdigit() else f"{begins[0]}\\{line[begins.end() :]}"


def code(text: str) -> str:
    """Text in a code span; nothing, where there is none."""
    line = one_line(text)
    if not line.strip():
        return ""
    ticks = "`" * _fence(line, 1)
    space = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def block(text: str, language: str = "text") -> str:
    """Text in a fenced block, line by line."""
    lines = printable(text.replace("\r", "\n"))
    fence = "`" * _fence(lines, 3)
    return f"{fence}{language}\n{lines}\n{fence}"


def image(description: str, file: str) -> str:
    """A picture that lies beside the card."""
    return f"![{plain(description)}]({quote(file.encode(errors='replace'))})"


def _fence(text: str, least: int) -> int:
    """How many backticks hold a text that has some."""
    return max([least - 1, *(len(ticks) for ticks in _TICKS.findall(text))]) + 1

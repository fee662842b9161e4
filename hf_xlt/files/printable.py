"""Text as a page, a card or a terminal may show it: it says what it says, and does nothing."""

import logging
import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape

logger = logging.getLogger(__name__)

# Control characters, which a terminal obeys; those that turn the direction of other text around; surrogates and
# non-characters, which neither UTF-8 nor HTML can hold. Marks and joiners that scripts are written with stay.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_BREAKS = re.compile("[\t\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+")


def printable(text: str) -> str:
    """The text with a replacement character for each that is not to be shown."""
    return _UNPRINTABLE.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same on one line: a space for each stretch of line breaks and tabs."""
    return printable(_BREAKS.sub(" ", text))


def html_table(header: Sequence[str], lines: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table for a notebook."""
    rows = [("th", header), *(("td", line) for line in lines)]
    body = "".join(
        f"<tr>{''.join(f'<{tag}>{escape(one_line(str(cell)))}</{tag}>' for cell in cells)}</tr>" for tag, cells in rows
    )
    return f"<table>{f'<caption>{escape(one_line(caption))}</caption>' if caption else ''}{body}</table>"


def shortened(text: str, length: int) -> str:
    """The same, cut to so many characters."""
    line = one_line(text)
    return line if len(line) <= length else f"{line[: length - 1]}…"


@cache
def tell(subject: str, notice: str) -> None:
    """Log a notice of a file or a checkpoint, once however often it is read."""
    logger.warning(f"{subject}: {notice}")

"""Text as a page may hold it."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def printable(text: str) -> str:
    """The text with replacement characters for what neither HTML nor SVG may hold: control characters, surrogates."""
    return _UNPRINTABLE.sub("\ufffd", text)

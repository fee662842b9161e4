"""Matplotlib's SVG as markup inside a page: its text is text, its colours are the page's."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from xml.etree import ElementTree

import matplotlib

from hf_xlt.files.printable import printable
from hf_xlt.report.page.colours import COLOURS, FAINT, INK

_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
_DRAWN: dict[Any, Any] = {
    **dict.fromkeys(_INKED, INK.light),
    "grid.color": FAINT.light,
    "svg.fonttype": "none",
    "svg.hashsalt": "hf_xlt",
    "text.parse_math": False,
    "savefig.transparent": True,
}
_SHOWN = {colour.light: f"var(--{colour.name})" for colour in COLOURS}
_COLOUR = re.compile("|".join(_SHOWN))
_LEFT_OUT = ("metadata", "style")
_FONT = re.compile(r"\s*font-family:[^;]*;?")
_NAMESPACE = re.compile(r"\{[^}]*\}")
_REFERENCE = re.compile(r"(?<=url\(#)|(?<=^#)")


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the light colours of `COLOURS`, which `inline` makes those of the page; dollar signs are no formulas."""
    with matplotlib.rc_context(_DRAWN), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # the page has fonts
        yield


def inline(svg: str, title: str) -> str:
    """An SVG file of matplotlib's as an element of an HTML page.

    Colours become the page's, which may change with the colour scheme; fonts too. What would reach outside goes: the
    style sheet, the metadata, the namespaces; ids are kept apart from those of other pictures.

    Args:
        svg: Drawn inside `drawing()`.
        title: What is read out in place of the picture.
    """
    root = ElementTree.fromstring(printable(svg))
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", name): value for name, value in element.attrib.items()}
        for child in [child for child in element if _NAMESPACE.sub("", child.tag) in _LEFT_OUT]:
            element.remove(child)
    prefix = sha256(ElementTree.tostring(root)).hexdigest()[:8]
    for element in root.iter():
        element.attrib = {name: _themed(name, value, prefix) for name, value in element.attrib.items()}
    root.attrib = {
        **{name: root.attrib[name] for name in ("width", "viewBox")},
        "role": "img",
        "aria-label": printable(title),
    }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _themed(name: str, value: str, prefix: str) -> str:
    if name == "style":
        return _FONT.sub("", _COLOUR.sub(lambda match: _SHOWN[match[0]], value))
    return f"{prefix}-{value}" if name == "id" else _REFERENCE.sub(f"{prefix}-", value)

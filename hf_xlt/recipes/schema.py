"""Frozen dataclasses from plain data, as YAML and JSON give it: every key known, every value of its type."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hf_xlt.errors import InputError
from hf_xlt.files.printable import shortened

T = TypeVar("T")

LONGEST_NAME = 100
_NAME = re.compile(r"\w(?:[\w .+-]*\w)?")
_KEPT_BY_WINDOWS = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}


def build(cls: type[T], values: Any, where: str) -> T:
    """Make a dataclass of a mapping, its fields likewise.

    Knows the annotations a recipe is made of: scalars, `X | None`, `tuple[X, ...]`, mappings and dataclasses.

    Args:
        cls: A dataclass.
        values: Field → value.
        where: What messages call it.

    Raises:
        InputError: If a key is unknown or missing, or a value not of its field's type.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is {values!r}; expected a mapping of its keys.")
    hints = get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise InputError(f"Unknown key {key!r} in {where}; {_hint(str(key), list(hints))}")
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where} lacks the key {field.name!r}; add it.")
    return cls(**{key: _typed(value, hints[key], f"{where}.{key}") for key, value in values.items()})


def _hint(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}."


def _typed(value: Any, hint: Any, where: str) -> Any:
    if get_origin(hint) is UnionType:
        *others, last = (option for option in get_args(hint) if option is not NoneType)
        inner = next((option for option in others if isinstance(value, option)), last)
        return None if value is None else _typed(value, inner, where)
    if get_origin(hint) is tuple:
        _require_type(value, list | tuple, where, "a list")
        return tuple(_typed(item, get_args(hint)[0], f"{where}.{i}") for i, item in enumerate(value))
    if is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if get_origin(hint) is Mapping:
        _require_type(value, Mapping, where, "a mapping")
        return value
    if hint is float:
        _require_type(value, int | float, where, "a number")
        return float(value)
    _require_type(value, hint, where, {int: "a whole number", str: "a text", bool: "true or false"}[hint])
    return value


def _require_type(value: Any, kind: Any, where: str, expected: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{where} is {value!r}; expected {expected}.")


def require(holds: bool, what: str, value: object, expected: str) -> None:
    """Refuse a value of a recipe: InputError, unless `holds`."""
    if not holds:
        raise InputError(f"{what} is {value!r}; expected {expected}.")


def one_of(what: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is not one of the known ones."""
    require(value in known, what, value, "one of " + ", ".join(known))


def check_name(what: str, name: str) -> None:
    """Refuse a name that is none for a file on every system: a path, one that Windows keeps for itself, a long one."""
    stem = name.partition(".")[0].strip().upper()
    fit = _NAME.fullmatch(name) is not None and len(name) <= LONGEST_NAME and stem not in _KEPT_BY_WINDOWS
    expected = f"up to {LONGEST_NAME} letters, digits, spaces and . _ + -, a letter or digit first and last"
    require(fit, what, shortened(name, LONGEST_NAME), expected)

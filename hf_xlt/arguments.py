"""What public constructors and functions ask of their arguments; each refusal names the argument and its value."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

from hf_xlt.errors import InputError

MOST_SEED = 2**32 - 1  # what every library that draws something takes


def require_whole(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> None:
    """Refuse what is no whole number in a range, both ends included.

    Raises:
        InputError: Likewise.
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and _within(value, least, most):
        return
    raise refused(name, value, f"a whole number{_range(least, most)}")


def require_number(name: str, value: Any, *, least: float | None = None, most: float | None = None) -> None:
    """Refuse what is no finite number in a range, both ends included.

    Raises:
        InputError: Likewise.
    """
    if _is_finite(value) and _within(value, least, most):
        return
    raise refused(name, value, f"a finite number{_range(least, most)}")


def require_positive(name: str, value: Any) -> None:
    """Refuse what is no finite number above 0.

    Raises:
        InputError: Likewise.
    """
    if not (_is_finite(value) and value > 0):
        raise refused(name, value, "a finite number > 0")


def require_share(name: str, value: Any, *, below_one: bool = False) -> None:
    """Refuse what is no number from 0 to 1.

    Raises:
        InputError: Likewise.
    """
    if not (_is_finite(value) and 0 <= value <= 1) or (below_one and value == 1):
        raise refused(name, value, "a number of at least 0 and below 1" if below_one else "a number from 0 to 1")


def require_seed(name: str, value: Any) -> None:
    """Refuse what no random generator can be started with.

    Raises:
        InputError: Likewise.
    """
    require_whole(name, value, least=0, most=MOST_SEED)


def require_seeds(name: str, values: Any) -> None:
    """Refuse what is not one or more different seeds.

    Raises:
        InputError: Likewise.
    """
    if isinstance(values, str) or not isinstance(values, Collection) or not values or len(set(values)) != len(values):
        raise refused(name, values, "one or more seeds, each once")
    for value in values:
        require_seed(name, value)


def require_kind(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> None:
    """Refuse a value that is not of a type.

    Raises:
        InputError: Likewise.
    """
    if not isinstance(value, kind):
        raise refused(name, value, expected)


def refused(name: str, value: Any, expected: str) -> InputError:
    """The refusal of an argument's value."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"  # not a whole table of numbers
    return InputError(f"{name} is {' '.join(shown.split())}", value=value, expected=expected)


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _within(value: Any, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    return f" ≥ {least:,}" if least is not None else "" if most is None else f" ≤ {most:,}"

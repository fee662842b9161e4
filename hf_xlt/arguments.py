"""What public constructors and functions ask of their arguments; each refusal names the argument and its value."""

import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hf_xlt.errors import InputError

MOST = 2**31 - 1  # steps, examples, bytes of a batch: more is a slip of the pen
MOST_SEED = 2**32 - 1  # what every library that draws something takes

Checked = TypeVar("Checked", bound=Callable[..., Any])

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "None"}


def checked(asked: Checked) -> Checked:
    """A function, or a class as its constructor, that refuses arguments which are not of their annotated types.

    Whole numbers count as numbers, true and false do not; a text is no sequence of texts. What is in an iterable is
    left for whoever reads it.
    """
    if isinstance(asked, type):
        # A dataclass's fields are of its bases too, whose modules know what their annotations mean.
        asked.__init__ = _checked(asked.__init__, asked if is_dataclass(asked) else asked.__init__)  # type: ignore[misc]
        return asked
    return _checked(asked, asked)


def _checked(asked: Any, annotated: Any) -> Any:
    signature = inspect.signature(asked)
    hints: dict[str, Any] = {}

    @functools.wraps(asked)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not hints:
            hints.update(get_type_hints(annotated))
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return asked(*args, **kwargs)  # Python names the function
        for name, value in given.items():
            kind = signature.parameters[name].kind
            if name in hints and kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL):
                require_type(name, value, hints[name])
        return asked(*args, **kwargs)

    return call


def require_type(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of an annotated type."""
    if not _is(value, hint):
        raise refused(name, value, _told(hint))


def require_text(text: str) -> str:
    """A text of an iterable, as it is."""
    require_type("a text", text, str)
    return text


def require_whole(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> None:
    """Refuse what is no whole number in a range, both ends included."""
    if not _is(value, int) or not _within(value, least, most):
        raise refused(name, value, f"a whole number{_range(least, most)}")


def require_number(name: str, value: Any, *, least: float | None = None, most: float | None = None) -> None:
    """Refuse what is no finite number in a range, both ends included."""
    if not (_is_finite(value) and _within(value, least, most)):
        raise refused(name, value, f"a finite number{_range(least, most)}")


def require_positive(name: str, value: Any) -> None:
    """Refuse what is no finite number above 0."""
    if not (_is_finite(value) and value > 0):
        raise refused(name, value, "a finite number > 0")


def require_share(name: str, value: Any, *, below_one: bool = False) -> None:
    """Refuse what is no number from 0 to 1."""
    if not (_is_finite(value) and 0 <= value <= 1) or (below_one and value == 1):
        raise refused(name, value, "a number of at least 0 and below 1" if below_one else "a number from 0 to 1")


def require_one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Refuse what is none of the known values."""
    if value not in (known := list(known)):
        raise refused(name, value, f"one of {', '.join(known)}")


def require_seed(name: str, value: Any) -> None:
    """Refuse what no random generator can be started with."""
    require_whole(name, value, least=0, most=MOST_SEED)


def require_seeds(name: str, values: Sequence[Any]) -> None:
    """Refuse what is not one or more different seeds."""
    for value in values:
        require_seed(name, value)
    if not values or len(set(values)) != len(values):
        raise refused(name, values, "one or more seeds, each once")


def require_ids(name: str, ids: Any, size: int | None = None) -> None:
    """Refuse what is no int64 `(n,)` of ids below a size, with at least one."""
    shape, dtype = tuple(getattr(ids, "shape", ())), str(getattr(ids, "dtype", type(ids).__name__))
    if len(shape) != 1 or not shape[0] or dtype != "torch.int64":
        raise InputError(f"{name} is {dtype} {shape}", value=ids, expected="int64 ids (n,), one or more")
    lowest, highest = int(ids.min()), int(ids.max())
    if lowest < 0 or (size is not None and highest >= size):
        below = "" if size is None else f" and below {size:,}"
        raise InputError(f"{name} runs from {lowest} to {highest}", value=ids, expected=f"ids from 0{below}")


def require_id_pairs(name: str, pairs: Any, target_size: int | None = None, source_size: int | None = None) -> None:
    """Refuse what is no int64 `(p, 2)` of target and source ids below their sizes, with at least one pair."""
    shape = tuple(getattr(pairs, "shape", ()))
    if len(shape) != 2 or shape[1] != 2:
        raise InputError(f"{name} is of shape {shape}", value=pairs, expected="(p, 2): target and source ids")
    require_ids(f"{name}: target ids", pairs[:, 0], target_size)
    require_ids(f"{name}: source ids", pairs[:, 1], source_size)


def require_finite(name: str, table: Any) -> None:
    """Refuse what is no `(n, d)` tensor of finite numbers."""
    shape = tuple(getattr(table, "shape", ()))
    if len(shape) != 2 or not table.is_floating_point():
        kind = getattr(table, "dtype", type(table).__name__)
        raise InputError(f"{name} is a {kind} of shape {shape}", value=table, expected="a table (n, d) of floats")
    if len(broken := (~table.isfinite()).any(dim=1).nonzero()):
        problem = f"Row {int(broken[0])} of {name} holds NaN or infinity"
        raise InputError(problem, value=table, expected="finite numbers")


def require_device(name: str, value: str) -> None:
    """Refuse a device that torch does not know or this machine does not have."""
    import torch  # what only reads a recipe or a file does without

    try:
        torch.empty(0, device=value)
    except (RuntimeError, AssertionError) as error:
        raise refused(name, value, f"a device that is there ({str(error).splitlines()[0][:100]})") from error


def refused(name: str, value: Any, expected: str) -> InputError:
    """The refusal of an argument's value."""
    return InputError(f"{name} is {short(value)}", value=value, expected=expected)


def short(value: Any, most: int = 80) -> str:
    """A value as Python writes it, on one line, without most of a whole table of numbers."""
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _is(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (Union, UnionType):
        return any(_is(value, kind) for kind in inner)
    if origin is Literal:
        return value in inner
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    if isinstance(value, str) and origin in (Iterable, Sequence, Collection):
        return False
    if origin is tuple:
        kinds = inner[:1] * len(value) if isinstance(value, tuple) and inner[-1:] == (Ellipsis,) else inner
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is, value, kinds))
    if origin is Sequence:
        return isinstance(value, Sequence) and all(_is(item, inner[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_is(k, inner[0]) and _is(v, inner[1]) for k, v in value.items())
    return isinstance(value, origin or hint) if isinstance(origin or hint, type) else True


def _told(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(map(_told, get_args(hint)))
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) is not None:
        return str(hint).replace("collections.abc.", "").replace("typing.", "")
    return _WORDS.get(hint) or f"a {hint.__name__}"


def _is_finite(value: Any) -> bool:
    return _is(value, float) and math.isfinite(value)


def _within(value: Any, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:,} to {most:,}"
    return f" ≥ {least:,}" if least is not None else "" if most is None else f" ≤ {most:,}"

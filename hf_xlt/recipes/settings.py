"""What all parts of a recipe have in common: frozen, every key known, every value of its type, refused as input."""

import inspect
import re
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic_core import ErrorDetails

from hf_xlt.arguments import MOST, MOST_SEED
from hf_xlt.errors import InputError, did_you_mean
from hf_xlt.files.printable import shortened

LONGEST_NAME = 100

_NAME = re.compile(r"\w(?:[\w .+-]*\w)?")
_KEPT_BY_WINDOWS = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}
_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "model_type": "a mapping of its keys",
    "model_attributes_type": "a mapping of its keys",
    "greater_than": "a number > {gt}",
    "greater_than_equal": "a number ≥ {ge}",
    "less_than": "a number < {lt}",
    "less_than_equal": "a number ≤ {le}",
    "too_short": "{min_length} or more",
}
_MOST_LISTED = 30
_OPTIONS_OF_A_UNION = ("str", "int", "bool")  # pydantic names them in the place of an error


class SettingError(InputError):
    """A setting of a recipe that is refused: its key, such as `stages.0.max_steps`, and what is wrong with it."""

    def __init__(self, key: str, problem: str | None = None, **fields: Any) -> None:
        value = fields.get("value")
        self.problem = problem or f"is {list(value) if isinstance(value, tuple) else value!r}"
        super().__init__(f"{key} {self.problem}", key=key, **fields)

    def inside(self, parent: str) -> "SettingError":
        """The same, of a setting that is part of another."""
        fields = {"value": self.value, "expected": self.expected, "hint": self.hint}
        return SettingError(f"{parent}.{self.key}", self.problem, **fields)


class Settings(BaseModel):
    """A part of a recipe; it refuses unknown and missing keys, and values of the wrong type or out of range."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """What each setting is for stands in the documentation of the class as well."""
        told = [f"    {name}: {info.description}" for name, info in cls.model_fields.items() if info.description]
        cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), *(["", "Args:", *told] if told else [])])

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise refusal(error, list(type(self).model_fields)) from error

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What is not as it is by default."""
        for name, info in type(self).model_fields.items():
            if (value := getattr(self, name)) != info.default:
                yield name, value
        yield from (self.model_extra or {}).items()

    def __str__(self) -> str:
        return repr(self)

    def replace(self, **changes: Any) -> Self:
        """The same with other values, checked like the first."""
        return type(self)(**(dict(self) | changes))


def setting(default: Any, told: str) -> Any:
    """A setting's default, and what it is for, as documentation and schema tell it."""
    return Field(default, description=told)


def refusal(error: ValidationError, known: Collection[str]) -> InputError:
    """The first of pydantic's complaints, as all input is refused; `known` are the keys there are."""
    complaints = error.errors()
    first = complaints[0]
    key, value, cause = _key(first["loc"]), first["input"], first.get("ctx", {}).get("error")
    if isinstance(cause, SettingError):
        return cause.inside(key) if key else cause
    if isinstance(cause, InputError):
        if not isinstance(value, str):
            return cause
        return SettingError(key, f"is {shortened(value, 60)!r}", value=value, expected=cause.expected, hint=cause.hint)
    if first["type"] == "extra_forbidden":
        return unknown(key, known)
    if first["type"] == "missing":
        return SettingError(key, "is missing", hint="Add it.")
    alternatives = dict.fromkeys(_expected(complaint) for complaint in complaints if _key(complaint["loc"]) == key)
    problem = f"is {shortened(repr(value), LONGEST_NAME)}"
    return SettingError(key, problem, value=value, expected=" or ".join(alternatives))


def _key(place: tuple[int | str, ...]) -> str:
    """Where a setting stands, without what pydantic calls the options of a union and the key of a mapping."""
    parts = (str(part) for part in place if part not in _OPTIONS_OF_A_UNION)
    return ".".join(shortened(part, 40) for part in parts if part != "[key]" and not part.startswith("tuple["))


def _expected(complaint: ErrorDetails) -> str:
    if (known := _EXPECTED.get(complaint["type"])) is None:
        return complaint["msg"].removeprefix("Input should be ")
    limits = {name: limit for name, limit in complaint.get("ctx", {}).items() if isinstance(limit, int | float)}
    return known.format(**{name: f"{limit:,}".removesuffix(".0") for name, limit in limits.items()})


def unknown(key: str, known: Collection[str]) -> SettingError:
    """The refusal of a key, with the nearest of those there are."""
    listed = f"Known keys: {', '.join(sorted(set(known)))}." if len(known) <= _MOST_LISTED else None
    return SettingError(key, "is no known key", value=key, hint=did_you_mean(key, known) or listed)


def one_of(key: str, value: Any, known: Collection[str]) -> None:
    """Refuse a value that is not one of the known ones."""
    if value not in known:
        raise SettingError(key, value=value, expected="one of " + ", ".join(known))


def check_name(name: str) -> str:
    """A name that a file may have on every system; others are refused."""
    stem = name.partition(".")[0].strip().upper()
    if _NAME.fullmatch(name) is None or len(name) > LONGEST_NAME or stem in _KEPT_BY_WINDOWS:
        expected = f"up to {LONGEST_NAME} letters, digits, spaces and . _ + -, a letter or digit first and last"
        raise InputError(f"name is {shortened(name, LONGEST_NAME)!r}", value=name, expected=expected)
    return name


T = TypeVar("T")
# YAML and Python may give a list; whatever is in it is still of its own type.
Several = Annotated[tuple[T, ...], Strict(False)]
Name = Annotated[str, AfterValidator(check_name)]
Count = Annotated[int, Field(gt=0, le=MOST)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]

"""Read a recipe from YAML, with overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from transformers import TrainingArguments

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.files import plain_yaml
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import FORMER, OWN

FOLDER = Path(__file__).parent


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes inside the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@checked
def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or one from a YAML file.

    Args:
        name_or_path: Such as `clp`, or `my.yaml`.
        overrides: `dotted.key=value` each, the value in YAML: `stages.0.steps=500`.

    Raises:
        InputError: If it does not exist, is not YAML, or has unknown keys or values out of range.
    """
    return recipe_from(plain_data(recipe_file(name_or_path), "Recipe", overrides))


def recipe_file(name_or_path: str | Path) -> Path:
    """Where a shipped recipe or one of the user's own is written.

    Raises:
        InputError: If there is none.
    """
    path = FOLDER / f"{name_or_path}.yaml" if str(name_or_path) in shipped_recipes() else Path(name_or_path)
    if not path.is_file():
        raise InputError(
            f"There is no recipe {str(name_or_path)!r}",
            value=name_or_path,
            expected=f"one of {', '.join(shipped_recipes())}, or a .yaml file",
        )
    return path


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of recipes, for editors: of a stage it knows what the installed `TrainingArguments` take.

    Example:
        >>> recipe_schema()["title"]
        'Recipe'
    """
    schema = Recipe.model_json_schema()
    stage = schema["$defs"]["Stage"]
    passed_on: dict[str, Any] = {field.name: {} for field in fields(TrainingArguments) if field.name not in OWN}
    stage |= {"properties": passed_on | dict.fromkeys(FORMER, {}) | stage["properties"], "additionalProperties": False}
    return schema


def plain_data(path: Path, what: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, with overrides.

    Args:
        path: The file.
        what: What messages call it.
        overrides: As for `load_recipe`.

    Raises:
        InputError: If it is not YAML or no mapping, or an override leads nowhere.
    """
    try:
        data = plain_yaml.load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{what} {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{what} {path} must be a mapping with a `name`; see the shipped ones.")
    for override in overrides:
        set_value(data, override)
    return data


@checked
def recipe_from(data: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain data, as YAML gives it.

    Raises:
        InputError: If a key is unknown or a value of the wrong type or out of range.
    """
    return Recipe(**{str(key): value for key, value in data.items()})


def set_value(data: Any, override: str) -> None:
    """Set one value in plain data, in place.

    Args:
        data: Mappings and lists.
        override: `dotted.key=value`, the value in YAML.

    Raises:
        InputError: If it is of another form, or leads to no place in the data.
    """
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"Override {override!r} is not of the form key=value, e.g. stages.0.steps=500.")
    try:
        value = plain_yaml.load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Override {override!r}: the value is not YAML; put it in quotes.") from error
    *parents, last = key.split(".")
    for parent in parents:
        data = _child(data, parent, override)
    _child(data, last, override)
    if parents[:1] in (["stages"], ["training"]):
        last = _of_today(data, last)
    data[int(last) if isinstance(data, list) else last] = value


def _of_today(stage: Any, name: str) -> str:
    """The name of a stage's setting; whatever else the stage calls it is taken out."""
    today = FORMER.get(name, name)
    for former in (former for former, other in FORMER.items() if other == today and isinstance(stage, dict)):
        stage.pop(former, None)
    return today


def _child(data: Any, key: str, override: str) -> Any:
    if isinstance(data, list):
        if not key.isdigit() or int(key) >= len(data):
            raise InputError(f"Override {override!r}: there is no item {key}; the list has {len(data)}.")
        return data[int(key)]
    if not isinstance(data, dict):
        raise InputError(f"Override {override!r}: {data!r} has no part {key}.")
    if data.get(key) is None:
        data[key] = {}
    return data[key]

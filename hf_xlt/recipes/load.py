"""Read a recipe from YAML, with overrides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.files.plain_yaml import plain_data, set_value
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import FORMER, OWN, of_today, renamed

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
    data = plain_data(recipe_file(name_or_path), "Recipe")
    if isinstance(stages := data.get("stages"), list):
        data["stages"] = [renamed(stage) if isinstance(stage, dict) else stage for stage in stages]
    for override in overrides:
        set_value(data, of_today(override))
    return recipe_from(data)


def recipe_file(name_or_path: str | Path) -> Path:
    """Where a shipped recipe or one of the user's own is written."""
    path = FOLDER / f"{name_or_path}.yaml" if str(name_or_path) in shipped_recipes() else Path(name_or_path)
    if not path.is_file():
        expected = f"one of {', '.join(shipped_recipes())}, or a .yaml file"
        raise InputError(f"There is no recipe {str(name_or_path)!r}", value=name_or_path, expected=expected)
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


@checked
def recipe_from(data: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain data, as YAML gives it."""
    return Recipe(**{str(key): value for key, value in data.items()})

"""The source checkpoint of a recipe."""

from __future__ import annotations

from hf_xlt.checkpoint import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.recipes.recipe import Recipe


def source_checkpoint(recipe: Recipe) -> Checkpoint:
    """The source, open; its own code runs where the recipe says so.

    Raises:
        InputError: If there is none, or it cannot be opened.
    """
    if recipe.source is None:
        raise InputError(f"{recipe.name} needs a source checkpoint; name one with --source (a Hub id or a folder).")
    return Checkpoint.open(recipe.source, trust_remote_code=recipe.trusts_code)

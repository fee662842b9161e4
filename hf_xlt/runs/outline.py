"""What a run would do, told without doing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hf_xlt.files.folders import check_output
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.effect import check_effect


def outline(recipe: Recipe, output: Path, *, compare: bool = False, overwrite: bool = False) -> Iterator[str]:
    """Lines on what a recipe is made of, its stages, and where it would go.

    Raises:
        InputError: If a part of the recipe has no effect, or the output cannot be written.
    """
    check_effect(recipe, compare=compare)
    check_output(output, overwrite=overwrite, sources=recipe.places)
    yield f"{recipe.name}: {recipe.description}".rstrip(": ")
    yield f"Read: {', '.join(map(str, recipe.places)) or 'nothing'}."
    if recipe.initializer is not None:
        yield f"Rows: {', '.join(f'{name} {value}' for name, value in recipe.initializer.items())}."
    for number, stage in enumerate(recipe.stages, start=1):
        yield f"Stage {number}, {stage.name}: {_told(stage)}."
    yield f"Seeds: {', '.join(map(str, recipe.seeds))}{'; the baselines too' if compare else ''}."
    yield f"{output} is not made: this was a dry run."


def _told(stage: Stage) -> str:
    if stage.combine is not None:
        return f"the lower half of {stage.combine.lower} and the upper half of {stage.combine.upper}"
    objective = "the objective of the model's kind" if stage.objective == "auto" else stage.objective
    size = f"{stage.batch_size * stage.accumulation} × {stage.sequence_length} tokens"
    begun = "" if stage.starts_from is None else f", from {stage.starts_from}"
    return f"{objective}, {stage.steps:,} steps of {size}, learning rate {stage.learning_rate:g}, {stage.trains}{begun}"

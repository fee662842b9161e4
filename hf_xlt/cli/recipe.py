"""Commands about recipes: take one to start from, and see what it will do."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hf_xlt.cli.app import Command, app, console, say
from hf_xlt.cli.effect import check_settings
from hf_xlt.cli.options import Changes, RecipeName

recipes = typer.Typer(name="recipe", help="Recipes: one to start from, and what it will do.", no_args_is_help=True)
app.add_typer(recipes)


@recipes.command(cls=Command)
def show(recipe: RecipeName) -> None:
    """Print a recipe to start from: hf-xlt recipe show clp > mine.yaml."""
    from hf_xlt.recipes.load import recipe_file

    console.print(
        recipe_file(recipe).read_text(encoding="utf-8"), end="", soft_wrap=True, highlight=False, markup=False
    )


@recipes.command(cls=Command)
def check(
    recipe: RecipeName,
    settings: Changes = None,
    compare: Annotated[bool, typer.Option("--compare", help="With the baselines.")] = False,
) -> None:
    """Say what a recipe will do, without doing it: variants, rows, steps, tokens, memory and disk.

    Example: hf-xlt recipe check mine.yaml --set source=google-bert/bert-base-cased --set data.corpus=de.txt.gz
    """
    from hf_xlt.recipes import load_recipe
    from hf_xlt.report.tables import text_table
    from hf_xlt.runs import plan_run

    check_settings(settings)
    plan = plan_run(load_recipe(recipe, settings or []), compare=compare)
    console.print(text_table(plan.table()))
    say(f"Next: hf-xlt run {recipe} --output FOLDER, with the same settings")


@recipes.command(cls=Command)
def schema() -> None:
    """Print the JSON schema of recipes, for an editor that checks YAML while you type."""
    from hf_xlt.recipes import recipe_schema

    console.print(json.dumps(recipe_schema(), indent=2), soft_wrap=True, highlight=False, markup=False)

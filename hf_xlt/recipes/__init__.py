"""Recipes: a transfer as data, and the engine that carries it out."""

from hf_xlt.recipes.engine import run_recipe
from hf_xlt.recipes.load import load_recipe, recipe_from, set_value, shipped_recipes
from hf_xlt.recipes.recipe import Data, NewTokenizer, Recipe
from hf_xlt.recipes.results import Results, Run
from hf_xlt.recipes.stage import Stage

__all__ = [
    "Data",
    "NewTokenizer",
    "Recipe",
    "Results",
    "Run",
    "Stage",
    "load_recipe",
    "recipe_from",
    "run_recipe",
    "set_value",
    "shipped_recipes",
]

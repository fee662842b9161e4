"""Recipes: a transfer as data, checked before work starts."""

from hf_xlt.recipes.recipe import Data, NewTokenizer, Recipe, load_recipe, recipe_from, recipe_schema, shipped_recipes
from hf_xlt.recipes.stage import Stage

__all__ = ["Data", "NewTokenizer", "Recipe", "Stage", "load_recipe", "recipe_from", "recipe_schema", "shipped_recipes"]

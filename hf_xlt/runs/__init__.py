"""Runs: a recipe carried out."""

from hf_xlt.runs.engine import run_recipe
from hf_xlt.runs.results import Results, Run

__all__ = ["Results", "Run", "run_recipe"]

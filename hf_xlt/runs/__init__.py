"""Runs: a recipe carried out."""

from hf_xlt.runs.engine import run_recipe
from hf_xlt.runs.kinds import register_kind
from hf_xlt.runs.plan import RunPlan, check_recipe, plan_run
from hf_xlt.runs.results import Results, Run

__all__ = ["Results", "Run", "RunPlan", "check_recipe", "plan_run", "register_kind", "run_recipe"]

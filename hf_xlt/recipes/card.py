"""The card of a trained model, from what its run measured."""

from __future__ import annotations

from hf_xlt.checkpoint.kind import KINDS
from hf_xlt.evaluation.summary import MethodSummary
from hf_xlt.hub import CardFacts, CorpusFacts, ResultRow, RowCounts
from hf_xlt.initializers import CITATIONS
from hf_xlt.recipes.load import recipe_from
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.results import Results


def card_facts(results: Results, title: str, curves: str | None) -> CardFacts:
    """What the card tells of a run.

    Args:
        results: The run.
        title: What the model is called.
        curves: File name of the picture of learning curves beside the card.
    """
    recipe = recipe_from(results.recipe)
    kept = next(run for run in results.runs if run.curve.method == results.method)
    return CardFacts(
        title=title,
        kind=results.kind,
        auto_class=KINDS[results.kind].auto_class.__name__,
        method=results.method,
        base_model=recipe.source,
        helper=recipe.helper,
        brings_code=recipe.trelm is not None,
        language=recipe.language or (recipe.trelm.languages[1] if recipe.trelm else None),
        license=recipe.license,
        recipe_name=recipe.name,
        recipe_description=recipe.description or None,
        recipe=recipe.to_yaml(),
        command=results.command,
        rows=None if kept.rows is None else RowCounts(**kept.rows),
        corpus=CorpusFacts(**results.corpus),
        results=tuple(result_row(summary) for summary in results.summaries),
        curves=curves,
        continuations=_continuations(results),
        versions=results.versions,
        hardware=results.hardware,
        citation=_citation(recipe),
    )


def _citation(recipe: Recipe) -> str | None:
    """The paper of the model where it is a TreLM, else of the initializer."""
    method = "adversarial" if recipe.trelm else (recipe.initializer or {}).get("method")
    return CITATIONS.get(method) if method else None


def result_row(summary: MethodSummary) -> ResultRow:
    """A line of the card's table."""
    return ResultRow(
        method=summary.method,
        bits_per_byte=summary.bits_per_byte,
        seeds=summary.seeds,
        start_bits_per_byte=summary.start_bits_per_byte,
        loss=summary.loss,
        perplexity=summary.perplexity,
        steps_saved=summary.saved,
    )


def _continuations(results: Results) -> dict[str, dict[str, str]]:
    """Prompt → method → text, of each method's first seed."""
    written: dict[str, dict[str, str]] = {}
    for run in reversed(results.runs):
        for prompt, text in run.continuations.items():
            written.setdefault(prompt, {})[run.curve.method] = text
    return {prompt: {m: texts[m] for m in results.methods if m in texts} for prompt, texts in written.items()}

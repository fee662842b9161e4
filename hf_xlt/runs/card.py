"""The card of a trained model, from what its run measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import KINDS
from hf_xlt.hub.card import CardFacts, CorpusFacts, RowCounts
from hf_xlt.initializers import METHODS
from hf_xlt.initializers.evidence import evidence_facts
from hf_xlt.initializers.health import health, health_tables
from hf_xlt.initializers.registry import initializer_class, unused_evidence
from hf_xlt.recipes.recipe import Recipe, names_in
from hf_xlt.runs.comparison import Variant
from hf_xlt.runs.kinds import Kind
from hf_xlt.runs.results import Results


def card_facts(kind: Kind, results: Results, title: str, pictures: Mapping[str, str]) -> CardFacts:
    """What the card tells of a run; `pictures` are what a picture shows → its file beside the card."""
    recipe, model_kind = kind.recipe, KINDS[results.kind]
    rows = results.kept[0].rows
    return CardFacts(
        title=title,
        kind=results.kind,
        auto_class=kind.saved_as(model_kind).__name__,
        method=results.method,
        base_model=recipe.source,
        helper=recipe.helper,
        brings_code=kind.brings_code,
        languages=kind.languages,
        license=recipe.license,
        license_name=recipe.license_name,
        recipe_name=recipe.name,
        recipe_description=recipe.description or None,
        recipe=recipe.to_yaml(),
        command=results.command,
        rows=None if rows is None else RowCounts(**rows),
        datasets=trained_on(recipe),
        corpus=CorpusFacts(**results.corpus),
        results=kind.result_rows(results),
        scores=tuple(kind.scores(results)),
        retrieval=kind.tables(results),
        pictures=pictures,
        continuations=_continuations(results),
        versions=results.versions,
        hardware=results.hardware,
        citation=initializer_class(kind.cites).citation if kind.cites in METHODS else None,
    )


def trained_on(recipe: Recipe) -> tuple[str, ...]:
    """Names of all text that the recipe trains on: files and Hub datasets."""
    data = recipe.data
    given = (data.corpus, *data.corpora.values(), data.source_corpus, data.parallel, *data.translations.values())
    return tuple(dict.fromkeys(names_in(given)))


def start_facts(kind: Kind, variant: Variant, tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, Any]:
    """What the card tells of the start of the variant that is kept; the health of its rows goes into the folder too.

    Of a new model, which has no transport, there is nothing to tell.
    """
    if variant.transport is None:
        return {}
    found = health(variant.transport, kind.inputs.source, tokenizer, kind.inputs.split.corpus)
    found = replace(found, notices=variant.notices)
    found.save(folder)
    recipe = kind.recipe
    given = {name: getattr(recipe.data, name) for name in ("dictionary", "parallel", "vectors", "source_vectors")}
    given = {"donor": recipe.donor} | given
    method = (recipe.initializer or {}).get("method")
    unused = () if recipe.trelm or method is None else unused_evidence(method, given)
    return {"health": health_tables(found), "evidence": evidence_facts(given, unused)}


def _continuations(results: Results) -> dict[str, dict[str, str]]:
    """Prompt → method → text, of each method's first seed."""
    first = {method: runs[0].continuations for method, runs in results.runs_of.items()}
    prompts = dict.fromkeys(prompt for texts in first.values() for prompt in texts)
    return {prompt: {method: texts[prompt] for method, texts in first.items() if prompt in texts} for prompt in prompts}

"""The card of a trained model, from what its run measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import KINDS
from hf_xlt.evaluation.summary import MethodSummary
from hf_xlt.hub.card import CardTable, EvidenceFacts, Score, public_name
from hf_xlt.hub.push import CardFacts, CorpusFacts, ResultRow, RowCounts
from hf_xlt.initializers import METHODS
from hf_xlt.initializers.evidence import evidence_facts
from hf_xlt.initializers.health import health, health_tables
from hf_xlt.initializers.registry import initializer_class, unused_evidence
from hf_xlt.recipes.load import recipe_from
from hf_xlt.recipes.recipe import Recipe, names_in
from hf_xlt.runs.results import Results, Run
from hf_xlt.runs.source import source_checkpoint
from hf_xlt.runs.trade_off import final_bits, language_tables
from hf_xlt.runs.variants import Method

# Field of a point, its heading, and what it is multiplied by.
WAYS = (("to_source", "to source", 100), ("from_source", "from source", 100))
CLOSENESS = (("cosine", "cosine", 1), ("margin", "margin", 1))


def card_facts(results: Results, title: str, pictures: Mapping[str, str]) -> CardFacts:
    """What the card tells of a run.

    Args:
        results: The run.
        title: What the model is called.
        pictures: What a picture shows → its file beside the card.
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
        brings_code=recipe.trelm is not None or recipe.multilingual is not None,
        languages=_languages(recipe),
        license=recipe.license,
        license_name=recipe.license_name,
        recipe_name=recipe.name,
        recipe_description=recipe.description or None,
        recipe=recipe.to_yaml(),
        command=results.command,
        rows=None if kept.rows is None else RowCounts(**kept.rows),
        datasets=trained_on(recipe),
        corpus=CorpusFacts(**results.corpus),
        results=result_rows(recipe, results),
        scores=(*_language_scores(recipe, results), *_retrieval_scores(recipe, results)),
        retrieval=(*language_tables(results), *retrieval_tables(results)),
        pictures=pictures,
        continuations=_continuations(results),
        versions=results.versions,
        hardware=results.hardware,
        citation=_citation(recipe),
    )


def trained_on(recipe: Recipe) -> tuple[str, ...]:
    """Names of all text that the recipe trains on: files and Hub datasets."""
    data = recipe.data
    given = (data.corpus, *data.corpora.values(), data.source_corpus, data.parallel, *data.translations.values())
    return tuple(dict.fromkeys(names_in(given)))


def _language_scores(recipe: Recipe, results: Results) -> Iterator[Score]:
    """Of a model of many languages, the quality in each after training, a mean over seeds."""
    if not recipe.data.corpora or not all(run.languages for run in _kept(results)):
        return
    bits = list(map(final_bits, _kept(results)))
    for language in bits[0]:
        place = recipe.data.held_out_corpora.get(language, recipe.data.corpora[language])
        mean = fmean(found[language] for found in bits)
        yield Score("fill-mask", "bits_per_byte", mean, f"Held-out bits per byte ({language})", place)


def _retrieval_scores(recipe: Recipe, results: Results) -> Iterator[Score]:
    """How many held-out translations find each other after training, both ways, a mean over seeds."""
    found = [run.retrieval[-1] for run in _kept(results) if run.retrieval]
    place = ", ".join(map(public_name, names_in((recipe.data.parallel, *recipe.data.translations.values()))))
    if not found or not place:
        return
    ways = (
        ("src2trg_accuracy", "from_source", "Source to target"),
        ("trg2src_accuracy", "to_source", "Target to source"),
    )
    for metric, way, name in ways:
        mean = fmean(getattr(point, way) for point in found)
        yield Score("translation", metric, mean, f"{name} accuracy of nearest sentences", place)


def _kept(results: Results) -> list[Run]:
    """The runs of the method whose model is kept."""
    return [run for run in results.runs if run.curve.method == results.method]


def start_facts(recipe: Recipe, kept: Method, tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, Any]:
    """What the card tells of the start of the method that is kept; the health of its rows goes into the folder too.

    Args:
        recipe: The recipe.
        kept: The method; of a new model, which has no transport, there is nothing to tell.
        tokenizer: The target tokenizer.
        folder: The model's folder.
    """
    if kept.transport is None or recipe.source is None:
        return {}
    found = health(kept.transport, source_checkpoint(recipe), tokenizer, recipe.data.split().corpus)
    found = replace(found, notices=kept.notices)
    found.save(folder)
    return {"health": health_tables(found), "evidence": _evidence(recipe)}


def _evidence(recipe: Recipe) -> tuple[EvidenceFacts, ...]:
    """The recipe's files that its initializer used."""
    data = recipe.data
    given = {"donor": recipe.donor, "dictionary": data.dictionary, "parallel": data.parallel, "vectors": data.vectors,
             "source_vectors": data.source_vectors}  # fmt: skip
    method = (recipe.initializer or {}).get("method")
    return evidence_facts(given, () if recipe.trelm or method is None else unused_evidence(method, given))


def _languages(recipe: Recipe) -> tuple[str, ...]:
    """What the model is for: all languages it was made of, or the target alone."""
    if recipe.multilingual is not None:
        return tuple(recipe.data.corpora)
    if recipe.trelm is not None:
        return tuple(recipe.trelm.languages)
    return () if recipe.language is None else (recipe.language,)


def _citation(recipe: Recipe) -> str | None:
    """The paper of the model where it is a TreLM, else of the initializer."""
    method = "adversarial" if recipe.trelm and not recipe.separate else (recipe.initializer or {}).get("method")
    return initializer_class(method).citation if method in METHODS else None


def result_rows(recipe: Recipe, results: Results) -> tuple[ResultRow, ...]:
    """The lines of the card's table; none where nothing trained the head that was measured."""
    return () if recipe.only_distils else tuple(map(result_row, results.summaries))


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


def retrieval_tables(results: Results) -> tuple[CardTable, ...]:
    """How well held-out translations find each other, a line a method, averaged over seeds; nothing if not measured."""
    runs = {
        method: [run.retrieval for run in results.runs if run.curve.method == method and run.retrieval]
        for method in results.methods
    }
    found = {method: of_method for method, of_method in runs.items() if of_method}
    if not found:
        return ()
    near = all(point.cosine is not None for of_method in found.values() for run in of_method for point in run)
    columns = (*WAYS, *CLOSENESS) if near else WAYS
    header = ["method", *(cell for _, name, _ in columns for cell in (f"{name}, start", "end"))]
    lines = tuple(
        (
            method,
            *(
                f"{scale * fmean(getattr(run[at], field) for run in of_method):.{1 if scale > 1 else 3}f}"
                for field, _, scale in columns
                for at in (0, -1)
            ),
        )
        for method, of_method in found.items()
    )
    title = "Held-out translations that are each other's nearest sentence, in per cent"
    by = "" if results.pooling is None else f"; sentence vectors by {results.pooling}"
    return (CardTable(title + by, tuple(header), lines),)


def _continuations(results: Results) -> dict[str, dict[str, str]]:
    """Prompt → method → text, of each method's first seed."""
    written: dict[str, dict[str, str]] = {}
    for run in reversed(results.runs):
        for prompt, text in run.continuations.items():
            written.setdefault(prompt, {})[run.curve.method] = text
    return {prompt: {m: texts[m] for m in results.methods if m in texts} for prompt, texts in written.items()}

"""Models side by side: what each reaches on the tasks, and one page that shows everything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hf_xlt.evaluation.compare import SAMPLES, ComparedResult
from hf_xlt.evaluation.curves import Curve
from hf_xlt.evaluation.results import comparison_table, figure
from hf_xlt.evaluation.structure import Structure
from hf_xlt.hub.card import CardTable, public_names
from hf_xlt.report.page import Picture, Report, Section
from hf_xlt.report.pictures import Bar, bars_svg, heat_map_svg, learning_curves_svg

Neighbors = Mapping[str, Mapping[str, Sequence[tuple[str, float]]]]


def comparison_report(
    compared: Mapping[str, Sequence[ComparedResult]],
    curves: Mapping[str, Sequence[Curve]],
    structures: Sequence[Structure],
    neighbors: Neighbors,
) -> Report:
    """What is known of several models, on one page, which tells no place on this machine.

    Args:
        compared: Task → its models, the first the one to compare with.
        curves: Model → learning curves, of those that were trained by a recipe.
        structures: Models beside another, on translations.
        neighbors: Model → word → nearest tokens.
    """
    asked = [one.result.model for one in next(iter(compared.values()))]
    of_structures = [model for structure in structures for model in (structure.model_a, structure.model_b)]
    names = public_names(list(dict.fromkeys([*asked, *of_structures])))
    models = [names[model] for model in asked]
    sections = [_tasks({task: [_renamed(one, names) for one in found] for task, found in compared.items()})]
    if curves:
        named = {names[model]: found for model, found in curves.items()}
        picture = Picture(learning_curves_svg(named, (), "Held-out bits per byte"), "The lower the better.")
        sections.append(Section("Learning curves", "", (), (picture,)))
    if structures:
        maps = tuple(_heat_map(structure, names) for structure in structures)
        sections.append(Section("Similarity of layers", _CKA, (), maps))
    if neighbors:
        tables = tuple(neighbors_table(names[model], words) for model, words in neighbors.items())
        sections.append(Section("Nearest neighbors", "By cosine of input embeddings.", tables))
    intro = f"{len(models)} models, the first of which the others are compared with: {', '.join(models)}."
    return Report("Models side by side", intro, tuple(sections))


_CKA = (
    "Linear CKA between the layers of two models, on translations: 1 where one layer's vectors are a rotation of the "
    "other's, whatever their scale. Layer 0 is the embeddings."
)


def curves_of(model: str) -> list[Curve]:
    """The learning curves of a model that a recipe made, one a seed.

    None if there is no record beside it, or if the recipe only distils: what its curve measures is a head that nobody
    trained.
    """
    record = Path(model) / "results.json"
    if not record.is_file():
        return []
    results = json.loads(record.read_text(encoding="utf-8"))
    if all(stage["objective"] == "distill" for stage in results["recipe"]["stages"]):
        return []
    curves = [Curve.from_dict(run["curve"]) for run in results["runs"]]
    return [curve for curve in curves if curve.method == results["method"]]


def _tasks(compared: Mapping[str, Sequence[ComparedResult]]) -> Section:
    tables = tuple(comparison_table(task, models) for task, models in compared.items())
    pictures = tuple(
        Picture(_bars(task, models), f"{task}: scores with 95 % intervals of {SAMPLES:,} resampled test sets.")
        for task, models in compared.items()
    )
    return Section("Tasks", "", tables, pictures)


def _bars(task: str, models: Sequence[ComparedResult]) -> str:
    headline = models[0].result.headline
    scale = float(figure(1.0, headline))
    bars = [
        Bar(one.result.model, scale * one.score.value, scale * one.score.low, scale * one.score.high) for one in models
    ]
    return bars_svg(bars, task, headline, ".1f" if scale == 100 else ".3f")


def _renamed(one: ComparedResult, names: Mapping[str, str]) -> ComparedResult:
    return replace(one, result=replace(one.result, model=names[one.result.model]))


def _heat_map(structure: Structure, names: Mapping[str, str]) -> Picture:
    first, second = names[structure.model_a], names[structure.model_b]
    cka = np.array(structure.sentences.cka)
    title = f"{first} × {second}"
    rows, columns = (list(map(str, range(size))) for size in cka.shape)
    pairs = structure.sentences.learned + structure.sentences.tested
    caption = f"Rows: layers of {first}; columns: of {second}; {pairs:,} sentence pairs."
    return Picture(heat_map_svg(cka, columns, rows, title), caption)


def neighbors_table(caption: str, neighbors: Mapping[str, Sequence[tuple[str, float]]]) -> CardTable:
    """Words and what is nearest to them, with their cosines: the nearest first, a line a word.

    Args:
        caption: What was compared.
        neighbors: Word → its neighbors and their cosines, as many as there are.
    """
    most = max(map(len, neighbors.values()), default=0)
    lines = [
        (word, *(f"{near} {cosine:.2f}" for near, cosine in found), *[""] * (most - len(found)))
        for word, found in neighbors.items()
    ]
    return CardTable(caption, ("word", *map(str, range(1, most + 1))), tuple(lines))

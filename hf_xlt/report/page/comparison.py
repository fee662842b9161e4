"""The report of a comparison: tables of scores, learning curves, similarity of layers, neighbours of words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hf_xlt.evaluation.compare import SAMPLES, Compared
from hf_xlt.evaluation.curves import Curve
from hf_xlt.evaluation.structure import Structure
from hf_xlt.evaluation.tables import comparison_table, figure
from hf_xlt.hub.card import public_names
from hf_xlt.report.page.pictures import Bar, bars_svg, heat_map_svg, learning_curves_svg
from hf_xlt.report.page.render import Picture, Report, Section
from hf_xlt.report.page.tables import neighbours_table

Neighbours = Mapping[str, Mapping[str, Sequence[tuple[str, float]]]]


def comparison_report(
    compared: Mapping[str, Sequence[Compared]],
    curves: Mapping[str, Sequence[Curve]],
    structures: Sequence[Structure],
    neighbours: Neighbours,
) -> Report:
    """What is known of several models, on one page, which tells no place on this machine.

    Args:
        compared: Task → its models, the first the one to compare with.
        curves: Model → learning curves, of those that were trained by a recipe.
        structures: Models beside another, on translations.
        neighbours: Model → word → nearest tokens.
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
    if neighbours:
        tables = tuple(neighbours_table(names[model], words) for model, words in neighbours.items())
        sections.append(Section("Nearest neighbours", "By cosine of input embeddings.", tables))
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


def _tasks(compared: Mapping[str, Sequence[Compared]]) -> Section:
    tables = tuple(comparison_table(task, models) for task, models in compared.items())
    pictures = tuple(
        Picture(_bars(task, models), f"{task}: scores with 95 % intervals of {SAMPLES:,} resampled test sets.")
        for task, models in compared.items()
    )
    return Section("Tasks", "", tables, pictures)


def _bars(task: str, models: Sequence[Compared]) -> str:
    headline = models[0].result.headline
    scale = float(figure(1.0, headline))
    bars = [
        Bar(one.result.model, scale * one.score.value, scale * one.score.low, scale * one.score.high) for one in models
    ]
    return bars_svg(bars, task, headline, ".1f" if scale == 100 else ".3f")


def _renamed(one: Compared, names: Mapping[str, str]) -> Compared:
    return replace(one, result=replace(one.result, model=names[one.result.model]))


def _heat_map(structure: Structure, names: Mapping[str, str]) -> Picture:
    first, second = names[structure.model_a], names[structure.model_b]
    cka = np.array(structure.sentences.cka)
    title = f"{first} × {second}"
    rows, columns = (list(map(str, range(size))) for size in cka.shape)
    pairs = structure.sentences.learned + structure.sentences.tested
    caption = f"Rows: layers of {first}; columns: of {second}; {pairs:,} sentence pairs."
    return Picture(heat_map_svg(cka, columns, rows, title), caption)

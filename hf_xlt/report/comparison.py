"""Models side by side: what each reaches on the tasks, and one page that shows everything."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.compare import SAMPLES, ComparedResult, compare_results, comparison_table
from hf_xlt.evaluation.config import EvaluationConfig, ModelSpec
from hf_xlt.evaluation.curves import Curve
from hf_xlt.evaluation.evaluate import DEFAULT, check_data, check_results_folder, evaluate_model
from hf_xlt.evaluation.results import format_score
from hf_xlt.evaluation.retrieval import nearest_tokens
from hf_xlt.evaluation.structure import Structure, structure
from hf_xlt.evaluation.tasks.data import Data
from hf_xlt.evidence.translations import read_parallel
from hf_xlt.hub.card import CardTable, public_names
from hf_xlt.report.page import Picture, Report, Section, check_report, write_report
from hf_xlt.report.pictures import Bar, bars_svg, heat_map_svg, learning_curves_svg
from hf_xlt.trelm import TreLMConfig

PAGE = "report.html"
Neighbors = Mapping[str, Mapping[str, Sequence[tuple[str, float]]]]
"""Model → word → the tokens nearest to it, with their cosines."""

_CKA = (
    "Linear CKA between the layers of two models, on translations: 1 where one layer's vectors are a rotation of the "
    "other's, whatever their scale. Layer 0 is the embeddings."
)


@dataclass(frozen=True)
class Comparison:
    """Several models side by side."""

    results: Mapping[str, Sequence[ComparedResult]]  # task → its models, the first the one to compare with
    # model → learning curves, of those that were trained by a recipe
    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    structures: Sequence[Structure] = ()  # models beside another, on translations
    neighbors: Neighbors = field(default_factory=dict)  # model → word → nearest tokens

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.models)}; {', '.join(self.results)})"[:180]

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    @property
    def models(self) -> list[str]:
        """The names of the models."""
        return [one.result.model for one in next(iter(self.results.values()))]

    def table(self) -> CardTable:
        """A line a model, a column a task: headlines with what they differ by from the first model's."""
        columns = [[one.summary for one in compared] for compared in self.results.values()]
        header = ("model", *(f"{task}, {found[0].result.headline}" for task, found in self.results.items()))
        lines = tuple(zip(self.models, *columns, strict=True))
        return CardTable(f"Scores, and in brackets their differences to those of {self.models[0]}", header, lines)

    def tables(self) -> list[CardTable]:
        """A table a task, with intervals."""
        return [comparison_table(task, compared) for task, compared in self.results.items()]

    def report(self) -> Report:
        """All of it on one page, which tells no place on this machine."""
        of_structures = [model for structure in self.structures for model in (structure.model_a, structure.model_b)]
        names = public_names(list(dict.fromkeys([*self.models, *of_structures])))
        models = [names[model] for model in self.models]
        results = {
            task: [replace(one, result=replace(one.result, model=names[one.result.model])) for one in found]
            for task, found in self.results.items()
        }
        tables = tuple(comparison_table(task, found) for task, found in results.items())
        sections = [Section("Tasks", "", tables, tuple(_bars(task, found) for task, found in results.items()))]
        if self.curves:
            named = {names[model]: found for model, found in self.curves.items()}
            picture = Picture(learning_curves_svg(named, (), "Held-out bits per byte"), "The lower the better.")
            sections.append(Section("Learning curves", "", (), (picture,)))
        if self.structures:
            maps = tuple(_heat_map(structure, names) for structure in self.structures)
            sections.append(Section("Similarity of layers", _CKA, (), maps))
        if self.neighbors:
            near = tuple(neighbors_table(names[model], words) for model, words in self.neighbors.items())
            sections.append(Section("Nearest neighbors", "By cosine of input embeddings.", near))
        intro = f"{len(models)} models, the first of which the others are compared with: {', '.join(models)}."
        return Report("Models side by side", intro, tuple(sections))


@checked
def compare_models(
    models: Sequence[str | Path],
    tasks: Sequence[str],
    data: Data,
    config: EvaluationConfig = DEFAULT,
    output: str | Path | None = None,
    *,
    source: str | None = None,
    languages: tuple[str, str] | None = None,
    parallel: str | Path | None = None,
    words: Sequence[str] = (),
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Comparison:
    """Evaluate models on the same tasks, side by side: scores with intervals and paired differences.

    Args:
        models: Hub ids or folders; the first is what others are compared with.
        tasks: As for `evaluate_model`.
        data: As for `evaluate_model`.
        config: How they are evaluated.
        output: Folder for the results, which are not made again, and for a page `report.html` that shows everything;
            None for neither.
        source: What reads the source language for models with a new vocabulary, see `ModelSpec`.
        languages: Source and target language of the multilingual models among them (TreLM).
        parallel: Translations to compare the models' layers on: between `source`, which reads the first column, and
            each model, which reads the second; without `source` between the first model and the others.
        words: Words whose nearest tokens to show.
        overwrite: Replace the page.
        trust_remote_code: Run code that the checkpoints bring.

    Raises:
        InputError: If there are not two different models, languages are named and none is multilingual, the page is
            there, or as from `evaluate_model`.
    """
    names = [str(model) for model in models]
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(f"Nothing to compare in {', '.join(names)}", value=names, expected="two or more, each once")
    page = None if output is None else Path(output) / PAGE
    if page is not None:
        check_results_folder(page.parent)
        if page.parent.exists():
            check_report(page, overwrite=overwrite)
    check_data(tasks, data)
    multilingual = [
        isinstance(Checkpoint.open(model, trust_remote_code=trust_remote_code).config, TreLMConfig) for model in names
    ]
    if languages and not any(multilingual):
        raise InputError(
            "languages is for multilingual models (TreLM), and none of these is one",
            value=languages,
            hint="Leave languages out.",
        )
    pairs = None if parallel is None else read_parallel(parallel).pairs
    specs = [
        ModelSpec(model, source, languages if own else None, trust_remote_code)
        for model, own in zip(names, multilingual, strict=True)
    ]
    evaluations = [evaluate_model(spec, tasks, data, config, output) for spec in specs]
    compared = {
        task: compare_results(results) for task, results in zip(tasks, zip(*evaluations, strict=True), strict=True)
    }
    structures = []
    if pairs is not None:
        first, others = (source, names) if source else (names[0], names[1:])
        both = pairs if source else [(target, target) for _, target in pairs]
        structures = [structure(first, other, both, words=0, trust_remote_code=trust_remote_code) for other in others]
    neighbors = {model: nearest_tokens(model, words, trust_remote_code=trust_remote_code) for model in names if words}
    curves = {model: found for model in names if (found := curves_of(model))}
    comparison = Comparison(compared, curves, structures, neighbors)
    if page is not None:
        write_report(page, comparison.report(), overwrite=overwrite)
    return comparison


def curves_of(model: str) -> list[Curve]:
    """The learning curves of a model that a recipe made, one a seed.

    Empty if there is no record beside it, or if the recipe only distills: what its curve measures is a head that nobody
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


def _bars(task: str, models: Sequence[ComparedResult]) -> Picture:
    headline = models[0].result.headline
    scale = float(format_score(1.0, headline))
    bars = [
        Bar(one.result.model, scale * one.score.value, scale * one.score.low, scale * one.score.high) for one in models
    ]
    svg = bars_svg(bars, task, headline, ".1f" if scale == 100 else ".3f")
    return Picture(svg, f"{task}: scores with 95 % intervals of {SAMPLES:,} resampled test sets.")


def _heat_map(structure: Structure, names: Mapping[str, str]) -> Picture:
    first, second = names[structure.model_a], names[structure.model_b]
    cka = np.array(structure.sentences.cka)
    title = f"{first} × {second}"
    rows, columns = (list(map(str, range(size))) for size in cka.shape)
    pairs = structure.sentences.learned + structure.sentences.tested
    caption = f"Rows: layers of {first}; columns: of {second}; {pairs:,} sentence pairs."
    return Picture(heat_map_svg(cka, columns, rows, title), caption)


def neighbors_table(caption: str, neighbors: Mapping[str, Sequence[tuple[str, float]]]) -> CardTable:
    """Words and the tokens nearest to them, with their cosines: one line for each word, the nearest first."""
    most = max(map(len, neighbors.values()), default=0)
    lines = [
        (word, *(f"{near} {cosine:.2f}" for near, cosine in found), *[""] * (most - len(found)))
        for word, found in neighbors.items()
    ]
    return CardTable(caption, ("word", *map(str, range(1, most + 1))), tuple(lines))

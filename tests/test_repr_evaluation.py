"""What evaluation, study, report and card give shows itself in a line, and in a notebook as a table."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hf_xlt import CKA, EvaluationConfig, FineTuningConfig, ModelSpec, load_study
from hf_xlt.evaluation.compare import compare_results
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.evaluation.results import Evaluation, SeedResult, TaskResult
from hf_xlt.evaluation.retrieval import Retrieval
from hf_xlt.evaluation.structure import Level, Structure
from hf_xlt.evaluation.structure.structure import Precision
from hf_xlt.evaluation.tasks.registry import task_named, task_names
from hf_xlt.evaluation.tasks.task import Outcome
from hf_xlt.hub.card import CardFacts, CardTable
from hf_xlt.report.comparison import Comparison
from hf_xlt.study import Cell, CellResult, StudyResults

COUNTS = [[float(i % 2), 1.0] for i in range(500)]
RESULT = TaskResult(
    "someone/model", "upos", "accuracy", False, {"data": {"test": "x" * 300}},
    tuple(SeedResult(seed, {"accuracy": 0.5}, COUNTS, {"note": "x" * 300}) for seed in range(3)),
)  # fmt: skip
CURVE = Curve("pooled", 0, tuple(Point(i, 1.0, 1.0, 1.0) for i in range(100)), 1.0)
COMPARISON = Comparison(
    {"upos": compare_results([RESULT, replace(RESULT, model="another/model")])}, {"someone/model": [CURVE]}
)
P = Precision(Retrieval(0.5, 0.5), Retrieval(0.5, 0.5))
GRID = tuple((0.5,) * 25 for _ in range(25))
LEVEL = Level(900, 100, GRID, GRID, {"unaligned": (P,) * 25, "orthogonal": (P,) * 25})
STRUCTURE = Structure("a" * 20, "b" * 20, tuple((i, i) for i in range(25)), LEVEL)
CELL = CellResult(Cell("nothing", "default", "same", 0), {"en": 1.0, "de": 2.0}, STRUCTURE, 0.5, 0.6, 1.0)
STUDY = StudyResults([CELL])


def streamed():
    cka = CKA()
    cka.update(torch.randn(9, 4), torch.randn(9, 5))
    return cka


@pytest.mark.parametrize(
    "shown",
    [
        ModelSpec("someone/model", languages=("en", "de")), FineTuningConfig().probe().quick(), EvaluationConfig(),
        EvaluationConfig(fine_tuning=FineTuningConfig().probe().quick()), RESULT, RESULT.runs[0], Evaluation([RESULT]),
        COMPARISON, COMPARISON.results["upos"][1], COMPARISON.report(), COMPARISON.report().sections[0], CURVE,
        COMPARISON.report().sections[0].pictures[0], COMPARISON.table(), LEVEL, STRUCTURE, CELL, STUDY, streamed(),
        Outcome(np.zeros((10_000, 4))),
        load_study(None, ["corpora.en=x" + "x" * 200, "corpora.de=y", "parallel=z"]),
        CardFacts("someone/" + "m" * 90, "encoder", "AutoModel", "pooled", recipe="a: " + "b" * 500),
        *map(task_named, task_names()),
    ],
    ids=lambda shown: type(shown).__name__,
)  # fmt: skip
def test_a_representation_is_short(shown):
    assert len(repr(shown)) < 200
    assert type(shown).__name__ in repr(shown)


@pytest.mark.parametrize("shown", [Evaluation([RESULT]), COMPARISON, STRUCTURE, STUDY])
def test_a_notebook_shows_a_table(shown):
    html = shown._repr_html_()
    assert html.startswith("<table>")
    assert "<td>" in html


def test_a_table_of_markup_shows_it_as_text():
    html = CardTable("<b>", ("a & b",), (("<script>",),))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html

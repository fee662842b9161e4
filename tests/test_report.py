"""Reports: a row a method in the table, a line a method in the picture."""

import io
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
from rich.console import Console
from rich.table import Table

from hf_xlt.evaluation.curves import Curve, Point, summarize
from hf_xlt.files.printable import one_line
from hf_xlt.hub.card import CardTable
from hf_xlt.report.pictures import (
    COMPUTE,
    METHOD_COLORS,
    STEPS,
    TEXT,
    differ_in,
    learning_curves_svg,
    plot_learning_curves,
)
from hf_xlt.report.tables import results_table, text_table


def curve(method: str, *bits: float, seed: int = 0) -> Curve:
    return Curve(method, seed, tuple(Point(i * 50, bit, 2.0**bit, bit) for i, bit in enumerate(bits)), seconds=1.0)


CURVES = {
    "clp": (curve("clp", 4, 2, 1), curve("clp", 4, 2, 1.5, seed=1)),
    "random rows": (curve("random rows", 6, 4, 3), curve("random rows", 6, 4, 3, seed=1)),
    "from scratch": (curve("from scratch", 7, 6, 2), curve("from scratch", 7, 6, 2, seed=1)),
}
BASELINES = ("random rows", "from scratch")


def printed(table: Table) -> str:
    text = io.StringIO()
    Console(file=text, width=200).print(table)
    return text.getvalue()


def cells(text: str, method: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.strip().startswith(method))
    return re.split(r"\s{2,}", line.strip())


def test_the_table_has_a_row_a_method_and_a_column_a_baseline():
    table = results_table(summarize(CURVES, BASELINES))
    assert table.row_count == 3
    text = printed(table)
    assert cells(text, "clp") == ["clp", "4.000", "1.250 ± 0.250", "2.4", "75%", "50%"]
    assert cells(text, "random rows") == ["random rows", "6.000", "3.000 ± 0.000", "8.0", "not reached"]
    assert text.count("saved vs") == 2


def test_at_equal_compute_the_table_has_other_values_and_no_perplexity():
    costs = {"clp": 2.0, "random rows": 1.0, "from scratch": 4.0}
    curves = {
        method: tuple(replace(run, flops_per_step=costs[method], bytes_per_step=costs[method]) for run in runs)
        for method, runs in CURVES.items()
    }
    text = printed(results_table(summarize(curves, BASELINES, "clp")))
    assert "perplexity" not in text
    assert cells(text, "clp") == ["clp", "4.000", "1.250 ± 0.250", "1.250"]
    assert cells(text, "random rows")[3] == "not reached"
    assert cells(text, "from scratch")[3] == "6.000"


def test_curves_are_drawn_over_what_a_step_reads_or_computes(tmp_path: Path):
    runs = {"a": [replace(curve("a", 4, 2), bytes_per_step=2e4)], "b": [replace(curve("b", 4, 3), bytes_per_step=1e4)]}
    assert differ_in(TEXT, runs)
    assert not differ_in(COMPUTE, runs)
    assert not differ_in(STEPS, runs)
    plot_learning_curves(runs, (), "Learning curves", tmp_path / "curves.svg", TEXT)
    drawn = (tmp_path / "curves.svg").read_text(encoding="utf-8")
    assert "text read in training" in drawn
    assert "MB" in drawn


def test_one_seed_has_no_spread_and_no_baseline_no_column():
    text = printed(results_table(summarize({"clp": CURVES["clp"][:1]})))
    assert "±" not in text
    assert "vs" not in text


@pytest.mark.parametrize("curves", [CURVES, {"clp": CURVES["clp"][:1]}], ids=["compared", "alone"])
def test_the_picture_is_a_png_that_opens(tmp_path: Path, curves):
    path = tmp_path / "learning_curves.png"
    plot_learning_curves(curves, BASELINES, "Learning curves, de", path)
    picture = matplotlib.image.imread(path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert picture.shape[0] > 300
    assert picture.shape[1] > 500
    assert picture[..., :3].std() > 0.01


def test_methods_are_drawn_in_colors_and_baselines_muted(tmp_path: Path):
    paths = [tmp_path / name for name in ("a.png", "b.png")]
    for path, baselines in zip(paths, (BASELINES, ()), strict=True):
        plot_learning_curves(CURVES, baselines, "Learning curves", path)
    assert paths[0].read_bytes() != paths[1].read_bytes()


@pytest.mark.slow
def test_methods_beyond_the_colors_get_lines_of_another_style(tmp_path: Path):
    curves = {f"method {i}": [curve(f"method {i}", 4, 3 - i / 10)] for i in range(len(METHOD_COLORS) + 1)}
    few = dict(list(curves.items())[:-1])
    for drawn, dashed in ((few, False), (curves, True)):
        plot_learning_curves(drawn, (), "Learning curves", tmp_path / "curves.svg")
        assert ("stroke-dasharray" in (tmp_path / "curves.svg").read_text(encoding="utf-8")) == dashed
        assert ("stroke-dasharray" in learning_curves_svg(drawn, (), "Learning curves")) == dashed


HOSTILE = ("[red]x[/red]", "[/]", "\x1b[31mx", "a\u202eb", "a\nb\rc", ":smile:", "$x^$", "_x", "\ud800")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_markup_or_a_command_for_the_terminal(text):
    shown = one_line(text)
    table = CardTable(text, (text, text), ((text, text),))
    for printable in (text_table(table), results_table(summarize({text: (curve(text, 4, 2),)}))):
        out = printed(printable)
        assert shown in out
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", out)


def test_pictures_take_any_label(tmp_path: Path):
    plot_learning_curves({text: (curve(text, 4, 2),) for text in HOSTILE}, (), "$x^$ \ud800", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000

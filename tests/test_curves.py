"""Steps saved are read off learning curves exactly; summaries are means over seeds."""

from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.evaluation.curves import Curve, Point, at_equal_compute, mean_curve, quality_after, steps_saved, summarize
from hf_xlt.evaluation.language_model import Quality

values = st.floats(0.1, 9.0)


def curve(method, *bits, seed=0, every=100):
    points = tuple(Point(i * every, bit + 1, bit + 2, bit) for i, bit in enumerate(bits))
    return Curve(method, seed, points, seconds=1.0)


BASELINE = [curve("base", 8, 6, 5, 4.5, 4)]


@pytest.mark.parametrize(
    ("bits", "saved"),
    [
        ((8, 6, 5, 4.5, 4), 0.0),
        ((8, 4, 3, 3, 3), 0.75),
        ((5, 3, 2, 2, 2), 1 - 50 / 400),
        ((6, 5, 3.5, 3, 3), 1 - (100 + 100 * 2 / 3) / 400),
        ((4, 3, 3, 3, 3), 1.0),
        ((3, 3, 3, 3, 3), 1.0),
        ((8, 7, 6, 5, 4.01), None),
        ((8, float("nan"), float("nan"), float("nan"), float("nan")), None),
    ],
)
def test_steps_saved_is_where_the_line_crosses_the_final_value_of_the_baseline(bits, saved):
    assert steps_saved([curve("ours", *bits)], BASELINE) == (None if saved is None else pytest.approx(saved))


def test_the_first_crossing_counts():
    assert steps_saved([curve("ours", 6, 4, 5, 6, 3)], BASELINE) == pytest.approx(0.75)


def test_steps_saved_is_read_off_means_over_seeds():
    ours = [curve("ours", 8, 5, 3, 3, 3), curve("ours", 8, 3, 3, 3, 3, seed=1)]
    assert steps_saved(ours, BASELINE) == pytest.approx(0.75)


@given(st.lists(values, min_size=2, max_size=8), st.lists(values, min_size=2, max_size=8), st.floats(0, 3))
def test_a_curve_that_lies_lower_never_saves_less(bits, baseline, drop):
    higher = steps_saved([curve("a", *bits)], [curve("base", *baseline)])
    lower = steps_saved([curve("b", *(bit - drop for bit in bits))], [curve("base", *baseline)])
    if higher is not None:
        assert lower is not None
        assert lower >= higher - 1e-9


def test_the_mean_curve_is_the_mean_at_every_step():
    assert mean_curve([curve("a", 4, 2), curve("a", 2, 1, seed=1)]) == ((0, 3.0), (100, 1.5))


def test_curves_measured_at_different_steps_have_no_mean():
    with pytest.raises(ValueError, match="different steps"):
        mean_curve([curve("a", 4, 2), curve("a", 4, 2, every=50)])


@pytest.mark.parametrize(("step", "value"), [(0, 8), (50, 7), (350, 4.25), (400, 4), (400.5, None)])
def test_quality_between_measured_steps_lies_on_the_line(step, value):
    assert quality_after(BASELINE, step) == value


def test_at_equal_compute_a_curve_is_read_where_its_steps_cost_what_the_own_method_spent():
    costs = {"ours": 30.0, "dear": 40.0, "cheap": 20.0}
    curves = {name: [replace(curve(name, 8, 6, 5), flops_per_step=cost)] for name, cost in costs.items()}
    assert at_equal_compute(curves, "ours") == {"ours": 5, "dear": 5.5, "cheap": None}
    assert [row.equal_compute_bits_per_byte for row in summarize(curves, own="ours")] == [5, 5.5, None]


def test_there_is_no_equal_compute_where_steps_cost_the_same_or_nobody_knows():
    same = {name: [replace(curve(name, 8, 6), flops_per_step=2.0)] for name in ("a", "b")}
    assert at_equal_compute(same, "a") == {}
    assert at_equal_compute(same | {"old": [curve("old", 8, 6)]}, "a") == {}


def test_no_steps_are_saved_against_steps_that_read_more_text():
    curves = {"ours": [replace(curve("ours", 6, 4, 3), bytes_per_step=9.0)], "base": BASELINE}
    assert summarize(curves, baselines=("base",))[0].steps_saved == {}


def test_a_curve_comes_back_from_plain_data():
    whole = curve("a", 4, 2, seed=3)
    assert Curve.from_dict(asdict(whole)) == whole
    assert whole.final == Point(100, 3, 4, 2)
    assert Point.at(7, Quality(1.0, 2.0, 3.0)) == Point(7, 1.0, 2.0, 3.0)


class TestSummary:
    def test_it_gives_means_and_spread_over_seeds_and_steps_saved_against_each_baseline(self):
        curves = {
            "ours": [curve("ours", 6, 4, 3, 3, 2), curve("ours", 8, 4, 4, 4, 4, seed=1)],
            "base": BASELINE,
            "worse": [curve("worse", 9, 9, 9, 9, 9)],
        }
        ours, base, worse = summarize(curves, baselines=("base", "worse", "absent"))
        assert (ours.method, ours.seeds) == ("ours", 2)
        assert (ours.start_bits_per_byte, ours.bits_per_byte, ours.spread) == (7, 3, 1)
        assert (ours.loss, ours.perplexity) == (4, 5)
        assert ours.steps_saved == {"base": pytest.approx(0.75), "worse": 1.0}
        assert base.steps_saved == {"worse": 1.0}
        assert base.spread == 0.0
        assert worse.steps_saved == {"base": None}

    def test_without_baselines_nothing_is_saved(self):
        assert [summary.steps_saved for summary in summarize({"base": BASELINE})] == [{}]

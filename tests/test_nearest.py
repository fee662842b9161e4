"""The nearest keys are the same whether they are screened in half precision or not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.geometry import nearest
from hf_xlt.geometry.nearest import Nearest
from hf_xlt.geometry.similarity import unit_rows


def vectors(rows, width=24, seed=0):
    return unit_rows(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)))


@pytest.fixture(params=[True, False], ids=["screened", "plain"])
def screening(request, monkeypatch):
    monkeypatch.setattr(nearest, "_halves_are_faster", lambda device: request.param)
    monkeypatch.setattr(nearest, "_LEAST_SAVING", 2)
    monkeypatch.setattr(nearest, "_GROUP", 2)
    monkeypatch.setattr(nearest, "_SCORED_AT_ONCE", 7)
    return request.param


def assert_nearest(queries, keys, k):
    cosines, places = Nearest(keys, k).find(queries)
    exact = queries.double() @ keys.double().T
    expected = exact.topk(min(k, len(keys)), dim=1).values
    torch.testing.assert_close(cosines.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(exact.gather(1, places), expected, rtol=0, atol=1e-6)
    assert all(len(row.unique()) == len(row) for row in places)


@pytest.mark.parametrize("k", [1, 5, 40])
def test_cosines_are_the_largest_and_places_theirs(screening, k):
    assert (Nearest(vectors(900), k)._screen is not None) is screening
    assert_nearest(vectors(50, seed=1), vectors(900), k)


@pytest.mark.usefixtures("screening")
@settings(max_examples=20)
@given(st.integers(0, 30), st.integers(1, 300), st.integers(1, 20), st.integers(0, 1000))
def test_any_number_of_queries_and_keys_will_do(queries, keys, k, seed):
    assert_nearest(vectors(queries, seed=seed), vectors(keys, seed=seed + 1), k)


def test_keys_too_close_for_half_precision_are_told_apart(screening):
    """Hundreds of keys within its rounding of each other: no screening can be sure, all cosines are computed."""
    keys = unit_rows(vectors(1, seed=3) + 1e-3 * vectors(600))
    found = Nearest(keys, 5)
    if screening:
        assert not found._by_screening(vectors(1, seed=3), found._screen)[2].any()
    assert_nearest(unit_rows(vectors(4, seed=4) * 0.1 + vectors(1, seed=3)), keys, 5)


def test_keys_that_all_point_away_are_found_all_the_same(screening):
    """Screening puts negative cosines in a wrong order: it is never sure of them."""
    keys, queries = unit_rows(vectors(600).abs()), unit_rows(-vectors(4, seed=5).abs())
    found = Nearest(keys, 5)
    if screening:
        assert not found._by_screening(queries, found._screen)[2].any()
    assert_nearest(queries, keys, 5)


def test_few_keys_are_not_screened(monkeypatch):
    monkeypatch.setattr(nearest, "_halves_are_faster", lambda device: True)
    assert Nearest(vectors(959), 10)._screen is None
    assert Nearest(vectors(960), 10)._screen is not None


@settings(max_examples=40)
@given(st.integers(0, 6), st.integers(1, 8), st.integers(0, 300), st.integers(0, 1000))
def test_the_largest_of_groups_are_the_largest(rows, k, more, seed):
    scores = vectors(rows, 16 * k + more, seed).abs().bfloat16()
    largest, columns = nearest._largest(scores, k)
    assert torch.equal(largest, scores.topk(k, dim=1).values)
    assert torch.equal(scores.gather(1, columns), largest)
    assert all(len(row.unique()) == k for row in columns)

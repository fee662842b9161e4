"""Similarity mixtures agree with plain dense computation, whatever the blocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry import similarity
from hf_xlt.geometry.similarity import sparsemax, sparsemax_of_largest, top_k_softmax, unit_rows
from hf_xlt.transport import mixture
from hf_xlt.transport.mixture import SparseMixture

# A busy machine must not fail a property for being slow.
PROPERTY = settings(deadline=None, max_examples=40)
SIZE = 500


def vectors(rows: int, width: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def ids(count: int) -> Tensor:
    return torch.randperm(SIZE, generator=torch.Generator().manual_seed(1))[:count]


def dense(mixed: SparseMixture) -> Tensor:
    table = torch.zeros(mixed.n_rows, mixed.source_size, dtype=torch.float64)
    for row in range(mixed.n_rows):
        columns, weights = mixed.weights(row)
        table[row].index_add_(0, columns, weights.double())
    return table


def scattered(weights: Tensor, source_ids: Tensor) -> Tensor:
    table = torch.zeros(len(weights), SIZE, dtype=torch.float64)
    table[:, source_ids] = weights
    return table


def cosines(queries: Tensor, keys: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(queries.double()[:, None], keys.double()[None], dim=2)


def plain_sparsemax(scores: Tensor) -> Tensor:
    """By bisection on the threshold, from the definition alone."""
    low, high = scores.max(1, keepdim=True).values - 1, scores.max(1, keepdim=True).values
    for _ in range(80):
        middle = (low + high) / 2
        heavy = (scores - middle).clamp(min=0).sum(1, keepdim=True) > 1
        low, high = torch.where(heavy, middle, low), torch.where(heavy, high, middle)
    return (scores - low).clamp(min=0)


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(mixture, "_BLOCK_BYTES", 4 * 300 * 7)


@pytest.mark.usefixtures("blocks")
def test_top_k_softmax_is_the_softmax_of_the_largest_cosines():
    queries, keys, source_ids = vectors(40), vectors(300, seed=2), ids(300)
    scores = cosines(queries, keys)
    kept = scores >= scores.topk(10, dim=1).values[:, -1:]
    expected = (scores / 0.2).masked_fill(~kept, -torch.inf).softmax(1)
    mixed = top_k_softmax(queries, keys, source_ids, SIZE, k=10, temperature=0.2)
    torch.testing.assert_close(dense(mixed), scattered(expected, source_ids), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("first_candidates", [1, 3, 256])
def test_sparsemax_is_exact_however_many_candidates_it_starts_with(monkeypatch, first_candidates):
    monkeypatch.setattr(similarity, "_FIRST_CANDIDATES", first_candidates)
    queries, keys, source_ids = vectors(40), vectors(300, seed=2), ids(300)
    expected = plain_sparsemax(cosines(queries, keys))
    assert (expected > 0).sum(1).max() > 3
    mixed = sparsemax(queries, keys, source_ids, SIZE)
    torch.testing.assert_close(dense(mixed), scattered(expected, source_ids), rtol=0, atol=1e-6)


def test_sparsemax_of_equal_keys_weighs_all_of_them_alike(monkeypatch):
    monkeypatch.setattr(similarity, "_FIRST_CANDIDATES", 2)
    mixed = sparsemax(torch.ones(1, 3), torch.ones(50, 3), torch.arange(50), 50)
    torch.testing.assert_close(dense(mixed), torch.full((1, 50), 1 / 50, dtype=torch.float64))


@PROPERTY
@given(arrays("float64", (4, 9), elements=st.floats(-3, 3, width=32)))
def test_sparsemax_of_all_scores_is_the_projection_on_the_simplex(scores):
    scores = torch.from_numpy(scores)
    weights, _ = sparsemax_of_largest(scores.sort(1, descending=True).values)
    expected = plain_sparsemax(scores).sort(1, descending=True).values
    torch.testing.assert_close(weights.double(), expected, rtol=0, atol=1e-6)


@PROPERTY
@given(arrays("float64", (4, 9), elements=st.floats(-1, 1, width=32)), st.integers(1, 9))
def test_closed_rows_need_no_further_score(scores, k):
    scores = torch.from_numpy(scores).sort(1, descending=True).values
    some, closed = sparsemax_of_largest(scores[:, :k])
    everything, _ = sparsemax_of_largest(scores)
    torch.testing.assert_close(some[closed], everything[closed, :k])
    assert not everything[closed, k:].any()


@pytest.mark.parametrize("mix", [sparsemax, top_k_softmax])
@PROPERTY
@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 1000))
def test_weights_are_positive_and_sum_to_one(mix, n, o, seed):
    mixed = mix(vectors(n, seed=seed), vectors(o, seed=seed + 1), ids(o), SIZE)
    assert (mixed.values > 0).all()
    torch.testing.assert_close(dense(mixed).sum(1), torch.ones(n, dtype=torch.float64), rtol=0, atol=1e-5)


@PROPERTY
@given(st.integers(1, 40), st.integers(1, 40))
def test_top_k_rows_have_k_entries_or_all_keys(k, o):
    mixed = top_k_softmax(vectors(5), vectors(o, seed=2), ids(o), SIZE, k=k)
    assert mixed.crow.diff().tolist() == [min(k, o)] * 5


def test_a_low_temperature_leaves_the_nearest_key_alone():
    queries, keys, source_ids = vectors(20), vectors(100, seed=2), ids(100)
    mixed = top_k_softmax(queries, keys, source_ids, SIZE, k=5, temperature=1e-4)
    assert torch.equal(dense(mixed).argmax(1), source_ids[cosines(queries, keys).argmax(1)])
    assert (dense(mixed).max(1).values > 0.99).float().mean() > 0.9


@pytest.mark.parametrize("mix", [sparsemax, top_k_softmax])
def test_zero_queries_have_no_evidence_and_zero_keys_no_weight(mix):
    queries, keys = vectors(6), -vectors(6)
    queries[[1, 4]] = 0
    keys[2] = 0
    mixed = mix(queries, keys, torch.arange(6), 6)
    assert mixed.finite.tolist() == [True, False, True, True, False, True]
    assert 2 not in mixed.col
    assert not mix(queries, torch.zeros(3, 12), torch.arange(3), 6).finite.any()


@pytest.mark.parametrize("mix", [sparsemax, top_k_softmax])
def test_lengths_and_dtype_of_the_vectors_do_not_matter(mix):
    queries, keys, source_ids = vectors(8), vectors(50, seed=2), ids(50)
    mixed = mix(queries, keys, source_ids, SIZE)
    scaled = mix(queries.double() * 7, keys.double() * torch.arange(1, 51)[:, None], source_ids, SIZE)
    torch.testing.assert_close(dense(mixed), dense(scaled), rtol=0, atol=1e-5)


def test_unit_rows_have_length_one_and_leave_their_input_alone():
    rows = vectors(5)
    rows[3] = 0
    before = rows.clone()
    assert unit_rows(rows).norm(dim=1).tolist() == pytest.approx([1, 1, 1, 0, 1])
    assert torch.equal(rows, before)


def test_no_query_makes_no_row():
    assert sparsemax(vectors(0), vectors(3), ids(3), SIZE).n_rows == 0


def test_refuses_what_it_cannot_weigh():
    args = (vectors(2), vectors(3), ids(3), SIZE)
    with pytest.raises(InputError, match="k is 0; expected a whole number from 1"):
        top_k_softmax(*args, k=0)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match=f"temperature is {temperature}; expected a finite number > 0"):
            top_k_softmax(*args, temperature=temperature)
    broken = vectors(3)
    broken[1, 2] = torch.nan
    with pytest.raises(InputError, match="Row 1 of the source vectors holds NaN"):
        sparsemax(vectors(2), broken, ids(3), SIZE)
    with pytest.raises(InputError, match="Row 1 of the target vectors holds NaN"):
        top_k_softmax(broken, vectors(2), ids(2), SIZE)

"""Every kind of mixture agrees with its dense definition in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.files.tensors import dataclass_of, tensors_of
from hf_xlt.transport import mixture
from hf_xlt.transport.mixture import (
    MIXTURES,
    ClippedMixture,
    FactoredMixture,
    Mixture,
    ProjectedMixture,
    SparseMixture,
)

# A busy machine must not fail a property for being slow.
PROPERTY = settings(deadline=None, max_examples=40)
SOURCE, ROWS, WIDTH, SHARED = 60, 23, 9, 37


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def helper(rows: int, seed: int) -> Tensor:
    """Unit rows with a direction in common, as embedding tables have."""
    return torch.nn.functional.normalize(randn(rows, 7, seed=seed) + 1.5)


def shared_ids() -> Tensor:
    return torch.randperm(SOURCE, generator=torch.Generator().manual_seed(5))[:SHARED]


def sparse() -> SparseMixture:
    lengths = torch.tensor([0, 1, 5, 0, 3] + [4] * (ROWS - 5))
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    col = torch.randint(0, SOURCE, (int(crow[-1]),), generator=torch.Generator().manual_seed(3))
    return SparseMixture(crow, col, randn(len(col), seed=4), SOURCE)


def factored() -> FactoredMixture:
    return FactoredMixture(helper(ROWS, 1), helper(SHARED, 2), shared_ids())


def clipped() -> ClippedMixture:
    return ClippedMixture(randn(ROWS, 7, seed=1), randn(SHARED, 7, seed=2), shared_ids())


def projected() -> ProjectedMixture:
    return ProjectedMixture(randn(ROWS, 5, seed=1), randn(5, WIDTH, seed=2))


KINDS = pytest.mark.parametrize("make", [sparse, factored, clipped, projected])
OF_SOURCES = pytest.mark.parametrize("make", [sparse, factored, clipped])


def dense(mixed: Mixture) -> Tensor:
    """The weights `(n, V_s)` in float64, each from its definition."""
    weights = torch.zeros(mixed.n_rows, SOURCE, dtype=torch.float64)
    match mixed:
        case SparseMixture():
            rows = torch.repeat_interleave(torch.arange(mixed.n_rows), mixed.crow.diff())
            weights.index_put_((rows, mixed.col), mixed.values.double(), accumulate=True)
        case FactoredMixture() | ClippedMixture():
            products = mixed.left.double() @ mixed.right.double().T
            if isinstance(mixed, ClippedMixture):
                products = products.clamp(min=0)
            weights[:, mixed.source_ids] = products / products.sum(1, keepdim=True)
    return weights


def expected(mixed: Mixture, matrix: Tensor) -> Tensor:
    if isinstance(mixed, ProjectedMixture):
        return mixed.vectors.double() @ mixed.map.double()
    return dense(mixed) @ matrix.double()


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(mixture, "_BLOCK_BYTES", 4 * SHARED * 5)
        monkeypatch.setattr(mixture, "_BLOCK_ROWS", 8)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@KINDS
def test_apply_is_the_dense_product(make, dtype):
    matrix = randn(SOURCE, WIDTH).to(dtype)
    mixed = make().apply(matrix)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed.double(), expected(make(), matrix), rtol=1e-4, atol=1e-5)


@KINDS
def test_apply_takes_non_contiguous_and_padded_matrices_and_leaves_them_alone(make):
    matrix = randn(2 * WIDTH, SOURCE + 9).T[:, ::2]
    before = matrix.clone()
    torch.testing.assert_close(make().apply(matrix).double(), expected(make(), matrix[:SOURCE]), rtol=1e-4, atol=1e-5)
    assert torch.equal(matrix, before)


@OF_SOURCES
def test_a_bias_is_one_more_column(make):
    matrix = randn(SOURCE, WIDTH + 1)
    alone = make().apply(matrix[:, -1:])
    torch.testing.assert_close(alone, make().apply(matrix)[:, -1:], rtol=1e-4, atol=1e-5)


@OF_SOURCES
def test_weights_of_a_row_reproduce_it(make):
    mixed, matrix = make(), randn(SOURCE, WIDTH)
    for row in range(ROWS):
        ids, weights = mixed.weights(row)
        torch.testing.assert_close(weights @ matrix[ids], mixed.apply(matrix)[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [FactoredMixture, ClippedMixture])
@PROPERTY
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_weights_sum_to_one(kind, n, o, seed):
    mixed = kind(helper(n, seed), helper(o, seed + 1), torch.arange(o))
    sums = mixed.apply(torch.ones(o, 1)).squeeze(1)
    cancelled = o / (mixed.left @ mixed.right.T).clamp(min=mixed.lowest).sum(1).abs()
    assert ((sums - 1).abs() <= 1e-6 * cancelled)[mixed.finite].all()
    assert not sums[~mixed.finite].any()


@pytest.mark.parametrize("scale", [0.01, 100])
def test_the_length_of_a_target_vector_cancels_out(scale):
    matrix = randn(SOURCE, WIDTH)
    for kind in (FactoredMixture, ClippedMixture):
        left, right = helper(ROWS, 1), helper(SHARED, 2)
        scaled = kind(left * scale, right, shared_ids()).apply(matrix)
        torch.testing.assert_close(scaled, kind(left, right, shared_ids()).apply(matrix), rtol=1e-3, atol=1e-4)


def test_the_closed_form_stays_within_1e_5_of_float64():
    def rows(count: int, seed: int) -> Tensor:
        return torch.nn.functional.normalize(randn(count, 64, seed=seed) + 0.3)

    mixed = FactoredMixture(rows(300, 1), rows(5000, 2), torch.arange(5000))
    matrix = randn(5000, 48)
    products = mixed.left.double() @ mixed.right.double().T
    exact = products @ matrix.double() / products.sum(1, keepdim=True)
    relative = (mixed.apply(matrix) - exact).norm(dim=1) / exact.norm(dim=1)
    assert relative.max() < 1e-5


@pytest.mark.parametrize("width", [1, 16, 300])
@pytest.mark.parametrize("kind", [FactoredMixture, ClippedMixture])
def test_rows_are_the_same_on_one_thread_and_on_many(kind, width):
    mixed = kind(randn(500, width, seed=1).abs(), randn(5000, width, seed=2).abs(), torch.arange(5000))
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            made.append(mixed.apply(randn(5000, 16)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


@pytest.mark.parametrize("kind", [FactoredMixture, ClippedMixture])
def test_zero_rows_have_no_evidence(kind):
    left = helper(ROWS, 1)
    left[[0, 7]] = 0
    mixed = kind(left, helper(SHARED, 2), shared_ids())
    assert (~mixed.finite).nonzero().squeeze(1).tolist() == [0, 7]
    assert not mixed.apply(randn(SOURCE, WIDTH))[[0, 7]].any()
    assert len(mixed.weights(7)[0]) == len(mixed.weights(7)[1]) == 0


def test_cosines_that_cancel_out_are_no_evidence():
    right = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.1]])
    left = torch.tensor([[1.0, 0.0], [1.0, 1e-9], [1.0, 1.0], [0.0, 1.0]])
    mixed = FactoredMixture(left, right, torch.arange(3))
    assert mixed.finite.tolist() == [False, False, False, True]
    assert mixed.apply(torch.ones(3, 1)).squeeze(1).tolist() == pytest.approx([0, 0, 0, 1])


@PROPERTY
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_a_factored_row_is_never_louder_than_a_copied_one(n, o, seed):
    mixed = FactoredMixture(helper(n, seed), helper(o, seed + 1), torch.arange(o))
    products = mixed.left.double() @ mixed.right.double().T
    lengths = (products / products.sum(1, keepdim=True)).norm(dim=1)
    assert (lengths[mixed.finite] < 1 + 1e-4).all()
    assert (lengths[~mixed.finite] > 1 - 1e-4).all()


def test_a_row_without_a_positive_cosine_is_not_clipped_into_one():
    mixed = ClippedMixture(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), torch.zeros(1).long())
    assert mixed.finite.tolist() == [True, False]
    assert mixed.apply(torch.full((1, 1), 3.0)).squeeze(1).tolist() == [3, 0]


def test_empty_sparse_rows_have_no_evidence():
    assert (~sparse().finite).nonzero().squeeze(1).tolist() == [0, 3]
    assert not sparse().apply(randn(SOURCE, WIDTH))[[0, 3]].any()


def test_a_projected_row_names_no_source_rows():
    assert [len(part) for part in projected().weights(0)] == [0, 0]
    vectors = randn(3, 5)
    vectors[1] = 0
    assert ProjectedMixture(vectors, randn(5, 2)).finite.tolist() == [True, False, True]


@KINDS
def test_a_mixture_comes_back_from_its_tensors(make):
    mixed, matrix = make(), randn(SOURCE, WIDTH)
    again = dataclass_of(MIXTURES[mixed.kind], tensors_of(mixed))
    assert torch.equal(again.apply(matrix), mixed.apply(matrix))
    assert (type(again), again.source_size) == (type(mixed), mixed.source_size)


@pytest.mark.parametrize("block", [1, 4 * WIDTH * 7])
def test_a_table_in_half_precision_is_read_a_block_at_a_time(monkeypatch, block):
    crow, draw = torch.tensor([0, 0, 3, 3, 20, 24, 30]), torch.Generator().manual_seed(0)
    col = torch.cat([torch.randperm(SOURCE, generator=draw)[:n] for n in crow.diff()])
    mixed = SparseMixture(crow, col, torch.rand(30, generator=draw), SOURCE)
    matrix, read = randn(SOURCE, WIDTH).bfloat16(), []

    whole = torch.nn.functional.embedding_bag

    def embedding_bag(ids, table, *args, **options):
        read.append(len(table))
        return whole(ids, table, *args, **options)

    monkeypatch.setattr(mixture, "_BLOCK_BYTES", block)
    monkeypatch.setattr(mixture.F, "embedding_bag", embedding_bag)
    found = mixed.rows_of(matrix)(slice(0, 6))
    monkeypatch.undo()
    assert max(read) <= max(1, block // (4 * WIDTH)) + 17  # the longest row, which is read whole
    torch.testing.assert_close(found.double(), expected(mixed, matrix), rtol=1e-4, atol=1e-5)


@KINDS
def test_a_mixture_of_no_rows_is_empty(make):
    full = make()
    parts = tensors_of(full)
    if isinstance(full, SparseMixture):
        parts |= {"crow": torch.zeros(1, dtype=torch.int64), "col": full.col[:0], "values": full.values[:0]}
    else:
        first = next(iter(parts))
        parts[first] = parts[first][:0]
    empty = dataclass_of(type(full), parts)
    assert empty.apply(randn(SOURCE, WIDTH)).shape == (0, WIDTH)


@OF_SOURCES
@pytest.mark.parametrize("matrix", [torch.zeros(20, 3), torch.zeros(SOURCE), torch.zeros(SOURCE, 3, dtype=torch.int64)])
def test_apply_refuses_what_it_was_not_built_for(make, matrix):
    with pytest.raises(InputError, match="Pass the table the mixture was built for"):
        make().apply(matrix)


def test_a_projection_refuses_another_width():
    with pytest.raises(InputError, match=f"is 4 wide; expected {WIDTH}"):
        projected().apply(randn(SOURCE, 4))


def test_parts_that_do_not_fit_are_refused():
    left, right, ids = helper(4, 1), helper(3, 2), torch.arange(3)
    broken = right.clone()
    broken[0, 0] = torch.nan
    for kind in (FactoredMixture, ClippedMixture):
        with pytest.raises(ValueError, match=r"right is torch.float32 \(3, 7\); expected float32 \(2, 7\)"):
            kind(left, right, ids[:2])
        with pytest.raises(ValueError, match=r"right .* expected float32 \(3, 7\)"):
            kind(left, right[:, :5], ids)
        with pytest.raises(ValueError, match="left is torch.float64"):
            kind(left.double(), right, ids)
        with pytest.raises(ValueError, match="right holds NaN"):
            kind(left, broken, ids)
        with pytest.raises(ValueError, match="source_ids runs from -1 to 1"):
            kind(left, right, ids - 1)
        with pytest.raises(ValueError, match="source_ids is empty"):
            kind(left, right[:0], ids[:0])
    with pytest.raises(ValueError, match=r"map .* expected float32 \(7, any\)"):
        ProjectedMixture(left, randn(6, 2))


@pytest.mark.parametrize(
    ("crow", "col", "values", "match"),
    [
        ([0, 2], [0, 5], [1.0, 1.0], "col runs from 0 to 5; expected ids from 0 and below 5"),
        ([0, 1], [0, 1], [1.0, 1.0], "crow must rise from 0 to the number of entries, 2"),
        ([0, 2, 1, 2], [0, 1], [1.0, 1.0], "crow must rise"),
        ([], [0, 1], [1.0, 1.0], "crow must rise"),
        ([0, 2], [0, 1], [1.0], r"values .* expected float32 \(2\)"),
        ([0, 1], [0], [float("inf")], "values holds NaN or infinity"),
    ],
)
def test_rows_that_are_not_compressed_sparse_rows_are_refused(crow, col, values, match):
    with pytest.raises(ValueError, match=match):
        SparseMixture(torch.tensor(crow, dtype=torch.int64), torch.tensor(col), torch.tensor(values), source_size=5)

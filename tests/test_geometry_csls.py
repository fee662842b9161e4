"""CSLS and Procrustes agree with their dense definitions, whatever the blocks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import orthogonalize
from hf_xlt.geometry.csls import local_means, matches, precision_at_1
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.geometry.space import procrustes
from hf_xlt.transport import mixture

PROPERTY = settings(deadline=None, max_examples=30)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense(queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """CSLS `(n, m)` and both local means, in float64, from all cosines."""
    cosines = queries.double() @ keys.double().T
    of_queries = cosines.topk(min(k, len(keys)), dim=1).values.mean(1)
    of_keys = cosines.topk(min(k, len(queries)), dim=0).values.mean(0)
    return 2 * cosines - of_queries[:, None] - of_keys, of_queries, of_keys


@PROPERTY
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12), st.integers(1, 9), st.integers(0, 999))
def test_blocked_csls_is_the_dense_one(n, m, k, rows_a_block, seed):
    queries, keys = unit_rows(randn(n, 7, seed=seed)), unit_rows(randn(m, 7, seed=seed + 1))
    scores, of_queries, of_keys = dense(queries, keys, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "_BLOCK_BYTES", 4 * m * rows_a_block)
        means, found = local_means(queries, keys, k), matches(queries, keys, k)
    torch.testing.assert_close(means[0].double(), of_queries, rtol=0, atol=1e-6)
    torch.testing.assert_close(means[1].double(), of_keys, rtol=0, atol=1e-6)
    reached = scores.gather(1, found.forward[:, None]).squeeze(1), scores.gather(0, found.backward[None]).squeeze(0)
    torch.testing.assert_close(reached[0], scores.amax(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(reached[1], scores.amax(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.cosines, (queries * keys[found.forward]).sum(1), rtol=0, atol=1e-6)
    assert found.criterion == pytest.approx(float(found.cosines.mean()))


def test_mutual_matches_are_each_others_best():
    queries, keys = unit_rows(randn(50, 6, seed=1)), unit_rows(randn(40, 6, seed=2))
    scores = dense(queries, keys, 10)[0]
    expected = [
        [q, int(key)] for q, key in enumerate(scores.argmax(1)) if int(scores[:, key].argmax()) == q
    ]  # fmt: skip
    assert matches(queries, keys).mutual.tolist() == expected
    assert 0 < len(expected) < 40


def test_a_hub_is_near_everything_and_matches_less_than_by_cosine():
    words = unit_rows(torch.cat([torch.eye(30), torch.ones(30, 1)], dim=1))
    hub = unit_rows(torch.cat([torch.zeros(1, 30), torch.ones(1, 1)], dim=1))
    keys = torch.cat([hub, unit_rows(words + 0.3 * randn(30, 31, seed=3))])
    by_cosine = (words @ keys.T).argmax(1)
    by_csls = matches(words, keys).forward
    truth = torch.arange(1, 31)
    assert (by_csls == truth).sum() > (by_cosine == truth).sum()
    assert (by_csls == 0).sum() < (by_cosine == 0).sum()


def test_precision_counts_a_query_once_and_takes_any_of_its_translations():
    found = torch.tensor([4, 7, 9])
    pairs = torch.tensor([[0, 3], [0, 4], [1, 1], [2, 9], [2, 8]])
    assert precision_at_1(found, pairs) == pytest.approx(2 / 3)


@PROPERTY
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 999))
def test_procrustes_is_scipys(pairs, width, seed):
    rows, images = randn(pairs + width, width, seed=seed), randn(pairs + width, width, seed=seed + 1)
    scipy = pytest.importorskip("scipy.linalg")
    expected, _ = scipy.orthogonal_procrustes(rows.double().numpy(), images.double().numpy())
    torch.testing.assert_close(procrustes(rows.double(), images.double()), torch.tensor(expected))


@pytest.mark.parametrize(("k", "d"), [(5, 8), (8, 5), (6, 6)])
def test_a_map_between_any_widths_is_orthogonal_and_a_stack_is_mapped_at_once(k, d):
    rows, images = randn(3, 40, k), randn(3, 40, d, seed=1)
    maps = procrustes(rows, images)
    for i, map_ in enumerate(maps):
        torch.testing.assert_close(map_, procrustes(rows[i], images[i]))
        gram = map_ @ map_.T if k <= d else map_.T @ map_
        torch.testing.assert_close(gram, torch.eye(min(k, d)), rtol=0, atol=1e-5)


@PROPERTY
@given(st.floats(0.001, 0.5), st.integers(0, 999))
def test_orthogonalisation_keeps_orthogonal_maps_and_pulls_others_there(beta, seed):
    width = 8
    rotation = torch.linalg.qr(randn(width, width, seed=seed))[0]
    torch.testing.assert_close(orthogonalize(rotation, beta), rotation, rtol=0, atol=1e-5)
    disturbed = rotation + 0.02 * randn(width, width, seed=seed + 1)

    def distance(map_: Tensor) -> float:
        return float((map_ @ map_.T - torch.eye(width)).norm())

    assert distance(orthogonalize(disturbed, beta)) < distance(disturbed)


def test_pairs_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"Cannot map rows \(4, 3\) to \(5, 3\)"):
        procrustes(randn(4, 3), randn(5, 3))
    with pytest.raises(InputError, match="at least one pair"):
        procrustes(randn(0, 3), randn(0, 3))

"""Every weighting of cosines: one mixture, whatever the order of tokens and the device."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.files.tensors import tensors_of
from hf_xlt.geometry.matching_pursuit import matching_pursuit
from hf_xlt.geometry.similarity import WEIGHTINGS, Weighting
from hf_xlt.transport.mixture import Mixture

SIZE = 90


def vectors(rows, seed=0, width=6):
    return torch.rand(rows, width, generator=torch.Generator().manual_seed(seed)) + 0.1


def dense(mixture: Mixture) -> torch.Tensor:
    return mixture.apply(torch.eye(SIZE))


@pytest.mark.parametrize("name", WEIGHTINGS)
@settings(max_examples=10)
@given(st.permutations(range(12)), st.permutations(range(40)))
def test_permuting_tokens_permutes_the_weights(name, of_queries, of_keys):
    queries, keys, ids = vectors(12), vectors(40, 1), torch.randperm(SIZE, generator=torch.Generator().manual_seed(2))
    weighting = Weighting(name, k=5)
    whole = dense(weighting.mix(queries, keys, ids[:40], SIZE))
    turned = dense(weighting.mix(queries[of_queries], keys[of_keys], ids[:40][of_keys], SIZE))
    torch.testing.assert_close(turned, whole[of_queries], rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.sum(1), torch.ones(12))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_gpu_gives_the_same_mixture_in_main_memory(name):
    queries, keys, ids = vectors(500), vectors(80, 1), torch.arange(80)
    queries[3], keys[4] = 0, 0
    found = Weighting(name).mix(queries.cuda(), keys.cuda(), ids, SIZE)
    assert {tensor.device.type for tensor in tensors_of(found).values()} == {"cpu"}
    torch.testing.assert_close(dense(found), dense(Weighting(name).mix(queries, keys, ids, SIZE)), rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_pursues_the_same_atoms():
    signals, atoms = vectors(50, width=30), vectors(200, 1, width=30)
    taken, coefficients = matching_pursuit(signals.cuda(), atoms.cuda(), 10)
    expected = matching_pursuit(signals, atoms, 10)
    assert torch.equal(taken.cpu(), expected[0])
    torch.testing.assert_close(coefficients.cpu(), expected[1], rtol=1e-3, atol=1e-3)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(InputError, match="weighting is 'best'; expected one of paper, positive, top-k, sparsemax"):
        Weighting("best")
    with pytest.raises(InputError, match="temperature is 0; expected a finite number"):
        Weighting("top-k", temperature=0)
    assert Weighting("sparsemax", k=0).name == "sparsemax"

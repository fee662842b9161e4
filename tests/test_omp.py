"""Orthogonal matching pursuit: the algorithm against plain least squares, and the rows made by it."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from hf_xlt.errors import InputError
from hf_xlt.geometry.matching_pursuit import matching_pursuit
from hf_xlt.initializers.other_model import OMPInitializer
from hf_xlt.transport import mixture


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain_pursuit(signal, atoms, k):
    """Round by round, with least squares from scratch, in float64."""
    taken, residual = [], signal
    for _ in range(k):
        scores = np.abs(atoms @ residual)
        scores[taken] = -1
        taken.append(int(scores.argmax()))
        coefficients = np.linalg.lstsq(atoms[taken].T, signal, rcond=None)[0]
        residual = signal - atoms[taken].T @ coefficients
    return taken, coefficients


@pytest.fixture(params=["one block", "many blocks"])
def blocks(request, monkeypatch):
    if request.param == "many blocks":
        monkeypatch.setattr(mixture, "_BLOCK_BYTES", 4 * 7 * (200 + 8 * 20))


@pytest.mark.usefixtures("blocks")
def test_atoms_and_coefficients_are_those_of_plain_pursuit():
    signals, atoms = draw(30, 20), draw(200, 20, seed=1)
    taken, coefficients = matching_pursuit(signals, atoms, 8)
    for row in range(30):
        expected = plain_pursuit(signals[row].double().numpy(), atoms.double().numpy(), 8)
        assert taken[row].tolist() == expected[0]
        np.testing.assert_allclose(coefficients[row].numpy(), expected[1], rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 14), st.integers(1, 20), st.integers(0, 1000))
def test_the_residual_is_orthogonal_to_what_was_taken(k, width, count, seed):
    signals, atoms = draw(5, width, seed=seed), draw(count, width, seed=seed + 1)
    taken, coefficients = matching_pursuit(signals, atoms, k)
    assert taken.shape == (5, min(k, width, count))
    assert coefficients.isfinite().all()
    residual = signals - (coefficients[:, :, None] * atoms[taken]).sum(1)
    scale = coefficients.abs().amax(1, keepdim=True) + 1
    assert ((atoms[taken] @ residual[:, :, None]).squeeze(2).abs() / scale < 1e-3).all()
    assert all(len(row.unique()) == len(row) for row in taken)


def test_a_signal_made_of_one_atom_takes_no_second():
    atoms = torch.nn.functional.normalize(draw(50, 16))
    taken, coefficients = matching_pursuit(torch.cat([-3 * atoms[7:8], torch.zeros(1, 16)]), atoms, 5)
    assert taken[0, 0] == 7
    assert coefficients[0].tolist() == pytest.approx([-3, 0, 0, 0, 0])
    assert not coefficients[1].any()


def test_atoms_that_are_there_twice_do_no_harm():
    atoms = draw(6, 12).repeat(2, 1)
    taken, coefficients = matching_pursuit(draw(4, 12, seed=2), atoms, 12)
    rebuilt = (coefficients[:, :, None] * atoms[taken]).sum(1)
    best = torch.linalg.lstsq(atoms[:6].T, draw(4, 12, seed=2).T).solution.T @ atoms[:6]
    torch.testing.assert_close(rebuilt, best, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("k", "count"), [(0, 3), (4, 0)])
def test_pursuit_refuses_no_round_and_no_atom(k, count):
    with pytest.raises(InputError, match=f"k is {k}, with {count} atoms; expected at least 1 of both"):
        matching_pursuit(draw(2, 3), draw(count, 3), k)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("omp")
    english, german = tiny.tokenizer("en", "unigram"), tiny.tokenizer("de", "byte-level-bpe", 500)
    source = tiny.save(tiny.model("llama", english, seed=1), english, folder / "source")
    return source, tiny.save(tiny.model("gpt2", german, seed=2, width=24), german, folder / "donor")


def test_rows_are_made_as_the_donors_are(folders):
    omp = OMPInitializer(*folders, k=5)
    assert omp.label == "OMP (5)"
    overlap, table = omp.overlap(), omp.source.input_rows()
    made, donor = omp.transport().apply(table), omp.model.input_rows().double().numpy()
    assert torch.equal(made[overlap.target_ids], table[overlap.source_ids])
    for token in overlap.missing_ids:
        taken, coefficients = plain_pursuit(donor[token], donor[overlap.target_ids], 5)
        expected = coefficients @ table.double().numpy()[overlap.source_ids[taken]]
        np.testing.assert_allclose(made[token].numpy(), expected, atol=1e-5)
    assert omp.transport().counts.drawn == 0


def test_a_donor_with_the_sources_own_geometry_gives_its_rows_back(folders, tmp_path):
    """Where donor rows are a linear image of what the source's should be, all of them are met exactly."""
    omp = OMPInitializer(*folders)
    wanted = draw(500, 16, seed=5)
    donor = AutoModelForCausalLM.from_pretrained(folders[1])
    with torch.no_grad():
        donor.get_input_embeddings().weight.copy_(wanted @ draw(16, 24, seed=6))
    tiny.save(donor, omp.tokenizer, tmp_path / "donor")
    overlap = omp.overlap()
    table = torch.zeros(600, 16)
    table[overlap.source_ids] = wanted[overlap.target_ids]
    made = OMPInitializer(folders[0], tmp_path / "donor").transport().apply(table)
    torch.testing.assert_close(made[overlap.missing_ids], wanted[overlap.missing_ids], rtol=0, atol=1e-3)


def test_the_built_folder_equals_the_model_in_memory(folders, tmp_path):
    omp = OMPInitializer(*folders, k=4)
    reopened = AutoModelForCausalLM.from_pretrained(omp.build(tmp_path / "out"))
    for name, tensor in omp.build_model().state_dict().items():
        assert torch.equal(reopened.state_dict()[name], tensor), name


def test_what_cannot_be_used_is_refused(folders, tmp_path):
    with pytest.raises(TypeError, match="donor"):
        OMPInitializer(folders[0])
    assert tiny.refusal(OMPInitializer, *folders, k=0).value == 0
    other = tiny.tokenizer("de", "byte-level-bpe", 500)
    small = tiny.save(tiny.model("gpt2", other, rows=450), other, tmp_path / "small")
    with pytest.raises(InputError, match=r"ids up to 499.*450 rows"):
        OMPInitializer(folders[0], small)
    sick = AutoModelForCausalLM.from_pretrained(folders[1])
    with torch.no_grad():
        sick.get_input_embeddings().weight[9, 0] = torch.nan
    tiny.save(sick, other, tmp_path / "sick")
    with pytest.raises(InputError, match=r"NaN or infinity in 1 of 500 rows \(first ids: 9\)"):
        OMPInitializer(folders[0], tmp_path / "sick")

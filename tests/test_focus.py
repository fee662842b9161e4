"""FOCUS: overlap copied, the rest the sparsemax of cosines over the overlap."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import train_vectors
from hf_xlt.initializers.focus import FocusInitializer
from hf_xlt.sample import sentences

FAMILY = {"bert": "wordpiece", "llama": "unigram", "gpt2": "byte-level-bpe"}
AUTO = {"bert": AutoModelForMaskedLM, "llama": AutoModelForCausalLM, "gpt2": AutoModelForCausalLM}


@pytest.fixture(scope="module", params=FAMILY)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def source(kind, tmp_path_factory):
    tok = tiny.tokenizer("en", FAMILY[kind])
    return tiny.save(tiny.model(kind, tok, seed=1), tok, tmp_path_factory.mktemp("focus") / "source")


def german(kind="bert"):
    return tiny.tokenizer("de", FAMILY[kind], 500)


def vectors(tokenizer, seed=0, common=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(tokenizer), 12, generator=generator) + common


def dense_rows(focus, table, given_vectors):
    """The paper's formula, token by token, in float64."""
    overlap = focus.overlap()
    unit = given_vectors.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    rows = table.double().numpy()[overlap.source_ids]
    return np.stack([sparsemax(unit[overlap.target_ids] @ unit[token]) @ rows for token in overlap.missing_ids])


def sparsemax(scores):
    ordered = np.sort(scores)[::-1]
    sums = ordered.cumsum()
    support = np.flatnonzero(ordered * np.arange(1, len(scores) + 1) > sums - 1)[-1]
    return np.maximum(scores - (sums[support] - 1) / (support + 1), 0)


def test_rows_are_those_of_the_paper(source, kind):
    tok = german(kind)
    given_vectors = vectors(tok)
    focus = FocusInitializer(source, tok, vectors=given_vectors)
    table = focus.source.input_rows()
    made = focus.transport().apply(table)
    overlap = focus.overlap()
    assert torch.equal(made[overlap.target_ids], table[overlap.source_ids])
    expected = dense_rows(focus, table, given_vectors)
    np.testing.assert_allclose(made[overlap.missing_ids].numpy(), expected, rtol=0, atol=1e-6)
    assert focus.transport().counts.drawn == 0


def test_the_built_folder_equals_the_model_in_memory(source, kind, tmp_path):
    focus = FocusInitializer(source, german(kind), vectors=vectors(german(kind)))
    reopened = AUTO[kind].from_pretrained(focus.build(tmp_path / "out"))
    for name, tensor in focus.build_model().state_dict().items():
        assert torch.equal(reopened.state_dict()[name], tensor), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert "FOCUS (sparsemax)" in card
    assert "2305.14481" in card


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    tok = tiny.tokenizer("en", "wordpiece")
    return tiny.save(tiny.model("bert", tok, seed=1), tok, tmp_path_factory.mktemp("focus") / "encoder")


@settings(max_examples=8)
@given(st.integers(0, 1000), st.sampled_from(["sparsemax", "top-k", "positive"]))
def test_weights_sum_to_one_and_rows_are_finite(encoder, seed, weighting):
    focus = FocusInitializer(encoder, german(), vectors=vectors(german(), seed, common=0.5), weighting=weighting)
    mixture = focus.transport().mixture
    sums = [float(mixture.weights(row)[1].double().sum()) for row in range(mixture.n_rows)]
    np.testing.assert_allclose(sums, 1, atol=1e-4)
    assert focus.transport().apply(focus.source.input_rows()).isfinite().all()


def test_a_token_takes_the_row_of_the_shared_token_it_equals(encoder):
    given_vectors = vectors(german())
    shared = FocusInitializer(encoder, german(), vectors=given_vectors).overlap()
    missing, twin = int(shared.missing_ids[0]), 20
    given_vectors[missing] = 40 * given_vectors[shared.target_ids[twin]]
    focus = FocusInitializer(encoder, german(), vectors=given_vectors, weighting="top-k", temperature=1e-3)
    table = focus.source.input_rows()
    made = focus.transport().apply(table)
    torch.testing.assert_close(made[missing], table[shared.source_ids[twin]], rtol=0, atol=1e-6)


def test_tokens_without_a_vector_are_drawn_and_mix_into_no_other(encoder):
    given_vectors = vectors(german())
    overlap = FocusInitializer(encoder, german(), vectors=given_vectors).overlap()
    given_vectors[overlap.missing_ids[:7]] = 0
    given_vectors[overlap.target_ids[5]] = 0
    transport = FocusInitializer(encoder, german(), vectors=given_vectors).transport()
    assert transport.counts.drawn == 7
    assert int(overlap.source_ids[5]) not in transport.mixture.col
    assert transport.counts.copied == len(overlap.target_ids)


def test_ignoring_case_copies_more(encoder):
    exact, loose = (
        FocusInitializer(encoder, german(), vectors=vectors(german()), ignore_case=ignore) for ignore in (False, True)
    )
    assert loose.transport().counts.copied > exact.transport().counts.copied


def test_vectors_trained_on_tokenised_text_fit(encoder):
    tok = german()
    text = [tok.convert_ids_to_tokens(ids) for ids in tok(sentences("de", "train"), add_special_tokens=False).input_ids]
    trained = train_vectors(text, 16, epochs=1, least_count=2)
    table, _ = trained.placed(tok.convert_ids_to_tokens(range(len(tok))))
    transport = FocusInitializer(encoder, tok, vectors=table).transport()
    assert transport.counts.mixed > 100


def test_what_cannot_be_used_is_refused(encoder):
    with pytest.raises(TypeError, match="vectors"):
        FocusInitializer(encoder, german())
    few = tiny.refusal(FocusInitializer, encoder, german(), vectors=vectors(german())[:10])
    assert few.expected.startswith("a row for each of the 500 token ids")
    assert "all zero" in str(tiny.refusal(FocusInitializer, encoder, german(), vectors=torch.zeros(500, 3)))
    unshared = torch.zeros(500, 3)
    unshared[FocusInitializer(encoder, german(), vectors=vectors(german())).overlap().missing_ids] = 1
    assert tiny.refusal(FocusInitializer, encoder, german(), vectors=unshared).expected == "some"
    with pytest.raises(InputError, match="weighting is 'best'"):
        FocusInitializer(encoder, german(), vectors=vectors(german()), weighting="best")
    broken = vectors(german())
    broken[FocusInitializer(encoder, german(), vectors=broken).overlap().missing_ids[3], 0] = torch.nan
    with pytest.raises(InputError, match="of vectors holds NaN"):
        FocusInitializer(encoder, german(), vectors=broken).transport()

"""OFA: overlap copied, the rest mixed from the nearest source tokens; embeddings as coordinates times primitives."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_xlt.evidence.vectors import Vectors
from hf_xlt.evidence.vectors.subword import WordAverages
from hf_xlt.initializers.ofa import OFAInitializer
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer
from hf_xlt.transport import Transport
from hf_xlt.transport.transport import factorize

WORDS = tuple(
    sorted({w for language in ("en", "de") for line in sentences(language, "train")[:80] for w in line.split()})
)


def vectors(width=10):
    table = torch.randn(len(WORDS), width, generator=torch.Generator().manual_seed(0))
    return WordAverages(Vectors(WORDS, table), "unweighted")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    tok = tiny.tokenizer("en", "unigram")
    return tiny.save(tiny.model("llama", tok, seed=1), tok, tmp_path_factory.mktemp("ofa") / "source")


def german():
    return tiny.tokenizer("de", "wordpiece", 500)


def approximation(table, rank):
    left, singular, right = np.linalg.svd(table.double().numpy(), full_matrices=False)
    return (left[:, :rank] * singular[:rank]) @ right[:rank]


@settings(max_examples=20)
@given(st.integers(2, 30), st.integers(1, 12), st.integers(1, 12), st.integers(0, 100))
def test_factors_are_those_of_the_svd(rows, width, rank, seed):
    table = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    coordinates, primitives = factorize(table, min(rank, width))
    assert coordinates.shape == (rows, min(rank, width))
    np.testing.assert_allclose((coordinates @ primitives).numpy(), approximation(table, rank), atol=1e-4)
    gram = coordinates.T @ coordinates
    torch.testing.assert_close(gram, torch.diag((gram.diagonal() > 0.5).float()), rtol=0, atol=1e-3)


def test_rows_are_mixed_from_the_nearest_tokens(source):
    ofa = OFAInitializer(source, german(), vectors=vectors())
    assert ofa.label == "OFA"
    table = ofa.source.input_rows().double()
    made = ofa.transport().apply(table)
    assert torch.equal(made[ofa.overlap().target_ids], table[ofa.overlap().source_ids])
    keys = vectors().of_tokens(ofa.source.tokenizer()).double().numpy()
    queries = vectors().of_tokens(german()).double().numpy()
    lengths = np.linalg.norm(keys, axis=1)
    for row, token in enumerate(ofa.overlap().missing_ids):
        if queries[token].any():
            cosines = keys @ queries[token] / np.where(lengths > 0, lengths, np.inf) / np.linalg.norm(queries[token])
            ids, weights = (part.numpy() for part in ofa.transport().mixture.weights(row))
            # Tokens of the same words have the same vector: which of them is taken is open, their cosines are not.
            np.testing.assert_allclose(np.sort(cosines[ids]), np.sort(cosines)[-10:], atol=1e-6)
            expected = np.exp(cosines[ids] / 0.1) / np.exp(cosines[ids] / 0.1).sum()
            np.testing.assert_allclose(made[token].numpy(), expected @ table.numpy()[ids], atol=1e-6)
    counts = ofa.transport().counts
    assert min(counts.copied, counts.mixed, counts.drawn) > 20


@pytest.mark.parametrize("rank", [1, 5, 16])
def test_factorized_rows_are_rows_of_the_best_approximation(source, rank):
    whole, factorized = (OFAInitializer(source, german(), vectors=vectors(), factorized=r) for r in (None, rank))
    assert factorized.label == f"OFA ({rank})"
    table = whole.source.input_rows()
    made = factorized.transport().apply(table)
    assert int(torch.linalg.matrix_rank(made, rtol=1e-4)) == rank
    expected = whole.transport().apply(torch.from_numpy(approximation(table, rank)).float())
    undrawn = ~whole.transport()._drawn
    torch.testing.assert_close(made[undrawn], expected[undrawn], rtol=0, atol=1e-5)
    coordinates, primitives = factorize(table, rank)
    torch.testing.assert_close(made, whole.transport().apply(coordinates) @ primitives, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_bias_is_factorized_without_a_loss(source):
    bias = torch.randn(600)
    whole, factorized = (OFAInitializer(source, german(), vectors=vectors(), factorized=r) for r in (None, 4))
    torch.testing.assert_close(factorized.transport().apply(bias), whole.transport().apply(bias))


def test_dtype_is_kept(source):
    transport = OFAInitializer(source, german(), vectors=vectors(), factorized=4).transport()
    assert transport.apply(torch.randn(600, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.slow
def test_the_built_folder_equals_the_model_in_memory(source, tmp_path):
    ofa = OFAInitializer(source, german(), vectors=vectors(), factorized=6)
    out = ofa.build(tmp_path / "out")
    reopened = AutoModelForCausalLM.from_pretrained(out)
    for name, tensor in ofa.build_model().state_dict().items():
        torch.testing.assert_close(reopened.state_dict()[name], tensor, rtol=0, atol=0)
    assert Transport.load(out / "transport.safetensors").counts == ofa.transport().counts


def test_overlap_is_a_choice(source):
    copied = [
        OFAInitializer(source, german(), vectors=vectors(), overlap=rule).transport().counts.copied
        for rule in ("none", "exact", "ignore-case")
    ]
    assert copied[0] < copied[1] <= copied[2]


def test_what_cannot_be_used_is_refused(source):
    with pytest.raises(TypeError, match="vectors"):
        OFAInitializer(source, german())
    for rank in (0, 17):
        assert (
            "from 1 to 16"
            in tiny.refusal(OFAInitializer, source, german(), vectors=vectors(), factorized=rank).expected
        )
    english = AutoTokenizer.from_pretrained(source)
    more = extend_tokenizer(english, sentences("de", "train"), 20)
    assert tiny.refusal(OFAInitializer, source, more, vectors=vectors(), factorized=4).value == 4
    assert OFAInitializer(source, more, vectors=vectors(), overlap="none").transport().counts.copied == len(english)
    apart = OFAInitializer(source, german(), vectors=vectors(), source_vectors=vectors(3))
    assert tiny.refusal(apart.transport).value == (3, 10)

"""A translation is found if it is the nearest sentence; sentences are the means of their tokens' states."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import retrieval, sentence_vectors
from hf_xlt.sample import sentences


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 1000))
def test_precision_is_that_of_a_plain_dense_computation(n, width, seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(n, width, generator=draw, dtype=torch.float64) for _ in range(2))
    cosines = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=2)
    found = retrieval(a, b)
    assert found.forward == pytest.approx(float((cosines.argmax(1) == torch.arange(n)).double().mean()))
    assert found.backward == pytest.approx(float((cosines.argmax(0) == torch.arange(n)).double().mean()))


def test_lengths_do_not_matter_and_a_shift_misses_all():
    vectors = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    same = retrieval(vectors, vectors * torch.linspace(1, 9, 20)[:, None])
    assert (same.forward, same.backward) == (1, 1)
    assert retrieval(vectors, vectors.roll(1, 0)).forward == 0


@pytest.mark.slow
def test_vectors_are_means_over_tokens_whatever_the_batch():
    tokenizer = tiny.tokenizer("en", "wordpiece")
    model = tiny.model("bert", tokenizer).bert.eval()
    texts = sentences("en", "held_out")[:7]
    together = sentence_vectors(model, tokenizer, texts, batch_size=3)
    assert together.shape == (model.config.num_hidden_layers + 1, 7, model.config.hidden_size)
    for i, text in enumerate(texts):
        states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        for layer, state in enumerate(states):
            torch.testing.assert_close(together[layer, i], state[0].mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shapes", [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((0, 4), (0, 4))])
def test_sides_that_do_not_fit_are_refused(shapes):
    with pytest.raises(InputError, match="expected the same number of sentences"):
        retrieval(*(torch.zeros(shape) for shape in shapes))

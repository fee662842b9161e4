"""Static vectors become rows of the source's space, in a checkpoint that opens."""

import pytest
import tiny
import torch
from transformers import AutoModelForMaskedLM

from hf_xlt import AdversarialInitializer
from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import unit_rows

WIDTH = 16


@pytest.fixture
def english():
    return tiny.tokenizer("en", "wordpiece")


@pytest.fixture
def german():
    return tiny.tokenizer("de", "wordpiece")


@pytest.fixture
def source(english, tmp_path):
    made = tiny.model("bert", english, width=WIDTH)
    with torch.no_grad():
        made.get_input_embeddings().weight.mul_(torch.linspace(3, 0.3, WIDTH))
    return tiny.save(made, english, tmp_path / "source")


@pytest.fixture
def given(source, english, german):
    """Static vectors of German tokens: the rows of some English token each, seen from elsewhere."""
    table = AutoModelForMaskedLM.from_pretrained(source).get_input_embeddings().weight.detach()
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3)))[0]
    counterpart = torch.arange(len(german)) % len(table)
    shared = {german.get_vocab()[t]: i for t, i in english.get_vocab().items() if t in german.get_vocab()}
    for target, source_id in shared.items():
        counterpart[target] = source_id
    order = torch.arange(10, 500)
    return {"vectors": table[counterpart] @ turn, "corpus": order, "source_corpus": order}, counterpart, table


def test_shared_tokens_are_copied_and_others_lie_where_their_vectors_say(source, german, given):
    arguments, counterpart, table = given
    initializer = AdversarialInitializer(source, german, **arguments)
    rows = initializer.build_model().get_input_embeddings().weight.detach()
    overlap = initializer.overlap()
    assert torch.equal(rows[overlap.target_ids], table[overlap.source_ids])
    mapped = torch.from_numpy(overlap.missing_ids)
    likeness = (unit_rows(rows[mapped]) * unit_rows(table[counterpart[mapped]])).sum(1)
    assert likeness.median() > 0.95
    lengths = torch.linalg.vector_norm(rows[mapped], dim=1), torch.linalg.vector_norm(table, dim=1)
    torch.testing.assert_close(lengths[0].mean(), lengths[1].mean(), rtol=0.2, atol=0)


def test_the_built_folder_equals_the_model_in_memory(source, german, given, tmp_path):
    initializer = AdversarialInitializer(source, german, **given[0])
    opened = AutoModelForMaskedLM.from_pretrained(initializer.build(tmp_path / "out"))
    for name, tensor in initializer.build_model().state_dict().items():
        assert torch.equal(opened.state_dict()[name], tensor), name


@pytest.mark.slow
def test_a_token_without_a_vector_is_drawn(source, german, given):
    arguments = given[0]
    missing = AdversarialInitializer(source, german, **arguments).overlap().missing_ids
    arguments["vectors"][missing[:3]] = 0
    counts = AdversarialInitializer(source, german, **arguments).transport().counts
    assert counts.drawn == 3
    assert counts.projected == len(missing) - 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"start": "anywhere"}, "expected one of overlap, similarity, identity"),
        ({"vectors": torch.ones(5, 4)}, "expected a row for each of the 600 token ids"),
        ({"vectors": torch.full((600, WIDTH), torch.nan)}, "holds NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused(source, german, given, changed, message):
    with pytest.raises(InputError, match=message):
        AdversarialInitializer(source, german, **given[0] | changed).transport()

"""The methods that need no evidence but the tokenizers: subtoken means, and the mean of all rows."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from hf_xlt.evidence.vectors.subword import token_texts
from hf_xlt.initializers.baselines import MeanInitializer
from hf_xlt.initializers.subtoken_mean import SubtokenMeanInitializer

FAMILY = {"bert": "wordpiece", "llama": "unigram", "gpt2": "byte-level-bpe"}
AUTO = {"bert": AutoModelForMaskedLM, "llama": AutoModelForCausalLM, "gpt2": AutoModelForCausalLM}
PAIRS = [(source, target) for source in FAMILY for target in FAMILY]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subtoken")
    toks = {kind: tiny.tokenizer("en", family) for kind, family in FAMILY.items()}
    return {kind: tiny.save(tiny.model(kind, tok, seed=1), tok, folder / kind) for kind, tok in toks.items()}


def german(kind):
    return tiny.tokenizer("de", FAMILY[kind], 500)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_pieces_of_a_token_spell_it(folders, source, target):
    made = SubtokenMeanInitializer(folders[source], german(target))
    forms, pieces = made.target_vocabulary.forms, made.source_vocabulary.forms
    mixture, table = made.transport().mixture, made.source.input_rows()
    rows = made.transport().apply(table)
    spelled = 0
    for row, token in enumerate(made.overlap().missing_ids.tolist()):
        ids, weights = mixture.weights(row)
        if not len(ids):
            continue
        assert weights.tolist() == pytest.approx([1 / len(ids)] * len(ids))
        np.testing.assert_allclose(rows[token].numpy(), table[ids].mean(0).numpy(), atol=1e-6)
        text = b"".join(pieces[int(id_)].text for id_ in ids)
        spelled += text == forms[token].text
        if not pieces[int(ids[0])].starts_word:
            continue
        inside = [form for form in pieces.values() if form.text == pieces[int(ids[0])].text and not form.starts_word]
        assert forms[token].starts_word or not inside
    mixed = made.transport().counts.mixed
    assert spelled / mixed > (0.9 if source != "llama" else 0.7)  # unknown letters drop out of the pieces
    texts = token_texts(made.tokenizer)  # none for the halves of characters
    assert mixed > 0.7 * sum(bool(texts[token]) for token in made.overlap().missing_ids.tolist())


def test_a_space_begins_a_word_and_nothing_continues_one(folders):
    made = SubtokenMeanInitializer(folders["gpt2"], german("bert"))
    transport, source = made.transport(), made.source_vocabulary
    for token, starts in (("Katze", True), ("##lich", False)):
        id_ = made.tokenizer.convert_tokens_to_ids(token)
        if id_ == made.tokenizer.unk_token_id or id_ not in made.overlap().missing_ids:
            continue
        ids, _ = transport.mixture.weights(int(np.searchsorted(made.overlap().missing_ids, id_)))
        assert source.forms[int(ids[0])].starts_word is starts


@pytest.mark.parametrize("method", [SubtokenMeanInitializer, MeanInitializer])
@pytest.mark.parametrize("kind", FAMILY)
def test_the_built_folder_equals_the_model_in_memory(folders, kind, method, tmp_path):
    made = method(folders[kind], german(kind))
    reopened = AUTO[kind].from_pretrained(made.build(tmp_path / "out"))
    for name, tensor in made.build_model().state_dict().items():
        assert torch.equal(reopened.state_dict()[name], tensor), name


@pytest.mark.slow
@pytest.mark.parametrize("method", [SubtokenMeanInitializer, MeanInitializer])
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_shared_rows_are_copied_and_all_are_finite(folders, method, seed):
    made = method(folders["gpt2"], german("bert"))
    table = torch.randn(made.transport().source_size, 7, generator=torch.Generator().manual_seed(seed))
    rows, overlap = made.transport().apply(table), made.overlap()
    assert torch.equal(rows[overlap.target_ids], table[overlap.source_ids])
    assert rows.isfinite().all()


@pytest.mark.parametrize("kind", FAMILY)
def test_mean_rows_are_the_mean_of_the_source(folders, kind):
    made = MeanInitializer(folders[kind], german(kind))
    assert made.label == "mean rows"
    table = made.source.input_rows()
    rows = made.transport().apply(table)[made.overlap().missing_ids]
    torch.testing.assert_close(rows, table.mean(0).expand_as(rows), rtol=0, atol=1e-6)
    bias = torch.randn(len(table))
    torch.testing.assert_close(
        made.transport().apply(bias)[made.overlap().missing_ids], bias.mean().expand(len(rows)), rtol=0, atol=1e-6
    )
    assert made.transport().counts.drawn == 0


@pytest.mark.parametrize("method", [SubtokenMeanInitializer, MeanInitializer])
def test_overlap_is_a_choice(folders, method):
    rules = ("none", "exact", "ignore-case")
    copied = [method(folders["bert"], german("bert"), overlap=rule).transport().counts.copied for rule in rules]
    assert copied[0] == 5
    assert copied[0] < copied[1] < copied[2]
    assert tiny.refusal(method, folders["bert"], german("bert"), overlap="loose").value == "loose"


def test_permuting_target_ids_permutes_rows(folders):
    first, second = german("bert"), tiny.tokenizer("de", "wordpiece", 480)
    tables = []
    for tok in (first, second):
        made = SubtokenMeanInitializer(folders["gpt2"], tok, overlap="none")
        rows = made.transport().apply(made.source.input_rows())
        mixed = made.overlap().missing_ids[made.transport().mixture.finite.numpy()]
        tables.append({tok.convert_ids_to_tokens(int(id_)): rows[id_] for id_ in mixed})
    shared = tables[0].keys() & tables[1].keys()
    assert len(shared) > 300
    assert all(torch.equal(tables[0][token], tables[1][token]) for token in shared)

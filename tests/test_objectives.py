"""Objectives: the shares the papers give, special tokens left alone, the same mask for the same key, nothing lost."""

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from hf_xlt.data.objectives import IGNORED, CausalLM, MaskedLM, SpanCorruption, TextInfilling, objective_for
from hf_xlt.data.objectives.denoising import noise_mask
from hf_xlt.data.packing import blocks
from hf_xlt.errors import InputError
from hf_xlt.sample import sentences

BERT = tiny.tokenizer("de", "wordpiece")
BART = tiny.tokenizer("de", "unigram")


def t5(sentinels: int = 20, **roles: str) -> PreTrainedTokenizerFast:
    """A tokenizer with sentinels whose ids fall as their numbers rise, as T5's do, and no mask token."""
    backend = BART.backend_tokenizer.from_str(BART.backend_tokenizer.to_str())
    names = [f"<extra_id_{i}>" for i in reversed(range(sentinels))]
    roles = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"} | roles
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    tokenizer.add_special_tokens({"extra_special_tokens": names})
    return tokenizer


T5 = t5()
OBJECTIVES = [CausalLM(), MaskedLM(BERT), SpanCorruption(T5), TextInfilling(BART)]
ids = st.lists(st.integers(0, 400), min_size=2, max_size=60)
PROPERTY = settings(deadline=None, max_examples=50)
keys = st.tuples(st.integers(0, 99), st.integers(0, 10**6))


def examples(tokenizer, length=64, count=40):
    rows = list(blocks(sentences("de", "train"), tokenizer, length))[:count]
    return [{"input_ids": row, "key": (0, i)} for i, row in enumerate(rows)]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
class TestEveryObjective:
    def test_the_same_key_gives_the_same_batch_in_any_company(self, objective):
        tokenizer = getattr(objective, "tokenizer", BERT)
        batch = examples(tokenizer)
        whole = objective(batch)
        for i in (0, 7):
            alone = objective([batch[i]])
            for name in ("input_ids", "labels"):
                width = alone[name].shape[1]
                assert whole[name][i, :width].equal(alone[name][0])

    def test_the_example_is_left_as_it_was(self, objective):
        example = examples(getattr(objective, "tokenizer", BERT))[0]
        before = example["input_ids"].copy()
        objective([example])
        assert np.array_equal(example["input_ids"], before)


@pytest.mark.parametrize("objective", OBJECTIVES[1:], ids=lambda objective: type(objective).__name__)
def test_another_key_gives_another_mask(objective):
    row = examples(objective.tokenizer)[0]["input_ids"]
    drawn = {objective([{"input_ids": row, "key": (0, i)}])["input_ids"].numpy().tobytes() for i in range(10)}
    assert len(drawn) > 5


def test_causal_labels_are_the_tokens_themselves_but_for_the_first():
    batch = CausalLM()(examples(BERT))
    assert batch["labels"][:, 1:].equal(batch["input_ids"][:, 1:])
    assert (batch["labels"][:, 0] == IGNORED).all()


class TestMaskedLM:
    def test_shares_are_those_of_bert(self):
        batch = examples(BERT, count=400)
        out = MaskedLM(BERT)(batch)
        original = np.stack([example["input_ids"] for example in batch])
        inputs, labels = out["input_ids"].numpy(), out["labels"].numpy()
        target = labels != IGNORED
        ordinary = ~np.isin(original, BERT.all_special_ids)
        assert target.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.005)
        masked = inputs[target] == BERT.mask_token_id
        kept = inputs[target] == original[target]
        assert masked.mean() == pytest.approx(0.8, abs=0.03)
        assert kept.mean() == pytest.approx(0.1, abs=0.03)

    @given(row=ids, key=keys, share=st.floats(0.01, 1.0))
    @PROPERTY
    def test_only_targets_change_and_special_tokens_neither_vanish_nor_appear(self, row, key, share):
        row = np.array(row)
        out = MaskedLM(BERT, share)([{"input_ids": row, "key": key}])
        inputs, labels = out["input_ids"][0].numpy(), out["labels"][0].numpy()
        target = labels != IGNORED
        special = np.isin(row, BERT.all_special_ids)
        assert not (target & special).any()
        assert np.array_equal(inputs[~target], row[~target])
        assert np.array_equal(labels[target], row[target])
        assert set(inputs[target]) & set(BERT.all_special_ids) <= {BERT.mask_token_id}
        assert target.any() == (~special).any()

    def test_a_tokenizer_without_a_mask_token_is_refused(self):
        with pytest.raises(InputError, match="no mask token"):
            MaskedLM(T5)


class TestSpans:
    @PROPERTY
    @given(st.integers(0, 300), st.floats(0.01, 0.9), st.floats(1, 10), st.integers(1, 40), st.integers(0, 99))
    def test_the_share_holds_and_the_number_of_spans_is_limited(self, length, share, mean_span, most, seed):
        mask = noise_mask(length, share, mean_span, np.random.default_rng(seed), most)
        assert mask.shape == (length,)
        if length < 2:
            assert not mask.any()
            return
        assert mask.sum() == min(max(round(length * share), 1), length - 1)
        assert not mask[0]
        assert 1 <= (np.diff(mask.astype(int)) == 1).sum() <= most

    def test_the_mean_span_is_the_one_asked_for(self):
        mask = noise_mask(1000, 0.15, 3.0, np.random.default_rng(0))
        assert mask.sum() / (np.diff(mask.astype(int)) == 1).sum() == pytest.approx(3.0)


def restored(inputs, labels, tokenizer):
    """The text that T5 inputs and targets stand for: every sentinel replaced by its span."""
    sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(20)]
    spans, current = {}, None
    for token in labels:
        if token in sentinels:
            spans[current := token] = []
        else:
            spans[current].append(token)
    return [part for token in inputs for part in spans.get(token, [token])]


class TestSpanCorruption:
    @given(row=ids, key=keys, share=st.floats(0.05, 0.8), mean_span=st.floats(1, 6))
    @PROPERTY
    def test_inputs_and_targets_together_restore_the_text(self, row, key, share, mean_span):
        row = [i for i in row if i != T5.eos_token_id]
        if len(row) < 2:
            return
        eos = T5.eos_token_id
        out = SpanCorruption(T5, share, mean_span)([{"input_ids": np.array([*row, eos]), "key": key}])
        inputs, labels = out["input_ids"][0].tolist(), out["labels"][0].tolist()
        assert inputs[-1] == labels[-1] == eos
        assert restored(inputs[:-1], labels[:-1], T5) == row

    def test_sentinels_are_used_by_number_and_never_twice(self):
        few = t5(sentinels=3)
        first = [few.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(3)]
        out = SpanCorruption(few, share=0.5, mean_span=1.0)(examples(few))
        for row in (*out["input_ids"].tolist(), *out["labels"].tolist()):
            assert [i for i in row if i in first] == first

    def test_padding_is_masked_in_inputs_and_ignored_in_labels(self):
        rows = [{"input_ids": np.arange(10, 10 + n), "key": (0, n)} for n in (8, 40)]
        out = SpanCorruption(T5)(rows)
        padding = out["attention_mask"] == 0
        assert padding.any()
        assert (out["input_ids"][padding] == T5.pad_token_id).all()
        assert (out["labels"][0] == IGNORED).any()

    def test_tokenizers_without_sentinels_or_ends_are_refused(self):
        with pytest.raises(InputError, match="needs sentinel tokens"):
            SpanCorruption(BART)
        with pytest.raises(InputError, match="pad and eos"):
            SpanCorruption(t5(pad_token=None))


class TestTextInfilling:
    @given(row=ids, key=keys)
    @PROPERTY
    def test_what_remains_of_the_text_stands_in_order_with_a_mask_for_every_gap(self, row, key):
        row = [i for i in row if i != BART.mask_token_id]
        if not row:
            return
        out = TextInfilling(BART)([{"input_ids": np.array(row), "key": key}])
        assert out["labels"][0].tolist() == row
        inputs, mask = out["input_ids"][0].tolist(), BART.mask_token_id
        assert (mask, mask) not in zip(inputs, inputs[1:], strict=False)
        rest = iter(row)
        assert all(token in rest for token in inputs if token != mask)
        special = set(BART.all_special_ids)
        assert [i for i in inputs if i in special - {mask}] == [i for i in row if i in special]

    def test_about_the_share_of_the_paper_is_hidden(self):
        batch = examples(BART)
        out = TextInfilling(BART)(batch)
        kept = ((out["attention_mask"] == 1) & (out["input_ids"] != BART.mask_token_id)).sum()
        assert 1 - kept.item() / out["labels"].numel() == pytest.approx(0.3, abs=0.04)

    def test_tokenizers_without_mask_or_ends_are_refused(self):
        with pytest.raises(InputError, match="needs a mask token"):
            TextInfilling(T5)
        with pytest.raises(InputError, match="pad and eos"):
            TextInfilling(BERT)


class TestObjectiveFor:
    def test_names_give_collators(self):
        assert isinstance(objective_for("clm", T5), CausalLM)
        assert isinstance(objective_for("mlm", BERT), MaskedLM)

    def test_denoising_uses_sentinels_where_there_are_some_and_else_the_mask_token(self):
        assert isinstance(objective_for("denoise", T5), SpanCorruption)
        assert isinstance(objective_for("denoise", t5(mask_token="<mask>")), SpanCorruption)
        assert isinstance(objective_for("denoise", BART), TextInfilling)

    def test_language_codes_are_not_sentinels(self):
        mbart = t5(sentinels=0, mask_token="<mask>", extra_special_tokens=["de_DE", "en_XX"])
        assert isinstance(objective_for("denoise", mbart), TextInfilling)

    def test_what_cannot_be_is_refused(self):
        with pytest.raises(InputError, match="There is no objective 'mln'; expected one of clm, mlm, denoise"):
            objective_for("mln", BERT)
        with pytest.raises(InputError, match="neither"):
            objective_for("denoise", t5(sentinels=0))

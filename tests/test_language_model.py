"""Held-out quality: every token once, bits per byte that do not depend on tokenizer or batch size."""

import math

import numpy as np
import pytest
import tiny
import torch

from hf_xlt.data.objectives import MaskedLM, objective_for
from hf_xlt.data.token_stream import token_stream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import NEW_TOKENS, ValidationSet, continuations, evaluate_checkpoint, measure
from hf_xlt.sample import sentences

LINES = sentences("de", "held_out")[:40]
BYTES = len("\n".join(LINES).encode()) + 1
FAMILIES = ("byte-level-bpe", "unigram", "wordpiece")


def case(kind, family, objective_name, length=24, lines=LINES):
    tokenizer = tiny.tokenizer("de", family)
    objective = objective_for(objective_name, tokenizer)
    return tiny.model(kind, tokenizer), ValidationSet.cut(lines, tokenizer, length, objective), tokenizer, objective


def uniform(model):
    """The model with all weights zero: every token equally likely."""
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_uniform_causal_model_needs_log2_of_the_vocabulary_a_token(family):
    model, held_out, tokenizer, objective = case("llama", family, "clm")
    quality = measure(uniform(model), held_out, tokenizer)
    tokens = sum(len(ids) for ids in token_stream(LINES, tokenizer))
    assert quality.loss == pytest.approx(math.log(len(tokenizer)), rel=1e-6)
    assert quality.perplexity == pytest.approx(len(tokenizer), rel=1e-5)
    assert quality.bits_per_byte == pytest.approx(math.log2(len(tokenizer)) * tokens / BYTES, rel=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_uniform_masked_model_needs_log2_of_the_vocabulary_an_ordinary_token(family):
    model, held_out, tokenizer, objective = case("bert", family, "mlm")
    quality = measure(uniform(model), held_out, tokenizer)
    ids = np.concatenate(list(token_stream(LINES, tokenizer)))
    ordinary = (~np.isin(ids, tokenizer.all_special_ids)).sum()
    assert quality.bits_per_byte == pytest.approx(math.log2(len(tokenizer)) * ordinary / BYTES, rel=1e-6)


@pytest.mark.parametrize("length", [8, 24, 10_000])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_causal_model_is_asked_for_every_token_once(family, length):
    tokenizer = tiny.tokenizer("de", family)
    objective = objective_for("clm", tokenizer)
    held_out = ValidationSet.cut(LINES, tokenizer, length, objective)
    asked = [objective([example])["labels"][0, 1:].tolist() for example in held_out.examples]
    assert sum(asked, []) == np.concatenate(list(token_stream(LINES, tokenizer))).tolist()


@pytest.mark.parametrize("name", ["mlm", "denoise"])
def test_framed_sequences_hold_every_token_once(name):
    tokenizer = tiny.tokenizer("de", "unigram")
    held_out = ValidationSet.cut(LINES, tokenizer, 24, objective_for(name, tokenizer))
    inner = np.concatenate([example["input_ids"][:-1] for example in held_out.examples])
    assert inner.tolist() == np.concatenate(list(token_stream(LINES, tokenizer))).tolist()


def test_the_mask_is_the_same_at_every_measurement():
    model, held_out, tokenizer, _ = case("bert", "wordpiece", "mlm")
    again = ValidationSet.cut(LINES, tokenizer, 24, MaskedLM(tokenizer))
    assert measure(model, held_out, tokenizer) == measure(model, again, tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "family", "name"),
    [("gpt2", "byte-level-bpe", "clm"), ("bert", "wordpiece", "mlm"), ("bart", "unigram", "denoise")],
)
def test_the_batch_size_does_not_matter(kind, family, name):
    *parts, _ = case(kind, family, name)
    one, many = measure(*parts, batch_size=1), measure(*parts, batch_size=7)
    assert one.loss == pytest.approx(many.loss, rel=1e-6)
    assert one.bits_per_byte == pytest.approx(many.bits_per_byte, rel=1e-6)


def test_the_bytes_are_those_of_the_text_however_it_is_cut():
    cuts = [
        ValidationSet.cut(LINES, tokenizer, 24, objective_for("clm", tokenizer))
        for tokenizer in (tiny.tokenizer("de", "unigram"), tiny.tokenizer("de", "byte-level-bpe", 400))
    ]
    assert {cut.text_bytes for cut in cuts} == {BYTES}
    assert cuts[0].text_tokens != cuts[1].text_tokens


def test_a_whole_text_as_target_counts_all_its_bytes():
    model, held_out, tokenizer, objective = case("bart", "unigram", "denoise")
    quality = measure(uniform(model), held_out, tokenizer)
    targets = sum(len(example["input_ids"]) for example in held_out.examples)
    assert quality.bits_per_byte == pytest.approx(math.log2(len(tokenizer)) * targets / BYTES, rel=1e-6)


def test_an_empty_or_unknown_text_is_refused():
    tokenizer = tiny.tokenizer("de", "wordpiece")
    with pytest.raises(InputError, match="validation text is empty"):
        ValidationSet.cut([], tokenizer, 24, MaskedLM(tokenizer))
    with pytest.raises(InputError, match="knows no two tokens"):
        ValidationSet.cut(["漢字"], tokenizer, 24, MaskedLM(tokenizer))


def test_a_saved_checkpoint_is_measured_on_a_file(tmp_path):
    model, held_out, tokenizer, objective = case("gpt2", "byte-level-bpe", "clm")
    folder = tiny.save(model, tokenizer, tmp_path / "model")
    (tmp_path / "a.txt").write_text("\n".join(LINES), encoding="utf-8")
    quality = evaluate_checkpoint(str(folder), str(tmp_path / "a.txt"), length=24)
    assert quality.loss == pytest.approx(measure(model, held_out, tokenizer).loss, rel=1e-6)
    with pytest.raises(InputError, match="is not a file"):
        evaluate_checkpoint(str(folder), str(tmp_path / "b.txt"), length=24)


class TestContinuations:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_decoder_goes_on_after_the_prompt_and_not_after_an_end_of_text(self, family, monkeypatch):
        tokenizer = tiny.tokenizer("de", family)
        model = tiny.model("llama", tokenizer)
        model.train()
        given = []
        generate = model.generate
        monkeypatch.setattr(
            model, "generate", lambda **kwargs: given.append(kwargs["input_ids"][0]) or generate(**kwargs)
        )
        written = continuations(model, tokenizer, ["Das Haus ist"])
        assert given[0][1:].tolist() == tokenizer("Das Haus ist", add_special_tokens=False)["input_ids"]
        assert given[0][0] in tokenizer.all_special_ids
        assert written.keys() == {"Das Haus ist"}
        assert "\n" not in written["Das Haus ist"]
        assert len(tokenizer(written["Das Haus ist"])["input_ids"]) <= 4 * NEW_TOKENS
        assert model.training

    def test_other_models_write_nothing(self):
        tokenizer = tiny.tokenizer("de", "wordpiece")
        assert continuations(tiny.model("bert", tokenizer), tokenizer, ["Das Haus"]) == {}

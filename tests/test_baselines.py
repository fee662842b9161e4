"""Resized rows: those that transformers itself gives new tokens."""

import pytest
import tiny
import torch

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.initializers import initializer
from hf_xlt.tokenizers.extend import extend_tokenizer

NOISE = 1e-3  # of the rows' spread: its standard deviation is 3e-5 of that


def tables(model):
    return [module.weight.detach() for module in (model.get_input_embeddings(), model.get_output_embeddings())]


@pytest.mark.parametrize(
    ("kind", "family"), [("gpt2", "byte-level-bpe"), ("llama", "byte-level-bpe"), ("bert", "wordpiece")]
)
def test_new_rows_are_those_of_resize_token_embeddings_but_for_its_noise(tmp_path, kind, family):
    english = tiny.tokenizer("en", family)
    extended = extend_tokenizer(english, ["Das Wasser ist schön und kalt"] * 20, 5)
    model = tiny.model(kind, english, seed=1)
    source = tiny.save(model, english, tmp_path / "source")
    resized = tables(initializer("resized", source=source, tokenizer=extended).build_model())
    before = tables(model)
    torch.manual_seed(0)
    model.resize_token_embeddings(len(extended), mean_resizing=True)
    for mine, theirs, old in zip(resized, tables(model), before, strict=True):
        assert len(mine) == len(english) + 5
        assert torch.equal(mine[: len(old)], old)
        assert (mine - theirs).abs().max() < NOISE * old.std()


def test_with_another_tokenizer_special_tokens_are_copied_and_all_others_are_one_row(tmp_path):
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    source = tiny.save(tiny.model("bert", english, seed=1), english, tmp_path / "source")
    transport = initializer("resized", source=source, tokenizer=german).transport()
    rows = transport.apply(Checkpoint.open(source).input_rows())
    assert transport.counts.copied == len(german.all_special_ids)
    assert len(rows[transport.mixed_target].unique(dim=0)) == 1

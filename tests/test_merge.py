"""Merging an adapted model with its original, against plain computations on whole state dictionaries."""

import copy
import json

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from hf_xlt import InputError, merge_models
from hf_xlt.merge import slerp
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer

TEMPLATE = "{% for message in messages %}<|turn|>{{ message['content'] }}{% endfor %}"
LAYERS = {"num_hidden_layers": 6}


def chat_tokenizer():
    tok = copy.deepcopy(tiny.tokenizer("en", "byte-level-bpe"))
    tok.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tok.chat_template = TEMPLATE
    return tok


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def models(request, tmp_path_factory):
    """Folders of an adapted model with more tokens, a chat model, and the base of both."""
    folder, tok = tmp_path_factory.mktemp("models"), chat_tokenizer()
    larger = extend_tokenizer(tok, sentences("de", "train"), 50)
    larger.chat_template = None
    shape = {"tie_word_embeddings": request.param, **LAYERS}
    for name, own, seed in (("adapted", larger, 1), ("original", tok, 2), ("base", tok, 3)):
        model = tiny.model("llama", own, seed=seed, **shape)
        if name == "original":
            model.generation_config = GenerationConfig(eos_token_id=[tok.eos_token_id, len(tok) - 1])
        model.save_pretrained(folder / name, max_shard_size="20KB")
        own.save_pretrained(folder / name)
    return folder


def state(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def is_vocabulary(name):
    return "embed_tokens" in name or "lm_head" in name


def test_elchat_interpolates_the_outer_layers_and_no_other(models, tmp_path):
    merged = state(merge_models(models / "adapted", models / "original", tmp_path / "out"))
    adapted, original = state(models / "adapted"), state(models / "original")
    shares = {0: 0.3, 1: 0.5, 4: 0.5, 5: 0.3}
    for name in filter(lambda name: not is_vocabulary(name), merged):
        layer = int(name.split(".")[2]) if ".layers." in name else None
        expected = slerp(adapted[name], original[name], shares[layer]) if layer in shares else adapted[name]
        torch.testing.assert_close(merged[name], expected, msg=name)


def test_a_chat_vector_is_what_chat_training_added(models, tmp_path):
    out = merge_models(
        models / "adapted",
        models / "original",
        tmp_path / "out",
        recipe="chat-vector",
        base=models / "base",
        weight=0.7,
    )
    merged, adapted, original, base = map(state, (out, models / "adapted", models / "original", models / "base"))
    for name in filter(lambda name: not is_vocabulary(name), merged):
        torch.testing.assert_close(merged[name], adapted[name] + 0.7 * (original[name] - base[name]), msg=name)


def test_a_linear_merge_is_a_mean_of_body_and_shared_rows(models, tmp_path):
    merged = state(
        merge_models(models / "adapted", models / "original", tmp_path / "out", recipe="linear", weight=0.25)
    )
    adapted, original = state(models / "adapted"), state(models / "original")
    for name, tensor in merged.items():
        rows = len(original[name])  # an extended vocabulary begins with the original's
        torch.testing.assert_close(tensor[:rows], torch.lerp(adapted[name][:rows], original[name], 0.25), msg=name)
        assert torch.equal(tensor[rows:], adapted[name][rows:])


@pytest.mark.parametrize("recipe", ["elchat", "chat-vector"])
def test_special_tokens_alone_get_the_rows_of_the_original(models, tmp_path, recipe):
    base = models / "base" if recipe == "chat-vector" else None
    merged = state(merge_models(models / "adapted", models / "original", tmp_path / "out", recipe=recipe, base=base))
    adapted, original = state(models / "adapted"), state(models / "original")
    special = AutoTokenizer.from_pretrained(models / "adapted").all_special_ids
    for name in filter(is_vocabulary, merged):
        assert torch.equal(merged[name][special], original[name][special])
        others = [id_ for id_ in range(len(merged[name])) if id_ not in special]
        assert torch.equal(merged[name][others], adapted[name][others])


def test_a_merged_model_talks_and_stops_as_its_original(models, tmp_path):
    out = merge_models(models / "adapted", models / "original", tmp_path / "out")
    tok, original = AutoTokenizer.from_pretrained(out), AutoTokenizer.from_pretrained(models / "original")
    assert tok.get_vocab() == AutoTokenizer.from_pretrained(models / "adapted").get_vocab()
    assert tok.chat_template == TEMPLATE
    stops = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert tok.convert_ids_to_tokens(stops) == original.convert_ids_to_tokens(
        [original.eos_token_id, len(original) - 1]
    )


def test_a_merge_with_oneself_changes_nothing(models, tmp_path):
    merged = state(merge_models(models / "original", models / "original", tmp_path / "out"))
    for name, tensor in state(models / "original").items():
        torch.testing.assert_close(merged[name], tensor)


def test_an_untied_head_meets_a_tied_one(tmp_path):
    tok = chat_tokenizer()
    for name, tied, seed in (("adapted", False, 1), ("original", True, 2)):
        tiny.model("llama", tok, seed=seed, tie_word_embeddings=tied).save_pretrained(tmp_path / name)
        tok.save_pretrained(tmp_path / name)
    merged = state(merge_models(tmp_path / "adapted", tmp_path / "original", tmp_path / "out", recipe="linear"))
    head = state(tmp_path / "adapted")["lm_head.weight"]
    table = state(tmp_path / "original")["model.embed_tokens.weight"]
    torch.testing.assert_close(merged["lm_head.weight"], (head + table) / 2)


def test_slerp_keeps_the_length_of_vectors_of_one_length():
    first, second = torch.eye(8)[:2]
    assert slerp(first, second, 0.3).norm().item() == pytest.approx(1)
    assert torch.equal(slerp(first, second, 0.0), first)
    torch.testing.assert_close(slerp(first, -first, 0.25), 0.5 * first)


def test_what_cannot_be_merged_is_refused_and_nothing_is_written(models, tmp_path):
    adapted, original, out = models / "adapted", models / "original", tmp_path / "out"
    wider = tmp_path / "wider"
    tok = chat_tokenizer()
    tiny.model("llama", tok, width=32, **LAYERS).save_pretrained(wider)
    tok.save_pretrained(wider)
    for arguments in (
        {"recipe": "chat-vector"},
        {"base": models / "base"},
        {"recipe": "linear", "weight": 1.5},
        {"weight": -1.0},
        {"original": wider},
        {"output": adapted},
    ):
        with pytest.raises(InputError):
            merge_models(**{"adapted": adapted, "original": original, "output": out} | arguments)
    assert not out.exists()

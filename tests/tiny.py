"""Tiny tokenizers and models for the tests, made in milliseconds from the embedded corpus."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from hf_xlt.errors import InputError
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer


@cache
def tokenizer(language: str, family: str, vocab_size: int = 600) -> PreTrainedTokenizerFast:
    """A tokenizer trained on the training split of the embedded corpus."""
    return train_tokenizer(sentences(language, "train"), vocab_size, family)


def _ids(tok: PreTrainedTokenizerFast) -> dict[str, int | None]:
    bos = tok.bos_token_id if tok.bos_token_id is not None else tok.cls_token_id
    eos = tok.eos_token_id if tok.eos_token_id is not None else tok.sep_token_id
    return {"pad_token_id": tok.pad_token_id, "bos_token_id": bos, "eos_token_id": eos}


def model(
    kind: str,
    tok: PreTrainedTokenizerFast,
    *,
    rows: int | None = None,
    width: int = 16,
    seed: int = 0,
    **overrides: object,
) -> PreTrainedModel:
    """A randomly initialised two-layer model: bert, roberta, gpt2, llama (untied head), bart or t5."""
    torch.manual_seed(seed)
    vocab_size = rows or len(tok)
    shape = {"hidden_size": width, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    positions = {"max_position_embeddings": 80}
    base = {"vocab_size": vocab_size, **_ids(tok)}
    two = {
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
    }
    match kind:
        case "bert":
            return BertForMaskedLM(BertConfig(**base | shape | positions | overrides)).eval()
        case "roberta":
            return RobertaForMaskedLM(RobertaConfig(**base | shape | positions | overrides)).eval()
        case "gpt2":
            gpt2 = {"n_embd": width, "n_layer": 2, "n_head": 2, "n_positions": 80}
            return GPT2LMHeadModel(GPT2Config(**base | gpt2 | overrides)).eval()
        case "llama":
            untied = {"tie_word_embeddings": False}
            return LlamaForCausalLM(LlamaConfig(**base | shape | positions | untied | overrides)).eval()
        case "bart":
            bart = {"d_model": width, "decoder_start_token_id": base["eos_token_id"], "forced_eos_token_id": None}
            return BartForConditionalGeneration(BartConfig(**base | two | positions | bart | overrides)).eval()
        case "t5":
            t5 = {
                "d_model": width,
                "d_kv": 8,
                "d_ff": 32,
                "num_layers": 2,
                "num_heads": 2,
                "decoder_start_token_id": base["pad_token_id"],
            }
            return T5ForConditionalGeneration(T5Config(**base | t5 | overrides)).eval()
    raise ValueError(kind)


def save(model: PreTrainedModel, tok: PreTrainedTokenizerFast | None, folder: Path, **kwargs: object) -> Path:
    """Write model and tokenizer to `folder` as `save_pretrained` does, and return it."""
    model.save_pretrained(folder, **kwargs)
    if tok is not None:
        tok.save_pretrained(folder)
    return folder


def sentence_folder(folder: Path, *modules: tuple[str, dict], body: str = "", **settings: object) -> Path:
    """Make of a saved encoder what sentence-transformers writes.

    `modules` are kinds and configurations of what follows the transformer, which moves to the folder `body`; settings
    are `max_seq_length` and `do_lower_case`, and those of the whole model, such as `prompts`.
    """
    if body:
        (folder / body).mkdir()
        for file in [path for path in folder.iterdir() if path.is_file()]:
            file.rename(folder / body / file.name)
    reading = {name: settings.pop(name, value) for name, value in (("max_seq_length", 64), ("do_lower_case", False))}
    (folder / body / "sentence_bert_config.json").write_text(json.dumps(reading))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    kinds = [(body, "Transformer"), *((f"{i}_{kind}", kind) for i, (kind, _) in enumerate(modules, 1))]
    listing = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listing))
    for (path, _), (kind, config) in zip(kinds[1:], modules, strict=True):
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(config))
        if kind == "Dense":
            _save_dense(folder / path, config)
    return folder


def add_dense(folder: Path, width: int, output: int, place: int) -> None:
    """Put a Dense module into a sentence-transformers folder, as the module number `place`."""
    listing = json.loads((folder / "modules.json").read_text())
    listing.insert(place, {"path": "Dense", "type": "sentence_transformers.models.Dense"})
    numbered = [module | {"idx": i, "name": str(i)} for i, module in enumerate(listing)]
    (folder / "modules.json").write_text(json.dumps(numbered))
    config = dense(width, output)[1]
    (folder / "Dense").mkdir()
    (folder / "Dense" / "config.json").write_text(json.dumps(config))
    _save_dense(folder / "Dense", config)


def dense(width: int, output: int) -> tuple[str, dict]:
    """A Dense module and its configuration."""
    tanh = "torch.nn.modules.activation.Tanh"
    return "Dense", {"in_features": width, "out_features": output, "bias": True, "activation_function": tanh}


def _save_dense(folder: Path, config: dict) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(config["out_features"], config["in_features"], generator=draw)
    tensors = {"linear.weight": weight, "linear.bias": torch.randn(config["out_features"], generator=draw)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def refusal(function, *args, **kwargs):
    """The `InputError` that a call raises."""
    with pytest.raises(InputError) as refused:
        function(*args, **kwargs)
    return refused.value

"""Stored names that transformers changes on loading, models of text and images or sound, and other heads."""

import json

import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_checkpoint import permuting
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    T5Config,
    T5EncoderModel,
)

from hf_xlt.checkpoint.kind import auto_class_name, has_other_head, kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary
from hf_xlt.errors import InputError

ROWS = 600
TEXT = {
    "vocab_size": ROWS, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 16, "max_position_embeddings": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
IMAGES = {"text_config": {**TEXT, "model_type": "llama"}, "image_token_index": 5}
COMPOSITE = {
    "GPTNeoXForCausalLM": {name: value for name, value in TEXT.items() if name != "num_key_value_heads"},
    "Gemma3ForConditionalGeneration": {
        "text_config": {**TEXT, "head_dim": 8},
        "vision_config": {**VISION, "model_type": "siglip_vision_model"},
        "image_token_index": 5, "boi_token_index": 6, "eoi_token_index": 7, "mm_tokens_per_image": 4,
    },
    "LlavaForConditionalGeneration": {**IMAGES, "vision_config": {**VISION, "model_type": "clip_vision_model"}},
    "Mistral3ForConditionalGeneration": {
        "text_config": {**TEXT, "model_type": "mistral", "head_dim": 8},
        "vision_config": {**VISION, "model_type": "pixtral"},
        "image_token_index": 5,
    },
    "PaliGemmaForConditionalGeneration": {
        "text_config": {**TEXT, "model_type": "gemma", "head_dim": 8},
        "vision_config": {**VISION, "model_type": "siglip_vision_model", "vocab_size": 7},
        "image_token_index": 5, "projection_dim": 16, "hidden_size": 16,
    },
}  # fmt: skip


def build(name, settings):
    torch.manual_seed(0)
    cls = getattr(transformers, name)
    return cls(cls.config_class(**settings)).eval()


@pytest.fixture
def tok():
    return tiny.tokenizer("en", "wordpiece")


@pytest.mark.parametrize("name", COMPOSITE)
def test_a_model_stored_under_published_names_gives_its_own_logits(name, tok, tmp_path):
    model = build(name, COMPOSITE[name])
    source = tiny.save(model, tok, tmp_path / "source")
    transport = permuting(ROWS)
    target = revocabulary(Checkpoint.open(source), transport, tok, tmp_path / "target")
    assert load_file(target / "model.safetensors").keys() == load_file(source / "model.safetensors").keys()
    opened, info = type(model).from_pretrained(target, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    new_ids = torch.tensor([[9, 20, 31, 400]])
    old_ids = transport.copied_source[new_ids]
    with torch.no_grad():
        before, after = model(input_ids=old_ids).logits, opened.eval()(input_ids=new_ids).logits
    assert torch.equal(after, before[..., transport.copied_source])


def test_a_model_of_text_and_images_has_an_auto_class(tok, tmp_path):
    name = "LlavaForConditionalGeneration"
    source = tiny.save(build(name, COMPOSITE[name]), tok, tmp_path / "source")
    assert auto_class_name(Checkpoint.open(source).config) == "AutoModelForMultimodalLM"


def test_old_names_of_layer_norms_are_known(tok, tmp_path):
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    rename(source, ("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    target = revocabulary(Checkpoint.open(source), permuting(ROWS), tok, tmp_path / "target")
    _, info = AutoModelForMaskedLM.from_pretrained(target, output_loading_info=True)
    assert not info["missing_keys"]


@pytest.mark.parametrize("legacy", [False, True])
def test_a_deberta_keeps_the_head_that_is_stored(legacy, tok, tmp_path):
    """The published ones name no class, and leave out which of two heads they have."""
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = DebertaV2Config(vocab_size=ROWS, **shape, relative_attention=True, pos_att_type=["p2c"], legacy=legacy)
    source = tiny.save(DebertaV2ForMaskedLM(config), tok, tmp_path / "source")
    change(source, architectures=None, legacy=None)
    transport = permuting(ROWS)
    target = revocabulary(Checkpoint.open(source), transport, tok, tmp_path / "target")
    opened, info = AutoModelForMaskedLM.from_pretrained(target, output_loading_info=True)
    assert opened.config.legacy is legacy
    assert not info["missing_keys"]
    name = "cls.predictions.bias" if legacy else "lm_predictions.lm_head.bias"
    before, after = (load_file(folder / "model.safetensors")[name] for folder in (source, target))
    assert torch.equal(after, before[transport.copied_source])


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module."])
def test_names_of_a_wrapper_are_refused_as_transformers_would_not_load_them(prefix, tok, tmp_path):
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    rename(source, ("", prefix))
    with pytest.raises(InputError, match="leaves it unread") as refused:
        Checkpoint.open(source)
    assert f"`{prefix}`" in refused.value.hint
    _, info = transformers.AutoModelForCausalLM.from_pretrained(source, output_loading_info=True)
    assert info["missing_keys"]


def test_tables_of_further_predictions_are_refused_with_a_way_out(tok, tmp_path):
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    extra = {"model.layers.9.embed_tokens.weight": tensors["model.embed_tokens.weight"].clone()}
    save_file(tensors | extra, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError) as refused:
        Checkpoint.open(source)
    assert refused.value.value == "model.layers.9.embed_tokens.weight"
    again = transformers.AutoModelForCausalLM.from_pretrained(source)
    again.save_pretrained(source)
    assert Checkpoint.open(source).vocab_size == ROWS


def test_a_quantized_head_is_refused_as_such(tok, tmp_path):
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    del tensors["lm_head.weight"]
    tensors["lm_head.qweight"] = torch.zeros(2, ROWS, dtype=torch.int32)
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lm_head\.qweight") as refused:
        Checkpoint.open(source)
    assert "before quantization" in refused.value.hint


def test_a_class_that_transformers_does_not_have_is_opened_as_its_auto_class_opens_it(tok, tmp_path):
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    change(source, architectures=["MyLlamaForCausalLM"])
    assert set(Checkpoint.open(source).layout.axes) == {"model.embed_tokens.weight", "lm_head.weight"}


# configurations that cannot be built


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", -5), ("vocab_size", 0), ("hidden_size", 0), ("hidden_size", -16), ("num_attention_heads", 0),
        ("num_attention_heads", 5), ("hidden_size", "16"), ("vocab_size", 600.5), ("hidden_size", 10**6),
        ("num_hidden_layers", -1), ("intermediate_size", -1), ("num_attention_heads", None), ("vocab_size", [600]),
        ("hidden_act", "no-such-function"), ("intermediate_size", 64),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_configuration_that_cannot_be_built_is_refused(kind, field, value, tok, tmp_path):
    source = tiny.save(tiny.model(kind, tok), tok, tmp_path / "source")
    change(source, **{field: value})
    with pytest.raises(InputError) as refused:
        Checkpoint.open(source)
    message = str(refused.value)
    assert len(message.splitlines()) == 1
    words = field.removeprefix("num_").replace("_", " ")
    assert any(named in message for named in (field, words, "is stored as", "cannot be built"))


def test_a_checkpoint_without_one_of_its_layers_is_refused(tok, tmp_path):
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    change(source, num_hidden_layers=3)
    with pytest.raises(InputError, match="expected all layers") as refused:
        Checkpoint.open(source)
    assert refused.value.value == "model.layers.2"


def test_a_count_below_one_is_named_in_the_words_of_the_file(tmp_path):
    tok = tiny.tokenizer("en", "byte-level-bpe")
    source = tiny.save(tiny.model("gpt2", tok), tok, tmp_path / "source")
    change(source, n_embd=0)
    with pytest.raises(InputError, match="n_embd is 0") as refused:
        Checkpoint.open(source)
    assert refused.value.expected == "a number from 1"


@pytest.mark.parametrize("content", ["[]", "3", "{", "", "null", '{"model_type": 3}', '{"model_type": null}'])
def test_a_configuration_of_another_form_is_refused(content, tok, tmp_path):
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    (source / "config.json").write_text(content)
    with pytest.raises(InputError):
        Checkpoint.open(source)


# heads

SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize(
    ("model_class", "auto_class", "other"),
    [
        (BertForMaskedLM, "AutoModelForMaskedLM", False),
        (BertForPreTraining, "AutoModelForPreTraining", False),
        (BertModel, "AutoModel", False),
        (BertForSequenceClassification, "AutoModelForSequenceClassification", True),
        (BertForTokenClassification, "AutoModelForTokenClassification", True),
        (BertForQuestionAnswering, "AutoModelForQuestionAnswering", True),
    ],
)
def test_a_model_keeps_its_head_and_opens_as_what_it_was(model_class, auto_class, other, tok, tmp_path):
    source = tiny.save(model_class(BertConfig(vocab_size=ROWS, **SHAPE)), tok, tmp_path / "source")
    target = revocabulary(Checkpoint.open(source), permuting(ROWS), tok, tmp_path / "target")
    config = Checkpoint.open(target).config
    assert (auto_class_name(config), has_other_head(config)) == (auto_class, other)
    opened, info = getattr(transformers, auto_class).from_pretrained(target, output_loading_info=True)
    assert isinstance(opened, model_class)
    assert not info["missing_keys"]


def test_an_encoder_of_two_parts_is_no_language_model(tok, tmp_path):
    model = T5EncoderModel(T5Config(vocab_size=ROWS, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    config = Checkpoint.open(tiny.save(model, tok, tmp_path / "source")).config
    assert has_other_head(config)
    assert auto_class_name(config) == "AutoModelForTextEncoding"
    assert kind_of(config).name == "encoder-decoder"


def change(folder, **settings):
    """Set fields of config.json; None takes one out."""
    path = folder / "config.json"
    merged = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({name: value for name, value in merged.items() if value is not None}))


def rename(folder, *changes):
    """Replace parts of stored names; an empty part is the beginning of all."""
    path = folder / "model.safetensors"
    renamed = {}
    for name, tensor in load_file(path).items():
        for old, new in changes:
            name = name.replace(old, new) if old else new + name
        renamed[name] = tensor
    save_file(renamed, path, {"format": "pt"})

"""A checkpoint in a new vocabulary: the transported tensors follow the transport, every other byte stays."""

import json
import struct

import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    ElectraConfig,
    ElectraForMaskedLM,
    EncoderDecoderConfig,
    EncoderDecoderModel,
)

from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary
from hf_xlt.errors import InputError
from hf_xlt.transport import Transport

FAMILY = {
    "bert": "wordpiece",
    "roberta": "byte-level-bpe",
    "gpt2": "byte-level-bpe",
    "llama": "unigram",
    "bart": "byte-level-bpe",
    "t5": "unigram",
}
KINDS = tuple(FAMILY)
VOCABULARY_PARTS = {  # what each kind stores that follows the vocabulary
    "bert": {"bert.embeddings.word_embeddings.weight", "cls.predictions.bias"},
    "roberta": {"roberta.embeddings.word_embeddings.weight", "lm_head.bias"},
    "gpt2": {"transformer.wte.weight"},
    "llama": {"model.embed_tokens.weight", "lm_head.weight"},
    "bart": {"model.shared.weight", "final_logits_bias"},
    "t5": {"shared.weight"},
}


def copying(source_ids, source_size=None) -> Transport:
    """The transport whose target row i is the source row `source_ids[i]`."""
    source_ids = torch.as_tensor(source_ids)
    size = source_size or int(source_ids.max()) + 1
    target = torch.arange(len(source_ids))
    none = torch.empty(0, dtype=torch.int64)
    names = [str(i) for i in range(max(size, len(target)))]
    return Transport(size, len(target), source_ids, target, none, None, names[:size], names[: len(target)])


def permuting(n) -> Transport:
    return copying(torch.randperm(n, generator=torch.Generator().manual_seed(1)))


def raw(folder):
    """Name → dtype, shape and bytes of every tensor, read without any of our code."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        header.pop("__metadata__")
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            tensors[name] = entry["dtype"], tuple(entry["shape"]), content[8 + length + start : 8 + length + end]
    return tensors


def reopened(folder):
    (architecture,) = AutoConfig.from_pretrained(folder).architectures
    return getattr(transformers, architecture).from_pretrained(folder).eval()


@torch.no_grad()
def logits(model, ids):
    arguments = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    return model(input_ids=ids, **arguments).logits


@pytest.fixture(params=["single file", "shards"])
def max_shard_size(request):
    return {"single file": "1GB", "shards": "20KB"}[request.param]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_are_permuted_as_the_vocabulary_is(kind, max_shard_size, tmp_path):
    tok = tiny.tokenizer("en", FAMILY[kind])
    model = tiny.model(kind, tok)
    for name, parameter in model.named_parameters():  # biases start at zero, which would hide them
        if "bias" in name:
            torch.nn.init.normal_(parameter)
    if kind == "bart":
        model.final_logits_bias.normal_()
    source = tiny.save(model, tok, tmp_path / "source", max_shard_size=max_shard_size)
    transport = permuting(len(tok))
    target = revocabulary(Checkpoint.open(source), transport, tok, tmp_path / "target")
    order = transport.copied_source
    ids = torch.tensor([[i for i in range(20, 60) if order[i] > 10]])  # no special token on either side
    torch.testing.assert_close(
        logits(reopened(target), ids), logits(model, order[ids])[..., order], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_other_tensor_keeps_its_bytes(kind, max_shard_size, tmp_path):
    tok, german = tiny.tokenizer("en", FAMILY[kind]), tiny.tokenizer("de", "wordpiece", 500)
    source = tiny.save(tiny.model(kind, tok), tok, tmp_path / "source", max_shard_size=max_shard_size)
    checkpoint = Checkpoint.open(source)
    german = FittedTokenizer.of(checkpoint, german).tokenizer
    revocabulary(checkpoint, copying(range(len(german)), len(tok)), german, tmp_path / "target")
    before, after = raw(source), raw(tmp_path / "target")
    assert list(before) == list(after)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == VOCABULARY_PARTS[kind] == set(checkpoint.layout.axes)
    for name in changed:
        assert after[name][1] == tuple(len(german) if size == len(tok) else size for size in before[name][1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_keeps_every_byte_of_the_weights(kind, max_shard_size, tmp_path):
    tok = tiny.tokenizer("en", FAMILY[kind])
    source = tiny.save(tiny.model(kind, tok), tok, tmp_path / "source", max_shard_size=max_shard_size)
    target = revocabulary(Checkpoint.open(source), copying(range(len(tok))), tok, tmp_path / "target")
    files = sorted(path.name for path in source.glob("*.safetensors"))
    assert len(files) > 1 or max_shard_size == "1GB"
    assert files == sorted(path.name for path in target.glob("*.safetensors"))
    assert all((source / name).read_bytes() == (target / name).read_bytes() for name in files)


@pytest.mark.slow
def test_the_index_counts_the_new_size(tmp_path):
    tok, german = tiny.tokenizer("en", "unigram"), tiny.tokenizer("de", "unigram", 400)
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source", max_shard_size="20KB")
    target = revocabulary(Checkpoint.open(source), copying(range(400), len(tok)), german, tmp_path / "target")
    before, after = (json.loads((folder / "model.safetensors.index.json").read_text()) for folder in (source, target))
    assert after["weight_map"] == before["weight_map"]
    assert after["metadata"]["total_size"] == sum(len(data) for _, _, data in raw(target).values())
    assert after["metadata"]["total_parameters"] == reopened(target).num_parameters()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_stored_type_is_kept(dtype, tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    source = tiny.save(tiny.model("llama", tok).to(dtype), tok, tmp_path / "source")
    transport = permuting(len(tok))
    target = revocabulary(Checkpoint.open(source), transport, tok, tmp_path / "target")
    before, after = load_file(source / "model.safetensors"), load_file(target / "model.safetensors")
    assert {tensor.dtype for tensor in after.values()} == {dtype}
    for name in VOCABULARY_PARTS["llama"]:
        assert torch.equal(after[name], before[name][transport.copied_source])


def test_a_padded_table_gets_the_rows_of_the_transport(tmp_path):
    tok, german = tiny.tokenizer("en", "unigram"), tiny.tokenizer("de", "unigram", 400)
    source = tiny.save(tiny.model("llama", tok, rows=len(tok) + 40), tok, tmp_path / "source")
    checkpoint = Checkpoint.open(source)
    assert checkpoint.vocab_size == len(tok) + 40 == len(checkpoint.input_rows())
    target = revocabulary(checkpoint, copying(range(416), len(tok)), german, tmp_path / "target")
    assert reopened(target).get_input_embeddings().weight.shape == (416, 16)
    assert AutoConfig.from_pretrained(target).vocab_size == 416


def test_a_position_table_of_the_same_shape_is_left_alone(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    model = tiny.model("bert", tok, max_position_embeddings=len(tok), type_vocab_size=len(tok))
    source = tiny.save(model, tok, tmp_path / "source")
    assert set(Checkpoint.open(source).layout.axes) == VOCABULARY_PARTS["bert"]


@pytest.mark.parametrize(
    ("config_class", "model_class"), [(AlbertConfig, AlbertForMaskedLM), (ElectraConfig, ElectraForMaskedLM)]
)
def test_embeddings_may_be_narrower_than_the_hidden_states(config_class, model_class, tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = model_class(config_class(vocab_size=len(tok), embedding_size=8, **shape)).eval()
    source = tiny.save(model, tok, tmp_path / "source")
    transport = permuting(len(tok))
    target = revocabulary(Checkpoint.open(source), transport, tok, tmp_path / "target")
    order, ids = transport.copied_source, torch.arange(20, 60)[None]
    torch.testing.assert_close(
        logits(reopened(target), ids), logits(model, order[ids])[..., order], rtol=1e-5, atol=1e-5
    )


def test_an_encoder_decoder_of_two_models_gets_all_its_tables(tmp_path):
    tok, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 400)
    part = tiny.model("bert", tok).config
    config = EncoderDecoderConfig.from_encoder_decoder_configs(part, part)
    config.decoder_start_token_id = tok.cls_token_id
    source = tiny.save(EncoderDecoderModel(config), tok, tmp_path / "source")
    target = revocabulary(Checkpoint.open(source), copying(range(400), len(tok)), german, tmp_path / "target")
    opened = reopened(target)
    assert opened.encoder.get_input_embeddings().weight.shape[0] == 400
    assert opened.decoder.get_output_embeddings().bias.shape == (400,)
    assert opened.config.decoder_start_token_id == german.cls_token_id


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_base_model_without_head_opens(kind, tmp_path):
    tok = tiny.tokenizer("en", FAMILY[kind])
    source = tiny.save(tiny.model(kind, tok).base_model, tok, tmp_path / "source")
    (name,) = Checkpoint.open(source).layout.axes
    target = revocabulary(Checkpoint.open(source), permuting(len(tok)), tok, tmp_path / "target")
    _, info = AutoModel.from_pretrained(target, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert raw(target)[name] != raw(source)[name]


def test_the_base_model_prefix_may_be_missing_in_the_file(tmp_path):
    """GPT-2 on the Hub is a language model stored under the base model's names."""
    tok = tiny.tokenizer("en", "byte-level-bpe")
    source = tiny.save(tiny.model("gpt2", tok).base_model, tok, tmp_path / "source")
    set_architecture(source, "GPT2LMHeadModel")
    assert Checkpoint.open(source).layout.input_name == "wte.weight"


def test_the_base_model_prefix_may_be_left_over_in_the_file(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    base = {name: tensor for name, tensor in tensors.items() if name.startswith("bert.")}
    save_file(base, source / "model.safetensors", {"format": "pt"})
    set_architecture(source, "BertModel")
    assert set(Checkpoint.open(source).layout.axes) == {"bert.embeddings.word_embeddings.weight"}


def test_tied_copies_stored_twice_are_both_transported(tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    source = tiny.save(tiny.model("t5", tok), tok, tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    transport = permuting(len(tok))
    target = revocabulary(Checkpoint.open(source), transport, tok, tmp_path / "target")
    after = load_file(target / "model.safetensors")
    assert torch.equal(after["shared.weight"], tensors["shared.weight"][transport.copied_source])
    assert torch.equal(after["encoder.embed_tokens.weight"], after["shared.weight"])


def test_a_checkpoint_that_names_no_architecture_opens(tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    source = tiny.save(tiny.model("t5", tok), tok, tmp_path / "source")
    set_architecture(source, None)
    assert set(Checkpoint.open(source).layout.axes) == VOCABULARY_PARTS["t5"]


def test_a_head_that_the_architecture_does_not_have_is_refused(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    set_architecture(source, "BertModel")
    with pytest.raises(InputError, match=r"cls\.predictions\.bias .*BertModel has no such part"):
        Checkpoint.open(source)


def test_a_table_of_another_size_than_configured_is_refused(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    change_config(source, vocab_size=len(tok) + 5)
    with pytest.raises(InputError, match=r"word_embeddings\.weight is stored as \(600, 16\).*\(605, 16\)"):
        Checkpoint.open(source)


def test_weights_without_input_embeddings_are_refused(tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    del tensors["model.embed_tokens.weight"]
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"no input embeddings \(model\.embed_tokens\.weight\)"):
        Checkpoint.open(source)


def test_two_vocabularies_are_refused(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    encoder, decoder = tiny.model("bert", tok).config, tiny.model("bert", tok, rows=700).config
    model = EncoderDecoderModel(EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder))
    source = tiny.save(model, tok, tmp_path / "source")
    with pytest.raises(InputError, match="counts 600 and 700 tokens"):
        Checkpoint.open(source)


def test_quantized_tables_are_refused(tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"].to(torch.int8)
    save_file(tensors, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"lm_head\.weight is stored as I8"):
        Checkpoint.open(source)


def test_rows_that_are_not_finite_are_refused_before_anything_is_written(tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    model = tiny.model("llama", tok)
    model.lm_head.weight.data[7, 3] = float("nan")
    model.lm_head.weight.data[9, 0] = float("inf")
    source = tiny.save(model, tok, tmp_path / "source")
    with pytest.raises(InputError, match=r"lm_head\.weight holds NaN or infinity in 2 of 600 rows \(first ids: 7, 9\)"):
        revocabulary(Checkpoint.open(source), permuting(len(tok)), tok, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_padding_rows_may_hold_anything(tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    model = tiny.model("llama", tok, rows=len(tok) + 8)
    model.lm_head.weight.data[-1] = float("nan")
    source = tiny.save(model, tok, tmp_path / "source")
    target = revocabulary(Checkpoint.open(source), copying(range(len(tok))), tok, tmp_path / "target")
    assert reopened(target).lm_head.weight.isfinite().all()


@pytest.mark.parametrize(
    ("transport", "message"),
    [
        (copying(range(600), 601), "ids up to 600, but the embedding table has 600 rows"),
        (copying(range(599), 600), "target has ids up to 599, but the embedding table has 599 rows"),
    ],
)
def test_a_transport_that_does_not_fit_is_refused(transport, message, tmp_path):
    tok = tiny.tokenizer("en", "unigram")
    source = tiny.save(tiny.model("llama", tok), tok, tmp_path / "source")
    with pytest.raises(InputError, match=message):
        revocabulary(Checkpoint.open(source), transport, tok, tmp_path / "target")


def test_the_tokenizer_is_the_new_one_within_the_limits_of_the_body(tmp_path):
    tok, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "wordpiece", 500)
    source = tiny.save(tiny.model("gpt2", tok), tok, tmp_path / "source")
    settings = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 80}))
    for stale in ("vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"):
        (source / stale).write_text("{}")
    (source / "chat_template.jinja").write_text("{{ bos_token }}")  # which the new tokenizer has not
    german.save_pretrained(tmp_path / "german")
    saved = tmp_path / "german" / "tokenizer_config.json"
    names = ["input_ids", "token_type_ids", "attention_mask"]
    saved.write_text(json.dumps({**json.loads(saved.read_text()), "model_input_names": names}))
    german = AutoTokenizer.from_pretrained(tmp_path / "german")
    target = revocabulary(Checkpoint.open(source), copying(range(500), len(tok)), german, tmp_path / "target")
    opened = AutoTokenizer.from_pretrained(target)
    assert opened.get_vocab() == german.get_vocab()
    assert opened.model_max_length == 80
    assert "token_type_ids" in german("Hund")
    assert set(opened("Hund")) == {"input_ids", "attention_mask"}  # GPT-2 would take type ids for tokens
    written = {path.name for path in target.iterdir()}
    assert written == {
        ".hf_xlt.json",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_a_folder_without_tokenizer_says_so(tmp_path):
    source = tiny.save(tiny.model("bert", tiny.tokenizer("en", "wordpiece")), None, tmp_path / "source")
    with pytest.raises(InputError, match="has no tokenizer"):
        Checkpoint.open(source).tokenizer()


def test_a_folder_with_adapters_beside_the_weights_is_refused(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    (source / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="holds adapters .*would be lost; expected whole weights. Merge them first"):
        Checkpoint.open(source)


def test_a_base_bert_keeps_its_pooler(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    source = tiny.save(BertModel(BertConfig(vocab_size=len(tok), **shape)), tok, tmp_path / "source")
    target = revocabulary(Checkpoint.open(source), permuting(len(tok)), tok, tmp_path / "target")
    assert raw(target)["pooler.dense.weight"] == raw(source)["pooler.dense.weight"]


def set_architecture(folder, name):
    change_config(folder, architectures=name and [name])


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

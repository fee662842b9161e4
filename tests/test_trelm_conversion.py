"""A TreLM model computes what the encoder it is made of computes."""

import logging

import pytest
import tiny
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import PreTrainedModel

from hf_xlt.errors import InputError
from hf_xlt.initializers.other_model import CLPInitializer
from hf_xlt.trelm import TreLMForMaskedLM

SHAPE = {
    "vocab_size": 90,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
}
BODIES = {
    "bert": ("Bert", {"hidden_act": "relu"}),
    "roberta": ("Roberta", {"hidden_act": "relu", "type_vocab_size": 1}),
    "xlm-roberta": ("XLMRoberta", {"type_vocab_size": 1}),
    "camembert": ("Camembert", {"type_vocab_size": 1}),
    "electra": ("Electra", {"embedding_size": 8, "hidden_act": "relu"}),
}
LANGUAGES = ["en", "de"]
ALL_BODIES = pytest.mark.parametrize("kind", BODIES)


def source(kind: str, head: str = "ForMaskedLM", **overrides: object) -> PreTrainedModel:
    """A model whose every weight, biases and norms too, is random."""
    family, own = BODIES[kind]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SHAPE | own | overrides)
    model = getattr(transformers, family + head)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def padded(model: PreTrainedModel, side: str) -> dict[str, Tensor]:
    """Three texts of 12, 8 and 1 tokens."""
    pad = model.config.pad_token_id
    ids = torch.randint(5, 90, (3, 12), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    for row, length in enumerate((12, 8, 1)):
        padding = slice(length, None) if side == "right" else slice(0, 12 - length)
        ids[row, padding], mask[row, padding] = pad, 0
    return {"input_ids": ids, "attention_mask": mask}


def assert_same_logits(model: PreTrainedModel, original: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    torch.testing.assert_close(model(**inputs).logits, original(**inputs).logits, rtol=0, atol=1e-5)


@pytest.mark.slow
@ALL_BODIES
@pytest.mark.parametrize("side", ["left", "right"])
def test_without_a_tri_layer_the_logits_are_the_sources(kind, side):
    original = source(kind)
    model = TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, tri_layer_index=None)
    inputs = padded(original, side)
    assert original(**inputs).logits.std() > 0.1
    assert_same_logits(model, original, inputs)
    assert_same_logits(model, original, inputs | {"token_type_ids": torch.zeros_like(inputs["input_ids"])})


@ALL_BODIES
def test_embeddings_in_place_of_ids_give_the_sources_logits(kind):
    original = source(kind)
    model = TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, tri_layer_index=None)
    words = original.get_input_embeddings()(padded(original, "right")["input_ids"])
    assert_same_logits(model, original, {"inputs_embeds": words})


def test_token_types_are_the_sources():
    original = source("bert")
    model = TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, tri_layer_index=None)
    types = torch.tensor([[0, 0, 1]])
    assert_same_logits(model, original, {"input_ids": torch.tensor([[7, 8, 9]]), "token_type_ids": types})


@ALL_BODIES
def test_a_tri_layer_starts_as_a_copy_of_the_layer_that_follows(kind):
    model = TreLMForMaskedLM.from_encoder(source(kind), languages=LANGUAGES)
    copy, following = model.trelm.tri_layer.layer, model.trelm.layers[2]
    assert model.config.tri_layer_index == 2
    for (name, ours), (other, theirs) in zip(copy.named_parameters(), following.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(ours, theirs)
        assert ours.data_ptr() != theirs.data_ptr()


def test_the_languages_start_alike_and_disturb_nothing():
    original = source("bert")
    model = TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES)
    inputs = padded(original, "right")
    german, english = (model(**inputs, lang_ids=torch.full((3,), number)).logits for number in (1, 0))
    assert torch.equal(german, english)


@pytest.mark.slow
@ALL_BODIES
def test_a_folder_converts_as_the_open_model_does(kind, tmp_path):
    original = source(kind)
    original.save_pretrained(tmp_path)
    model = TreLMForMaskedLM.from_encoder(str(tmp_path), languages=LANGUAGES, tri_layer_index=None)
    assert_same_logits(model, original, padded(original, "left"))


def test_an_untied_head_is_carried_over():
    original = source("bert", tie_word_embeddings=False)
    model = TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, tri_layer_index=None)
    assert model.decoder.weight is not model.trelm.embeddings.word_embeddings.weight
    assert_same_logits(model, original, padded(original, "right"))


def test_the_dtype_is_kept(tmp_path):
    source("bert").to(torch.bfloat16).save_pretrained(tmp_path)
    assert TreLMForMaskedLM.from_encoder(str(tmp_path), languages=["en"]).dtype == torch.bfloat16
    assert TreLMForMaskedLM.from_encoder(str(tmp_path), languages=["en"], dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "head"), [("bert", "Model"), ("electra", "ForPreTraining"), ("roberta", "ForTokenClassification")]
)
@pytest.mark.parametrize("opened", [True, False])
def test_a_source_without_a_masked_lm_head_gets_a_random_one_and_a_warning(kind, head, opened, tmp_path, caplog):
    original = source(kind, head)
    original.save_pretrained(tmp_path)
    logging.getLogger("transformers").propagate = True
    with caplog.at_level("WARNING"):
        checkpoint = original if opened else str(tmp_path)
        model = TreLMForMaskedLM.from_encoder(checkpoint, languages=LANGUAGES, tri_layer_index=None)
    logging.getLogger("transformers").propagate = False
    assert "no masked LM head" in caplog.text
    assert not model.decoder.bias.any()
    assert 0.01 < model.head.dense.weight.std() < 0.03
    ids = padded(original, "right")
    states = original.base_model(**ids).last_hidden_state
    torch.testing.assert_close(model.trelm(**ids).last_hidden_state, states, rtol=0, atol=1e-5)


def test_the_same_tokenizer_keeps_padded_rows_and_sets_the_special_ids(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    folder = tiny.save(tiny.model("bert", tok, rows=len(tok) + 8), tok, tmp_path)
    model = TreLMForMaskedLM.from_encoder(str(folder), languages=["en"], tokenizer=tok)
    assert model.config.vocab_size == len(tok) + 8
    assert model.config.mask_token_id == tok.mask_token_id
    assert model.config.cls_token_id == tok.cls_token_id


def test_another_tokenizer_keeps_rows_by_spelling_and_role_and_draws_the_others(tmp_path):
    old, new = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 700)
    original = tiny.model("bert", old)
    with torch.no_grad():
        original.cls.predictions.bias.normal_()
    tiny.save(original, old, tmp_path)
    model = TreLMForMaskedLM.from_encoder(str(tmp_path), languages=LANGUAGES, tokenizer=new)
    again = TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, tokenizer=new, source_tokenizer=old)
    other = TreLMForMaskedLM.from_encoder(str(tmp_path), languages=LANGUAGES, tokenizer=new, seed=1)
    table, rows = original.get_input_embeddings().weight, model.get_input_embeddings().weight
    bias = original.cls.predictions.bias
    shared = [token for token in new.get_vocab() if token in old.get_vocab()]
    before, after = (torch.tensor([tok.get_vocab()[token] for token in shared]) for tok in (old, new))
    drawn = torch.ones(len(new), dtype=torch.bool).index_fill(0, after, False)
    assert len(rows) == model.config.vocab_size == model.decoder.out_features == len(new)
    assert len(shared) > 50
    assert torch.equal(rows[after], table[before])
    assert torch.equal(model.decoder.bias[after], bias[before])
    assert drawn.sum() > 50
    assert torch.equal(rows, again.get_input_embeddings().weight)
    assert (rows != other.get_input_embeddings().weight).any(1).equal(drawn)
    torch.testing.assert_close(rows[drawn].mean(0), table.mean(0), rtol=0, atol=0.01)


def test_special_tokens_take_the_row_of_their_role(tmp_path):
    old, new = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "byte-level-bpe")
    original = tiny.model("bert", old)
    tiny.save(original, old, tmp_path)
    model = TreLMForMaskedLM.from_encoder(str(tmp_path), languages=LANGUAGES, tokenizer=new)
    table, rows = original.get_input_embeddings().weight, model.get_input_embeddings().weight
    roles = {"pad": "pad", "mask": "mask", "unk": "unk", "bos": "cls", "eos": "sep"}
    for role, played_by in roles.items():
        number = getattr(new, f"{role}_token_id")
        assert getattr(new, f"{role}_token") not in old.get_vocab()
        assert torch.equal(rows[number], table[getattr(old, f"{played_by}_token_id")])
    assert (model.config.pad_token_id, model.config.cls_token_id) == (new.pad_token_id, None)


def test_positions_do_not_move_when_the_padding_id_does(tmp_path):
    old, new = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "wordpiece")
    original = tiny.model("roberta", old)
    tiny.save(original, old, tmp_path)
    model = TreLMForMaskedLM.from_encoder(str(tmp_path), languages=LANGUAGES, tokenizer=new)
    assert model.config.position_offset == old.pad_token_id + 1 != new.pad_token_id + 1
    is_token = torch.tensor([[True, True, False]])
    first = model.config.position_offset
    assert model.trelm.embeddings.position_ids(is_token).tolist() == [[first, first + 1, first - 1]]


def test_rows_come_from_a_transport(tmp_path):
    old, new = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece")
    folder = tiny.save(tiny.model("bert", old), old, tmp_path / "source")
    helper = tiny.save(tiny.model("bert", new), new, tmp_path / "helper")
    transport = CLPInitializer(source=str(folder), helper=str(helper)).transport()
    model = TreLMForMaskedLM.from_encoder(str(folder), languages=LANGUAGES, tokenizer=new, rows=transport.apply)
    expected = transport.apply(tiny.model("bert", old).get_input_embeddings().weight)
    assert torch.equal(model.get_input_embeddings().weight, expected)


@pytest.mark.parametrize("layers", [1, 3])
def test_an_encoder_without_a_middle_is_refused(layers):
    original = source("bert", num_hidden_layers=layers)
    with pytest.raises(ValueError, match=f"has {layers} layers, which have no middle; expected an even number"):
        TreLMForMaskedLM.from_encoder(original, languages=["en"])
    assert TreLMForMaskedLM.from_encoder(original, languages=["en"], tri_layer_index=0).trelm.tri_layer is not None


def test_sources_that_are_no_such_encoder_are_refused(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    with pytest.raises(ValueError, match="model type 'gpt2'; expected one of bert, roberta, xlm-roberta, camembert"):
        TreLMForMaskedLM.from_encoder(tiny.model("gpt2", tok), languages=["en"])
    with pytest.raises(ValueError, match="is a decoder"):
        TreLMForMaskedLM.from_encoder(source("bert", is_decoder=True), languages=["en"])
    original = source("bert")
    state = {name: tensor for name, tensor in original.state_dict().items() if "layer.1.output.dense" not in name}
    original.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=r"lacks 2 tensors of its encoder, bert.encoder.layer.1.output.dense.bias"):
        TreLMForMaskedLM.from_encoder(str(tmp_path), languages=["en"])


def test_arguments_that_contradict_are_refused():
    original, tok = source("bert"), tiny.tokenizer("en", "wordpiece")
    with pytest.raises(ValueError, match="rows is given without tokenizer"):
        TreLMForMaskedLM.from_encoder(original, languages=["en"], rows=lambda rows: rows)
    with pytest.raises(ValueError, match="expected source_tokenizer too"):
        TreLMForMaskedLM.from_encoder(original, languages=["en"], tokenizer=tok)
    with pytest.raises(StrictDataclassError, match="tri_layer_index is 9; expected from 0 to below num_hidden_layers"):
        TreLMForMaskedLM.from_encoder(original, languages=["en"], tri_layer_index=9)
    with pytest.raises(StrictDataclassError, match="'fr' is not a language of this model; expected one of en, de"):
        TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, default_language="fr")
    assert issubclass(InputError, ValueError)

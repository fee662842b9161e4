"""Bilingual models are made of an encoder and come apart into encoders without a logit's change."""

import pytest
import tiny
import torch
from test_trelm_conversion import ALL_BODIES, BODIES, assert_same_logits, padded, source
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from hf_xlt.evidence.translations import ParallelText
from hf_xlt.initializers.ramen import RamenInitializer
from hf_xlt.sample import sentences
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM

ROLES = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
LANGUAGES = ["en", "de"]
NEW = 70
BOTH_SIDES = pytest.mark.parametrize("side", ["left", "right"])


def words(size: int, pad: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `size` words, `pad` the id of its padding token."""
    names = ["[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(size - 5))]
    names.insert(pad, "[PAD]")
    vocabulary = {name: number for number, name in enumerate(names)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(vocabulary, "[UNK]")), **ROLES)


def sums(matrix: Tensor) -> Tensor:
    """New rows that are sums of old ones."""
    mix = torch.rand(NEW, len(matrix), generator=torch.Generator().manual_seed(2)) / 20
    return mix @ matrix


def bilingual(kind: str, pad: int = 3, **options: object) -> TreLMForMaskedLM:
    """English with the source's rows, German with sums of them; each with a language embedding of its own."""
    original = source(kind, **options)
    tokenizers = [words(90, original.config.pad_token_id), words(NEW, pad)]
    model = TreLMForMaskedLM.from_encoder(
        original, languages=LANGUAGES, tokenizers=tokenizers, rows=sums, tri_layer_index=None
    )
    return with_languages(model)


def with_languages(model: TreLMForMaskedLM) -> TreLMForMaskedLM:
    table = model.trelm.embeddings.language_embeddings.weight
    with torch.no_grad():
        table.copy_(torch.randn(table.shape, generator=torch.Generator().manual_seed(4)))
    return model


def in_language(model: TreLMForMaskedLM, language: str) -> TreLMForMaskedLM:
    model.set_language(language)
    return model


def german(pad: int, side: str) -> dict[str, Tensor]:
    """Three texts of 12, 8 and 1 German tokens."""
    ids = torch.randint(5, NEW, (3, 12), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    for row, length in enumerate((12, 8, 1)):
        padding = slice(length, None) if side == "right" else slice(0, 12 - length)
        ids[row, padding], mask[row, padding] = pad, 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.slow
@ALL_BODIES
@BOTH_SIDES
def test_the_source_language_computes_what_the_source_does(kind, side):
    original = source(kind)
    tokenizers = [words(90, original.config.pad_token_id), words(NEW, 3)]
    model = TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, tokenizers=tokenizers, tri_layer_index=None)
    inputs = padded(original, side)
    assert original(**inputs).logits.std() > 0.1
    by_name = model(**inputs, lang_ids=torch.zeros(3, dtype=torch.int64)).logits
    torch.testing.assert_close(by_name, original(**inputs).logits, rtol=0, atol=1e-5)
    assert_same_logits(in_language(model, "en"), original, inputs)


@ALL_BODIES
def test_the_other_language_has_rows_and_biases_of_its_own(kind):
    original, model = source(kind), bilingual(kind)
    table, decoder = original.get_input_embeddings().weight, original.get_output_embeddings()
    assert torch.equal(model.get_input_embeddings().weight, sums(table))
    assert torch.equal(model.get_output_embeddings().bias, sums(decoder.bias))
    assert torch.equal(model.trelm.embeddings.word_embeddings["en"].weight, table)
    assert torch.equal(model.decoder["en"].bias, decoder.bias)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (model.config.vocab_size, model.config.pad_token_id, model.config.mask_token_id) == (NEW, 3, 4)
    pad = original.config.pad_token_id
    assert model.config.other_vocabularies["en"]["vocab_size"] == 90
    assert model.config.other_vocabularies["en"]["pad_token_id"] == pad
    assert model.config.encoder_type == kind


def test_an_untied_head_gets_rows_of_its_own():
    original, model = source("bert", tie_word_embeddings=False), bilingual("bert", tie_word_embeddings=False)
    assert torch.equal(model.get_output_embeddings().weight, sums(original.get_output_embeddings().weight))
    assert torch.equal(model.get_input_embeddings().weight, sums(original.get_input_embeddings().weight))


def test_rows_and_biases_come_from_a_transport(tmp_path):
    english, new = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    original = tiny.model("bert", english)
    with torch.no_grad():
        original.get_output_embeddings().bias.normal_()
    folder = tiny.save(original, english, tmp_path / "source")
    pairs = tuple(zip(sentences("en", "train")[:40], sentences("de", "train")[:40], strict=True))
    transport = RamenInitializer(str(folder), new, parallel=ParallelText(pairs)).transport()
    model = TreLMForMaskedLM.from_encoder(
        str(folder), languages=LANGUAGES, tokenizers=[english, new], rows=transport.apply, tri_layer_index=None
    )
    assert torch.equal(model.get_input_embeddings().weight, transport.apply(original.get_input_embeddings().weight))
    assert torch.equal(model.get_output_embeddings().bias, transport.apply(original.get_output_embeddings().bias))
    assert transport.counts.mixed > 50


def test_rows_are_kept_by_spelling_where_none_are_given():
    original = source("bert")
    model = TreLMForMaskedLM.from_encoder(
        original, languages=["en", "de", "to"], tokenizers=[words(90, 0), words(70, 3), words(80, 0)]
    )
    table = original.get_input_embeddings().weight
    assert torch.equal(model.trelm.embeddings.word_embeddings["de"].weight[10], table[10])
    assert torch.equal(model.trelm.embeddings.word_embeddings["to"].weight, table[:80])
    assert model.config.default_language == "to"
    assert model.config.tri_layer_index == 2


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"tokenizers": [words(90, 0)]}, "There are 1 tokenizers for 2 languages; expected one each"),
        ({"tokenizers": [words(91, 0), words(NEW, 0)]}, "tokenizer of 'en' has ids up to 90, .* have 90 rows"),
        ({"tokenizers": [words(90, 0), words(71, 0)], "rows": sums}, "tokenizer of 'de' has ids up to 70, .* have 70"),
        ({"tokenizers": [words(90, 0)] * 2, "tokenizer": words(90, 0)}, "expected tokenizers alone"),
        ({"tokenizers": [words(90, 0)] * 2, "source_tokenizer": words(90, 0)}, "expected tokenizers alone"),
        (
            {"tokenizers": [words(90, 0)] * 3, "languages": ["en", "de", "fr"], "rows": sums},
            "rows is given with 3 languages; expected two",
        ),
    ],
)
def test_tokenizers_that_do_not_fit_are_refused(given, match):
    with pytest.raises(ValueError, match=match):
        TreLMForMaskedLM.from_encoder(source("bert"), **{"languages": LANGUAGES} | given)


@pytest.mark.slow
@ALL_BODIES
@BOTH_SIDES
@pytest.mark.parametrize("pad", [0, 1, 3])
def test_an_exported_language_computes_what_the_model_does(kind, side, pad):
    model = bilingual(kind, pad)
    original = source(kind)
    for language, inputs in (("en", padded(original, side)), ("de", german(pad, side))):
        exported = model.export(language)
        assert type(exported) is type(original)
        assert_same_logits(in_language(model, language), exported, inputs)
        assert exported.config.vocab_size == model.config.vocab_size
        assert exported.config.pad_token_id == model.config.pad_token_id
        assert exported.get_output_embeddings().weight is exported.get_input_embeddings().weight


@ALL_BODIES
def test_a_language_of_a_joint_vocabulary_is_exported_likewise(kind):
    original = source(kind)
    model = with_languages(TreLMForMaskedLM.from_encoder(original, languages=LANGUAGES, tri_layer_index=None))
    inputs = padded(original, "left")
    for language in LANGUAGES:
        assert_same_logits(in_language(model, language), model.export(language), inputs)
    assert (model.export("en")(**inputs).logits - model.export("de")(**inputs).logits).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_an_exported_model_is_saved_and_opened_by_stock_code(kind, tmp_path):
    model = bilingual(kind, tie_word_embeddings=False)
    model.export("de").save_pretrained(tmp_path)
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path)
    assert type(opened) is type(source(kind))
    assert not list(tmp_path.glob("*.py"))
    assert_same_logits(model, opened, german(3, "right"))


def test_token_types_are_exported():
    model = bilingual("bert")
    types = torch.tensor([[0, 0, 1]])
    inputs = {"input_ids": torch.tensor([[7, 8, 9]]), "token_type_ids": types}
    assert_same_logits(model, model.export("de"), inputs)


def test_an_exported_model_is_one_of_its_own():
    model = bilingual("bert").to(torch.bfloat16)
    exported = model.export("de")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in exported.parameters():
            parameter.zero_()
    assert exported.dtype == torch.bfloat16
    assert not exported.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", BODIES)
def test_what_is_exported_becomes_bilingual_again(kind):
    model = bilingual(kind)
    exported = model.export("de")
    tokenizers = [words(NEW, 3), words(50, 0)]
    again = TreLMForMaskedLM.from_encoder(
        exported, languages=["de", "fr"], tokenizers=tokenizers, default_language="de", tri_layer_index=None
    )
    assert_same_logits(model, again, german(3, "left"))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        (
            {"encoder_type": None},
            "encoder_type is None; expected one of bert, roberta, xlm-roberta, camembert, electra",
        ),
        ({"encoder_type": "roberta"}, "head_act is 'relu'; expected 'gelu', which roberta has"),
        ({"encoder_type": "roberta", "head_act": "gelu"}, "position_offset is 0; expected above 0, as roberta counts"),
        ({"head_act": "gelu"}, "head_act is 'gelu'; expected 'relu', which bert has in its head"),
        ({"position_offset": 2}, "position_offset is 2; expected 0, as bert counts"),
        (
            {"encoder_type": "roberta", "head_act": "gelu", "position_offset": 2, "pad_token_id": None},
            "no pad_token_id",
        ),
    ],
)
def test_what_no_stock_model_computes_is_not_exported(changed, match):
    model = bilingual("bert")
    for name, value in changed.items():
        setattr(model.config, name, value)
    with pytest.raises(ValueError, match=match):
        model.export("de")


def test_models_without_a_stock_counterpart_are_not_exported():
    model = bilingual("bert")
    with pytest.raises(ValueError, match="'fr' is not a language of this model; expected one of en, de"):
        model.export("fr")
    tokenizers = [words(90, 0), words(NEW, 3)]
    halved = TreLMForMaskedLM.from_encoder(source("bert"), languages=LANGUAGES, tokenizers=tokenizers)
    with pytest.raises(ValueError, match=r"has a TRILayer, which adds positions.*make it with tri_layer_index=None"):
        halved.export("de")
    shape = {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    projected = TreLMForMaskedLM(TreLMConfig(**shape, intermediate_size=8, embedding_size=8, encoder_type="bert"))
    with pytest.raises(ValueError, match="shape is not that of bert, its encoder_type: .*projection"):
        projected.export("en")

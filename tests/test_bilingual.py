"""Models in which each language has a vocabulary of its own: look-ups, losses, parts, files."""

import json
import os
import subprocess
import sys

import pytest
import tiny
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_trelm import MODELS, SHAPE, assert_close, ids, links, trained
from test_trelm_hub import CODE, WITHOUT_HF_XLT
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer, pipeline

from hf_xlt.data.objectives.objective import token_losses
from hf_xlt.evaluation.language_model import evaluate_checkpoint
from hf_xlt.trelm import (
    TreLMConfig,
    TreLMForMaskedLM,
    TreLMForQuestionAnswering,
    TreLMForSequenceClassification,
    TreLMModel,
)

SIZES = {"en": 60, "de": 50, "to": 70}
PADS = {"en": 0, "de": 3, "to": 1}
LANGUAGES = tuple(SIZES)
SIDES = pytest.mark.parametrize("side", ["left", "right"])
LOWEST = torch.finfo(torch.float32).min


def config(**overrides: object) -> TreLMConfig:
    others = {code: {"vocab_size": SIZES[code], "pad_token_id": PADS[code]} for code in ("en", "to")}
    own = {
        "languages": list(LANGUAGES),
        "default_language": "de",
        "vocab_size": SIZES["de"],
        "pad_token_id": PADS["de"],
    }
    plain = {"separate_embeddings": True, "other_vocabularies": others, "tri_layer_index": None}
    return TreLMConfig(**SHAPE | own | plain | overrides)


def make(kind: type = TreLMForMaskedLM, **overrides: object) -> nn.Module:
    """A model whose every weight is random."""
    torch.manual_seed(0)
    model = kind(config(**overrides)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def texts(*lengths: int, side: str = "right", length: int = 9) -> dict[str, Tensor]:
    """A text in each language, filled up with its language's padding."""
    rows, masks = [], []
    for code, size in zip(LANGUAGES, lengths or (length,) * 3, strict=True):
        text = ids(size, below=SIZES[code], seed=size)
        padding = torch.full((length - size,), PADS[code])
        rows.append(torch.cat([padding, text] if side == "left" else [text, padding]))
        real = torch.ones(size, dtype=torch.int64)
        masks.append(
            torch.cat([torch.zeros_like(padding), real] if side == "left" else [real, torch.zeros_like(padding)])
        )
    return {"input_ids": torch.stack(rows), "attention_mask": torch.stack(masks), "lang_ids": torch.arange(3)}


def own_labels(length: int = 9) -> Tensor:
    """Labels of each language's own vocabulary, some of them ignored."""
    rows = [ids(length, below=SIZES[code], seed=20 + number) for number, code in enumerate(LANGUAGES)]
    for number, row in enumerate(rows):
        row[: 2 + 2 * number] = -100
    return torch.stack(rows)


def alone(model: nn.Module, batch: dict[str, Tensor], row: int, **more: object) -> nn.Module:
    """What the model makes of one row of a batch, in its language by default."""
    model.set_language(LANGUAGES[row])
    outputs = model(**{name: value[row : row + 1] for name, value in batch.items() if name != "lang_ids"}, **more)
    model.set_language("de")
    return outputs


@pytest.mark.parametrize("offset", [0, 4])
@SIDES
def test_a_batch_of_all_languages_gives_what_each_text_gives_alone(side, offset):
    model, batch = make(position_offset=offset), texts(9, 6, 2, side=side)
    mixed = model(**batch).logits
    assert mixed.shape == (3, 9, 70)
    for row, (code, size) in enumerate(SIZES.items()):
        own = alone(model, batch, row).logits[0]
        real = batch["attention_mask"][row].bool()
        assert own.shape == (9, size)
        assert_close(mixed[row, real, :size], own[real])
        assert (mixed[row, :, size:] == LOWEST).all()
        assert model.config.vocabulary(code)["vocab_size"] == size


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=5), st.integers(1, 6), st.booleans(), st.integers(0, 1000))
def test_words_are_what_a_loop_over_texts_looks_up(languages, length, per_token, seed):
    table = make(TreLMModel).embeddings.word_embeddings
    spoken = torch.tensor(languages)[:, None]
    if per_token:
        spoken = torch.randint(0, 3, (len(languages), length), generator=torch.Generator().manual_seed(seed))
    text = ids(len(languages), length, below=50, seed=seed)
    expected = torch.stack(
        [
            torch.stack([table[LANGUAGES[number]].weight[id_] for number, id_ in zip(row_languages, row, strict=True)])
            for row_languages, row in zip(spoken.expand_as(text).tolist(), text.tolist(), strict=True)
        ]
    )
    found = table(text, spoken)
    assert torch.equal(found, expected)
    tables = [table[code].weight for code in LANGUAGES]
    gradients = [torch.autograd.grad((out**2).sum(), tables, materialize_grads=True) for out in (found, expected)]
    for code, gradient, plain in zip(LANGUAGES, *gradients, strict=True):
        plain[PADS[code]] = 0  # padding is not trained
        assert_close(gradient, plain)


def test_a_language_may_be_given_for_each_token():
    model, text = make(), ids(2, 9, below=50)
    per_token = torch.tensor([[0] * 4 + [1] * 5, [2] * 9])
    logits = model(text, lang_ids=per_token).logits
    assert (logits[0, :4, 60:] == LOWEST).all()
    assert (logits[0, 4:, 50:] == LOWEST).all()
    assert_close(logits[1], model(text[1:], lang_ids=torch.tensor([2])).logits[0])
    words = model.get_input_embeddings().weight[text[0, 4:]]
    embedded = model.trelm.embeddings.words(text, per_token)
    assert torch.equal(embedded[0, 4:], words)


@pytest.mark.slow
@pytest.mark.parametrize("items", [None, 100])
@pytest.mark.parametrize("return_logits", [True, False])
def test_the_loss_is_over_each_texts_own_vocabulary(items, return_logits):
    model, batch, labels = make(), texts(), own_labels()
    model.zero_grad()
    outputs = model(**batch, labels=labels, return_logits=return_logits, num_items_in_batch=items)
    outputs.loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert (outputs.logits is not None) == return_logits
    model.zero_grad()
    total = torch.zeros(())
    for row in range(3):
        total = total + nn.functional.cross_entropy(alone(model, batch, row).logits[0], labels[row], reduction="sum")
    expected = total / (items or (labels != -100).sum())
    expected.backward()
    assert_close(outputs.loss, expected)
    for name, parameter in model.named_parameters():
        assert_close(gradients[name], parameter.grad)


def test_texts_of_one_language_leave_the_others_untouched():
    model = make()
    text = ids(2, 9, below=50)
    model(text, lang_ids=torch.ones(2, dtype=torch.int64), labels=text).loss.backward()
    assert model.get_input_embeddings().weight.grad.any()
    assert model.get_output_embeddings().bias.grad.any()
    for other in ("en", "to"):
        assert not any(parameter.grad.any() for parameter in model.part(f"embeddings.{other}"))


def test_token_losses_are_those_of_the_model():
    model, batch, labels = make(), texts(), own_labels()
    losses, target_ids = token_losses(model, model, batch | {"labels": labels}, shifted=False)
    assert_close(losses.mean(), model(**batch, labels=labels).loss)
    assert torch.equal(target_ids, labels[labels != -100])
    german = {"input_ids": batch["input_ids"][1:2], "labels": labels[1:2]}
    losses, _ = token_losses(model, model, german, shifted=False)
    assert_close(losses.mean(), model(**german).loss)


def test_a_tri_layer_reads_one_vocabulary_and_writes_another():
    model = make(tri_layer_index=2)
    target = {"alignment": links(3, 12, 9), "target_lang_ids": torch.tensor([1, 2, 0])}
    labels = torch.stack([ids(12, below=SIZES[code], seed=7) for code in ("de", "to", "en")])
    outputs = model(**texts(), **target, labels=labels, return_logits=True)
    for row, code in enumerate(("de", "to", "en")):
        assert (outputs.logits[row, :, SIZES[code] :] == LOWEST).all()
        assert (outputs.logits[row, :, : SIZES[code]] > LOWEST).all()
    expected = nn.functional.cross_entropy(outputs.logits.view(-1, 70), labels.view(-1))
    assert_close(outputs.loss, expected)


def test_the_embeddings_are_those_of_the_default_language(tmp_path):
    model = make()
    model.set_language("en")
    assert model.config.vocab_size == len(model.get_input_embeddings().weight) == 60
    assert model.config.pad_token_id == model.get_input_embeddings().padding_idx == PADS["en"]
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.config.other_vocabularies.keys() == {"de", "to"}
    model.save_pretrained(tmp_path)
    again, german = (TreLMForMaskedLM.from_pretrained(tmp_path, **more) for more in ({}, {"default_language": "de"}))
    text = ids(1, 5, below=50)
    assert again.config.default_language == "en"
    assert torch.equal(again(text).logits, model(text).logits)
    assert german.config.vocab_size == 50
    assert german.config.to_dict() == make().config.to_dict() | {
        name: german.config.to_dict()[name] for name in ("architectures", "auto_map", "_name_or_path", "dtype")
        if name in german.config.to_dict()
    }  # fmt: skip
    model.set_language("de")
    assert torch.equal(german(text).logits, model(text).logits)
    with pytest.raises(ValueError, match="'fr' is not a language of this model; expected one of en, de, to"):
        model.set_language("fr")
    with pytest.raises(ValueError, match="'fr' is not a language of this model"):
        AutoConfig.from_pretrained(tmp_path, default_language="fr")


def test_resizing_is_of_the_default_language(tmp_path):
    model = make()
    model.resize_token_embeddings(54, mean_resizing=False)
    assert model.config.vocab_size == 54
    assert model(ids(1, 5, below=50)).logits.shape[-1] == len(model.get_output_embeddings().bias) == 54
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    again = TreLMForMaskedLM.from_pretrained(tmp_path)
    assert torch.equal(again(**texts()).logits, model(**texts()).logits)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("more", [{}, {"embedding_size": 8, "tie_word_embeddings": False}])
def test_a_model_comes_back_equal_to_the_bit(kind, more, tmp_path):
    model = make(kind, position_offset=4, **more)
    model.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert again.config.to_diff_dict() == model.config.to_diff_dict()
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(again(**texts())[0], model(**texts())[0])


@pytest.mark.parametrize("tied", [True, False])
def test_output_weights_are_tied_language_by_language(tied, tmp_path):
    make(tie_word_embeddings=tied).save_pretrained(tmp_path)
    again = TreLMForMaskedLM.from_pretrained(tmp_path)
    for code in LANGUAGES:
        table, output = again.trelm.embeddings.word_embeddings[code].weight, again.decoder[code].weight
        assert (table is output) == tied
        assert torch.equal(table, output) == tied
    assert (len(again.all_tied_weights_keys) == 3) == tied


def test_the_modules_of_a_language_tell_which_it_is():
    names = {name for name, _ in make().named_parameters() if "lang_" in name}
    assert names == {
        name for code in LANGUAGES
        for name in (f"trelm.embeddings.word_embeddings.lang_{code}.weight", f"decoder.lang_{code}.bias")
    }  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("more", [{}, {"tri_layer_index": 2}, {"tie_word_embeddings": False}])
def test_parts_hold_every_parameter_once(kind, more):
    model = make(kind, **more)
    own = [f"embeddings.{code}" for code in LANGUAGES]
    layers = ["lower", "tri_layer", "upper"] if "tri_layer_index" in more else ["layers"]
    parts = model.parts()
    assert list(parts) == ["embeddings", *own, *layers, "head"]
    held = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_a_languages_part_is_its_words_and_its_bias():
    model = make()
    german = model.part("embeddings.de")
    assert len(german) == 2
    assert any(parameter is model.get_input_embeddings().weight for parameter in german)
    assert any(parameter is model.get_output_embeddings().bias for parameter in german)
    model.set_trainable(["embeddings.de"])
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == {
        "trelm.embeddings.word_embeddings.lang_de.weight",
        "decoder.lang_de.bias",
    }
    model.requires_grad_(True)
    model.freeze("embeddings")
    training = {name: {parameter.requires_grad for parameter in part} for name, part in model.parts().items()}
    assert training == {"embeddings": {False}, "layers": {True}, "head": {True}} | {
        f"embeddings.{code}": {False} for code in LANGUAGES
    }
    with pytest.raises(ValueError, match="'embeddings.fr' is not a part of this model; expected one of embeddings, "):
        model.freeze("embeddings.fr")


@pytest.mark.parametrize("per_token", [True, False])
@pytest.mark.slow
def test_the_compiled_encoder_is_one_graph(per_token):
    model, batch = make(TreLMModel, position_offset=4), texts(9, 6, 2)
    if per_token:
        batch["lang_ids"] = batch["lang_ids"][:, None].expand(3, 9)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_close(compiled(**batch).last_hidden_state, model(**batch).last_hidden_state)


@pytest.mark.slow
def test_a_compiled_model_has_the_same_loss():
    model = make()
    compiled = torch.compile(model, backend="eager")
    assert_close(compiled(**texts(), labels=own_labels()).loss, model(**texts(), labels=own_labels()).loss)


def test_bfloat16_stays_near_float32():
    model = make()
    exact = model(**texts()).logits
    half = model.to(torch.bfloat16)(**texts()).logits
    own = exact > LOWEST
    assert half.dtype == torch.bfloat16
    assert (half[~own] == torch.finfo(torch.bfloat16).min).all()
    assert_close(half[own].float(), exact[own], atol=0.05 * exact[own].abs().max().item())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = make()(**texts(), labels=own_labels())
        logits = make()(**texts()).logits
    mixed.loss.backward()
    assert mixed.loss.isfinite()
    assert logits.dtype == torch.bfloat16


def test_checkpointing_gives_the_same_gradients():
    found = []
    for checkpointed in (False, True):
        model = make().train()
        if checkpointed:
            newer = getattr(model, "activation_checkpointing_enable", None)
            (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})
        torch.manual_seed(3)
        model(**texts(), labels=own_labels()).loss.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*found, strict=True):
        assert_close(checkpointed, plain)


@pytest.mark.slow
def test_accumulated_gradients_train_as_one_batch_does(tmp_path):
    whole = texts() | {"labels": own_labels()}
    order = (0, 1, 2, 1)
    examples = [{name: value[row] for name, value in whole.items()} for row in order]
    without_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    ends = [trained(make(**without_dropout), examples, batch, str(tmp_path)) for batch in (4, 1)]
    one, accumulated = (torch.cat([p.detach().flatten() for p in model.parameters()]) for model in ends)
    before = torch.cat([parameter.detach().flatten() for parameter in make().parameters()])
    assert (one - before).abs().max() > 0.01
    assert_close(accumulated, one)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [TreLMForSequenceClassification, TreLMForQuestionAnswering])
def test_a_task_is_learned_in_one_language_and_done_in_another(kind, tmp_path):
    labels = {"labels": torch.tensor([0, 1, 1])}
    if kind is TreLMForQuestionAnswering:
        labels = {"start_positions": torch.tensor([0, 1, 1]), "end_positions": torch.tensor([2, 3, 4])}
    english = {"input_ids": ids(3, 7, below=60), "attention_mask": torch.ones(3, 7, dtype=torch.int64)} | labels
    examples = [{name: value[row] for name, value in english.items()} for row in range(3)]
    by_default, by_name = make(kind), make(kind)
    by_default.set_language("en")
    trained(by_default, examples, 3, str(tmp_path))
    trained(by_name, [example | {"lang_ids": torch.tensor(0)} for example in examples], 3, str(tmp_path))
    assert torch.equal(by_default.part("embeddings.de")[0], make(kind).part("embeddings.de")[0])
    assert not torch.equal(by_default.part("embeddings.en")[0], make(kind).part("embeddings.en")[0])
    by_default.set_language("de")
    by_default.eval(), by_name.eval()
    german = ids(2, 7, below=50, seed=4)
    assert_close(by_default(german)[0], by_name(german)[0])
    by_default.save_pretrained(tmp_path / "saved")
    assert torch.equal(kind.from_pretrained(tmp_path / "saved")(german)[0], by_default(german)[0])


@pytest.mark.parametrize(
    ("field", "languages", "language", "size"),
    [
        ("input_ids", torch.arange(3), "en", 60),
        ("input_ids", None, "de", 50),
        ("labels", torch.arange(3), "en", 60),
        ("labels", torch.tensor([[1] * 9, [1] * 9, [2] * 9]), "de", 50),
    ],
)
def test_ids_that_a_language_does_not_have_are_refused(field, languages, language, size):
    text = ids(3, 9, below=50)
    given = {"input_ids": text, "labels": text.clone(), "lang_ids": languages}
    make()(**given)
    given[field][0, 2] = size
    message = f"Token id {size} stands in a text of '{language}', whose vocabulary has {size} rows; expected ids below"
    with pytest.raises(ValueError, match=message):
        make()(**given)


def test_languages_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"Language id 3 is not one of this model's: 0 \(en\), 1 \(de\), 2 \(to\)"):
        make()(**texts() | {"lang_ids": torch.tensor([0, 3, 0])})


def others(**changed: object) -> dict[str, object]:
    return {"en": {"vocab_size": 60}, "to": {"vocab_size": 70}} | changed


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({"separate_embeddings": False}, "other_vocabularies is given without separate_embeddings"),
        ({"other_vocabularies": None}, "other_vocabularies is of no language; expected en, to: every language but"),
        ({"other_vocabularies": others(de={"vocab_size": 5})}, "other_vocabularies is of de, en, to; expected en, to"),
        ({"other_vocabularies": others(en={})}, "vocab_size of 'en' is None; expected a number > 0"),
        ({"other_vocabularies": others(en={"vocab_size": 0})}, "vocab_size of 'en' is 0; expected a number > 0"),
        (
            {"other_vocabularies": others(en={"vocab_size": 5, "pad_token_id": 5})},
            "pad_token_id of 'en' is 5; expected",
        ),
        (
            {"other_vocabularies": others(en={"vocab_size": 5, "mask": 1})},
            "'en' has the field 'mask'; expected some of",
        ),
        ({"other_vocabularies": others(en={"vocab_size": "5"})}, "other_vocabularies"),
        ({"other_vocabularies": [60, 70]}, "other_vocabularies"),
        ({"mask_token_id": 50}, "mask_token_id of 'de' is 50; expected from 0 to below its vocab_size, 50"),
        ({"separate_embeddings": "yes"}, "separate_embeddings"),
        (
            {"languages": ["e.n", "de"], "other_vocabularies": {"e.n": {"vocab_size": 5}}},
            "languages has the code 'e.n'; expected letters, digits, - and _",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused(overrides, match):
    with pytest.raises(StrictDataclassError, match=match):
        config(**overrides)


def test_codes_with_a_region_are_languages_too(tmp_path):
    model = TreLMForMaskedLM(
        TreLMConfig(
            **SHAPE
            | {"languages": ["en", "en-GB", "zh_Hant"], "separate_embeddings": True, "tri_layer_index": None}
            | {"other_vocabularies": {"en": {"vocab_size": 5}, "en-GB": {"vocab_size": 6}}}
        )
    )
    model.save_pretrained(tmp_path)
    again = TreLMForMaskedLM.from_pretrained(tmp_path)
    for code, size in (("en", 5), ("en-GB", 6), ("zh_Hant", 60)):
        again.set_language(code)
        assert len(again.get_output_embeddings().weight) == size
        assert again.get_output_embeddings().weight is again.get_input_embeddings().weight


def saved(folder, **overrides: object):
    """A folder with a model of English and German, and both tokenizers: the German one at the root."""
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    source = tiny.model("bert", english)
    model = TreLMForMaskedLM.from_encoder(
        source, languages=["en", "de"], tokenizers=[english, german], **{"tri_layer_index": None} | overrides
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    english.save_pretrained(folder / "english")
    tiny.save(model, german, folder)
    return model


def test_stock_code_sees_a_model_of_the_default_language(tmp_path):
    model = saved(tmp_path)
    filler = pipeline("fill-mask", model=str(tmp_path))
    tok = AutoTokenizer.from_pretrained(tmp_path)
    answers = filler("Der [MASK] schläft.", top_k=3)
    inputs = tok("Der [MASK] schläft.", return_tensors="pt")
    at = inputs["input_ids"][0].tolist().index(tok.mask_token_id)
    best = model(inputs["input_ids"]).logits[0, at].topk(3).indices.tolist()
    assert [answer["token"] for answer in answers] == best
    (tmp_path / "text.txt").write_text("Der Hund schläft.\nDie Katze trinkt Milch.\n", encoding="utf-8")
    assert evaluate_checkpoint(str(tmp_path), str(tmp_path / "text.txt"), 16).bits_per_byte > 0
    assert AutoTokenizer.from_pretrained(tmp_path, subfolder="english").get_vocab() == (
        tiny.tokenizer("en", "wordpiece").get_vocab()
    )


ELSEWHERE = (
    WITHOUT_HF_XLT[: WITHOUT_HF_XLT.index("import torch, transformers")]
    + """
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification
from safetensors.torch import save_file

folder, output = sys.argv[1:]
model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True).eval()
ids = torch.arange(5, 25).view(2, 10)
found = {"mixed": model(ids, lang_ids=torch.tensor([0, 1])).logits}
found["states"] = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()(ids).last_hidden_state
tagger = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True)
tagger.set_language("en")
found["english words"] = tagger.get_input_embeddings().weight
model.save_pretrained(output + "/again")
again = AutoModelForMaskedLM.from_pretrained(output + "/again", trust_remote_code=True).eval()
found["again"] = again(ids, lang_ids=torch.tensor([0, 1])).logits
with open(output + "/said.json", "w") as file:
    json.dump({"module": type(model).__module__}, file)
save_file({name: tensor.detach().clone() for name, tensor in found.items()}, output + "/found.safetensors")
"""
)


@pytest.mark.slow
def test_a_folder_opens_and_saves_without_this_package_and_what_it_exports_needs_no_code(tmp_path):
    model = saved(tmp_path / "model")
    env = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "model"), str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, check=True)
    found, said = load_file(tmp_path / "found.safetensors"), json.loads((tmp_path / "said.json").read_text())
    text, both = torch.arange(5, 25).view(2, 10), torch.tensor([0, 1])
    assert_close(found["mixed"], model(text, lang_ids=both).logits)
    assert torch.equal(found["again"], found["mixed"])
    assert_close(found["states"], model.trelm(text).last_hidden_state)
    assert torch.equal(found["english words"], model.trelm.embeddings.word_embeddings["en"].weight)
    assert said["module"].startswith("transformers_modules.")
    assert {path.name for path in (tmp_path / "again").glob("*.py")} == CODE
    assert type(AutoModel.from_pretrained(tmp_path / "model")) is TreLMModel
    model.export("de").save_pretrained(tmp_path / "german")
    german = AutoModelForMaskedLM.from_pretrained(tmp_path / "german").eval()
    assert not list((tmp_path / "german").glob("*.py"))
    assert type(german).__module__.startswith("transformers.")
    assert_close(german(text).logits, model(text).logits)

"""Layers of which each language has its own: mixed batches, parts, conversion, export, files."""

import json
import os
import subprocess
import sys

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_bilingual import LANGUAGES, SIZES, config, own_labels, texts
from test_bilingual_conversion import german, words
from test_bilingual_recipe import places, shipped  # noqa: F401
from test_trelm import MODELS, assert_close, ids, links
from test_trelm_conversion import ALL_BODIES, padded, source
from test_trelm_hub import CODE, WITHOUT_HF_XLT
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForMaskedLM

from hf_xlt.errors import InputError
from hf_xlt.recipes import load_recipe, recipe_from
from hf_xlt.recipes.settings import SettingError
from hf_xlt.runs import check_recipe, run_recipe
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM, TreLMForSequenceClassification, TreLMModel
from hf_xlt.trelm.modeling_trelm import LanguageLayer, own_name

JOINT = {"separate_embeddings": False, "other_vocabularies": None, "vocab_size": 70}
VOCABULARIES = pytest.mark.parametrize("vocabulary", [{}, JOINT], ids=["separate", "joint"])
LAYERS = pytest.mark.parametrize("layers", [1, 4, (1, 3)])
ORDERS = st.lists(st.integers(0, 2), min_size=1, max_size=6)


def make(kind: type = TreLMForMaskedLM, layers: object = 2, **overrides: object) -> nn.Module:
    """A model whose every weight is random, in double precision, so that rounding hides nothing."""
    torch.manual_seed(0)
    model = kind(config(language_specific_layers=layers, **overrides)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def batch(order: list[int], side: str = "right") -> dict[str, Tensor]:
    """A text in each of these languages, all of different lengths."""
    each = [texts(9, 6, 2, side=side), texts(3, 8, 9, side=side)]
    rows = [(each[at % 2], language) for at, language in enumerate(order)]
    return {name: torch.stack([found[name][row] for found, row in rows]) for name in each[0]}


def alone(model: nn.Module, inputs: dict[str, Tensor], row: int, **more: object) -> nn.Module:
    """What the model makes of one text in its language, which is the default one then."""
    before = model.config.default_language
    model.set_language(LANGUAGES[inputs["lang_ids"][row]])
    outputs = model(**{name: value[row : row + 1] for name, value in inputs.items() if name != "lang_ids"}, **more)
    model.set_language(before)
    return outputs


def shared_by_all(model: TreLMModel, language: str) -> TreLMModel:
    """One language's layers in a model of the same kind, which has no others."""
    plain = type(model)(config(**JOINT, language_specific_layers=0)).double().eval()
    state = {name.replace(f".{own_name(language)}", ""): tensor for name, tensor in model.state_dict().items()
             if "lang_" not in name or f".{own_name(language)}." in name}  # fmt: skip
    plain.load_state_dict(state)
    plain.set_language(language)
    return plain


def exactly(a: Tensor, b: Tensor) -> None:
    assert_close(a, b, atol=1e-10)


@LAYERS
@VOCABULARIES
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_mixed_batch_gives_what_each_text_gives_alone(layers, vocabulary, side, attention):
    model = make(layers=layers, **vocabulary, position_offset=4, attn_implementation=attention)
    inputs = batch([2, 0, 1, 2, 0], side)
    mixed = model(**inputs).logits
    for row, language in enumerate(inputs["lang_ids"]):
        real, size = inputs["attention_mask"][row].bool(), SIZES[LANGUAGES[language]] if not vocabulary else 70
        exactly(mixed[row, real, :size], alone(model, inputs, row).logits[0, real])


@settings(max_examples=15, deadline=None)
@given(ORDERS, st.sets(st.integers(0, 3)), st.integers(0, 1000))
@pytest.mark.slow
def test_a_mixed_batch_is_what_a_loop_over_texts_and_plain_models_computes(order, layers, seed):
    model = make(TreLMModel, tuple(layers), **JOINT)
    plain = [shared_by_all(model, language) for language in LANGUAGES]
    inputs = {"input_ids": ids(len(order), 7, below=50, seed=seed), "lang_ids": torch.tensor(order)}
    states = model(**inputs).last_hidden_state
    expected = torch.cat([plain[number](inputs["input_ids"][row, None]).last_hidden_state
                          for row, number in enumerate(order)])  # fmt: skip
    exactly(states, expected)
    aim = torch.randn(states.shape, generator=torch.Generator().manual_seed(seed), dtype=states.dtype)
    (states * aim).sum().backward()
    (expected * aim).sum().backward()
    gradients = [{name: p.grad for name, p in each.named_parameters()} for each in plain]
    for name, parameter in model.named_parameters():
        for number, language in enumerate(LANGUAGES):
            if f".{own_name(language)}." not in name:
                continue
            of_plain = gradients[number][name.replace(f".{own_name(language)}", "")]
            assert (parameter.grad is None) == (number not in order)
            if of_plain is not None:
                assert_close(parameter.grad, of_plain, atol=1e-8)
        if "lang_" not in name:
            found = [each[name] for each in gradients if each[name] is not None]
            assert_close(parameter.grad, sum(found), atol=1e-8)


@VOCABULARIES
def test_the_loss_of_a_mixed_batch_is_that_of_its_texts(vocabulary):
    model, inputs, labels = make(**vocabulary), texts(), own_labels().clamp(max=49)
    loss = model(**inputs, labels=labels).loss
    loss.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for row in range(3):
        total = total + nn.functional.cross_entropy(alone(model, inputs, row).logits[0], labels[row], reduction="sum")
    expected = total / (labels != -100).sum()
    expected.backward()
    assert_close(loss.double(), expected)  # transformers' losses are single precision
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        assert_close(gradient, parameter.grad)


class Operations(TorchDispatchMode):
    """Notes what is computed of numbers that are not whole."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **kwargs or {})
        if isinstance(found, Tensor) and found.is_floating_point():
            self.names.append(function.__name__)
        return found


def operations(model: nn.Module, **inputs: Tensor) -> list[str]:
    with Operations() as noted:
        model(**inputs)
    return noted.names


def test_a_batch_of_one_language_costs_what_shared_layers_do():
    own, shared = (make(TreLMModel, layers, **JOINT) for layers in (4, 0))
    text = ids(3, 7, below=50)
    for languages in ({}, {"lang_ids": torch.zeros(3, dtype=torch.int64)}):
        assert operations(own, input_ids=text, **languages) == operations(shared, input_ids=text, **languages)


def test_texts_are_put_in_order_once_whatever_the_layers():
    text = ids(4, 7, below=50)
    for layers, order, moves in (((0, 2, 3), [1, 0, 1, 2], 2), ((0, 2, 3), [0, 1, 1, 2], 0), ((), [1, 0, 1, 2], 0)):
        model = make(TreLMModel, layers, **JOINT)
        words = model.embeddings.words(text, None)
        names = operations(model, inputs_embeds=words, lang_ids=torch.tensor(order))
        assert sum(name.startswith("index_select") for name in names) == moves


def test_no_own_layers_are_the_shared_model_to_the_bit():
    original = source("bert")
    default, none = (
        TreLMForMaskedLM.from_encoder(original, languages=["en", "de"], tri_layer_index=None, **more)
        for more in ({}, {"language_specific_layers": 0})
    )
    inputs = padded(original, "left") | {"lang_ids": torch.tensor([1, 0, 1])}
    assert default.state_dict().keys() == none.state_dict().keys()
    assert torch.equal(default(**inputs).logits, none(**inputs).logits)
    assert default.config.to_dict() == none.config.to_dict()
    assert default.config.language_specific_layers == []


def test_with_all_its_own_a_language_is_independent_of_the_others():
    model, inputs = make(layers=4), batch([0, 1, 2])
    before = model(**inputs).logits
    with torch.no_grad():
        for parameter in [*model.part("embeddings.de"), *model.part("layers.de")]:
            parameter.zero_()
    after = model(**inputs).logits
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])
    model.zero_grad()
    english = {name: value[:1] for name, value in batch([0]).items()}
    model(**english, labels=english["input_ids"]).loss.backward()
    assert all(parameter.grad is None for parameter in model.part("layers.de"))
    shared = {name for name, parameter in model.named_parameters() if "lang_" not in name}
    assert {name.split(".weight")[0].split(".bias")[0] for name in shared} == {
        "trelm.embeddings.position_embeddings",
        "trelm.embeddings.token_type_embeddings",
        "trelm.embeddings.language_embeddings",
        "trelm.embeddings.norm",
        "head.dense",
        "head.norm",
    }


def test_recorded_states_and_attentions_come_back_in_the_order_of_the_texts():
    model = make(layers=(0, 2), attn_implementation="eager")
    inputs = batch([2, 0, 1, 0])
    asked = {"output_hidden_states": True, "output_attentions": True}
    mixed = model(**inputs, **asked)
    assert (len(mixed.hidden_states), len(mixed.attentions)) == (5, 4)
    exactly(mixed.hidden_states[-1], model.trelm(**inputs).last_hidden_state)
    assert torch.equal(model.trelm(**inputs, **asked, return_dict=False)[1][2], mixed.hidden_states[2])
    for row in range(4):
        real = inputs["attention_mask"][row].bool()
        one = alone(model, inputs, row, **asked)
        for name in asked:
            for all_, its in zip(mixed[name.removeprefix("output_")], one[name.removeprefix("output_")], strict=True):
                at = (slice(None), real) if name == "output_attentions" else (real,)
                exactly(all_[row][at], its[0][at])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_language_may_be_given_for_each_token_of_a_text_and_padding_does_not_count(side):
    model, inputs = make(), batch([2, 1, 2], side)
    expected = model(**inputs).logits
    real = inputs["attention_mask"].bool()
    per_token = torch.where(real, inputs["lang_ids"][:, None], 0)
    assert_close(model(**inputs | {"lang_ids": per_token}).logits[real], expected[real], atol=1e-10)
    per_token[1, real[1].nonzero()[1]] = 0
    message = "lang_ids gives text 1 several languages; expected one a text, since layers 0, 1 are each language's own"
    with pytest.raises(ValueError, match=message):
        model(**inputs | {"lang_ids": per_token})


def test_one_language_may_be_given_for_all_texts():
    model, text = make(layers=2), ids(3, 7, below=50)
    expected = model(text, lang_ids=torch.zeros(3, dtype=torch.int64)).logits
    assert torch.equal(model(text, lang_ids=torch.tensor([0])).logits, expected)


def test_texts_without_a_language_are_in_the_default_one(tmp_path):
    model, text = make(), ids(2, 7, below=50)
    for number, language in enumerate(LANGUAGES):
        model.set_language(language)
        exactly(model(text).logits, model(text, lang_ids=torch.full((2,), number)).logits[..., : SIZES[language]])
    model.set_language("en")
    model.save_pretrained(tmp_path)
    assert torch.equal(TreLMForMaskedLM.from_pretrained(tmp_path, dtype="auto")(text).logits, model(text).logits)


def test_below_a_tri_layer_the_source_languages_layers_are_used():
    model = make(tri_layer_index=2, layers=2)
    target = {"alignment": links(4, 12, 9), "target_lang_ids": torch.tensor([1, 2, 1, 0])}
    target["target_attention_mask"] = torch.ones(4, 12, dtype=torch.int64)
    target["target_attention_mask"][2, 8:] = 0
    inputs = batch([2, 0, 1, 0]) | target
    mixed = model(**inputs).logits
    for row in range(4):
        one = {name: value[row : row + 1] for name, value in inputs.items()}
        exactly(mixed[row], model(**one).logits[0])
        other = model(**one | {"lang_ids": (one["lang_ids"] + 1) % 3, "input_ids": one["input_ids"].clamp(max=49)})
        assert not torch.equal(other.logits[0], mixed[row])


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("place", [{}, {"tri_layer_index": 2}])
@VOCABULARIES
def test_parts_hold_every_parameter_once(kind, place, vocabulary):
    model = make(kind, (1,), **place, **vocabulary)
    parts = model.parts()
    own = [] if vocabulary else [f"embeddings.{code}" for code in LANGUAGES]
    layers = ["lower", *(f"lower.{code}" for code in LANGUAGES), "tri_layer", "upper"]
    layers = layers if place else ["layers", *(f"layers.{code}" for code in LANGUAGES)]
    assert list(parts) == ["embeddings", *own, *layers, "head"]
    held = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_a_languages_layers_freeze_and_train_by_name():
    model = make(layers=(0, 2))
    model.set_trainable(["layers.de"])
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(names) == 2 * 16
    assert {name.split(".")[2] for name in names} == {"0", "2"}
    assert all(".lang_de." in name for name in names)
    model.requires_grad_(True)
    model.freeze("layers")
    training = {name: {parameter.requires_grad for parameter in part} for name, part in model.parts().items()}
    frozen = {"layers", *(f"layers.{code}" for code in LANGUAGES)}
    assert training == {name: {name not in frozen} for name in training}
    with pytest.raises(ValueError, match=r"'layers.fr' is not a part of this model; expected one of .*layers.de"):
        model.freeze("layers.fr")


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("vocabulary", [{}, JOINT | {"tri_layer_index": 3}])
def test_a_model_comes_back_equal_to_the_bit(kind, vocabulary, tmp_path):
    model = make(kind, (0, 2), **vocabulary)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["language_specific_layers"] == [0, 2]
    again = kind.from_pretrained(tmp_path, dtype="auto")
    assert again.config.to_diff_dict() == model.config.to_diff_dict()
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    exactly(again(**batch([1, 0, 2]))[0], model(**batch([1, 0, 2]))[0])


def test_new_models_begin_with_weights_of_each_languages_own():
    torch.manual_seed(0)
    layer = TreLMModel(config(language_specific_layers=1)).layers[0]
    english, tongan = (layer.attention.query[code].weight for code in ("en", "to"))
    assert isinstance(layer, LanguageLayer)
    assert not torch.equal(english, tongan)
    assert 0.01 < english.std() < 0.03


def test_checkpointing_gives_the_same_gradients():
    found = []
    for checkpointed in (False, True):
        model = make().train()
        if checkpointed:
            newer = getattr(model, "activation_checkpointing_enable", None)
            (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})
        assert sum(getattr(module, "gradient_checkpointing", False) for module in model.modules()) == 4 * checkpointed
        torch.manual_seed(3)
        model(**batch([1, 0, 2]), labels=texts()["input_ids"][[1, 0, 2]].clamp(max=49)).loss.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*found, strict=True):
        exactly(checkpointed, plain)


@pytest.mark.slow
def test_a_compiled_encoder_computes_the_same():
    model, inputs = make(TreLMModel, **JOINT), batch([1, 0, 2])
    compiled = torch.compile(model, backend="eager")
    exactly(compiled(**inputs).last_hidden_state, model(**inputs).last_hidden_state)
    german_text = {"input_ids": inputs["input_ids"]}
    whole = torch.compile(model, backend="eager", fullgraph=True)
    exactly(whole(**german_text).last_hidden_state, model(**german_text).last_hidden_state)


def test_a_text_is_classified_by_its_languages_layers():
    model, inputs = make(TreLMForSequenceClassification), batch([2, 0, 1])
    mixed = model(**inputs).logits
    for row in range(3):
        exactly(mixed[row], alone(model, inputs, row).logits[0])


def converted(kind: str, layers: object = (0, 2), **options: object) -> TreLMForMaskedLM:
    return TreLMForMaskedLM.from_encoder(
        source(kind), languages=["en", "de"], tri_layer_index=None, language_specific_layers=layers, **options
    )


@ALL_BODIES
def test_each_languages_layers_begin_as_the_sources(kind):
    model, original = converted(kind), source(kind)
    inputs = padded(original, "left")
    for number in (0, 1):
        logits = model(**inputs, lang_ids=torch.full((3,), number)).logits
        assert_close(logits, original(**inputs).logits)
    english, other = (model.trelm.layers[2].output[code].weight for code in ("en", "de"))
    assert torch.equal(english, other)
    assert english.data_ptr() != other.data_ptr()
    assert not isinstance(model.trelm.layers[1], LanguageLayer)


def test_a_tri_layer_is_still_a_copy_of_the_layer_that_follows():
    model = TreLMForMaskedLM.from_encoder(source("bert"), languages=["en", "de"], language_specific_layers=2)
    copy, following = model.trelm.tri_layer.layer, model.trelm.layers[2]
    assert torch.equal(copy.output.weight, following.output.weight)
    assert model.config.own_layers == [0, 1]


@ALL_BODIES
@pytest.mark.parametrize("separate", [True, False])
def test_an_exported_language_computes_what_the_model_does(kind, separate):
    original = source(kind)
    tokenizers = {"tokenizers": [words(90, original.config.pad_token_id), words(70, 3)]} if separate else {}
    model = converted(kind, 3, **tokenizers)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    for number, language in enumerate(("en", "de")):
        inputs = german(3, "left") if separate and number else padded(original, "left")
        model.set_language(language)
        exported = model.export(language)
        assert type(exported) is type(original)
        assert_close(exported(**inputs).logits, model(**inputs).logits)
        again = TreLMForMaskedLM.from_encoder(exported, languages=["de"], tri_layer_index=None)
        assert_close(again(**inputs).logits, model(**inputs).logits)
    assert not torch.equal(model.export("en").base_model.encoder.layer[0].output.dense.weight,
                           model.export("de").base_model.encoder.layer[0].output.dense.weight)  # fmt: skip


ELSEWHERE = (
    WITHOUT_HF_XLT[: WITHOUT_HF_XLT.index("import torch, transformers")]
    + """
import torch
from transformers import AutoModel, AutoModelForMaskedLM
from safetensors.torch import save_file

folder, output = sys.argv[1:]
model = AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True).eval()
ids, both = torch.arange(5, 25).view(2, 10), torch.tensor([1, 0])
found = {"mixed": model(ids, lang_ids=both).logits}
found["states"] = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()(ids).last_hidden_state
model.save_pretrained(output + "/again")
again = AutoModelForMaskedLM.from_pretrained(output + "/again", trust_remote_code=True).eval()
found["again"] = again(ids, lang_ids=both).logits
save_file({name: tensor.detach().clone() for name, tensor in found.items()}, output + "/found.safetensors")
"""
)


@pytest.mark.slow
def test_a_folder_opens_and_saves_without_this_package(tmp_path):
    model = converted("bert", 2)
    with torch.no_grad():
        for parameter in model.part("layers.de"):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    model.save_pretrained(tmp_path / "model")
    env = os.environ | {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "model"), str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, check=True)
    found = load_file(tmp_path / "found.safetensors")
    text, both = torch.arange(5, 25).view(2, 10), torch.tensor([1, 0])
    assert_close(found["mixed"], model(text, lang_ids=both).logits)
    assert torch.equal(found["again"], found["mixed"])
    assert_close(found["states"], model.trelm(text).last_hidden_state)
    assert {path.name for path in (tmp_path / "again").glob("*.py")} == CODE


@pytest.mark.parametrize(
    ("given", "kept"), [(0, []), (2, [0, 1]), (4, [0, 1, 2, 3]), ((), []), ([3, 1], [1, 3]), ((2,), [2])]
)
def test_layers_are_kept_as_ascending_indices(given, kept, tmp_path):
    made = config(language_specific_layers=given)
    assert made.language_specific_layers == made.own_layers == kept
    made.save_pretrained(tmp_path)
    assert TreLMConfig.from_pretrained(tmp_path).language_specific_layers == kept
    assert TreLMConfig.from_pretrained(tmp_path, language_specific_layers=1).language_specific_layers == [0]
    made.language_specific_layers = 3
    assert made.own_layers == [0, 1, 2]


def test_configurations_of_earlier_versions_open_as_they_were(tmp_path):
    make(TreLMForMaskedLM, 0).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    del saved["language_specific_layers"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    again = TreLMForMaskedLM.from_pretrained(tmp_path, dtype="auto")
    assert again.config.own_layers == []
    assert torch.equal(again(**batch([1, 0])).logits, make(TreLMForMaskedLM, 0)(**batch([1, 0])).logits)


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({"language_specific_layers": 5}, "is 5; expected so many lowest layers, or indices .* of the 4 layers that"),
        ({"language_specific_layers": -1}, r"is -1; expected so many lowest layers.*Give for instance 1 or \[0\]"),
        (
            {"language_specific_layers": [4]},
            r"is \[4\]; expected .* from 0 on, each once, of the 4 layers that the model has",
        ),
        ({"language_specific_layers": [-1, 0]}, r"is \[-1, 0\]; expected .* indices from 0 on"),
        ({"language_specific_layers": [1, 1]}, r"is \[1, 1\]; expected .* each once"),
        ({"language_specific_layers": True}, "expected int, got bool"),
        ({"language_specific_layers": [True]}, "language_specific_layers"),
        ({"language_specific_layers": [0, 2], "tri_layer_index": 2}, "of the 2 layers that lie below the TRILayer"),
        ({"language_specific_layers": 3, "tri_layer_index": 2}, "of the 2 layers that lie below the TRILayer"),
        ({"language_specific_layers": "all"}, "language_specific_layers"),
        ({"language_specific_layers": None}, "language_specific_layers"),
        (
            JOINT | {"language_specific_layers": 1, "languages": ["e.n", "de"]},
            "languages has the code 'e.n'; expected letters, digits, - and _",
        ),
    ],
)
def test_layers_that_are_not_there_are_refused(overrides, match):
    with pytest.raises(StrictDataclassError, match=match):
        config(**overrides)


@pytest.mark.parametrize("layers", [5, [0, 0], [-2], range(3, 5)])
def test_a_source_is_not_converted_with_layers_it_lacks(layers):
    with pytest.raises(StrictDataclassError, match="language_specific_layers is .*; expected so many lowest layers"):
        converted("bert", layers)


def test_languages_that_are_not_there_are_refused():
    for unknown in (3, -1):
        with pytest.raises(ValueError, match=rf"Language id {unknown} is not one of this model's: 0 \(en\), 1 \(de\)"):
            make()(**texts() | {"lang_ids": torch.tensor([0, unknown, 0])})


@pytest.mark.slow
def test_a_recipe_trains_a_model_with_layers_of_each_languages_own(places, tmp_path):  # noqa: F811
    recipe = shipped(places, "trelm.language_specific_layers=1", "stages.1.frozen=[layers.en]")
    assert load_recipe(saved(recipe, tmp_path)) == recipe
    run_recipe(recipe, tmp_path / "out", "x")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    original = AutoModelForMaskedLM.from_pretrained(places / "bert").bert.encoder.layer[0].output.dense.weight
    assert model.config.own_layers == [0]
    assert torch.equal(model.trelm.layers[0].output["en"].weight, original)
    assert not torch.equal(model.trelm.layers[0].output["de"].weight, original)


def saved(recipe, folder):
    (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    return folder / "recipe.yaml"


def test_recipes_that_own_layers_cannot_serve_are_refused(places, tmp_path):  # noqa: F811
    for layers in ("3", "[0,0]", "[-1]"):
        with pytest.raises(InputError, match="cannot become a TreLM: .*language_specific_layers is .*of the 2 layers"):
            run_recipe(shipped(places, f"trelm.language_specific_layers={layers}"), tmp_path / "out", "x")
    trelm = {"languages": ["en", "de"], "tri_layer_index": "none", "language_specific_layers": [0]}
    recipe = {"name": "mine", "initializer": {"method": "random"}, "trelm": trelm}
    assert recipe_from(recipe).trelm.language_specific_layers == (0,)
    stage = {"objective": "tlm", "languages": ["source", "target"]}
    with pytest.raises(SettingError) as raised:
        check_recipe(recipe_from(recipe | {"stages": [stage]}))
    assert raised.value.key == "stages.0.objective"

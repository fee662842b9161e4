"""A saved TreLM folder opens everywhere, with hf_xlt and without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, pipeline
from transformers.dynamic_module_utils import get_imports

from hf_xlt import trelm
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM

HEADS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
CODE = {"configuration_trelm.py", "modeling_trelm.py"}
# Run in a process of its own: opens, saves and opens again what `folder` holds, and writes what it found.
WITHOUT_HF_XLT = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "hf_xlt":
            raise ModuleNotFoundError("No module named 'hf_xlt'", name="hf_xlt")

sys.meta_path.insert(0, Absent())
try:
    import hf_xlt
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("hf_xlt is there")

import torch, transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer, pipeline

folder, bert, output = sys.argv[1:]
trusting = {"trust_remote_code": True}
said = {}
try:
    AutoModelForMaskedLM.from_pretrained(folder)
except ValueError as error:
    said["without trust"] = str(error)

tokenizer = AutoTokenizer.from_pretrained(folder, **trusting)
inputs = tokenizer(["Der Hund schläft.", "Ja, und die Katze trinkt Milch."], padding=True, return_tensors="pt")
inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
target = {"alignment": inputs["input_ids"].argsort(1), "target_lang_ids": torch.tensor([0, 1])}
found = inputs | target

first = AutoModelForMaskedLM.from_pretrained(folder, **trusting)
first.save_pretrained(output + "/again")
second = AutoModelForMaskedLM.from_pretrained(output + "/again", **trusting)
said["module"] = type(first).__module__
said["german"] = AutoConfig.from_pretrained(output + "/again", **trusting).language_id("de")
with torch.no_grad():
    found["logits first"] = first.eval()(**inputs).logits
    found["logits second"] = second.eval()(**inputs).logits
    found["aligned"] = second(**inputs, **target).logits
    for head in ("", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"):
        name = "AutoModel" + head
        opened = getattr(transformers, name).from_pretrained(folder, **trusting).eval()
        found["states " + name] = opened.base_model(**inputs).last_hidden_state
        opened.save_pretrained(output + "/" + name)
        assert AutoModel.from_pretrained(output + "/" + name, **trusting).parts()["tri_layer"]

filler = pipeline("fill-mask", model=folder, **trusting)
said["filled"] = filler("Der [MASK] schläft.", top_k=1)[0]["token_str"]
for make in (lambda: type(first).from_encoder(bert, languages=["en", "de"]), lambda: first.export("de")):
    try:
        make()
    except ImportError as error:
        said.setdefault("needs", []).append(str(error))
save_file({name: tensor.contiguous() for name, tensor in found.items()}, output + "/found.safetensors")
with open(output + "/said.json", "w") as file:
    json.dump(said, file)
"""


def model(head: str = "ForMaskedLM", **overrides: object) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    tok = tiny.tokenizer("de", "wordpiece")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    ids = {"pad_token_id": tok.pad_token_id, "mask_token_id": tok.mask_token_id}
    config = TreLMConfig(vocab_size=len(tok), languages=["en", "de"], tri_layer_index=1, **shape | ids | overrides)
    made = getattr(trelm, f"TreLM{head}")(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save(model(), tiny.tokenizer("de", "wordpiece"), tmp_path / "model")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], dict[str, object]]:
    """What a process without hf_xlt finds in a saved folder: tensors, and words."""
    output = tmp_path_factory.mktemp("elsewhere")
    folder = tiny.save(model(), tiny.tokenizer("de", "wordpiece"), output / "model")
    bert = tiny.save(tiny.model("bert", tiny.tokenizer("en", "wordpiece")), None, output / "bert")
    env = os.environ | {"HF_MODULES_CACHE": str(output / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", WITHOUT_HF_XLT, str(folder), str(bert), str(output)]
    subprocess.run(command, cwd=output, env=env, stdin=subprocess.DEVNULL, check=True)
    return load_file(output / "found.safetensors"), json.loads((output / "said.json").read_text())


@pytest.mark.parametrize("head", ["Model", *HEADS])
def test_whichever_class_is_saved_every_auto_class_is_named_and_all_code_is_there(head, tmp_path):
    model(head).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    expected = {f"AutoModel{name}": f"modeling_trelm.TreLM{name}" for name in HEADS}
    expected |= {"AutoModel": "modeling_trelm.TreLMModel", "AutoConfig": "configuration_trelm.TreLMConfig"}
    assert saved["auto_map"] == expected
    assert {path.name for path in tmp_path.glob("*.py")} == CODE
    assert saved["architectures"] == [f"TreLM{head}"]


def test_the_code_that_travels_needs_nothing_of_this_package_but_where_it_says_so():
    files = [Path(trelm.__file__).with_name(name) for name in CODE]
    needed = {name for path in files for name in get_imports(path)} - sys.stdlib_module_names
    assert needed == {"huggingface_hub", "torch", "transformers"}


@pytest.mark.parametrize(
    "imports",
    [
        "import hf_xlt",
        "from transformers import AutoModelForMaskedLM; import hf_xlt",
        "import hf_xlt.trelm.modeling_trelm",
    ],
)
@pytest.mark.slow
def test_a_folder_opens_whichever_package_is_imported_first(imports, folder):
    program = f"""{imports}
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer
assert AutoTokenizer.from_pretrained({str(folder)!r}).mask_token == "[MASK]"
print(AutoConfig.from_pretrained({str(folder)!r}).__class__.__module__)
print(AutoModelForMaskedLM.from_pretrained({str(folder)!r}).__class__.__module__)
print(AutoModel.from_pretrained({str(folder)!r}).__class__.__name__)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hf_xlt.trelm.configuration_trelm", "hf_xlt.trelm.modeling_trelm", "TreLMModel"]


@pytest.mark.parametrize("head", HEADS)
def test_auto_classes_open_a_saved_masked_lm_here(head, folder):
    auto = getattr(transformers, f"AutoModel{head}")
    opened = auto.from_pretrained(folder)
    assert type(opened) is getattr(trelm, f"TreLM{head}")
    assert torch.equal(opened.base_model.layers[0].output.weight, model().base_model.layers[0].output.weight)
    assert type(AutoModel.from_pretrained(folder)) is trelm.TreLMModel


def test_entries_of_another_repository_are_replaced_and_a_users_own_are_kept(tmp_path):
    made = model()
    made.config.auto_map = {"AutoModel": "someone/trelm--modeling_trelm.TreLMModel", "AutoModelForCTC": "mine.Speech"}
    made.save_pretrained(tmp_path)
    auto_map = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert auto_map["AutoModel"] == "modeling_trelm.TreLMModel"
    assert auto_map["AutoModelForCTC"] == "mine.Speech"


@pytest.mark.slow
def test_a_folder_opens_saves_and_opens_again_without_this_package(elsewhere):
    found, said = elsewhere
    given = {name: found[name] for name in ("input_ids", "attention_mask")}
    target = {name: found[name] for name in ("alignment", "target_lang_ids")}
    made = model()
    with torch.no_grad():
        expected = {"logits": made(**given).logits, "aligned": made(**given, **target).logits}
        expected["states"] = made.trelm(**given).last_hidden_state
    results = found.keys() - given.keys() - target.keys()
    assert len(results) == 7
    for name in results:
        torch.testing.assert_close(found[name], expected[name.split()[0]], rtol=0, atol=1e-6)
    assert said["module"].startswith("transformers_modules.")
    assert said["german"] == 1


@pytest.mark.slow
def test_fill_mask_works_without_this_package(elsewhere):
    local = pipeline("fill-mask", model=model(), tokenizer=tiny.tokenizer("de", "wordpiece"))
    assert local("Der [MASK] schläft.", top_k=1)[0]["token_str"] == elsewhere[1]["filled"]


def test_conversion_and_export_say_that_they_need_this_package(elsewhere):
    assert [message.split()[0] for message in elsewhere[1]["needs"]] == ["from_encoder", "export"]
    assert all("pip install hf-xlt" in message for message in elsewhere[1]["needs"])


def test_without_trust_the_message_says_what_to_do(elsewhere):
    expected = "Please pass the argument `trust_remote_code=True` to allow custom code to be run."
    assert expected in elsewhere[1]["without trust"]


def test_fill_mask_works_here(folder):
    filler = pipeline("fill-mask", model=str(folder))
    answers = filler(["Der [MASK] schläft.", "Die Katze trinkt [MASK]."], top_k=3)
    assert isinstance(filler.model, TreLMForMaskedLM)
    assert [len(each) for each in answers] == [3, 3]
    tok = tiny.tokenizer("de", "wordpiece")
    inputs = tok("Der [MASK] schläft.", return_tensors="pt")
    at = inputs["input_ids"][0].tolist().index(tok.mask_token_id)
    best = model()(inputs["input_ids"]).logits[0, at].topk(3).indices.tolist()
    assert [answer["token"] for answer in answers[0]] == best

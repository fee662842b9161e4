"""What docs/serving.md tells to do with a result works as it stands there, with a tiny model by the name it gives."""

import copy
import json
from pathlib import Path

import pytest
import tiny
import torch
from markdown_it import MarkdownIt
from transformers import AutoTokenizer

from hf_xlt import RandomInitializer
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer

PAGE = Path(__file__).parents[1] / "docs" / "serving.md"
FENCES = [token for token in MarkdownIt().parse(PAGE.read_text(encoding="utf-8")) if token.type == "fence"]
STATIC, EXPORT, ONNX, GGUF = (token.content for token in FENCES if token.info == "python")
TEMPLATE = "{% for message in messages %}{{ bos_token }}{{ message['content'] }}{% endfor %}"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def results(request, tmp_path_factory):
    """A folder with a result: a chat model, whose table is padded, with the tokens of another language added."""
    place, own = tmp_path_factory.mktemp("served"), copy.deepcopy(tiny.tokenizer("en", "byte-level-bpe"))
    own.chat_template = TEMPLATE
    model = tiny.model("llama", own, rows=640, seed=1, tie_word_embeddings=request.param)
    more = extend_tokenizer(own, sentences("de", "train"), 50)
    RandomInitializer(tiny.save(model, own, place / "source"), more).build(place / "smollm2-german")
    return place


@pytest.fixture
def served(results, tmp_path, monkeypatch):
    """The same from within, with what the page's first block defines."""
    (tmp_path / "smollm2-german").symlink_to(results / "smollm2-german")
    monkeypatch.chdir(tmp_path)
    return run(STATIC, {})


def run(block, known):
    exec(compile(block, PAGE.name, "exec"), known)
    return known


def test_a_static_cache_writes_what_a_dynamic_one_does(served):
    dynamic = served["model"].generate(**served["inputs"], max_new_tokens=24, do_sample=False)
    assert served["written"].tolist() == dynamic.tolist()
    assert served["written"].shape[1] > served["inputs"]["input_ids"].shape[1]


@pytest.mark.slow
def test_an_exported_program_gives_the_same_logits_for_texts_of_any_length(served):
    run(EXPORT, served)
    opened = torch.export.load("smollm2-german.pt2").module()
    for text in ("Das Wasser ist", *sentences("de", "held_out")[:3]):
        inputs = served["tokenizer"](text, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            torch.testing.assert_close(opened(**inputs).logits, served["model"](**inputs).logits)


@pytest.mark.slow
def test_onnx_gives_the_same_logits(served):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    run(EXPORT, served)
    run(ONNX, served)
    session = runtime.InferenceSession("smollm2-german.onnx")
    for text in ("Das Wasser ist", *sentences("de", "held_out")[:3]):
        inputs = served["tokenizer"](text, return_tensors="pt", return_token_type_ids=False)
        (found,) = session.run(None, {name: ids.numpy() for name, ids in inputs.items()})
        with torch.inference_mode():
            wanted = served["model"](**inputs).logits
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-5)


def test_gguf_metadata_say_of_the_vocabulary_what_the_folder_does(served):
    gguf = pytest.importorskip("gguf")
    run(GGUF, served)
    fields = gguf.GGUFReader("vocabulary.gguf").fields
    found = {name.removeprefix("tokenizer."): field.contents() for name, field in fields.items()}
    stored = json.loads(Path("smollm2-german/tokenizer.json").read_text(encoding="utf-8"))
    special = {token["id"] for token in stored["added_tokens"] if token["special"]}
    spelled = {id_: token for token, id_ in stored["model"]["vocab"].items()}
    spelled |= {token["id"]: token["content"] for token in stored["added_tokens"]}
    config = json.loads(Path("smollm2-german/config.json").read_text(encoding="utf-8"))
    assert len(spelled) < config["vocab_size"] == len(found["ggml.tokens"]) == len(found["ggml.token_type"])
    for id_, (token, kind) in enumerate(zip(found["ggml.tokens"], found["ggml.token_type"], strict=True)):
        assert token == spelled.get(id_, f"[PAD{id_}]")
        control = gguf.TokenType.CONTROL if id_ in special else gguf.TokenType.NORMAL
        assert kind == (control if id_ in spelled else gguf.TokenType.UNUSED)
    assert found["ggml.merges"] == [" ".join(pair) for pair in stored["model"]["merges"]]
    assert (found["ggml.model"], found["ggml.pre"]) == ("gpt2", "gpt-2")
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    tokenizer = AutoTokenizer.from_pretrained("smollm2-german")
    ids = {name: getattr(tokenizer, f"{role}_token_id") for role, name in names.items()}
    told = {name: found.get(f"ggml.{name}_token_id") for name in ids}
    assert told == ids
    assert found["chat_template"] == TEMPLATE

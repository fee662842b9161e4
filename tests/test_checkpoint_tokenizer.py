"""Opening tokenizers: one function, no question, and one line for what cannot be opened."""

import json
import subprocess
import sys

import pytest
import tiny
from test_checkpoint import permuting

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.initializers.baselines import MeanInitializer

CODE = """
from transformers import PreTrainedTokenizerFast
class Mine(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def folder(tmp_path):
    tiny.tokenizer("de", "wordpiece").save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def change(folder, **settings):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def only(folder, tokenizer_class, **files):
    """Leave nothing but a class and its files."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": tokenizer_class}))
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.fixture
def custom(folder):
    change(folder, tokenizer_class="Mine", auto_map={"AutoTokenizer": ["tokenization_mine.Mine", None]})
    (folder / "tokenization_mine.py").write_text(CODE)
    return folder


def test_a_folder_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no tokenizer"):
        open_tokenizer(tmp_path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_tokenizer(tmp_path / "none")


def test_a_name_that_the_hub_does_not_give_is_refused():
    with pytest.raises(InputError, match="The tokenizer of nobody/nothing cannot be opened"):
        open_tokenizer("nobody/nothing")


@pytest.mark.parametrize("content", ['{"version": "1.0", "mod', "{}", '{"model": {"type": "Nonsense"}}', "[]", ""])
def test_a_broken_file_is_refused(content, folder):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match="cannot be opened"):
        open_tokenizer(folder)


def test_a_broken_configuration_is_refused(folder):
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be opened"):
        open_tokenizer(folder)


def test_code_runs_only_where_it_is_allowed(custom):
    with pytest.raises(InputError, match="brings its own code") as refused:
        open_tokenizer(custom)
    assert "--trust-remote-code" in refused.value.hint
    assert type(open_tokenizer(custom, trust_remote_code=True)).__name__ == "Mine"


def test_code_of_a_source_is_not_passed_over_for_a_class_of_transformers(custom):
    tok = tiny.tokenizer("de", "wordpiece")
    tiny.model("bert", tok).save_pretrained(custom)
    with pytest.raises(InputError, match="brings its own code"):
        Checkpoint.open(custom).tokenizer()
    assert type(Checkpoint.open(custom, trust_remote_code=True).tokenizer()).__name__ == "Mine"


@pytest.mark.parametrize("name", ["Mine", "MyTokenizer", "MyTokenizerFast"])
def test_a_model_is_saved_with_code_of_its_tokenizer(name, custom, tmp_path):
    change(custom, tokenizer_class=name, auto_map={"AutoTokenizer": [f"tokenization_mine.{name}", None]})
    (custom / "tokenization_mine.py").write_text(CODE.replace("Mine", name))
    tok = tiny.tokenizer("de", "wordpiece")
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    new = open_tokenizer(custom, trust_remote_code=True)
    target = revocabulary(Checkpoint.open(source), permuting(len(new)), new, tmp_path / "target")
    assert type(open_tokenizer(target, trust_remote_code=True)).__name__ == name
    with pytest.raises(InputError, match="brings its own code"):
        open_tokenizer(target)


@pytest.mark.parametrize("name", ["Mine", "MyTokenizer"])
def test_an_initializer_takes_a_tokenizer_with_code_that_was_allowed(name, custom, tmp_path):
    change(custom, tokenizer_class=name, auto_map={"AutoTokenizer": [f"tokenization_mine.{name}", None]})
    (custom / "tokenization_mine.py").write_text(CODE.replace("Mine", name))
    tok = tiny.tokenizer("de", "wordpiece")
    source = tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")
    new = MeanInitializer(source=source, tokenizer=open_tokenizer(custom, trust_remote_code=True))
    assert type(open_tokenizer(new.build(tmp_path / "out"), trust_remote_code=True)).__name__ == name


@pytest.mark.slow
def test_no_question_is_asked(custom):
    program = f"from hf_xlt.checkpoint.tokenizer import open_tokenizer; open_tokenizer({str(custom)!r})"
    asked = subprocess.run([sys.executable, "-c", program], input="y\n", capture_output=True, text=True, check=False)
    assert "brings its own code" in asked.stderr
    assert "[y/N]" not in asked.stdout + asked.stderr


@pytest.mark.parametrize(
    ("tokenizer_class", "files", "package"),
    [
        ("LlamaTokenizer", {"tokenizer__model": "?"}, "sentencepiece"),
        ("MarianTokenizer", {"vocab__json": '{"a": 0}', "source__spm": "?", "target__spm": "?"}, "sentencepiece"),
        ("PreTrainedTokenizerFast", {"tekken__json": "{}"}, "mistral-common"),
        ("PreTrainedTokenizerFast", {"qwen__tiktoken": "?"}, "tiktoken"),
    ],
)
def test_a_package_that_is_not_installed_is_named(tokenizer_class, files, package, folder, monkeypatch):
    monkeypatch.setattr("hf_xlt.checkpoint.tokenizer.find_spec", lambda name: None)
    only(folder, tokenizer_class, **files)
    with pytest.raises(InputError) as refused:
        open_tokenizer(folder)
    assert refused.value.value == package
    assert f"pip install {package}" in refused.value.hint


@pytest.mark.parametrize(
    ("error", "package"),
    [
        (ModuleNotFoundError("No module named 'fugashi.x'", name="fugashi.x"), "fugashi"),
        (ImportError("You need to install unidic-lite to use it. See https://pypi.org."), "unidic-lite"),
        (ImportError("XTokenizer requires the Jieba library but it was not found."), "jieba"),
        (Exception("run `pip install -U rjieba`"), "rjieba"),
        (Exception("of no package"), None),
    ],
)
def test_a_package_that_a_library_asks_for_is_named(error, package, folder, monkeypatch):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("hf_xlt.checkpoint.tokenizer.AutoTokenizer.from_pretrained", refuse)
    with pytest.raises(InputError, match="cannot be opened") as refused:
        open_tokenizer(folder)
    assert refused.value.value == package


def test_a_tokenizer_of_no_tokens_is_refused(folder):
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["model"]["vocab"] = {}
    settings.update(added_tokens=[], post_processor=None)
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(InputError):
        open_tokenizer(folder)

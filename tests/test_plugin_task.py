"""A task from outside the package is known by its name wherever the package's own are."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import tiny

import hf_xlt
from hf_xlt import cli
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import TagAccuracy
from hf_xlt.evaluation.tasks import registry
from hf_xlt.evaluation.tasks.classification import Classification
from hf_xlt.evaluation.tasks.data import text_lines_of
from hf_xlt.evaluation.tasks.task import Outcome


class KnownWords(hf_xlt.TrainingFreeTask):
    """The share of words that the tokenizer cuts without an unknown token."""

    name = "known-words"
    headline = "accuracy"
    summary = "words that the tokenizer knows"
    roles = {"test": True}

    def metric(self, labels=()):
        return TagAccuracy()

    def measure(self, model, places):
        tokenizer = Checkpoint.open(model.name).tokenizer()
        words = [word for line in text_lines_of(places["test"]) for word in line.split()]
        known = [tokenizer.unk_token not in tokenizer.tokenize(word) for word in words]
        return Outcome(np.array([[float(hit), 1.0] for hit in known]), {"words": len(words)})


class Sentiment(Classification):
    """The package's classification under a name and a headline of its own."""

    name = "sentiment"
    headline = "macro_f1"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", {})


@pytest.fixture
def model(tmp_path):
    tokenizer = tiny.tokenizer("en", "wordpiece")
    return str(tiny.save(tiny.model("bert", tokenizer, width=32), tokenizer, tmp_path / "model"))


def test_a_registered_task_is_evaluated(model, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the dog \N{SNOWMAN}\n", encoding="utf-8")
    hf_xlt.register_task(KnownWords())
    (result,) = hf_xlt.evaluate_model(model, ["known-words"], {"known-words": {"test": text}}, output=tmp_path / "out")
    assert result.mean() == 2 / 3
    assert (tmp_path / "out").is_dir()


@pytest.mark.slow
def test_a_registered_task_is_one_of_the_command_line(model, tmp_path, monkeypatch, capsys):
    lines = [f"the {word}\t{label}\n" for word, label in (("dog", "good"), ("table", "bad")) for _ in range(4)]
    table = tmp_path / "table.tsv"
    table.write_text("".join(lines), encoding="utf-8")
    hf_xlt.register_task(Sentiment())
    data = [part for role in ("train", "dev", "test") for part in ("--data", f"sentiment.{role}={table}")]
    monkeypatch.setattr("sys.argv", ["hf-xlt", "evaluate", model, "--tasks", "sentiment", "--probe", *data])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "macro_f1" in capsys.readouterr().out


def test_an_installed_package_brings_its_tasks(monkeypatch):
    brought = EntryPoint("known-words", f"{__name__}:KnownWords", registry.GROUP)
    monkeypatch.setattr(registry, "_installed", lambda: {brought.name: brought})
    assert "known-words" in registry.task_names()
    assert type(registry.task_named("known-words")).__name__ == "KnownWords"


def test_what_is_no_task_or_has_a_name_of_the_packages_is_refused():
    with pytest.raises(InputError):
        hf_xlt.register_task("upos")
    with pytest.raises(InputError) as refused:
        hf_xlt.register_task(Classification())
    assert refused.value.value == "classification"


def test_listing_tasks_imports_none_of_them():
    script = (
        "import sys; from hf_xlt.evaluation.tasks.registry import task_names; assert 'upos' in task_names();"
        "print([name for name in sys.modules if name.startswith('hf_xlt.evaluation.tasks.')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['hf_xlt.evaluation.tasks.registry']"

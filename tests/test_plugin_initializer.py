"""What a user adds from outside the package: one class and one line."""

import numpy as np
import pytest
import tiny
import torch
from test_cli import call

import hf_xlt
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import Dictionary
from hf_xlt.initializers import METHODS
from hf_xlt.recipes import load_recipe
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.sample import sentences
from hf_xlt.transport.mixture import SparseMixture


class FirstTokensInitializer(hf_xlt.Initializer):
    """Every row is the mean of the first source tokens, as many as the dictionary has entries."""

    label = "first tokens"

    def __init__(self, source, tokenizer, *, dictionary: str | Dictionary, step: int = 1, **options):
        self.entries = dictionary if isinstance(dictionary, Dictionary) else hf_xlt.read_dictionary(dictionary)
        self.step = step
        super().__init__(source, tokenizer, **options)

    def mixture(self, rows: np.ndarray) -> SparseMixture:
        """Equal parts of each of them."""
        ids = torch.arange(5, 5 + len(self.entries) * self.step, self.step).repeat(len(rows))
        ends = torch.arange(0, len(ids) + 1, len(self.entries))
        return SparseMixture(ends, ids, torch.full((len(ids),), 1 / len(self.entries)), self.source_vocabulary.size)


@pytest.fixture
def named():
    hf_xlt.register_initializer("first-tokens", FirstTokensInitializer)
    yield "first-tokens"
    del METHODS["first-tokens"]


@pytest.fixture
def given(tmp_path):
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    tiny.save(tiny.model("bert", english, seed=1), english, tmp_path / "source")
    german.save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "d.tsv").write_text("dog\tHund\ncat\tKatze\n", encoding="utf-8")
    (tmp_path / "de.txt").write_text("\n".join(sentences("de", "train")[:50]), encoding="utf-8")
    return {
        "source": str(tmp_path / "source"),
        "tokenizer": str(tmp_path / "tokenizer"),
        "dictionary": str(tmp_path / "d.tsv"),
    }


def test_an_initializer_is_built_by_its_name(named, given):
    made = hf_xlt.initializer(named, **given, step=2, seed=7)
    rows = made.source.input_rows()
    assert torch.allclose(made.transport().apply(rows)[400], rows[[5, 7]].mean(0))
    assert made.seed == 7
    assert repr(made).startswith("FirstTokensInitializer(first tokens, source ")


def test_what_it_needs_and_can_be_told_follows_from_its_signature(named, given):
    without = {name: value for name, value in given.items() if name != "dictionary"}
    assert tiny.refusal(hf_xlt.initializer, named, **without).value == ("dictionary",)
    assert tiny.refusal(hf_xlt.initializer, named, **given, setp=2).hint.startswith("Did you mean 'step'?")
    assert tiny.refusal(hf_xlt.initializer, named, **given, step="two").expected == "a whole number"
    assert tiny.refusal(hf_xlt.initializer, named, **given, helper="x").value == "helper"


def test_the_command_line_knows_it(monkeypatch, capsys, named, given, tmp_path):
    flags = [part for name, value in given.items() for part in (f"--{name}", value)]
    code, _, told = call(monkeypatch, capsys, "initialize", "first-token", *flags, "--output", tmp_path / "out")
    assert code == 2
    assert "Did you mean 'first-tokens'?" in told
    code, *_ = call(monkeypatch, capsys, "initialize", named, *flags, "--set", "step=3", "--output", tmp_path / "out")
    assert code == 0
    assert hf_xlt.Transport.load(tmp_path / "out" / "transport.safetensors").counts.mixed > 400


def test_a_recipe_knows_it(named, given, tmp_path):
    settings = {"source": given["source"], "target_tokenizer": given["tokenizer"], "initializer.method": named}
    settings |= {"data.dictionary": given["dictionary"], "data.corpus": tmp_path / "de.txt"}
    recipe = load_recipe("dictionary", [f"{key}={value}" for key, value in settings.items()])
    assert Transfer(recipe).comparison(tmp_path, compare=False).variants[0].name == "first tokens"


def test_a_name_is_given_once_and_to_an_initializer(named):
    hf_xlt.register_initializer(named, FirstTokensInitializer)  # as when a module is loaded again
    assert tiny.refusal(hf_xlt.register_initializer, "pooled", FirstTokensInitializer).value == "pooled"
    with pytest.raises(InputError):
        hf_xlt.register_initializer("mine", dict)

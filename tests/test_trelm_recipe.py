"""The whole TreLM pipeline on tiny models: what appears, what it is compared with, what is refused."""

import json
import shutil
import sys

import pytest
import tiny
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hf_xlt.data.token_stream import token_stream
from hf_xlt.errors import InputError
from hf_xlt.recipes import load_recipe
from hf_xlt.runs import run_recipe
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS
from hf_xlt.runs.vectors import token_vectors
from hf_xlt.sample import sentences
from hf_xlt.transport import Transport
from hf_xlt.trelm import TreLMForMaskedLM

STEPS = [f"stages.{stage}.{key}={value}" for stage in (0, 1, 2, 4) for key, value in
         {"steps": 2, "batch_size": 4, "evaluations": 1, "checkpoints": 1}.items()]  # fmt: skip
LENGTH = [f"stages.{stage}.sequence_length=24" for stage in range(5)]


@pytest.fixture
def given(tmp_path):
    """The shipped recipe with a four-layer source and a few hundred sentences of either language."""
    english, german = (sentences(language, "train")[:300] for language in ("en", "de"))
    for name, lines in (("en.txt", english), ("de.txt", german)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = "\n".join(f"{e}\t{g}" for e, g in zip(english[:60], german[:60], strict=True))
    (tmp_path / "pairs.tsv").write_text(f"{pairs}\nonly one side\n", encoding="utf-8")
    source = tiny.model("bert", tiny.tokenizer("en", "wordpiece"), num_hidden_layers=4)
    folder = tiny.save(source, tiny.tokenizer("en", "wordpiece"), tmp_path / "source")
    return [f"source={folder}", f"data.corpus={tmp_path / 'de.txt'}", f"data.source_corpus={tmp_path / 'en.txt'}",
            f"data.parallel={tmp_path / 'pairs.tsv'}", "data.held_out_every=40", "tokenizer.vocab_size=700",
            "initializer={method: random}", *STEPS, *LENGTH]  # fmt: skip


@pytest.mark.slow
def test_a_run_leaves_a_model_that_opens_and_compares_on_equal_terms(given, tmp_path, caplog):
    results = run_recipe(load_recipe("trelm", given), tmp_path / "out", "hf-xlt run trelm", compare=True)
    assert results.methods == ("TreLM", RANDOM_ROWS, FROM_SCRATCH)
    assert {tuple(point.step for point in run.curve.points) for run in results.runs} == {(0, 2, 4, 6, 8)}
    assert "1 line with an empty side or a cell too many left out of 61: 61" in caplog.text

    opened = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert isinstance(opened, TreLMForMaskedLM)
    assert opened.config.languages == ["en", "de"]
    assert opened.config.default_language == "de"
    assert opened.config.tri_layer_index == 2
    assert opened.config.vocab_size == len(tokenizer)
    present = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"modeling_trelm.py", "transport.safetensors", "README.md", "learning_curves.png"} <= present
    assert json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["method"] == "TreLM"
    assert "trust_remote_code=True" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_translation_pairs_alone_make_rows_for_both_languages(given, tmp_path):
    run_recipe(load_recipe("trelm", [*given, "initializer={method: pooled}"]), tmp_path / "out", "x")
    transport = Transport.load(tmp_path / "out" / "transport.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert transport.counts.copied >= 5
    assert transport.counts.mixed > len(tokenizer) / 2
    assert transport.explain("the", 1)[0][0] == "the"


def source_whose_rows_mean_something(folder):
    """A tiny encoder whose embeddings are static vectors: random ones are aligned with nothing."""
    tokenizer = tiny.tokenizer("en", "wordpiece")
    model = tiny.model("bert", tokenizer, num_hidden_layers=4, width=32)
    text = token_stream(sentences("en", "train") * 8, tokenizer)
    table, _ = token_vectors(text, tokenizer, 32, epochs=5)
    known = table.any(dim=1)
    with torch.no_grad():
        model.get_input_embeddings().weight[known] = 0.05 * table[known]
    return tiny.save(model, tokenizer, folder)


@pytest.mark.slow
def test_the_shipped_recipe_runs_end_to_end_with_its_own_initializer(tmp_path):
    for language in ("en", "de"):
        lines = sentences(language, "train") * 8
        (tmp_path / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = zip(sentences("en", "train"), sentences("de", "train"), strict=True)
    (tmp_path / "pairs.tsv").write_text("".join(f"{e}\t{g}\n" for e, g in pairs), encoding="utf-8")
    named = {"corpus": "de.txt", "source_corpus": "en.txt", "parallel": "pairs.tsv"}
    files = [f"data.{name}={tmp_path / file}" for name, file in named.items()]
    small = ["tokenizer.vocab_size=900", *STEPS, *LENGTH]
    source = source_whose_rows_mean_something(tmp_path / "source")
    recipe = load_recipe("trelm", [f"source={source}", *files, *small])
    assert recipe.initializer == {"method": "adversarial"}
    results = run_recipe(recipe, tmp_path / "out", "hf-xlt run trelm")
    counts = Transport.load(tmp_path / "out" / "transport.safetensors").counts
    assert counts.projected > counts.drawn
    assert results.runs[0].curve.final.step == 8
    assert isinstance(AutoModelForMaskedLM.from_pretrained(tmp_path / "out"), TreLMForMaskedLM)


def test_a_missing_extra_is_named_before_anything_is_learned(given, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "gensim"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gensim", None)
    monkeypatch.setattr("hf_xlt.runs.inputs.trained", None)
    corpus = next(item for item in given if item.startswith("data.corpus="))
    source = next(item for item in given if item.startswith("source="))
    for recipe in (
        load_recipe("trelm", [*given, "initializer={method: adversarial}"]),
        load_recipe("focus", [source, corpus]),
        load_recipe("scratch", [corpus, "vector_epochs=1"]),
    ):
        with pytest.raises(InputError, match=r"needs gensim: install it with `pip install \"hf-xlt\[vectors\]\"`"):
            run_recipe(recipe, tmp_path / "out", "x")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_run_that_was_stopped_between_stages_ends_as_if_it_had_not_been(given, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    recipe = load_recipe("trelm", given)

    def run_until(place: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(f"hf_xlt.runs.training.variant.{place}", interrupt)
            with pytest.raises(KeyboardInterrupt):
                run_recipe(recipe, stopped, "x")

    run_until("train_stage")
    shutil.copytree(tmp_path / ".stopped.work", tmp_path / ".whole.work")  # tokenizers never train alike twice
    run_until("combine_halves")
    assert not stopped.exists()
    for output in (stopped, whole):
        run_recipe(recipe, output, "x")
    one, other = (AutoModelForMaskedLM.from_pretrained(folder).state_dict() for folder in (whole, stopped))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["trelm.tri_layer_index=none"], "frozen is 'lower'; expected one of embeddings, layers, head"),
        (["stages.0.frozen=[top]"], "frozen is 'top'; expected one of embeddings, lower, tri_layer, upper, head"),
        (["initializer={method: clp}"], "initializer.method is 'clp'; expected one of adversarial, pooled, random"),
        (
            ["initializer={method: adversarial, epoch: 3}"],
            "adversarial is 'epoch'; expected one of width, epochs",
        ),
        (["data.source_corpus=null"], "There is no corpus of the source language"),
        (["trelm.tri_layer_index=9"], "cannot become a TreLM: .*tri_layer_index is 9; expected from 0 to below"),
        (["data.parallel=null"], "There are no translation pairs"),
        (["source=null"], "needs a source checkpoint"),
    ],
)
def test_what_cannot_work_is_refused_before_training(given, changed, message, tmp_path):
    with pytest.raises(InputError, match=message):
        run_recipe(load_recipe("trelm", [*given, *changed]), tmp_path / "out", "x")
    assert not (tmp_path / "out").exists()

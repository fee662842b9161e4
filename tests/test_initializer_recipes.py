"""The shipped recipes of the initializers, carried out on tiny models: what appears, what is refused."""

import json

import pytest
import tiny
from test_registry import ENTRIES, write_vectors
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hf_xlt.errors import InputError
from hf_xlt.recipes import load_recipe, recipe_from
from hf_xlt.recipes.settings import SettingError
from hf_xlt.runs import check_recipe, run_recipe
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS, SOURCE_TOKENIZER
from hf_xlt.sample import sentences
from hf_xlt.transport import Transport

BASELINES = (SOURCE_TOKENIZER, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH)
STEPS = [f"stages.{stage}.{key}={value}" for stage in (0, 1) for key, value in
         {"steps": 2, "batch_size": 4, "evaluations": 1, "checkpoints": 1, "sequence_length": 16}.items()]  # fmt: skip
EVIDENCE = {
    "pooled": ("dictionary", "parallel"),
    "dictionary": ("dictionary",),
    "wechsel": ("dictionary", "vectors", "source_vectors"),
    "focus": (),
}
LABELS = {
    "pooled": "pooled (links, dictionary, overlap)",
    "dictionary": "dictionary",
    "wechsel": "WECHSEL (top-k)",
    "focus": "FOCUS (sparsemax)",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Source, German tokenizer, helper, and a file for each piece of evidence."""
    folder = tmp_path_factory.mktemp("recipes")
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    pairs = zip(sentences("en", "train")[:80], sentences("de", "train")[:80], strict=True)
    (folder / "dictionary").write_text("\n".join(ENTRIES) + "\n", encoding="utf-8")
    (folder / "parallel").write_text("\n".join(map("\t".join, pairs)) + "\n", encoding="utf-8")
    (folder / "de.txt").write_text("\n".join(sentences("de", "train")[:300]) + "\n", encoding="utf-8")
    write_vectors(folder / "vectors", "de", 0)
    write_vectors(folder / "source_vectors", "en", 1)
    tiny.save(tiny.model("bert", english, seed=1), english, folder / "source")
    settings = json.loads((folder / "source" / "tokenizer_config.json").read_text(encoding="utf-8"))
    limited = json.dumps({**settings, "model_max_length": 60})
    (folder / "source" / "tokenizer_config.json").write_text(limited, encoding="utf-8")
    tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, folder / "helper")
    german.save_pretrained(folder / "tokenizer")
    return folder


def shipped(name, places, *more, evidence=None):
    files = [f"data.{kind}={places / kind}" for kind in (EVIDENCE[name] if evidence is None else evidence)]
    text = [f"data.corpus={places / 'de.txt'}", "data.held_out_every=40", "tokenizer.vocab_size=400"]
    return load_recipe(name, [f"source={places / 'source'}", *files, *text, *STEPS, *more])


@pytest.mark.parametrize("name", EVIDENCE)
@pytest.mark.slow
def test_each_runs_with_a_tokenizer_trained_on_the_corpus(name, places, tmp_path):
    results = run_recipe(shipped(name, places), tmp_path / "out", "x")
    assert results.methods == (LABELS[name],)
    assert [point.step for point in results.runs[0].curve.points] == [0, 2, 4]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert len(tokenizer) == model.config.vocab_size <= 400
    assert tokenizer.tokenize("Das Wasser")[0][0] == "D"
    assert tokenizer.special_tokens_map == tiny.tokenizer("en", "wordpiece").special_tokens_map
    assert Transport.load(tmp_path / "out" / "transport.safetensors").counts.mixed > 0
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_comparison_is_on_one_tokenizer_with_both_baselines(places, tmp_path):
    recipe = shipped("pooled", places, f"target_tokenizer={places / 'tokenizer'}", "alternatives=[{method: focus}]")
    results = run_recipe(recipe, tmp_path / "out", "x", compare=True)
    assert results.methods == (LABELS["pooled"], LABELS["focus"], *BASELINES)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert len(tokenizer) == 500
    assert tokenizer.model_max_length == 60  # the source's
    assert len({run.parameters for run in results.runs if run.curve.method != SOURCE_TOKENIZER}) == 1
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert LABELS["pooled"] in card
    assert str(places) not in card


def test_the_helpers_tokenizer_is_taken_where_there_is_one(places, tmp_path):
    recipe = shipped("dictionary", places, f"helper={places / 'helper'}", "alternatives=[{method: clp}]")
    compared = Transfer(recipe).comparison(tmp_path, compare=True)
    assert [variant.name for variant in compared.variants] == ["dictionary", "CLP (paper)", *BASELINES]
    assert len(compared.tokenizer) == compared.config.vocab_size == 500
    assert [path.name for path in tmp_path.iterdir()] == ["transports"]


@pytest.mark.slow
def test_a_run_that_was_stopped_keeps_its_tokenizer_and_its_vectors(places, tmp_path, monkeypatch):
    recipe = shipped("focus", places)
    with monkeypatch.context() as patch:
        patch.setattr("hf_xlt.runs.training.variant.train_stage", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, tmp_path / "out", "x")
    work = tmp_path / ".out.work"
    kept = {path.name: path.stat().st_mtime_ns for path in (work / "tokenizer", work / "vectors.safetensors")}
    with monkeypatch.context() as patch:
        patch.setattr("hf_xlt.runs.training.variant.train_stage", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, tmp_path / "out", "x")
    assert kept == {name: (work / name).stat().st_mtime_ns for name in kept}
    run_recipe(recipe, tmp_path / "out", "x")
    assert (tmp_path / "out" / "config.json").exists()


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dictionary", ["data.dictionary=null"], "dictionary needs a dictionary. .*--dictionary"),
        (
            "pooled",
            ["initializer.method=ramen", "data.parallel=null", "data.dictionary=null"],
            "ramen needs parallel text. .*--parallel",
        ),
        ("wechsel", ["data.source_vectors=null"], "wechsel needs vectors of the source language.*--source-vectors"),
        ("pooled", ["data.dictionary=null", "data.parallel=null"], "pooled needs evidence.*--dictionary. or"),
        ("pooled", ["data.dictionary=none.tsv"], "none.tsv is not a file; .*--dictionary"),
        ("pooled", ["source=null"], "pooled needs a source checkpoint. .*--source"),
        ("pooled", ["initializer.weight=2"], "pooled has no option 'weight'. Did you mean 'weights'.*keep_length"),
        ("pooled", ["initializer.weights.links=-1"], "weight of links is -1"),
        ("pooled", ["initializer.method=magic"], "initializer.method is 'magic'"),
        ("pooled", ["tokenizer.vocab_size=3"], "vocab_size is 3; expected at least 300"),
        ("pooled", ["target_tokenizer=nowhere"], "nowhere is not a folder here"),
        ("pooled", ["alternatives=[{method: pooled, keep_length: false}]"], r"'pooled \(links.*twice"),
        ("dictionary", ["initializer.method=random", "data.dictionary=null"], "alternatives hold 'random rows' twice"),
        (
            "focus",
            ["target_tokenizer={}/tokenizer", "helper={}/source", "alternatives=[{method: clp}]"],
            "make models with different tokenizers",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_before_training(name, changes, message, places, tmp_path):
    changes = [change.replace("{}", str(places), 1) if "{}/" in change else change for change in changes]
    with pytest.raises(InputError, match=message):
        run_recipe(shipped(name, places, *changes), tmp_path / "out", "x", compare=True)
    assert not list(tmp_path.iterdir())


def test_tokenizers_of_transfers_are_for_transfers():
    new = {"name": "new", "model": {"model_type": "llama"}}
    for changes, key in (
        ({"tokenizer": {"family": "source"}}, "tokenizer.family"),
        ({"target_tokenizer": "some/model"}, "target_tokenizer"),
    ):
        with pytest.raises(SettingError) as raised:
            check_recipe(recipe_from(new | changes))
        assert raised.value.key == key

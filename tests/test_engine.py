"""A recipe carried out: what appears, what is compared, and what happens when it is killed."""

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import evaluate_checkpoint
from hf_xlt.recipes import load_recipe
from hf_xlt.report.comparison import curves_of
from hf_xlt.runs import Results, run_recipe
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS, SOURCE_TOKENIZER
from hf_xlt.sample import sentences
from hf_xlt.transport import Transport

SMALL = ("stages.0.checkpoints=0",
         "stages.0.steps=6", "stages.0.sequence_length=16", "stages.0.batch_size=4", "stages.0.evaluations=3",
         "data.held_out_every=40", "language=de")  # fmt: skip


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "de.txt"
    path.write_text("\n".join(sentences("de", "train")[:200]) + "\n", encoding="utf-8")
    return path


def checkpoints(folder: Path, kind: str = "gpt2", family: str = "byte-level-bpe") -> list[str]:
    english, german = tiny.tokenizer("en", family), tiny.tokenizer("de", family, 500)
    source = tiny.save(tiny.model(kind, english, seed=1), english, folder / "source")
    helper = tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, folder / "helper")
    return [f"source={source}", f"helper={helper}"]


def clp_recipe(folder: Path, corpus: Path, *more: str, kind: str = "gpt2", family: str = "byte-level-bpe"):
    return load_recipe("clp", [*SMALL, f"data.corpus={corpus}", *checkpoints(folder, kind, family), *more])


@pytest.mark.parametrize(
    ("kind", "family", "auto_class"),
    [
        ("gpt2", "byte-level-bpe", AutoModelForCausalLM),
        ("bert", "wordpiece", AutoModelForMaskedLM),
        ("bart", "byte-level-bpe", AutoModelForSeq2SeqLM),
    ],
)
@pytest.mark.slow
def test_a_run_leaves_a_whole_folder_and_compares_on_equal_terms(tmp_path, corpus, kind, family, auto_class):
    seeds = [0, 1] if kind == "gpt2" else [0]
    recipe = clp_recipe(tmp_path, corpus, f"seeds={seeds}", kind=kind, family=family)
    results = run_recipe(recipe, tmp_path / "out", "hf-xlt run clp", compare=True)

    assert results.methods == ("CLP (paper)", SOURCE_TOKENIZER, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH)
    alike = [run for run in results.runs if run.curve.method != SOURCE_TOKENIZER]
    assert {tuple(p.step for p in run.curve.points) for run in alike} == {(0, 2, 4, 6)}
    assert len({run.parameters for run in alike}) == 1
    assert {run.curve.seed for run in results.runs} == {*seeds}
    assert [summary.seeds for summary in results.summaries] == [len(seeds)] * 5

    model = auto_class.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert model.config.vocab_size == len(tokenizer)
    present = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"README.md", "results.json", "learning_curves.png", "recipe.yaml", "transport.safetensors"} <= present
    assert [curve.method for curve in curves_of(str(tmp_path / "out"))] == [results.method] * len(recipe.seeds)
    written = Results.load(tmp_path / "out" / "results.json")
    assert written == replace(results, recipe=written.recipe)
    assert written.recipe["source"] == "source"
    assert str(tmp_path) not in (tmp_path / "out" / "results.json").read_text(encoding="utf-8")
    assert load_recipe(tmp_path / "out" / "recipe.yaml") == recipe
    counts = Transport.load(tmp_path / "out" / "transport.safetensors").counts
    assert dict(results.runs[0].rows) == asdict(counts)
    assert not list(tmp_path.glob(".*")), "work in progress is cleared away"


@pytest.mark.slow
def test_training_is_the_same_every_time_and_lowers_the_loss(tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus, "stages.0.steps=40", "stages.0.learning_rate=0.01")
    first, second = (run_recipe(recipe, tmp_path / name, "x").runs[0].curve for name in ("a", "b"))
    assert first.points == second.points
    assert first.final.bits_per_byte < 0.9 * first.points[0].bits_per_byte


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_where_an_uninterrupted_one_does(tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus, "stages.0.steps=60", "stages.0.checkpoints=20")
    whole = run_recipe(recipe, tmp_path / "whole", "x")
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    code = (
        "import sys; from pathlib import Path; from hf_xlt import load_recipe, run_recipe;"
        "run_recipe(load_recipe(sys.argv[1]), Path(sys.argv[2]), 'x')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "recipe.yaml"), str(tmp_path / "killed")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    states = tmp_path / ".killed.work" / "clp-paper-seed0" / "stages" / "target"
    while process.poll() is None and not list(states.glob("checkpoint-*/trainer_state.json")):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed").exists()
    assert (tmp_path / ".killed.work").exists()

    resumed = run_recipe(recipe, tmp_path / "killed", "x")
    assert resumed.runs[0].curve.points == whole.runs[0].curve.points
    one, other = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "killed"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.slow
def test_scratch_makes_a_model_and_its_tokenizer(tmp_path, corpus):
    shape = ["model.hidden_size=16", "model.intermediate_size=32", "model.num_hidden_layers=1"]
    recipe = load_recipe("scratch", [*SMALL, *shape, "tokenizer.vocab_size=400", f"data.corpus={corpus}"])
    results = run_recipe(recipe, tmp_path / "helper", "x")
    assert results.methods == (FROM_SCRATCH,)
    assert results.runs[0].rows is None
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "helper")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "helper").config.vocab_size == len(tokenizer) == 400


@pytest.mark.parametrize("trains", ["embeddings", "lora"])
@pytest.mark.slow
def test_stages_train_what_they_say(tmp_path, corpus, trains):
    recipe = clp_recipe(tmp_path, corpus, f"stages.0.trains={trains}", "stages.0.learning_rate=0.01")
    source = AutoModelForCausalLM.from_pretrained(tmp_path / "source").state_dict()
    run_recipe(recipe, tmp_path / "out", "x")
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert trained.keys() == source.keys()
    changed = {name for name in source if source[name].shape == trained[name].shape}
    changed = {name for name in changed if not torch.equal(source[name], trained[name])}
    assert bool(changed) == (trains == "lora")
    assert not any("ln_" in name or "bias" in name or "wpe" in name for name in changed)


@pytest.mark.slow
def test_stages_follow_one_another_on_one_axis(tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus)
    stage = recipe.stages[0]
    recipe = recipe.replace(stages=(stage.replace(name="rows", trains="embeddings"), stage.replace(name="all")))
    points = run_recipe(recipe, tmp_path / "out", "x").runs[0].curve.points
    assert [point.step for point in points] == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.slow
def test_dtype_of_the_saved_model_is_the_sources_or_as_asked(tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus, "dtype=bfloat16")
    run_recipe(recipe, tmp_path / "out", "x")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


@pytest.mark.slow
def test_positions_that_roberta_counts_from_its_padding_id_are_not_promised_twice(tmp_path, corpus):
    longest = 80 - tiny.tokenizer("de", "byte-level-bpe", 500).pad_token_id - 1
    too_long, fits = (
        clp_recipe(tmp_path, corpus, f"stages.0.sequence_length={length}", "stages.0.steps=1", kind="roberta")
        for length in (longest + 1, longest)
    )
    with pytest.raises(InputError, match=f"the model has {longest} positions"):
        run_recipe(too_long, tmp_path / "out", "x")
    run_recipe(fits, tmp_path / "out", "x")


@pytest.mark.slow
def test_refusals_come_before_work_and_leave_nothing(tmp_path, corpus):
    short = tmp_path / "short.txt"
    short.write_text("Ja.\nNein.\n")
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"gut\nsch\xf6n\n")
    out = tmp_path / "out"
    for path, message in ((short, "shorter than one sequence of 16"), (bad, "not UTF-8 at line 2")):
        with pytest.raises(InputError, match=message):
            run_recipe(clp_recipe(tmp_path, path), out, "x")
    with pytest.raises(InputError, match="sequence_length is 512; the model has 80 positions"):
        run_recipe(clp_recipe(tmp_path, corpus, "stages.0.sequence_length=512"), out, "x")
    with pytest.raises(InputError, match="There is no corpus; .*data.corpus"):
        run_recipe(load_recipe("clp", checkpoints(tmp_path)), out, "x")
    out.mkdir()
    with pytest.raises(InputError, match="--overwrite"):
        run_recipe(clp_recipe(tmp_path, corpus), out, "x")
    out.rmdir()
    assert not list(tmp_path.glob(".*"))


def test_a_disk_that_is_too_small_is_refused(tmp_path, corpus, monkeypatch):
    recipe = clp_recipe(tmp_path, corpus)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"needs .* MB and its disk has 0.0 MB free. Make room"):
        run_recipe(recipe, tmp_path / "out", "x")
    assert not list(tmp_path.glob(".*"))


def test_an_unfinished_run_of_another_recipe_is_not_mixed_in(tmp_path, corpus):
    work = tmp_path / ".out.work"
    work.mkdir()
    (work / "run.json").write_text(json.dumps({"recipe": "another", "compare": False}))
    with pytest.raises(InputError, match="unfinished run of another recipe or input: .* start anew with --overwrite"):
        run_recipe(clp_recipe(tmp_path, corpus), tmp_path / "out", "x")


# sources that a run refuses before work


@pytest.mark.parametrize("head", [BertForSequenceClassification, BertForTokenClassification, BertForQuestionAnswering])
def test_a_head_that_a_run_would_lose_is_refused(head, tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus, kind="bert", family="wordpiece")
    english = tiny.tokenizer("en", "wordpiece")
    config = tiny.model("bert", english).config
    tiny.save(head(config), english, Path(recipe.source))
    with pytest.raises(InputError, match="whose head a run would lose") as refused:
        run_recipe(recipe, tmp_path / "out", "x")
    assert refused.value.value == head.__name__
    assert "initialize" in refused.value.hint
    assert not (tmp_path / "out").exists()


def test_a_source_that_is_not_finite_is_refused_by_the_name_of_a_tensor(tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus)
    english = tiny.tokenizer("en", "byte-level-bpe")
    model = tiny.model("gpt2", english)
    model.transformer.h[1].mlp.c_fc.weight.data[0, 0] = float("nan")
    tiny.save(model, english, Path(recipe.source))
    with pytest.raises(InputError, match="holds NaN or infinity") as refused:
        run_recipe(recipe, tmp_path / "out", "x")
    assert refused.value.value == "transformer.h.1.mlp.c_fc.weight"
    with pytest.raises(InputError, match="holds NaN or infinity"):
        evaluate_checkpoint(recipe.source, str(corpus), 16)


@pytest.mark.slow
def test_code_of_a_target_tokenizer_runs_only_where_the_recipe_says_so(tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus, f"target_tokenizer={tmp_path / 'mine'}", "initializer.method=mean")
    recipe = recipe.replace(helper=None, initializer={"method": "mean"}, alternatives=())
    tiny.tokenizer("de", "byte-level-bpe", 500).save_pretrained(tmp_path / "mine")
    settings = tmp_path / "mine" / "tokenizer_config.json"
    own = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["tokenization_mine.Mine", None]}}
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **own}))
    code = "from transformers import PreTrainedTokenizerFast\nclass Mine(PreTrainedTokenizerFast):\n    pass\n"
    (tmp_path / "mine" / "tokenization_mine.py").write_text(code)
    with pytest.raises(InputError, match="brings its own code"):
        run_recipe(recipe, tmp_path / "out", "x")
    run_recipe(recipe.replace(trust_remote_code=True), tmp_path / "out", "x")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)) == 500


@pytest.mark.slow
def test_a_run_keeps_the_chat_of_its_source(tmp_path, corpus):
    recipe = clp_recipe(tmp_path, corpus)
    (Path(recipe.source) / "chat_template.jinja").write_text("{{ messages[0]['content'] }}</s>")
    run_recipe(recipe, tmp_path / "out", "x")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == "{{ messages[0]['content'] }}</s>"
    asked = recipe.replace(chat_template=str(tmp_path / "none.jinja"))
    with pytest.raises(InputError, match="cannot be read"):
        run_recipe(asked, tmp_path / "other", "x")

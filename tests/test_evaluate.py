"""Learning tasks, evaluating models and comparing them."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoModel, PreTrainedTokenizerFast

from hf_xlt import cli
from hf_xlt.device import PRECISIONS
from hf_xlt.errors import InputError
from hf_xlt.evaluation.compare import compare_results
from hf_xlt.evaluation.config import EvaluationConfig, FineTuningConfig, ModelSpec
from hf_xlt.evaluation.evaluate import evaluate_model, metric_of, result_file
from hf_xlt.evaluation.metrics import TagAccuracy
from hf_xlt.evaluation.models import Encoder
from hf_xlt.evaluation.results import SeedResult, TaskResult
from hf_xlt.evaluation.tasks.classification import Classification
from hf_xlt.evaluation.tasks.fine_tuning import (
    Collator,
    FineTuning,
    KeepBest,
    TaskExamples,
    TaskModel,
    by_length,
    cache_states,
)
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded
from hf_xlt.report.comparison import compare_models
from hf_xlt.sample import sentences

PROBE = replace(FineTuningConfig().probe(), epochs=30, head_learning_rate=3e-2, batch_size=8)
FINE_TUNING = FineTuningConfig(
    epochs=25, patience=50, evaluations=1, batch_size=8, learning_rate=1e-3, head_learning_rate=1e-2
)
ANIMALS, THINGS = ("dog", "cat", "horse"), ("table", "house", "book")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    tok = tiny.tokenizer("en", "wordpiece")
    return tiny.save(tiny.model("bert", tok, width=32), tok, tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    """A table whose classes are told by their words; training, development and test are alike."""
    lines = ["split\ttext\ttopic"]
    for split in ("train", "dev", "test"):
        for first in ("the", "a", "one", "every"):
            lines += [f"{split}\t{first} {word} {word}\tanimal" for word in ANIMALS]
            lines += [f"{split}\t{first} {word} {word}\tthing" for word in THINGS]
    path = tmp_path_factory.mktemp("data") / "topics.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {role: f"{path}:text,topic@split={role}" for role in ("train", "dev", "test")}


@pytest.fixture
def own(source, topics, tmp_path):
    """A model and a table that a test may change."""
    table = tmp_path / "topics.tsv"
    shutil.copyfile(topics["test"].partition(":")[0], table)
    places = {role: f"{table}:text,topic@split={role}" for role in topics}
    return Path(shutil.copytree(source, tmp_path / "model")), places, table


@pytest.fixture(scope="module")
def renamed(source, tmp_path_factory):
    """The source with its token ids in another order: another vocabulary, the same language."""
    tok = tiny.tokenizer("en", "wordpiece")
    order = [*range(5), *np.random.default_rng(0).permutation(np.arange(5, len(tok))).tolist()]
    described = json.loads(tok.backend_tokenizer.to_str())
    names = tok.convert_ids_to_tokens(list(range(len(tok))))
    described["model"]["vocab"] = {names[old]: new for new, old in enumerate(order)}
    special = {name: getattr(tok, name) for name in ("unk_token", "pad_token", "cls_token", "sep_token", "mask_token")}
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)), **special)
    model = tiny.model("bert", tok, width=32)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(model.get_input_embeddings().weight[torch.tensor(order)])
    return tiny.save(model, other, tmp_path_factory.mktemp("renamed"))


def supervised(model, topics, budget=PROBE, zero_shot=False, **asked):
    material = TaskExamples.read(Classification(), topics, zero_shot)
    return FineTuning(material, ModelSpec(str(model), **asked), budget)


def accuracy(outcome):
    return float(Classification().metric(("animal", "thing")).of_counts(outcome.counts.sum(0))["accuracy"])


@pytest.mark.parametrize("budget", [PROBE, FINE_TUNING])
@pytest.mark.slow
def test_a_task_told_by_words_is_learned(source, topics, budget):
    outcome = supervised(source, topics, budget).outcome(0)
    assert accuracy(outcome) > 0.9
    assert outcome.notes["dev"] > 0.9
    assert outcome.notes["windowed"] == 0


@pytest.mark.slow
def test_a_seed_makes_a_run(source, topics):
    runs = [supervised(source, topics).outcome(seed) for seed in (3, 3)]
    assert np.array_equal(runs[0].counts, runs[1].counts)
    assert runs[0].notes == runs[1].notes


@pytest.mark.parametrize("budget", [PROBE, FINE_TUNING])
@pytest.mark.slow
def test_zero_shot_reads_training_with_the_sources_rows_and_the_test_with_the_models(source, renamed, topics, budget):
    expected = supervised(renamed, topics, budget, zero_shot=True).outcome(0)  # both sides by the renamed model
    body_only = supervised(renamed, topics, budget, zero_shot=True, source=str(source)).outcome(0)
    if budget.frozen:  # the same vectors in either way; trained embeddings would differ
        assert np.array_equal(expected.counts, body_only.counts)
    assert accuracy(body_only) > 0.9


@pytest.mark.slow
def test_what_languages_do_not_share_is_not_trained(source, renamed, topics, monkeypatch):
    opened = []
    original = Encoder.open.__func__
    monkeypatch.setattr(
        Encoder, "open", classmethod(lambda cls, *asked: opened.append(original(cls, *asked)) or opened[0])
    )
    supervised(renamed, topics, FINE_TUNING, zero_shot=True, source=str(source)).outcome(0)
    rows = {side: reading.embeddings.weight for side, reading in opened[0].setups.items()}
    stored = {"source": source, "target": renamed}
    for side, weight in rows.items():
        assert torch.equal(weight, AutoModel.from_pretrained(stored[side]).get_input_embeddings().weight)
    body = AutoModel.from_pretrained(renamed).encoder.layer[0].attention.self.query.weight
    assert not torch.equal(opened[0].model.encoder.layer[0].attention.self.query.weight, body)


def test_states_computed_once_are_those_of_a_live_encoder(source):
    encoder, task = Encoder.open(ModelSpec(str(source))), Classification()
    tok = encoder.switch_to("target")
    ids = tok(sentences("en", "train")[:9], add_special_tokens=False)["input_ids"]
    windows = [np.array(row, dtype=np.int32) for row in ids]
    rows = [Encoded((window, window[:2]), (np.arange(len(window)), np.array([1])), {}) for window in windows]
    collator = Collator(tok.pad_token_id)
    model = TaskModel(encoder.model, task.head(32, ("a", "b"))).eval()
    cached = cache_states(model, rows, collator, lambda states: states)
    batch = collator(rows)
    with torch.no_grad():
        live = model.states(**{name: batch[name] for name in ("input_ids", "attention_mask", "picks")})
    again = collator(cached)
    assert torch.equal(batch["mask"], again["mask"])
    assert torch.allclose(live[batch["mask"]], again["states"][batch["mask"]], atol=1e-5)
    for feature, window in zip(cached, windows, strict=True):  # alone, without padding
        with torch.no_grad():
            alone = encoder.model(torch.tensor(window[None].astype(np.int64))).last_hidden_state[0]
        assert torch.allclose(feature.states[: len(window)], alone, atol=1e-5)


def test_a_layer_gives_its_states_and_one_that_is_not_there_is_refused(source):
    encoder, task = Encoder.open(ModelSpec(str(source))), Classification()
    window = np.arange(5, 11, dtype=np.int32)
    rows = [Encoded((window,), (np.arange(6),), {})]
    head = task.head(32, ("a", "b"))
    for layer in range(3):
        (found,) = cache_states(TaskModel(encoder.model, head, layer), rows, Collator(0), lambda states: states)
        with torch.no_grad():
            expected = encoder.model(torch.tensor(window[None].astype(np.int64)), output_hidden_states=True)
        assert torch.allclose(found.states, expected.hidden_states[layer][0], atol=1e-6)
    with pytest.raises(InputError, match="no layer 3; the encoder has layers 0"):
        TaskModel(encoder.model, head, 3)


def test_an_encoder_computes_in_either_precision_and_its_head_in_float32(source):
    encoder, task = Encoder.open(ModelSpec(str(source))), Classification()
    ids = torch.arange(5, 11)[None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "picks": torch.arange(6)[None]}
    head = task.head(32, ("a", "b"))
    with torch.no_grad():
        full, half = (
            TaskModel(encoder.model, head, precision=precision).eval().states(**inputs) for precision in PRECISIONS
        )
    assert full.dtype == half.dtype == torch.float32
    assert not torch.equal(full, half)
    assert torch.allclose(full, half, atol=0.1)


@pytest.mark.slow
def test_dropout_given_takes_the_place_of_the_configurations(source):
    def trained(dropout):
        model = Encoder.open(ModelSpec(str(source)), dropout).model.train()
        torch.manual_seed(0)
        return model(torch.arange(5, 11)[None]).last_hidden_state

    still = Encoder.open(ModelSpec(str(source))).model(torch.arange(5, 11)[None]).last_hidden_state
    assert torch.allclose(trained(0.0), still, atol=1e-6)
    assert torch.equal(trained(None), trained(0.1))  # BERT's own
    assert not torch.allclose(trained(None), trained(0.5), atol=1e-3)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.slow
def test_learning_without_dropout_in_either_precision_reaches_the_labels(source, topics, precision):
    budget = replace(FINE_TUNING, dropout=0.0, precision=precision)
    assert accuracy(supervised(source, topics, budget).outcome(0)) > 0.9


def test_batches_hold_every_example_once_the_longest_first():
    lengths = [3, 9, 1, 7, 5]
    rows = [Encoded((np.zeros(n, dtype=np.int32),), (np.arange(n),), {}) for n in lengths]
    assert by_length(rows, 2) == [[1, 3], [4, 0], [2]]


def test_gold_of_any_shape_is_padded():
    golds = [np.array(1), np.array(0)], [np.array([1, 2]), np.array([3])], [np.ones((2, 2), int), np.ones((1, 3), int)]
    for rows in golds:
        features = [
            Encoded((np.zeros(2, dtype=np.int32),), (np.arange(2),), {"gold": row.astype(np.int64)}) for row in rows
        ]
        padded = Collator(0)(features)["gold"]["gold"].numpy()
        for row, expected in zip(padded, rows, strict=True):
            assert (row[tuple(slice(size) for size in expected.shape)] == expected).all()
            assert (row == IGNORED).sum() == row.size - expected.size


def test_the_best_state_is_kept_and_learning_stops_when_it_gets_no_better():
    model = torch.nn.Linear(1, 1)
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    best = KeepBest(model, lambda _: next(scores), every=1, patience=2)

    class Anything:
        should_training_stop, global_step, max_steps, epoch = False, 0, 10, 0.0

    state = control = Anything()
    for step in range(1, 5):
        state.global_step = step
        with torch.no_grad():
            model.weight.fill_(step)
        best.on_step_end(None, state, control)
        assert control.should_training_stop == (step == 4)
    best.restore()
    assert model.weight.item() == 2
    assert best.best == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"warmup": 1.0}, "warmup is 1.0"),
        ({"dropout": 1.0}, "dropout is 1.0; expected a number of at least 0 and below 1"),
        ({"precision": "float16"}, "precision is 'float16'; expected one of float32, bfloat16"),
    ],
)
def test_a_budget_out_of_range_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        FineTuningConfig(**change)


def test_a_quick_budget_draws_examples_and_leaves_the_test_whole(topics):
    material = TaskExamples.read(Classification(), topics, zero_shot=False)
    limited = material.limited(FineTuningConfig(train_examples=5, dev_examples=3))
    assert [len(limited.by_role[role]) for role in ("train", "dev", "test")] == [5, 3, 24]
    assert FineTuningConfig().quick().train_examples == 2000


class TestEvaluation:
    def asked(self, topics, **options):
        config = EvaluationConfig(fine_tuning=PROBE, **options)
        return {"tasks": ["classification"], "data": {"classification": topics}, "config": config}

    @pytest.mark.slow
    def test_results_are_kept_and_not_made_again(self, source, topics, tmp_path, monkeypatch):
        model, asked = ModelSpec(str(source)), self.asked(topics, seeds=(0, 1))
        made = evaluate_model(model, **asked, output=tmp_path)
        assert result_file(tmp_path, str(source), "classification").is_file()
        monkeypatch.setattr(FineTuning, "outcome", None)
        kept = evaluate_model(model, **asked, output=tmp_path)
        assert [one.mean() for one in kept] == [one.mean() for one in made]
        assert [run.seed for run in kept[0].runs] == [0, 1]
        assert kept[0].counts().shape == (2, 24, kept[0].counts().shape[2])
        with pytest.raises(InputError, match="was made with other settings"):
            evaluate_model(model, **self.asked(topics, seeds=(0,)), output=tmp_path)

    def test_models_have_results_of_their_own_whatever_their_names(self, tmp_path):
        names = ("out/a", "out-a", "out_a", "/out/a", "out/a/", "./out-a", "-", "model", "é" * 200, "é" * 201)
        files = {result_file(tmp_path, name, "upos") for name in names}
        assert len(files) == len(names)
        assert {file.parent.parent for file in files} == {tmp_path}
        assert all(len(os.fsencode(file.parent.name)) < 256 for file in files)

    @pytest.mark.slow
    def test_a_model_that_is_not_there_is_refused_though_results_are(self, own, tmp_path):
        folder, places, _ = own
        model, asked = ModelSpec(str(folder)), self.asked(places)
        evaluate_model(model, **asked, output=tmp_path / "results")
        folder.rename(tmp_path / "moved")
        with pytest.raises(InputError, match="does not exist"):
            evaluate_model(model, **asked, output=tmp_path / "results")

    @pytest.mark.parametrize("changes", ["model", "tokenizer", "data"])
    @pytest.mark.slow
    def test_a_result_of_other_content_under_the_same_name_is_made_again(self, own, tmp_path, caplog, changes):
        folder, places, table = own
        model, asked = ModelSpec(str(folder)), self.asked(places)
        evaluate_model(model, **asked, output=tmp_path / "results")
        if changes == "model":
            tiny.model("bert", tiny.tokenizer("en", "wordpiece"), width=32, seed=9).save_pretrained(folder)
        elif changes == "tokenizer":
            tiny.tokenizer("en", "wordpiece", 500).save_pretrained(folder)
        else:
            lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
            table.write_text("".join(lines[:-4]), encoding="utf-8")
        made = evaluate_model(model, **asked, output=tmp_path / "results")
        assert "made of other content" in caplog.text
        assert made[0].runs == evaluate_model(model, **asked)[0].runs
        caplog.clear()
        evaluate_model(model, **asked, output=tmp_path / "results")
        assert caplog.text == ""

    @pytest.mark.slow
    def test_results_inside_the_models_folder_do_not_count_as_the_model(self, own, monkeypatch):
        folder, places, _ = own
        model, asked = ModelSpec(str(folder)), self.asked(places)
        evaluate_model(model, **asked, output=folder / "results")
        monkeypatch.setattr(FineTuning, "outcome", None)
        evaluate_model(model, **asked, output=folder / "results")

    @pytest.fixture(scope="class")
    def result(self, source, topics, tmp_path_factory):
        """A result, and how it was asked for."""
        folder = tmp_path_factory.mktemp("result")
        config = EvaluationConfig(seeds=(0, 1), fine_tuning=replace(PROBE, epochs=1))
        asked = self.asked(topics) | {"config": config}
        evaluate_model(source, **asked, output=folder)
        return folder, asked

    @pytest.mark.parametrize(
        "content", ["", "{", "[]", "null", '{"runs": []}', "[" * 100_000, "no run", "ragged", "not finite", "no score"]
    )
    @pytest.mark.slow
    def test_a_damaged_result_cannot_be_read(self, source, result, tmp_path, content):
        kept = json.loads(result_file(result[0], str(source), "classification").read_text(encoding="utf-8"))
        if content == "no run":
            content = json.dumps(kept | {"runs": kept["runs"][:1]})
        elif content == "ragged":
            kept["runs"][0]["counts"].pop()
            content = json.dumps(kept)
        elif content == "not finite":
            kept["runs"][0]["counts"][0][0] = float("nan")
            content = json.dumps(kept)
        elif content == "no score":
            kept["runs"][1]["scores"] = {"accuracy": "0.9"}
            content = json.dumps(kept)
        path = tmp_path / "classification.json"
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError):
            TaskResult.load(path)

    @pytest.mark.slow
    def test_a_damaged_result_is_made_again(self, source, result, caplog):
        folder, asked = result
        path = result_file(folder, str(source), "classification")
        made = TaskResult.load(path)
        path.write_text("{", encoding="utf-8")
        again = evaluate_model(source, **asked, output=folder)
        assert "made again" in caplog.text
        assert [one.mean() for one in again] == [made.mean()]
        assert TaskResult.load(path).mean() == made.mean()

    @pytest.mark.parametrize(
        ("tasks", "data", "expected"),
        [
            ((), {}, "one task or more"),
            (("topics",), {}, "one of language-model, "),
            (("retrieval", "retrieval"), {}, None),
            (
                ("classification",),
                {"classification": {"train": "a"}},
                "classification.dev (its roles: train, dev, test)",
            ),
            (("retrieval",), {}, "retrieval.test (its roles"),
            (("retrieval",), {"retrieval": {"test": "a", "train": "b"}}, "test, dev"),
            (("retrieval",), {"retrieval": {"test": "a"}, "upos": {}}, "tasks: retrieval"),
        ],
    )
    def test_tasks_and_data_that_do_not_fit_are_refused(self, tasks, data, expected):
        with pytest.raises(InputError) as refused:
            evaluate_model("nowhere", tasks, data)
        assert (expected or "") in (refused.value.expected or "")

    def test_a_decoder_is_refused(self, topics, tmp_path):
        tok = tiny.tokenizer("en", "byte-level-bpe")
        folder = tiny.save(tiny.model("gpt2", tok), tok, tmp_path / "gpt2")
        with pytest.raises(InputError, match="is a decoder; expected an encoder"):
            evaluate_model(str(folder), **self.asked(topics))

    def test_a_source_of_another_width_is_refused(self, source, topics, tmp_path):
        tok = tiny.tokenizer("en", "wordpiece")
        narrow = tiny.save(tiny.model("bert", tok, width=16), tok, tmp_path / "narrow")
        with pytest.raises(InputError, match="have width 16, those of .* 32"):
            evaluate_model(ModelSpec(str(source), source=str(narrow)), **self.asked(topics, zero_shot=True))


def result(model, right, seeds=1):
    """A tagging result of one word an example."""
    counts = [[float(hit), 1.0] for hit in right]
    metric = TagAccuracy()
    score = {name: float(value) for name, value in metric.of_counts(np.array(counts).sum(0)).items()}
    runs = tuple(SeedResult(seed, score, counts, {}) for seed in range(seeds))
    return TaskResult(model, "upos", "accuracy", False, {"data": {"test": "x"}}, runs)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40))
def test_intervals_hold_the_value_and_differences_are_paired(hits):
    first, second = (result(name, column) for name, column in zip("ab", zip(*hits, strict=True), strict=True))
    a, b = compare_results([first, second])
    for one in (a, b):
        assert one.score.low <= one.score.value + 1e-9
        assert one.score.value <= one.score.high + 1e-9
    assert b.difference.value == pytest.approx(second.mean() - first.mean())
    same = compare_results([first, result("c", [hit for hit, _ in hits])])[1]
    assert (same.difference.low, same.difference.high) == (0, 0)


def test_the_interval_is_that_of_the_binomial_distribution():
    right = np.arange(1000) < 800
    interval = compare_results([result("a", right)])[0].score
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert interval.low == pytest.approx(0.8 - half, abs=0.004)
    assert interval.high == pytest.approx(0.8 + half, abs=0.004)


def test_results_on_different_tests_are_not_compared():
    other = replace(result("b", [True]), settings={"data": {"test": "y"}})
    with pytest.raises(InputError, match="were not tested on the same"):
        compare_results([result("a", [True]), other])


@pytest.mark.slow
def test_the_commands_evaluate_and_compare(source, renamed, topics, tmp_path, monkeypatch, capsys):
    data = [part for role, place in topics.items() for part in ("--data", f"classification.{role}={place}")]
    pairs = tmp_path / "pairs.tsv"
    both = zip(sentences("en", "train")[:60], sentences("de", "train")[:60], strict=True)
    pairs.write_text("".join(f"{a}\t{b}\n" for a, b in both), encoding="utf-8")
    page = tmp_path / "compared" / "report.html"
    common = ["--tasks", "classification", *data, "--probe", "--quick", "--output", str(page.parent)]

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["hf-xlt", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as end:
            return end.code or 0
        return 0

    assert run("evaluate", source, *common) == 0
    assert "accuracy" in capsys.readouterr().out
    shown = run("compare", source, renamed, *common, "--parallel", pairs, "--words", "dog,table")
    assert shown == 0
    text = page.read_text(encoding="utf-8")
    for part in ("classification", "Similarity of layers", "Nearest neighbors", "95 % interval", "<svg"):
        assert part in text
    assert run("compare", source, renamed, *common) == 2
    assert "report.html exists" in capsys.readouterr().err
    assert run("compare", source, renamed, *common, "--overwrite") == 0
    assert "Similarity of layers" not in page.read_text(encoding="utf-8")
    for command in (("evaluate", source), ("compare", source, renamed)):
        assert run(*command, *common[:-1], pairs) == 2
        assert "pairs.tsv" in capsys.readouterr().err
    assert run("compare", source, source, *common) == 2
    assert "expected two or more, each once" in capsys.readouterr().err
    config = EvaluationConfig(fine_tuning=FineTuningConfig().probe().quick())
    results = evaluate_model(source, ["classification"], {"classification": topics}, config, page.parent)
    assert set(metric_of(results[0]).of_counts(results[0].counts()[0].sum(0))) == set(results[0].runs[0].scores)


@pytest.mark.slow
def test_models_are_compared_from_python(source, renamed, topics):
    config = EvaluationConfig(fine_tuning=replace(PROBE, epochs=2))
    asked = {"tasks": ["classification"], "data": {"classification": topics}, "config": config}
    found = compare_models([source, renamed], **asked)
    assert found.models == [str(source), str(renamed)]
    assert [len(line) for line in found.table().lines] == [2, 2]
    assert "difference" in found.tables()[0].header
    assert str(source) in found._repr_html_()
    with pytest.raises(InputError) as refused:
        compare_models([source, renamed], **asked, languages=("en", "de"))
    assert refused.value.value == ("en", "de")

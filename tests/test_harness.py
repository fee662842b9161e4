"""Tasks of lm-eval: what is written for it, what it comes to on a checkpoint, and that it agrees with our own."""

import json
import math
import sys

import numpy as np
import pytest
import tiny
import torch
import yaml
from tiny import refusal

from hf_xlt import cli, compare_results, evaluate_model
from hf_xlt.data.objectives import objective_for
from hf_xlt.evaluation.evaluate import metric_of, result_file
from hf_xlt.evaluation.harness import lm_eval as bridge
from hf_xlt.evaluation.harness.lm_eval import LMEvalTask
from hf_xlt.evaluation.harness.local_tasks import NAMES, read_choices, rows_of, write_task
from hf_xlt.evaluation.harness.scores import HarnessScores, scored
from hf_xlt.evaluation.language_model import ValidationSet
from hf_xlt.evaluation.results import TaskResult
from hf_xlt.evaluation.tasks.language_modeling import LanguageModeling
from hf_xlt.evaluation.tasks.registry import task_named
from hf_xlt.report.comparison import compare_models
from hf_xlt.sample import sentences

LINES = sentences("de", "held_out")[:30]
CHOICES, ROLLING, OURS = (f"lm-eval/{name}" for name in NAMES)
QUESTIONS = [
    {"question": f"{line} 1984", "choices": ["Hund", "die Katze", "ein Haus im Wald"], "answer": number % 3}
    for number, line in enumerate(LINES[:6])
]
MINE = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}, cache_dir: CACHE}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
  - {metric: mcc, aggregation: matthews_corrcoef, higher_is_better: true}
"""


def right(row):
    return row["choices"][row["answer"]]


@pytest.fixture(scope="module")
def harness():
    return pytest.importorskip("lm_eval", reason="the extra `harness` is not installed")


def louder(model):
    """The model with larger weights, so that what it predicts depends on what it reads."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A decoder, another with other tokens, an encoder-decoder and an encoder."""
    folder, names = tmp_path_factory.mktemp("models"), {}
    for name, kind, family, vocab_size in (
        ("decoder", "llama", "byte-level-bpe", 600),
        ("other", "gpt2", "unigram", 500),
        ("both", "t5", "unigram", 600),
        ("encoder", "bert", "wordpiece", 600),
    ):
        tokenizer = tiny.tokenizer("de", family, vocab_size)
        names[name] = str(tiny.save(louder(tiny.model(kind, tokenizer, seed=3)), tokenizer, folder / name))
    return names


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A text, questions about nothing, and a folder of YAML with a task and a group of it."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "text.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    (folder / "mine").mkdir()
    written = MINE.replace("FILE", str(questions)).replace("CACHE", str(folder / "cache"))
    (folder / "mine" / "mine.yaml").write_text(written, encoding="utf-8")
    broken = written.replace("task: mine", "task: broken").replace("questions.jsonl", "none.jsonl")
    (folder / "mine" / "broken.yaml").write_text(broken, encoding="utf-8")
    only = written.replace("task: mine", "task: only-mcc").replace("metric: acc_norm", "metric: mcc")
    (folder / "mine" / "only.yaml").write_text(only.replace("aggregation: mean", "aggregation: matthews_corrcoef"))
    unfit = written.replace("task: mine", "task: unfit").replace("doc_to_text: question", 'doc_to_text: "{{ a.b.c }}"')
    (folder / "mine" / "unfit.yaml").write_text(unfit, encoding="utf-8")
    (folder / "mine" / "both.yaml").write_text("group: both\ntask: [mine, again]\n", encoding="utf-8")
    (folder / "mine" / "again.yaml").write_text(written.replace("task: mine", "task: again"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def evaluated(harness, models, files, tmp_path_factory):
    """Our own bits per byte and the harness's of both decoders, and the questions, kept in a folder."""
    output = tmp_path_factory.mktemp("output")
    data = {
        "language-model": {"test": files / "text.txt"},
        OURS: {"test": files / "text.txt"},
        ROLLING: {"test": files / "text.txt"},
        CHOICES: {"test": files / "questions.jsonl"},
    }
    results = {name: evaluate_model(models[name], [*data], data, output=output) for name in ("decoder", "other")}
    return results, data, output


@pytest.mark.parametrize("name", ["decoder", "other"])
def test_bits_per_byte_agree_with_ours(evaluated, name):
    ours, theirs, alone, _ = evaluated[0][name]
    assert theirs.headline == "bits_per_byte"
    assert theirs.lower_is_better
    assert theirs.mean() == pytest.approx(ours.mean(), abs=1e-5)
    assert theirs.mean("byte_perplexity") == pytest.approx(2 ** theirs.mean(), rel=1e-6)
    words = sum(len(line.split()) + 1 for line in LINES)
    size = sum(len(line.encode()) + 1 for line in LINES)
    assert math.log2(theirs.mean("word_perplexity")) == pytest.approx(theirs.mean() * size / words, rel=1e-6)
    assert alone.mean() != pytest.approx(ours.mean(), abs=1e-2)  # else the windows would have made no difference


def test_the_windows_of_a_text_are_ours(harness, models):
    from hf_xlt.evaluation.config import ModelSpec
    from hf_xlt.evaluation.harness.language_models import RunningText
    from hf_xlt.evaluation.models import LanguageModel

    opened = LanguageModel.open(ModelSpec(models["decoder"]))
    asked = []

    class Listening(RunningText):
        def _loglikelihood_tokens(self, requests, **options):
            asked.extend(requests)
            return [(-float(len(continuation)), True) for _, _, continuation in requests]

    class Request:
        def __init__(self, line):
            self.args = (line + "\n",)

    counted = Listening(opened, 24).loglikelihood_rolling([Request(line) for line in LINES])
    objective = objective_for("clm", opened.tokenizer)
    rows = ValidationSet.cut(LINES, opened.tokenizer, 24, objective).examples
    ours = [
        (row["input_ids"][:i].tolist(), int(row["input_ids"][i]))
        for row in rows
        for i in range(1, len(row["input_ids"]))
    ]
    theirs = [
        (context + continuation[:i], continuation[i])
        for _, context, continuation in asked
        for i in range(len(continuation))
    ]
    assert theirs == ours
    assert counted == [-len(opened.tokenizer(line, add_special_tokens=False)["input_ids"]) - 1.0 for line in LINES]


def test_a_line_alone_is_what_a_plain_forward_pass_says(evaluated, models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(models["decoder"]) for kind in (AutoModelForCausalLM, AutoTokenizer))
    alone = evaluated[0]["decoder"][2]
    likelihood, size = alone.counts()[0, 0, [0, 3]]
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer(LINES[0])["input_ids"]]])
    with torch.inference_mode():
        expected = -model(ids, labels=ids).loss.double() * (ids.shape[1] - 1)
    assert likelihood == pytest.approx(float(expected), rel=1e-5)
    assert size == len(LINES[0].encode())


def test_the_likeliest_choice_is_found_by_a_plain_forward_pass(evaluated, models):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (kind.from_pretrained(models["decoder"]) for kind in (AutoModelForCausalLM, AutoTokenizer))

    def likelihood(question, choice):
        asked = len(tokenizer(question)["input_ids"])
        ids = torch.tensor([tokenizer(f"{question} {choice}")["input_ids"]])
        with torch.inference_mode():
            losses = model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])
        return float(losses[asked - 1 :].sum())

    right = []
    for row in QUESTIONS:
        found = [likelihood(row["question"], choice) for choice in row["choices"]]
        by_length = [value / len(choice) for value, choice in zip(found, row["choices"], strict=True)]
        right.append([np.argmax(values) == row["answer"] for values in (found, by_length)])
    result = evaluated[0]["decoder"][3]
    assert result.headline == "acc"
    assert not result.lower_is_better
    assert result.counts()[0, :, :2].tolist() == np.array(right, dtype=float).tolist()
    assert result.mean("acc_norm") == pytest.approx(np.mean(right, axis=0)[1])


def test_results_are_kept_like_all_others(evaluated, models, monkeypatch):
    results, data, output = evaluated
    path = result_file(output, models["decoder"], OURS)
    saved = TaskResult.load(path)
    assert path.parts[-2:] == ("lm-eval", "language-model.json")
    assert metric_of(saved).scores(saved.counts()[0]) == pytest.approx(saved.runs[0].scores, rel=1e-4)
    monkeypatch.setattr(bridge, "find_spec", lambda name: None)  # what is kept is read without the harness
    assert evaluate_model(models["decoder"], [*data], data, output=output) == results["decoder"]


def test_models_with_other_tokens_are_compared_by_pairs_line_by_line(evaluated):
    results, *_ = evaluated
    ours, theirs = ([evaluation[place] for evaluation in results.values()] for place in (0, 1))
    assert compare_results(ours)[1].difference is None
    difference = compare_results(theirs)[1].difference
    assert difference.value == pytest.approx(theirs[1].mean() - theirs[0].mean())
    assert difference.low < difference.value < difference.high


@pytest.mark.slow
def test_a_page_shows_them_beside_ours(evaluated, models):
    _, data, output = evaluated
    compare_models([models["decoder"], models["other"]], [*data], data, output=output)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert OURS in page
    assert "language-model" in page.replace(OURS, "")


@pytest.mark.slow
def test_an_encoder_decoder_is_asked(harness, models, files):
    data = {CHOICES: {"test": files / "questions.jsonl"}, ROLLING: {"test": files / "text.txt"}}
    choices, rolling = evaluate_model(models["both"], [*data], data)
    assert 0 <= choices.mean() <= 1
    assert len(rolling.runs[0].counts) == len(LINES)
    assert rolling.mean() > 0
    refused = refusal(evaluate_model, models["both"], [OURS], {OURS: {"test": files / "text.txt"}})
    assert refused.value == "encoder-decoder"


@pytest.mark.slow
def test_a_folder_of_tasks_is_run_and_what_does_not_add_up_left_out(harness, models, files, capsys, monkeypatch):
    words = ["evaluate", models["decoder"], "--harness", "lm-eval", "--tasks", "mine", "--include", files / "mine"]
    monkeypatch.setattr(sys, "argv", ["hf-xlt", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "acc_norm" in capsys.readouterr().out
    (result,) = evaluate_model(models["decoder"], ["lm-eval/mine"], {"lm-eval/mine": {"include": files / "mine"}})
    assert list(result.runs[0].scores) == ["acc_norm"]
    assert result.runs[0].notes["left out"] == "mcc"


@pytest.mark.parametrize(("name", "value"), [("broken", "broken"), ("only-mcc", ("mcc",)), ("unfit", "unfit")])
def test_a_task_without_data_or_a_score_that_adds_up_or_with_unfit_settings_is_refused(
    harness, models, files, name, value
):
    task = f"lm-eval/{name}"
    refused = refusal(evaluate_model, models["decoder"], [task], {task: {"include": files / "mine"}})
    assert refused.value == value


@pytest.mark.slow
def test_a_group_is_one_test_set(harness, models, files):
    data = {f"lm-eval/{name}": {"include": files / "mine"} for name in ("mine", "both")}
    mine, both = evaluate_model(models["decoder"], [*data], data)
    assert both.runs[0].notes["tasks"] == 2
    assert both.counts()[0].tolist() == 2 * mine.counts()[0].tolist()


@pytest.mark.slow
def test_an_unknown_task_and_one_whose_data_are_elsewhere_are_refused(harness, models):
    unknown = refusal(evaluate_model, models["decoder"], ["lm-eval/helaswag"], {})
    assert unknown.value == "helaswag"
    assert "'hellaswag'" in unknown.hint
    elsewhere = refusal(evaluate_model, models["decoder"], ["lm-eval/hellaswag"], {})
    assert elsewhere.value == "hellaswag"


def test_an_encoder_is_refused_before_anything_is_opened(harness, models, files, monkeypatch):
    monkeypatch.setattr(bridge.LanguageModel, "open", lambda spec: pytest.fail("it was opened"))
    monkeypatch.setattr(bridge, "rows_of", lambda *asked: pytest.fail("its file was read"))
    for name in (OURS, CHOICES, ROLLING):
        assert (
            refusal(evaluate_model, models["encoder"], [name], {name: {"test": files / "text.txt"}}).value == "encoder"
        )


def test_without_the_extra_it_is_named(models, files, monkeypatch):
    monkeypatch.setattr(bridge, "find_spec", lambda name: None)
    refused = refusal(evaluate_model, models["decoder"], [OURS], {OURS: {"test": files / "text.txt"}})
    assert refused.value == OURS
    assert "hf-xlt[harness]" in refused.hint


def test_a_bad_task_is_refused_before_an_earlier_one_is_run(harness, models, files, monkeypatch):
    monkeypatch.setattr(LanguageModeling, "measure", lambda *asked: pytest.fail("it was run"))
    data = {"language-model": {"test": files / "text.txt"}, CHOICES: {"test": files / "text.txt"}}
    refused = refusal(evaluate_model, models["decoder"], [*data], data)
    assert refused.path == files / "text.txt"


def test_a_local_task_needs_its_file_and_others_take_none(models, files):
    assert refusal(evaluate_model, models["decoder"], [OURS], {}).value == {}
    refused = refusal(
        evaluate_model, models["decoder"], ["lm-eval/mine"], {"lm-eval/mine": {"test": files / "text.txt"}}
    )
    assert refused.value == "test"
    no_folder = {"lm-eval/mine": {"include": files / "text.txt"}}
    pytest.importorskip("lm_eval")
    assert refusal(evaluate_model, models["decoder"], ["lm-eval/mine"], no_folder).path == files / "text.txt"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.jsonl", "".join(json.dumps(row) + "\n" for row in QUESTIONS)),
        ("q.jsonl", "".join(json.dumps(row | {"answer": right(row)}) + "\n" for row in QUESTIONS)),
        ("q.tsv", "".join("\t".join([row["question"], right(row), *row["choices"]]) + "\n" for row in QUESTIONS)),
    ],
)  # fmt: skip
def test_questions_are_read_from_objects_and_tables(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = read_choices(str(tmp_path / name))
    assert [{"question": one.question, "choices": [*one.choices], "answer": one.answer} for one in found] == QUESTIONS


def test_columns_are_named_and_a_context_is_read_before_the_question(tmp_path):
    rows = tmp_path / "q.jsonl"
    rows.write_text(json.dumps({"p": "Es regnet.", "q": "Was?", "c": ["Regen", "Schnee"], "a": 0}), encoding="utf-8")
    assert read_choices(f"{rows}:q,c,a")[0].question == "Was?"
    assert read_choices(f"{rows}:q,c,a,p")[0].question == "Es regnet.\nWas?"
    table = tmp_path / "q.csv"
    table.write_text("n,q,right,x,y\n1,Was?,Regen,Schnee,Regen\n", encoding="utf-8")
    assert read_choices(f"{table}:q,right,x,y")[0].answer == 1


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ({"answer": 3}, 3),
        ({"answer": "Maus"}, "Maus"),
        ({"answer": True}, True),
        ({"answer": -1}, -1),
        ({"choices": "Hund"}, "Hund"),
        ({"choices": ["Hund"]}, ("Hund",)),
        ({"choices": ["Hund", " "]}, ("Hund", "")),
        ({"choices": ["Hund", "Hund "]}, ("Hund", "Hund")),
        ({"question": " "}, " "),
        ({"question": 5}, 5),
    ],
)
def test_a_row_that_is_no_question_is_refused_with_its_number(tmp_path, change, value):
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (QUESTIONS[0], QUESTIONS[1] | change)), encoding="utf-8")
    refused = refusal(read_choices, str(path))
    assert refused.value == value
    assert refused.line == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [("q.jsonl", ""), ("q.jsonl", '{"text": "a"}\n'), ("q.tsv", "Was?\tRegen\n"), ("q.tsv", "Was?\tRegen\tRegen\n")],
)
def test_a_file_of_another_form_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    refusal(read_choices, str(path))


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_written_as_yaml_and_one_object_a_line(tmp_path, files, name):
    rows = rows_of(name, str(files / ("questions.jsonl" if name == NAMES[0] else "text.txt")))
    path = write_task(name, rows, tmp_path)
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    examples = settings["dataset_kwargs"]["data_files"]["test"]
    with open(examples, encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == rows
    assert settings["task"] == name
    assert settings["dataset_path"] == "json"
    columns = {settings[key] for key in ("doc_to_text", "doc_to_choice", "doc_to_target") if settings.get(key)}
    assert columns == set(rows[0])
    assert settings["dataset_kwargs"]["cache_dir"].startswith(str(tmp_path))


def test_a_line_end_is_part_of_the_text_that_is_read_as_ours(files):
    running, alone = (rows_of(name, str(files / "text.txt")) for name in ("language-model", "rolling-loglikelihood"))
    assert [row["text"] for row in running] == [f"{row['text']}\n" for row in alone]
    assert [row["text"] for row in alone] == LINES


def harness_results(figures, samples, better=None, metrics=()):
    named = {"metric_list": [{"metric": metric} for metric in metrics]}
    return {
        "results": dict.fromkeys(samples, figures),
        "samples": samples,
        "configs": dict.fromkeys(samples, named),
        "higher_is_better": dict.fromkeys(samples, better or {}),
    }


def test_scores_are_kept_where_examples_add_up_to_the_harness_s_figure():
    samples = [{"filter": "none", "acc": float(hit), "f1": (1, 1), "len": 7.0, "ll": (-2.0, 4)} for hit in (0, 1, 1)]
    for sample in samples:
        sample["bits_per_byte"] = sample.pop("ll")
    figures = {"acc,none": 2 / 3, "acc_stderr,none": 0.3, "f1,none": 1.0, "len,none": 7.0, "alias": "a"}
    figures |= {"bits_per_byte,none": 0.5 / math.log(2)}
    found = scored("a", harness_results(figures, {"a": samples}, metrics=("bits_per_byte", "acc")))
    assert found.names == ("bits_per_byte", "acc")
    assert set(found.left_out) == {"f1", "len"}
    assert HarnessScores(found.names).scores(found.counts) == pytest.approx(
        {"acc": 2 / 3, "bits_per_byte": 0.5 / math.log(2)}
    )


def test_a_mean_that_is_not_the_harness_s_figure_is_left_out():
    samples = [{"filter": "none", "acc": 1.0}, {"filter": "none", "acc": 0.0}]
    assert refusal(scored, "a", harness_results({"acc,none": 0.6}, {"a": samples})).value == ("acc",)


def test_filters_have_scores_of_their_own_and_groups_are_one_test_set():
    filters = {"none": 1.0, "strict": 0.0}
    one = [{"filter": name, "exact_match": value} for name, value in filters.items()]
    figures = {"exact_match,none": 1.0, "exact_match,strict": 0.0}
    found = scored("g", harness_results(figures, {"a": one, "b": one * 2}, {"exact_match": False}))
    assert found.names == ("exact_match", "exact_match,strict")
    assert found.counts.shape == (3, 4)
    assert found.lower_is_better


def test_the_name_of_a_harness_s_task_makes_the_task():
    assert isinstance(task_named("lm-eval/anything"), LMEvalTask)
    assert refusal(task_named, "lm-eval/").value == "lm-eval/"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tasks", "upos", "--include", "f"], "--include has an effect only with --harness"),
        (["--harness", "lm-eval", "--tasks", "language-model", "--include", "f"], "--include has no task to look for"),
        (["--harness", "lm-eval", "--tasks", "arc_easy", "--probe"], "--probe has an effect only for tasks that are"),
        (["--harness", "lm-eval", "--corpus", "c"], "--harness has an effect only without --corpus"),
        (["--harness", "helm", "--tasks", "x"], "lm-eval"),
        (["--harness", "mteb", "--tasks", "sts", "--include", "f"], "--include has no task to look for"),
    ],
)
def test_options_without_effect_are_refused(monkeypatch, capsys, words, message):
    monkeypatch.setattr(sys, "argv", ["hf-xlt", "evaluate", "x", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err

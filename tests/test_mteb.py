"""Tasks of mteb: what they are made of, that their figures are mteb's own, and that examples add up to them."""

import json
import shutil
import sys

import numpy as np
import pytest
import tiny
import torch
from scipy.stats import pearsonr, spearmanr
from tiny import refusal

from hf_xlt import cli, compare_results, evaluate_model
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.evaluate import metric_of, result_file
from hf_xlt.evaluation.harness import mteb as bridge
from hf_xlt.evaluation.harness.mteb import MTEBTask
from hf_xlt.evaluation.harness.scores import HarnessScores
from hf_xlt.evaluation.harness.sentence_data import Collection, read_task
from hf_xlt.evaluation.harness.sentence_scores import Correlations, metric_for
from hf_xlt.evaluation.results import TaskResult
from hf_xlt.evaluation.retrieval import mean_pooled
from hf_xlt.evaluation.tasks.data import read_pairs
from hf_xlt.evaluation.tasks.registry import task_named
from hf_xlt.report.comparison import compare_models
from hf_xlt.sample import sentences
from hf_xlt.trelm import TreLMForMaskedLM

ENGLISH, GERMAN = sentences("en", "held_out")[:36], sentences("de", "held_out")[:36]
TASKS = ("mteb/bitext", "mteb/classification", "mteb/sts", "mteb/retrieval")
PROMPTS = {"prompts": {"STS": "Water ", "Classification": "Das ", "query": "Who: ", "document": "Was: "}}
# Random vectors find a sentence by most of it, and do not find a translation.
OTHERS = [ENGLISH[i] if i % 3 == 0 else " ".join(line.split()[:-1]) for i, line in enumerate(GERMAN)]
SCORES = [number % 6 for number in range(len(GERMAN))]
TOPICS = [("animals", "plants", "weather")[number % 3] for number in range(len(GERMAN))]
# Of each task of a user's files one of mteb's own of the same protocol.
STOCK = {
    "mteb/bitext": ("Tatoeba", "deu-eng"),
    "mteb/classification": ("Banking77Classification", "default"),
    "mteb/sts": ("STSBenchmark", "default"),
    "mteb/retrieval": ("SciFact", "default"),
}


@pytest.fixture(scope="module")
def mteb():
    return pytest.importorskip("mteb", reason="the extra `harness` is not installed")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two folders of sentence-transformers, one with prompts and a further module, and a plain encoder."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = tiny.tokenizer("de", "wordpiece")
    for seed, name in enumerate(("plain", "prompts", "first")):
        tiny.save(tiny.model("bert", tokenizer, seed=seed, initializer_range=0.3).bert, tokenizer, folder / name)
    mean, first = (
        ("Pooling", {"embedding_dimension": 16, "pooling_mode": mode, "include_prompt": True})
        for mode in ("mean", "cls")
    )
    tiny.sentence_folder(folder / "prompts", mean, tiny.dense(16, 8), **PROMPTS)
    tiny.sentence_folder(folder / "first", first, ("Normalize", {}))
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files of every task."""
    folder = tmp_path_factory.mktemp("data")

    def table(name, *columns):
        path = folder / name
        path.write_text("".join("\t".join(map(str, row)) + "\n" for row in zip(*columns, strict=True)), "utf-8")
        return path

    beir = folder / "beir"
    (beir / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"p{i}", "title": text.split()[0], "text": text} for i, text in enumerate(GERMAN)]
    queries = [{"_id": f"q{i}", "text": " ".join(text.split()[:4])} for i, text in enumerate(ENGLISH[:12])]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (beir / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    judged = [f"q{i}\tp{j}\t{score}" for i in range(10) for j, score in ((i, 2), (2 * i, 1), (i + 1, 0)) if i]
    (beir / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n", "utf-8")
    return {
        "mteb/bitext": {"test": table("pairs.tsv", GERMAN, OTHERS)},
        "mteb/classification": {
            "train": table("train.tsv", ENGLISH, TOPICS),
            "test": table("test.tsv", GERMAN, TOPICS),
        },
        "mteb/sts": {"test": table("sts.tsv", GERMAN, GERMAN[7:] + GERMAN[:7], SCORES)},
        "mteb/retrieval": {"test": beir},
    }


@pytest.fixture(scope="module")
def evaluated(mteb, models, data, tmp_path_factory):
    output = tmp_path_factory.mktemp("output")
    results = {name: evaluate_model(model, TASKS, data, output=output) for name, model in models.items()}
    return results, output


@pytest.fixture(scope="module")
def filled(mteb, data):
    """Tasks of mteb's own by name, with the user's data in place of theirs."""
    from datasets import Dataset, DatasetDict

    def task(name):
        stock, subset = STOCK[name]
        made = mteb.get_task(stock).filter_languages(None, hf_subsets=[subset])
        found = read_task(name.partition("/")[2], {role: str(place) for role, place in data[name].items()})
        if isinstance(found, Collection):
            corpus, queries = (
                Dataset.from_list([{"id": id_} | (row if isinstance(row, dict) else {"text": row})
                                   for id_, row in rows.items()])
                for rows in (found.corpus, found.queries)
            )  # fmt: skip
            split = {"corpus": corpus, "queries": queries, "relevant_docs": found.relevant, "top_ranked": None}
            made.dataset = {"default": {"test": split}}
        else:
            rows = DatasetDict({split: Dataset.from_list(rows) for split, rows in found.items()})
            made.dataset = rows if subset == "default" else {subset: rows}
        made.data_loaded = True
        return made

    return task


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("model", ["plain", "prompts", "first"])
def test_figures_are_those_of_mteb_s_own_tasks_and_sentence_transformers(mteb, evaluated, models, filled, model, name):
    from sentence_transformers import SentenceTransformer

    opened = SentenceTransformer(models[model], device="cpu")
    result = mteb.evaluate(opened, filled(name), cache=None, show_progress_bar=False).task_results[0]
    (figures,) = result.scores["test"]
    (ours,) = (one for one in evaluated[0][model] if one.task == name)
    assert ours.mean() == pytest.approx(figures["main_score"], abs=1e-5)
    for score, figure in ours.runs[0].scores.items():
        assert figure == pytest.approx(figures[score], abs=1e-5), score
    assert ours.headline == filled(name).metadata.main_score
    assert 0 < abs(ours.mean()) < 1


@pytest.mark.slow
def test_prompts_are_read_as_mteb_reads_them(mteb, models, data, tmp_path):
    without = tmp_path / "without"
    shutil.copytree(models["prompts"], without)
    settings = json.loads((without / "config_sentence_transformers.json").read_text(encoding="utf-8"))
    settings["prompts"] = {}
    (without / "config_sentence_transformers.json").write_text(json.dumps(settings), encoding="utf-8")
    changed = {}
    for name in ("mteb/bitext", "mteb/sts"):
        both = [evaluate_model(model, [name], {name: data[name]})[0].mean() for model in (models["prompts"], without)]
        changed[name] = both[0] != both[1]
    assert changed == {"mteb/bitext": False, "mteb/sts": True}  # none is named for bitext mining


@pytest.mark.slow
def test_results_are_kept_like_all_others(evaluated, models, data, monkeypatch):
    results, output = evaluated
    for result in results["prompts"]:
        saved = TaskResult.load(result_file(output, models["prompts"], result.task))
        assert metric_of(saved).scores(saved.counts()[0]) == pytest.approx(saved.runs[0].scores, abs=1e-4)
    monkeypatch.setattr(bridge, "find_spec", lambda name: None)  # what is kept is read without the harness
    assert evaluate_model(models["prompts"], TASKS, data, output=output) == results["prompts"]


@pytest.mark.slow
def test_models_are_compared_by_pairs(evaluated):
    results, _ = evaluated
    for place in range(len(TASKS)):
        ours, theirs = (results[name][place] for name in ("prompts", "first"))
        difference = compare_results([ours, theirs])[1].difference
        assert difference.value == pytest.approx(theirs.mean() - ours.mean())
        assert difference.low <= difference.value <= difference.high


@pytest.mark.slow
def test_a_page_shows_them(evaluated, models, data):
    _, output = evaluated
    compare_models([models["prompts"], models["first"]], TASKS, data, output=output)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in TASKS)
    assert "cosine_spearman" in page


@pytest.mark.slow
def test_the_command_runs_it(mteb, models, data, capsys, monkeypatch):
    words = ["evaluate", models["first"], "--harness", "mteb", "--tasks", "sts,retrieval"]
    words += [f"--data=sts.test={data['mteb/sts']['test']}", f"--data=retrieval.test={data['mteb/retrieval']['test']}"]
    monkeypatch.setattr(sys, "argv", ["hf-xlt", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    shown = capsys.readouterr().out
    assert "mteb/sts" in shown
    assert "ndcg_at_10" in shown


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_task_of_mteb_s_own_is_run_by_its_name(mteb, evaluated, models, filled, monkeypatch, name):
    stock, subset = STOCK[name]
    full = f"mteb/{stock}" if subset == "default" else f"mteb/{stock}/{subset}"

    def load(task, **options):
        task.dataset, task.data_loaded = filled(name).dataset, True

    monkeypatch.setattr(type(mteb.get_task(stock)), "load_data", load)
    (found,) = evaluate_model(models["plain"], [full], {})
    (ours,) = (result for result in evaluated[0]["plain"] if result.task == name)
    assert found.task == full
    assert found.headline == ours.headline
    assert found.runs[0].scores == pytest.approx(ours.runs[0].scores)
    assert found.runs[0].notes["subset"] == subset


@pytest.mark.slow
def test_a_language_of_a_task_with_all_in_one_table_is_run(mteb, evaluated, models, monkeypatch):
    name = "mteb/NTREXBitextMining/deu_Latn-eng_Latn"

    def load(task, **options):
        from datasets import Dataset

        task.dataset = {"test": Dataset.from_dict({"deu_Latn": GERMAN, "eng_Latn": OTHERS})}
        task.data_loaded = True

    monkeypatch.setattr(type(mteb.get_task("NTREXBitextMining")), "load_data", load)
    (found,) = evaluate_model(models["plain"], [name], {})
    assert found.runs[0].scores == pytest.approx(evaluated[0]["plain"][0].runs[0].scores)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STSBenchmak", "STSBenchmak", "STSBenchmark"),
        ("STS17", "", "en-de"),
        ("STS17/de-en", "de-en", "en-de"),
        ("STSBenchmark/en", "en", "default"),
        ("TwentyNewsgroupsClustering", "Clustering", "mteb itself"),
    ],
)
def test_a_task_that_cannot_be_run_is_refused_before_the_model_is_opened(mteb, models, monkeypatch, name, value, told):
    monkeypatch.setattr(bridge, "sentence_encoder", lambda *asked: pytest.fail("it was opened"))
    refused = refusal(evaluate_model, models["plain"], [f"mteb/{name}"], {})
    assert refused.value == value
    assert told in refused.hint


@pytest.mark.slow
def test_a_task_whose_data_are_elsewhere_is_refused(mteb, models, monkeypatch):
    def load(task, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(type(mteb.get_task("STSBenchmark")), "load_data", load)
    refused = refusal(evaluate_model, models["plain"], ["mteb/STSBenchmark"], {})
    assert refused.value == "STSBenchmark"
    assert "mteb/sts" in refused.hint


def test_without_the_extra_it_is_named(models, data, monkeypatch):
    monkeypatch.setattr(bridge, "find_spec", lambda name: None)
    refused = refusal(evaluate_model, models["plain"], ["mteb/sts"], {"mteb/sts": data["mteb/sts"]})
    assert refused.value == "mteb/sts"
    assert "hf-xlt[harness]" in refused.hint


@pytest.mark.slow
def test_a_plain_encoder_decoder_makes_no_vectors(data, tmp_path, monkeypatch):
    tokenizer = tiny.tokenizer("de", "unigram")
    folder = tiny.save(tiny.model("t5", tokenizer), tokenizer, tmp_path / "t5")
    monkeypatch.setattr(bridge, "find_spec", lambda name: True)
    refused = refusal(evaluate_model, str(folder), ["mteb/sts"], {"mteb/sts": data["mteb/sts"]})
    assert refused.value == "encoder-decoder"


def test_languages_would_have_no_effect(models, data, monkeypatch):
    monkeypatch.setattr(bridge, "find_spec", lambda name: True)
    spec = ModelSpec(models["plain"], languages=("en", "de"))
    assert refusal(evaluate_model, spec, ["mteb/sts"], {"mteb/sts": data["mteb/sts"]}).value == ("en", "de")


@pytest.mark.slow
def test_a_trelm_reads_in_its_default_language(mteb, data, tmp_path):
    tokenizer = tiny.tokenizer("de", "wordpiece")
    source = tiny.model("bert", tokenizer, initializer_range=0.3)
    model = TreLMForMaskedLM.from_encoder(
        source, languages=["en", "de"], tokenizer=tokenizer, source_tokenizer=tokenizer
    )
    folder = str(tiny.save(model, tokenizer, tmp_path / "trelm"))
    (found,) = evaluate_model(folder, ["mteb/sts"], {"mteb/sts": data["mteb/sts"]})
    vectors = []
    with torch.inference_mode():
        for texts in zip(*read_pairs(f"{data['mteb/sts']['test']}").pairs, strict=True):
            inputs = tokenizer(list(texts), padding=True, truncation=True, max_length=80, return_tensors="pt")
            vectors.append(mean_pooled(model.base_model(**inputs).last_hidden_state, inputs["attention_mask"]))
    cosines = torch.cosine_similarity(*vectors)
    assert found.mean() == pytest.approx(spearmanr(cosines, SCORES)[0], abs=1e-6)


def test_bad_files_are_refused_before_the_model_is_opened(models, data, tmp_path, monkeypatch):
    monkeypatch.setattr(bridge, "find_spec", lambda name: True)
    monkeypatch.setattr(bridge, "sentence_encoder", lambda *asked: pytest.fail("it was opened"))
    (tmp_path / "sts.tsv").write_text("ein Hund\teine Katze\tviel\n", encoding="utf-8")
    files = {"mteb/sts": {"test": tmp_path / "sts.tsv"}}
    assert refusal(evaluate_model, models["plain"], ["mteb/sts"], files).value == "viel"


@pytest.mark.parametrize(
    ("content", "value", "line"),
    [
        ("sentence1\tsentence2\tscore\nein Hund\teine Katze\t3\n", "score", 1),
        ("ein Hund\teine Katze\t3\nein Hund\tein Tier\tnan\n", "nan", 2),
        ("ein Hund\t \t3\n", ("ein Hund", " "), 1),
    ],
)
def test_a_row_that_is_no_scored_pair_is_refused(tmp_path, content, value, line):
    path = tmp_path / "sts.tsv"
    path.write_text(content, encoding="utf-8")
    refused = refusal(read_task, "sts", {"test": str(path)})
    assert (refused.value, refused.line) == (value, line)


@pytest.mark.parametrize("content", ["", "ein Hund\teine Katze\t3\nein Hund\tein Tier\t3\n"])
def test_scores_that_rank_nothing_are_refused(tmp_path, content):
    path = tmp_path / "sts.tsv"
    path.write_text(content, encoding="utf-8")
    assert refusal(read_task, "sts", {"test": str(path)}).value == str(path)


def test_columns_are_named_and_classes_numbered_in_their_order(tmp_path):
    path = tmp_path / "topics.tsv"
    path.write_text("de\ttopic\tsplit\nHund\tb\ttrain\nRose\ta\ttrain\nKatze\tb\ttest\n", encoding="utf-8")
    places = {role: f"{path}:de,topic@split={role}" for role in ("train", "test")}
    assert read_task("classification", places) == {
        "train": [{"text": "Hund", "label": 1}, {"text": "Rose", "label": 0}],
        "test": [{"text": "Katze", "label": 1}],
    }


def test_queries_without_a_relevant_passage_are_left_out(data):
    found = Collection.read(str(data["mteb/retrieval"]["test"]))
    assert list(found.queries) == list(found.relevant) == [f"q{i}" for i in range(1, 10)]
    assert found.relevant["q1"] == {"p1": 2, "p2": 0}  # the later judgment of a passage rules
    assert found.corpus["p0"] == {"title": GERMAN[0].split()[0], "text": GERMAN[0]}


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("corpus.jsonl", '{"_id": "p1", "text": "a"}\n{"_id": "p1", "text": "b"}\n', "p1"),
        ("corpus.jsonl", '{"_id": 1, "text": "a"}\n', {"_id": 1, "text": "a"}),
        ("queries.jsonl", '{"_id": "q1", "text": " "}\n', " "),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tp99\t1\n", "p99"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nx\tp1\t1\n", "x"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\tyes\n", "yes"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\n", ["q1", "p1"]),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\t0\n", None),
        ("qrels/test.tsv", None, None),
    ],
)
def test_a_folder_that_is_none_of_beir_is_refused(data, tmp_path, name, content, value):
    folder = tmp_path / "beir"
    shutil.copytree(data["mteb/retrieval"]["test"], folder)
    if content is None:
        (folder / name).unlink()
        assert refusal(Collection.read, str(folder)).path == folder
    else:
        (folder / name).write_text(content, encoding="utf-8")
        refused = refusal(Collection.read, str(folder))
        assert refused.path == folder / name
        assert refused.value == value


@pytest.fixture
def drawn():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(50, 2))
    y = x + generator.normal(size=(50, 2))
    return x, y


def test_correlations_follow_from_counts_of_any_sample(drawn):
    x, y = drawn
    metric = Correlations(["pearson", "cosine_pearson"])
    sample = np.random.default_rng(1).integers(0, 50, 50)
    totals = metric.counts(x, y)[sample].sum(axis=0)
    expected = [pearsonr(x[sample, i], y[sample, i])[0] for i in (0, 1)]
    assert list(metric.of_counts(totals).values()) == pytest.approx(expected)
    assert metric.of_counts(np.stack([totals, totals]))["pearson"].shape == (2,)


def test_the_correlation_of_ranks_is_spearman_s(drawn):
    from scipy.stats import rankdata

    x, y = (table.round(1) for table in drawn)  # some values twice
    counts = Correlations(["spearman"]).counts(rankdata(x[:, :1], axis=0), rankdata(y[:, :1], axis=0))
    assert Correlations(["spearman"]).scores(counts) == pytest.approx({"spearman": spearmanr(x[:, 0], y[:, 0])[0]})


def test_a_constant_correlates_with_nothing():
    metric = Correlations(["pearson"])
    assert metric.scores(metric.counts([[1.0], [1.0]], [[1.0], [2.0]])) == {"pearson": 0.0}


def test_names_make_the_task_and_its_metric():
    task = task_named("mteb/STS17/en-de")
    assert isinstance(task, MTEBTask)
    assert task.name == "mteb/STS17/en-de"
    assert isinstance(metric_for(["cosine_spearman"]), Correlations)
    assert isinstance(metric_for(["f1"]), HarnessScores)
    assert isinstance(task.metric(), HarnessScores)


def test_a_local_task_needs_its_files(models, data):
    assert refusal(evaluate_model, models["plain"], ["mteb/bitext"], {}).value == {}
    wrong = {"mteb/STSBenchmark": {"test": data["mteb/sts"]["test"]}}
    assert refusal(evaluate_model, models["plain"], [*wrong], wrong).value == "test"

"""The documentation: its code runs, its figures are those that were measured, and its references leave nothing out."""

import copy
import importlib.util
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import tiny
import typer
from markdown_it import MarkdownIt
from test_cli import call
from test_study import treebank

import hf_xlt
from hf_xlt.cli.main import app
from hf_xlt.initializers import METHODS
from hf_xlt.recipes import Recipe, Stage
from hf_xlt.recipes.recipe import FOLDER
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SHORT = ("steps=2", "sequence_length=16", "batch_size=2", "evaluations=1", "checkpoints=1")
# What a recipe is given besides, so that it takes seconds.
BRIEFLY = {
    "pooled": [f"stages.{stage}.{setting}" for stage in (0, 1) for setting in SHORT] + ["tokenizer.vocab_size=600"],
    "decoder": [f"stages.0.{setting}" for setting in SHORT] + ["tokenizer.vocab_size=600"],
    "decoder-extend": [f"stages.{stage}.{setting}" for stage in (0, 1) for setting in SHORT] + ["tokenizer.added=50"],
    "sentence": [f"stages.{stage}.{setting}" for stage in (0, 1) for setting in SHORT] + ["tokenizer.added=50"],
}
# In this order: later pages use what earlier ones have made.
PAGES = ("start", "guides/decoder", "guides/sentence-encoder", "guides/low-resource", "guides/evaluate",
         "guides/trelm-trainer", "guides/scale", "guides/troubleshooting", "extend", "methods/calibration",
         "methods/distillation", "methods/trelm", "methods/meta-pretraining", "methods/structure")  # fmt: skip
# tests/test_serving.py; CI's demonstration; tests/test_mteb.py, where mteb is; tests/test_false_friends.py
RUN_ELSEWHERE = {"serving", "index", "guides/mteb", "guides/false-friends"}


@cache
def script(name):
    """A module of docs/scripts."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(page):
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def blocks(page, language):
    return [
        token.content for token in MarkdownIt().parse(text_of(page)) if token.type == "fence" and token.info == language
    ]


def commands(page):
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("hf-xlt") and not line.startswith("hf-xlt demo")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the files and models of the pages lie, by the names that they give them."""
    place = tmp_path_factory.mktemp("docs")
    english = tiny.tokenizer("en", "wordpiece")
    for name in ("google-bert/bert-base-cased", "sentence-transformers/all-MiniLM-L6-v2"):
        tiny.save(tiny.model("bert", english, max_position_embeddings=160), english, place / name)
    width = tiny.model("bert", english).config.hidden_size
    pooling = ("Pooling", {"embedding_dimension": width, "pooling_mode": "mean"})
    tiny.sentence_folder(place / "sentence-transformers/all-MiniLM-L6-v2", pooling)
    chat = copy.deepcopy(tiny.tokenizer("en", "byte-level-bpe"))
    chat.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tiny.save(
        tiny.model("llama", chat, max_position_embeddings=256), chat, place / "HuggingFaceTB/SmolLM2-135M-Instruct"
    )
    text = {language: sentences(language, "train")[:200] for language in ("en", "de")}
    train_tokenizer([*text["en"], *text["de"]], 500, "wordpiece").save_pretrained(place / "joint-tokenizer")
    pairs = [f"{source}\t{target}" for source, target in zip(text["en"], text["de"], strict=True)]
    for name, lines in {
        **{
            "en.txt": text["en"],
            "de.txt": text["de"],
            "yo.txt": text["de"],
            "held_out.txt": sentences("de", "held_out")[:10],
        },
        **{"en-de.tsv": pairs, "en-yo.tsv": pairs, "test.tsv": pairs[:20]},
        "dictionary.tsv": ["dog\tHund", "cat\tKatze", "house\tHaus", "water\tWasser"],
    }.items():
        (place / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, lines in {"en-train": text["en"][:8], "en-dev": text["en"][8:12], "de-test": text["de"][:8]}.items():
        (place / f"{name}.conllu").write_text(treebank(lines), encoding="utf-8")
    return place


def test_every_page_with_code_is_run():
    pages = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md")}
    with_code = {page for page in pages if commands(page) or blocks(page, "python")}
    assert with_code - RUN_ELSEWHERE == {*PAGES}


@pytest.mark.slow
def test_the_code_of_the_pages_runs(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for page in PAGES:
        for words in commands(page):
            briefly = BRIEFLY.get(words[2], ()) if words[1] == "run" else ()
            if any(word.startswith("stages=[") for word in words):  # of one stage, with a new vocabulary
                briefly = [f"stages.0.{setting}" for setting in SHORT]
                words = [word.replace("vocab_size=30000", "vocab_size=600") for word in words]
            given = [word for setting in briefly for word in ("--set", setting)]
            code, _, err = call(monkeypatch, capsys, *words[1:], *given)
            assert code == 0, f"{page}: {shlex.join(words)}\n{err}"
        known = {}
        for block in [*_examples_before(page), *blocks(page, "python")]:
            if "sentence_transformers" in block:
                pytest.importorskip("sentence_transformers")
            exec(compile(_briefly(block), page, "exec"), known)
    assert hf_xlt.Checkpoint.open("smollm2-german-chat").tokenizer().chat_template
    assert (place / "compared" / "report.html").is_file()
    assert (place / "trelm-en-de" / "modeling_trelm.py").is_file()
    del METHODS["first-token"]


def _examples_before(page):
    """The first example of CONTRIBUTING.md, which a page includes before code of its own."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    examples = [token.content for token in MarkdownIt().parse(text) if token.type == "fence" and token.info == "python"]
    return examples[:1] if page == "extend" else []


def _briefly(block):
    return block.replace("max_steps=1000", "max_steps=2, use_cpu=True, report_to='none', disable_tqdm=True").replace(
        "max_length=128", "max_length=32"
    )


def test_every_initializer_has_a_page_with_its_facts():
    told = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "methods").glob("*.md"))
    assert [name for name in METHODS if f"<!-- table: facts | {name} -->" not in told] == []


def test_every_table_that_a_page_asks_for_can_be_made():
    known = script("figures").TABLES | script("reference").TABLES
    asked = {
        line for path in DOCS.rglob("*.md") for line in re.findall(r"^<!-- table: (.+) -->$", path.read_text(), re.M)
    }
    for name, *given in ([part.strip() for part in line.split("|")] for line in asked):
        lines = known[name](*given).splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}) <= 1, name
        assert len(lines) > 2 or name == "paper"


def test_the_tables_have_the_figures_that_were_measured():
    measured = json.loads((ROOT / "benchmarks/results/zero_training_retrieval_de.json").read_text())["results"]
    (pooled,) = (row for row in measured if (row["method"], row["pairs"]) == ("pooled", 35011))
    last = script("figures").start_retrieval("random rows", "pooled").splitlines()[-1]
    assert last.split("|")[2].strip() == f"{pooled['to_english']} / {pooled['from_english']}"
    measured = json.loads((ROOT / "benchmarks/results/evidence_yo.json").read_text())["methods"]["CLP"]
    last = script("figures").trained("CLP").splitlines()[-1].split("|")
    assert float(last[3]) == pytest.approx(measured["curve"]["points"][-1]["bits_per_byte"], abs=5e-4)
    assert float(last[6]) == pytest.approx(
        100 * measured["tasks"]["classification, zero-shot"]["accuracy"][0], abs=0.05
    )


def test_the_references_leave_nothing_out():
    reference = script("reference")
    pages = "\n".join(text for _, text in reference.api_pages())
    assert sorted(re.findall(r"::: hf_xlt\.(\w+)", pages)) == sorted(hf_xlt.__all__)
    recipes = reference.recipes()
    assert [name for name in (*Recipe.model_fields, *Stage.model_fields) if f"| `{name}` |" not in recipes] == []
    assert [path.stem for path in FOLDER.glob("*.yaml") if f"\n### {path.stem}\n" not in recipes] == []
    told, left = reference.command_line(), [("hf-xlt", typer.main.get_command(app))]
    while left:
        name, command = left.pop()
        left += [(f"{name} {inner}", each) for inner, each in getattr(command, "commands", {}).items()]
        if not hasattr(command, "commands"):
            section = told.partition(f"## {name}\n")[2].partition("\n## ")[0]
            options = {max(param.opts, key=len) for param in command.params if param.opts[0].startswith("--")}
            assert [option for option in options if option not in section] == [], name


def test_the_messages_of_troubleshooting_are_those_of_the_code():
    code = " ".join(path.read_text(encoding="utf-8") for path in Path(hf_xlt.__file__).parent.rglob("*.py"))
    code = re.sub(r'"\s+f?"', "", code)  # a message may be written on several lines
    messages = re.findall(r"^### `(.+)`$", text_of("guides/troubleshooting"), re.M)
    assert messages
    assert [part for told in messages for part in told.split("…") if part.strip() and part.strip() not in code] == []


@pytest.mark.slow
def test_all_arrows_of_the_house_go_down():
    pytest.importorskip("grimp")
    house = script("house")
    height = {part: -place for place, part in enumerate(house.parts())}
    imports = house.imports()
    assert imports.has_edge("cli", "runs")
    assert [(above, below) for above, below in imports.edges if height[above] <= height[below]] == []
    drawn = house.picture().decode()
    assert all(f"<!-- {part} -->" in drawn for part in height)


def test_formulas_become_mathml():
    converter = pytest.importorskip("latex2mathml.converter")
    formulas = [found for path in DOCS.rglob("*.md") for found in re.findall(r"\\\[(.+?)\\\]", path.read_text(), re.S)]
    assert formulas
    for formula in formulas:
        assert "\\" not in re.sub(r"<[^>]+>", "", converter.convert(formula.strip())), formula

"""The command line: what it writes, and one line with the next step where it refuses."""

import inspect
import json
import re
import subprocess
import sys
from typing import get_args

import pytest
import tiny
from transformers import AutoModelForCausalLM, AutoTokenizer

import hf_xlt
from hf_xlt import cli
from hf_xlt.cli.app import console
from hf_xlt.cli.options import (
    METHODS,
    RECIPES,
    TASKS,
    Demonstration,
    Family,
    PrecisionName,
    Weighting,
    one_of,
    several_of,
)
from hf_xlt.demo import DEMONSTRATIONS
from hf_xlt.device import PRECISIONS
from hf_xlt.geometry.similarity import WEIGHTINGS
from hf_xlt.recipes import load_recipe, shipped_recipes
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import FAMILIES, MIN_FREQUENCY

COMMANDS = (
    "mine",
    "demo", "initialize", "run", "evaluate", "compare", "structure", "study", "explain", "tokenizer", "export", "push",
)  # fmt: skip


@pytest.fixture
def places(tmp_path):
    english, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "byte-level-bpe", 500)
    tiny.save(tiny.model("gpt2", english, seed=1), english, tmp_path / "source")
    tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, tmp_path / "helper")
    (tmp_path / "de.txt").write_text("\n".join(sentences("de", "train")[:150]) + "\n", encoding="utf-8")
    return tmp_path


def call(monkeypatch, capsys, *words) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["hf-xlt", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_explains_every_option(monkeypatch, capsys, command):
    code, out, _ = call(monkeypatch, capsys, command, "--help")
    assert code == 0
    options = re.split(r"\n  (?=-)", out.partition("\nOptions:")[2])[1:]
    assert len(options) >= 1
    assert all(len(option.split()) > 2 for option in options), out


def run_program(*words) -> tuple[subprocess.CompletedProcess, set[str]]:
    """The command in a process of its own, and the modules it has imported."""
    program = """import atexit, sys
atexit.register(lambda: print("imported:", *sys.modules, file=sys.stderr))
sys.argv[0] = "hf-xlt"
from hf_xlt.cli import main
main()"""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=False
    )
    return done, set(done.stderr.rpartition("imported:")[2].split())


@pytest.mark.parametrize("words", [("--help",), ("--version",), *((command, "--help") for command in COMMANDS)])
def test_help_imports_next_to_nothing(words):
    done, imported = run_program(*words)
    assert done.returncode == 0
    assert not imported & {"torch", "transformers", "numpy", "datasets", "huggingface_hub", "yaml", "matplotlib"}


@pytest.mark.slow
def test_no_command_imports_what_it_does_not_use(monkeypatch, capsys, places):
    given = ("--source", places / "source", "--tokenizer", places / "helper", "--output", places / "o")
    training = {"transformers.trainer", "datasets", "evaluate", "matplotlib", "sentence_transformers", "peft"}
    done, imported = run_program("initialize", "mean", *given)
    assert done.returncode == 0, done.stderr
    assert not imported & training, imported & training
    done, imported = run_program("explain", places / "o", "a")
    assert done.returncode == 0, done.stderr
    assert not imported & training
    done, imported = run_program("push", places / "o", "me/x")
    assert "Could not upload" in done.stderr
    assert not imported & (training | {"torch", "transformers"})


def test_names_in_help_are_those_there_are():
    assert shipped_recipes() == RECIPES
    assert get_args(Demonstration) == tuple(DEMONSTRATIONS)
    assert get_args(Family) == tuple(FAMILIES)
    assert get_args(Weighting) == WEIGHTINGS
    assert get_args(PrecisionName) == PRECISIONS
    options = inspect.signature(cli.transfer.tokenizer).parameters
    assert options["min_frequency"].default == MIN_FREQUENCY


def test_version_and_completion(monkeypatch, capsys):
    assert call(monkeypatch, capsys, "--version") == (0, f"hf-xlt {hf_xlt.__version__}\n", "")
    assert several_of(TASKS)("retrieval,po") == ["retrieval,pos"]
    assert one_of(RECIPES)("meta") == ["meta_pretraining"]


def test_a_closed_output_is_no_error():
    command = f"{sys.executable} -m hf_xlt run --help | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage:")
    assert done.stderr == ""


class TestRecipeCommands:
    def test_a_shipped_recipe_is_one_to_start_from(self, monkeypatch, capsys, tmp_path):
        code, out, _ = call(monkeypatch, capsys, "recipe", "show", "trelm")
        (tmp_path / "mine.yaml").write_text(out, encoding="utf-8")
        assert code == 0
        assert load_recipe(tmp_path / "mine.yaml") == load_recipe("trelm")

    def test_what_a_recipe_will_do_is_told_and_not_done(self, monkeypatch, capsys, places):
        given = {"source": places / "source", "helper": places / "helper", "data.corpus": places / "de.txt"}
        given["stages.0.sequence_length"] = 16
        settings = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        before = sorted(places.rglob("*"))
        code, out, _ = call(monkeypatch, capsys, "recipe", "check", "clp", *settings, "--compare")
        assert code == 0
        assert "5 × 1 trained (clp, source tokenizer, resized rows, random rows, from scratch)" in " ".join(out.split())
        assert sorted(places.rglob("*")) == before

    def test_what_cannot_work_is_refused(self, monkeypatch, capsys):
        code, _, err = call(monkeypatch, capsys, "recipe", "check", "clp", "--set", "stages.0.steps=0")
        assert (code, len(err.strip().splitlines())) == (2, 1)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (["initializer.methd=clp"], "no option 'methd'"),
            ([], "clp needs a helper checkpoint"),
            (["initializer={method: pooled}"], "pooled needs evidence"),
        ],
    )
    def test_so_is_what_a_run_would_refuse(self, monkeypatch, capsys, places, settings, message):
        given = [f"source={places / 'source'}", f"data.corpus={places / 'de.txt'}", "stages.0.sequence_length=16"]
        words = [word for setting in (*given, *settings) for word in ("--set", setting)]
        code, _, err = call(monkeypatch, capsys, "recipe", "check", "clp", *words)
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert message in err

    def test_the_schema_knows_every_key_of_every_shipped_recipe(self, monkeypatch, capsys):
        code, out, _ = call(monkeypatch, capsys, "recipe", "schema")
        stage = json.loads(out)["$defs"]["Stage"]
        assert code == 0
        assert not stage["additionalProperties"]
        assert {"max_steps", "steps", "gradient_checkpointing", "objective"} <= stage["properties"].keys()
        assert "output_dir" not in stage["properties"]


def test_a_dry_run_says_what_would_be_made_and_makes_nothing(monkeypatch, capsys, places):
    given = ("--source", places / "source", "--helper", places / "helper", "--corpus", places / "de.txt")
    given += ("--set", "stages.0.sequence_length=16")
    before = sorted(places.rglob("*"))
    code, out, _ = call(monkeypatch, capsys, "run", "clp", *given, "--output", places / "trained", "--dry-run")
    assert code == 0
    for told in ("transfer: decoder of", "1 × 1 trained (clp)", "Nothing was made", str(places / "trained")):
        assert told in " ".join(out.split())
    assert sorted(places.rglob("*")) == before


@pytest.mark.slow
def test_initialize_explain_evaluate_and_run(monkeypatch, capsys, places):
    given = ("--source", places / "source", "--helper", places / "helper")
    text = ("--corpus", places / "de.txt")
    code, out, _ = call(
        monkeypatch, capsys, "initialize", "clp", *given, *text, "--weighting", "top-k", "--output", places / "out"
    )
    assert code == 0
    assert re.search(r"\d+ copied, \d+ mixed rows", out)
    assert AutoModelForCausalLM.from_pretrained(places / "out").config.vocab_size == 500
    card = (places / "out" / "README.md").read_text()
    assert "hf-xlt initialize clp" in card
    for told in ("150 lines", "share of the text's tokens", "tokens a word", "mean cosine", "nearest source tokens"):
        assert told in re.sub(r"\s+", " ", out)
        assert told in card

    token = next(
        name for name in AutoTokenizer.from_pretrained(places / "out").get_vocab() if name.isascii() and name.isalpha()
    )
    code, out, _ = call(monkeypatch, capsys, "explain", places / "out", token)
    assert code == 0
    assert re.search(rf"{token}\s+(copied|mixed)\s+\S+ \d\.\d{{3}}", out)

    code, out, _ = call(monkeypatch, capsys, "evaluate", places / "out", "--corpus", places / "de.txt", "--length", 16)
    assert code == 0
    assert "bits per byte" in out

    steps = [word for key in ("steps=2", "sequence_length=16", "batch_size=2") for word in ("--set", f"stages.0.{key}")]
    steps += ["--set", "data.held_out_every=30"]
    code, out, _ = call(monkeypatch, capsys, "run", "clp", *given, "--corpus", places / "de.txt", *steps, "--output",
                        places / "trained", "--language", "de", "--compare")  # fmt: skip
    assert code == 0
    assert "random rows" in out
    trained = json.loads((places / "trained" / "results.json").read_text(encoding="utf-8"))
    assert {"random rows", "from scratch"} <= {run["curve"]["method"] for run in trained["runs"]}
    assert "language: de" in (places / "trained" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("auto", "--tokenizer", "{}/helper", "--dictionary", "{}/d.tsv"),
            "Taking pooled: it counts all .* a dictionary",
        ),
        (
            ("auto", "--helper", "{}/helper", "--tokenizer", "{}/helper"),
            "Taking clp: .*\n.*Not used by clp: --tokenizer",
        ),
        (("auto", "--tokenizer", "{}/helper"), "Taking subtoken-mean: there is only a tokenizer"),
        (("omp", "--donor", "{}/helper", "--k", 4, "--set", "seed=3"), "copied, .* rows"),
        (
            ("pooled", "--tokenizer", "{}/helper", "--dictionary", "{}/d.tsv", "--set", "weights.overlap=2"),
            "copied, .* rows",
        ),
    ],
)
def test_initialize_takes_any_method_and_its_evidence(monkeypatch, capsys, places, words, said):
    (places / "d.tsv").write_text("water\tWasser\nmother\tMutter\n", encoding="utf-8")
    given = (str(word).replace("{}", str(places)) for word in words)
    code, out, _ = call(
        monkeypatch, capsys, "initialize", *given, "--source", places / "source", "--output", places / "o"
    )
    assert code == 0
    assert re.search(said, out)
    assert AutoModelForCausalLM.from_pretrained(places / "o").config.vocab_size == 500


def test_the_help_of_initialize_lists_the_methods(monkeypatch, capsys):
    _, out, _ = call(monkeypatch, capsys, "initialize", "--help")
    for method in (*METHODS, "auto"):
        assert method in re.sub(r"\s", "", out)


def test_explain_shows_a_whole_text_and_the_evidence(monkeypatch, capsys, places):
    pairs = zip(sentences("en", "train")[:60], sentences("de", "train")[:60], strict=True)
    (places / "p.tsv").write_text("\n".join(map("\t".join, pairs)) + "\n", encoding="utf-8")
    given = ("--source", places / "source", "--tokenizer", places / "helper", "--parallel", places / "p.tsv")
    assert call(monkeypatch, capsys, "initialize", "pooled", *given, "--output", places / "o")[0] == 0
    assert "- **Evidence:** parallel text, `p.tsv` (60 pairs)." in (places / "o" / "README.md").read_text()
    monkeypatch.setattr(console, "_width", 300)
    code, out, _ = call(monkeypatch, capsys, "explain", places / "o", "--text", "Das Wasser ist das Wasser")
    assert code == 0
    assert re.search(r"and the counts behind them\)\s.*mixed.*\(.*links \d", out, re.DOTALL)
    ids = AutoTokenizer.from_pretrained(places / "o")("Das Wasser ist das Wasser")["input_ids"]
    assert len(out.strip().splitlines()) == 1 + len(set(ids))
    code, _, err = call(monkeypatch, capsys, "explain", places / "o")
    assert code == 2
    assert "There is nothing to explain; name tokens of the model, or give a text with --text" in err


def test_explain_reads_a_text_where_the_transformer_has_a_folder_of_its_own(monkeypatch, capsys, places):
    source = places / "nested"
    source.mkdir()
    (places / "source").rename(source / "0_Transformer")
    (source / "modules.json").write_text('[{"idx": 0, "path": "0_Transformer", "type": "x.Transformer"}]')
    given = ("--source", source, "--tokenizer", places / "helper", "--output", places / "made")
    assert call(monkeypatch, capsys, "initialize", "mean", *given)[0] == 0
    code, out, err = call(monkeypatch, capsys, "explain", places / "made", "--text", "Der Hund")
    assert code == 0, err
    assert len(out.splitlines()) > 2


def test_names_and_tokens_do_nothing_to_the_terminal(monkeypatch, capsys, places):
    code, out, err = call(monkeypatch, capsys, "evaluate", "\x1b[31m[red]\u202e\nx", "--corpus", places / "de.txt")
    assert code == 2
    assert not re.search("[\x1b\u202e]", out + err)
    assert "[red]" in err
    assert len(err.strip().splitlines()) == 1


def test_tokenizer_is_trained_like_anothers_or_from_a_family(monkeypatch, capsys, places):
    corpus = ("--corpus", places / "de.txt", "--vocab-size", 400)
    code, _, _ = call(
        monkeypatch, capsys, "tokenizer", *corpus, "--like", places / "source", "--output", places / "like"
    )
    assert code == 0
    like = AutoTokenizer.from_pretrained(places / "like")
    assert len(like) == 400
    assert like.tokenize("für")[0].startswith("f")
    code, out, _ = call(
        monkeypatch, capsys, "tokenizer", *corpus, "--family", "unigram", "--output", places / "unigram"
    )
    assert code == 0
    assert "400 entries" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "nonsense", "--output", "{}/x"), "There is no recipe 'nonsense'; expected one of auto, .*scratch"),
        (("run", "clp", "--output", "{}/x"), "There is no corpus.*--corpus"),
        (("run", "clp", "--output", "{}/x", "--set", "stages.0.stesp=3"), "stages.0.stesp is no .*'steps'"),
        (("run", "clp", "--output", "{}/x", "--set", "stages.0.steps=0"), "max_steps is 0; expected a number > 0"),
        (("run", "clp", "--output", "{}/x", "--corpus", "{}/none.txt"), "none.txt is not a file"),
        (("initialize", "clp", "--output", "{}/x"), "clp needs a source checkpoint"),
        (
            ("run", "sentence", "--output", "{}/x", "--parallel", "de=a.tsv", "--parallel", "b.tsv"),
            "Some files of --parallel have no language of their own",
        ),
        (("run", "pooled", "--output", "{}/x", "--parallel", "de=a.tsv"), "data.translations has no effect"),
        (("initialize", "auto", "--output", "{}/x"), "auto needs something of the target language. Give --tokenizer"),
        (("initialize", "pooled", "--source", "{}/source", "--output", "{}/x"), "pooled needs a target tokenizer. "),
        (("initialize", "ramen", "--source", "a", "--tokenizer", "{}/helper", "--output", "{}/x"), "--parallel"),
        (("initialize", "mean", "--k", "3", "--source", "{}/source", "--tokenizer", "{}/helper", "--output", "{}/x"),
         "mean has no option 'k'. Its options are .*overlap"),
        (("initialize", "mean", "--source", "{}/source", "--tokenizer", "{}/helper", "--corpus", "{}/none.txt",
          "--output", "{}/x"), "none.txt is not a file"),
        (("initialize", "clp", "--set", "seed", "--output", "{}/x"), "'seed' is not of the form key=value"),
        (("initialize", "magic", "--output", "{}/x"), "Unknown initializer 'magic'"),
        (("explain", "{}/source", "Hund"), "transport.safetensors is not a file"),
        (("demo", "--recipe", "nothing", "--output", "{}/x"), "'nothing' is not one of 'clp', 'trelm'"),
        (("tokenizer", "--corpus", "{}/de.txt", "--family", "morse", "--output", "{}/x"), "'morse' is not one of"),
        (("push", "{}/source", "not a name"), "'not a name' is not a repository id|has no model card"),
    ],
)  # fmt: skip
def test_refusals_are_one_line_with_exit_code_2(monkeypatch, capsys, places, words, message):
    code, _, err = call(monkeypatch, capsys, *(str(word).replace("{}", str(places)) for word in words))
    assert code == 2
    assert re.search(message, err)
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert not (places / "x").exists()
    assert not list(places.glob(".x*"))


@pytest.mark.slow
def test_debug_shows_the_traceback(monkeypatch, places):
    monkeypatch.setenv("HF_XLT_DEBUG", "1")
    code = "import sys; from hf_xlt.cli import main; sys.argv = ['hf-xlt', 'run', 'nonsense', '--output', 'x']; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    assert "InputError" in done.stderr


def test_a_new_tokenizer_reads_several_texts_and_dictionaries_and_keeps_accents(monkeypatch, capsys, places, tmp_path):
    for name, lines in (
        ("a.txt", "ä äb\n" * 50),
        ("b.txt", "öx öy\n" * 50),
        ("d.tsv", "cat\tŵŷ\n"),
        ("e.tsv", "q\tŝĉ\n"),
    ):
        (tmp_path / name).write_text(lines, encoding="utf-8")
    files = [word for name in ("a.txt", "b.txt") for word in ("--corpus", tmp_path / name)]
    files += [word for name in ("d.tsv", "e.tsv") for word in ("--dictionary", tmp_path / name)]
    output = ("--family", "wordpiece", "--vocab-size", 400, "--output")
    code, _, err = call(monkeypatch, capsys, "tokenizer", *files, *output, tmp_path / "kept")
    assert code == 0, err
    vocab = AutoTokenizer.from_pretrained(tmp_path / "kept").get_vocab()
    assert vocab.keys() >= {"äb", "öx", "öy", "ŵ", "ŝ"}
    code, *_ = call(monkeypatch, capsys, "tokenizer", *files, "--strip-accents", *output, tmp_path / "stripped")
    assert code == 0
    assert AutoTokenizer.from_pretrained(tmp_path / "stripped").get_vocab().keys() >= {"ab", "ox", "oy"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--corpus", "{}/de.txt"), "de.txt is named twice; expected each once"),
        (("--added", "5"), "--added has an effect only with --extend"),
        (("--like", "{}/source", "--family", "unigram"), "--family has an effect only without --like"),
        (("--extend", "{}/source", "--vocab-size", "500"), "--vocab-size has an effect only without --extend"),
        (("--extend", "{}/source", "--min-frequency", "2"), "--min-frequency has an effect only without --extend"),
        (("--extend", "{}/source", "--cased"), "--lowercase has an effect only without --extend"),
        (("--vocab-size", "10000000000"), "vocab_size is 10000000000; expected at least 300"),
        (("--vocab-size", "-1"), "vocab_size is -1"),
        (("--min-frequency", "-1"), "min_frequency is -1"),
    ],
)
def test_options_of_a_tokenizer_that_do_not_fit_are_refused(monkeypatch, capsys, places, words, message):
    filled = [word.format(places) for word in words]
    code, _, err = call(
        monkeypatch, capsys, "tokenizer", "--corpus", places / "de.txt", "--output", places / "refused", *filled
    )
    assert code == 2
    assert re.search(message, err)
    assert not (places / "refused").exists()

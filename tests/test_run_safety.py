"""Nothing of a run is lost or mixed up: refusals, changed inputs, two runs at once, a full disk, several processes."""

import errno
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.testing import assert_close

from hf_xlt import cli
from hf_xlt.errors import InputError
from hf_xlt.recipes import load_recipe
from hf_xlt.runs import Results, engine, prepared, run_recipe
from hf_xlt.runs import work as work_module
from hf_xlt.runs.contents import contents, with_commits
from hf_xlt.runs.training import variant
from hf_xlt.runs.training.progress import ProgressLines
from hf_xlt.sample import sentences

COMMIT = "0123456789" * 4


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe of every kind of input that a transfer reads, its files beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    english, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "byte-level-bpe", 500)
    nothing_dropped = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    tiny.save(tiny.model("gpt2", english, seed=1, **nothing_dropped), english, Path("source"))
    german.save_pretrained("german")
    for name, lines in (("de.txt", sentences("de", "train")[:200]), ("held_out.txt", sentences("de", "held_out"))):
        Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("words.tsv").write_text("house\tHaus\nwater\tWasser\nand\tund\n", encoding="utf-8")
    Path("recipe.yaml").write_text(
        "name: words\ninitializer: {method: dictionary}\nsource: source\ntarget_tokenizer: german\n"
        "data: {corpus: de.txt, held_out: held_out.txt, dictionary: words.tsv}\n"
        "stages: [{name: target, steps: 6, sequence_length: 16, batch_size: 4, evaluations: 2, checkpoints: 6}]\n",
        encoding="utf-8",
    )
    return load_recipe("recipe.yaml")


class Stopped(Exception):
    """A process that ends in the middle of training."""


@pytest.fixture
def stopped(recipe, monkeypatch):
    """The work folder of a run that ended after training began."""
    with monkeypatch.context() as patched:
        patched.setattr(variant, "keep_run", raising(Stopped()))
        with pytest.raises(Stopped):
            run_recipe(recipe, Path("out"), "x")
    return Path(".out.work")


def raising(error):
    def raise_it(*arguments, **options):
        raise error

    return raise_it


def hidden():
    return sorted(path.name for path in Path().glob(".*"))


class TestARefusal:
    def test_before_work_leaves_nothing(self, recipe):
        Path("de.txt").write_text("Ja.\n", encoding="utf-8")
        with pytest.raises(InputError, match="shorter than one sequence"):
            run_recipe(recipe, Path("out"), "x")
        assert hidden() == []

    @pytest.mark.parametrize("where", ["keep_run", "save_kept"])
    @pytest.mark.slow
    def test_after_work_began_keeps_it_and_says_how_to_go_on(self, recipe, monkeypatch, where):
        with monkeypatch.context() as patched:
            place = variant if where == "keep_run" else engine
            patched.setattr(place, where, raising(InputError("That will not do", value=3)))
            with pytest.raises(
                InputError, match="That will not do. What is done so far is kept in .out.work"
            ) as refusal:
                run_recipe(recipe, Path("out"), "x")
        assert refusal.value.value == 3
        assert list(Path(".out.work").glob("*/stages/target/checkpoint-6")) or where == "save_kept"
        run_recipe(recipe, Path("out"), "x")
        assert hidden() == []

    @pytest.mark.slow
    def test_of_a_run_that_goes_on_keeps_what_was_done(self, recipe, stopped, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(prepared, "check_space", raising(InputError("no room for that")))
            with pytest.raises(InputError, match="no room for that. What is done so far is kept"):
                run_recipe(recipe, Path("out"), "x")
        assert list(stopped.glob("*/stages/target/checkpoint-6"))


class TestAnEarlyEnd:
    @pytest.mark.slow
    def test_by_the_user_keeps_the_work_and_tells_it(self, recipe, monkeypatch, caplog):
        monkeypatch.setattr(variant, "keep_run", raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, Path("out"), "x")
        assert "What is done so far is kept in .out.work: the same command goes on from there." in caplog.text
        assert list(Path(".out.work").glob("*/stages/target/checkpoint-6"))

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            OSError(errno.EFBIG, "File too large"),
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file data/2"),
        ],
    )
    def test_for_want_of_room_is_one_line(self, tmp_path, error):
        work = tmp_path / ".out.work"
        work.mkdir()
        (work / work_module.STAMP).write_text("{}")
        with (
            pytest.raises(
                InputError, match=r"There is no room to write to .*\. Make room\. What is done so far is kept"
            ),
            work_module.kept_on_failure(work),
        ):
            raise error

    @pytest.mark.slow
    def test_for_want_of_room_keeps_the_work(self, recipe, monkeypatch):
        with monkeypatch.context() as patched:
            patched.setattr(variant, "keep_run", raising(OSError(errno.ENOSPC, "No space left on device")))
            with pytest.raises(InputError, match="There is no room"):
                run_recipe(recipe, Path("out"), "x")
        run_recipe(recipe, Path("out"), "x")
        assert hidden() == []

    @pytest.mark.slow
    def test_between_training_and_its_record_is_made_up_for(self, recipe, stopped):
        (next(stopped.glob("*-seed0")) / "run.json").write_text('{"curve": ', encoding="utf-8")
        run_recipe(recipe, Path("out"), "x")
        assert Results.load(Path("out/results.json")).runs[0].curve.final.step == 6

    @pytest.mark.slow
    def test_does_not_shorten_the_seconds_that_training_took(self, recipe, stopped):
        state = json.loads(
            (next(stopped.glob("*-seed0")) / "stages/target/checkpoint-6/trainer_state.json").read_text()
        )
        trained = max(entry.get("trained_seconds", 0) for entry in state["log_history"])
        assert trained > 0
        assert run_recipe(recipe, Path("out"), "x").runs[0].curve.seconds >= trained


class TestAChangedInput:
    def changed(self, what):
        match what:
            case "source":
                tok = tiny.tokenizer("en", "byte-level-bpe")
                tiny.model("gpt2", tok, seed=7).save_pretrained("source")
            case "target_tokenizer":
                tiny.tokenizer("de", "byte-level-bpe", 450).save_pretrained("german")
            case file:
                path = {"data.corpus": "de.txt", "data.held_out": "held_out.txt", "data.dictionary": "words.tsv"}[file]
                text = Path(path).read_text(encoding="utf-8")
                before = Path(path).stat()
                Path(path).write_text(text.replace("Haus", "Maus").replace("ein", "eim"), encoding="utf-8")
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same name, same size, same time

    @pytest.mark.slow
    def test_under_the_same_name_is_named_and_refused_until_it_is_restored(self, recipe, stopped):
        kept = sorted(stopped.rglob("*"))
        for what in ("source", "target_tokenizer", "data.corpus", "data.held_out", "data.dictionary"):
            shutil.copytree(".", "../before", ignore=shutil.ignore_patterns(".*"))
            self.changed(what)
            with pytest.raises(InputError, match=rf"the content of {what} \(.*\) was another. Restore that to go on"):
                run_recipe(recipe, Path("out"), "x")
            assert sorted(stopped.rglob("*")) == kept
            shutil.copytree("../before", ".", dirs_exist_ok=True)
            shutil.rmtree("../before")
        run_recipe(recipe, Path("out"), "x")
        assert hidden() == []

    @pytest.mark.slow
    def test_is_taken_anew_with_overwrite(self, recipe, stopped):
        self.changed("data.corpus")
        begun = run_recipe(recipe, Path("out"), "x", overwrite=True)
        again = run_recipe(recipe, Path("again"), "x")
        assert begun.runs[0].curve.points == again.runs[0].curve.points

    @pytest.mark.slow
    def test_of_the_recipe_is_named(self, recipe, stopped):
        with pytest.raises(InputError, match=r"stages\.0\.max_steps was 6 and is 7 now"):
            run_recipe(recipe.replace(stages=(recipe.stages[0].replace(max_steps=7),)), Path("out"), "x")
        with pytest.raises(InputError, match="compare was False and is True now"):
            run_recipe(recipe, Path("out"), "x", compare=True)

    @pytest.mark.slow
    def test_cannot_be_told_from_a_broken_record(self, recipe, stopped):
        for stamp in ("", "{", "[]", "{}", '{"recipe": "another", "compare": false}', '{"processes": "x"}'):
            (stopped / "run.json").write_text(stamp, encoding="utf-8")
            with pytest.raises(InputError, match="holds an unfinished run of another recipe or input"):
                run_recipe(recipe, Path("out"), "x")
        run_recipe(recipe, Path("out"), "x", overwrite=True)
        assert Path("out/config.json").is_file()


class TestTwoRuns:
    @pytest.mark.slow
    def test_at_one_output_are_refused_at_once(self, recipe):
        with work_module.held(Path("out")):
            with pytest.raises(InputError) as refusal:
                run_recipe(recipe, Path("out"), "x")
            told = f"A run with the output out is going on: process {os.getpid()} on {socket.gethostname()}"
            assert str(refusal.value).startswith(told)
            run_recipe(recipe, Path("other"), "x")
        run_recipe(recipe, Path("out"), "x")

    @pytest.mark.slow
    def test_of_which_one_was_killed_are_one(self, recipe):
        code = "import time; from pathlib import Path; from hf_xlt.runs.work import held\n"
        code += "with held(Path('out')): print('held', flush=True); time.sleep(60)"
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {process.pid} on"):
            run_recipe(recipe, Path("out"), "x")
        process.send_signal(signal.SIGKILL)
        process.wait()
        run_recipe(recipe, Path("out"), "x")
        assert hidden() == []


class TestWhatComesFromTheHub:
    @pytest.mark.slow
    def test_goes_by_its_commit(self, recipe, tmp_path, monkeypatch):
        snapshot = tmp_path / "snapshots" / COMMIT
        snapshot.parent.mkdir()
        Path("source").rename(snapshot)
        asked = []

        def download(name, *, revision, **options):
            asked.append((name, revision))
            return str(snapshot)

        monkeypatch.setattr(sys.modules["hf_xlt.checkpoint.fetch"], "snapshot_download", download)
        monkeypatch.setattr(
            "hf_xlt.files.corpora.HfApi.dataset_info", lambda self, name, revision: type("Info", (), {"sha": COMMIT})
        )
        named = recipe.replace(source="org/model@v1", data=recipe.data.replace(held_out="org/text@v2:de"))
        pinned = with_commits(named)
        assert pinned.source == f"org/model@{COMMIT}"
        assert pinned.data.held_out == f"org/text@{COMMIT}:de"
        assert pinned.target_tokenizer == "german"
        assert asked == [("org/model", "v1")]
        assert with_commits(pinned) == pinned
        known = contents(pinned)
        assert (known["source"], known["data.held_out"]) == (COMMIT, COMMIT)

        run_recipe(recipe.replace(source="org/model"), Path("out"), "x")
        assert load_recipe("out/recipe.yaml").source == f"org/model@{COMMIT}"
        assert Results.load(Path("out/results.json")).recipe["source"] == f"org/model@{COMMIT}"
        card = Path("out/README.md").read_text(encoding="utf-8")
        assert "base_model: org/model\n" in card
        assert f"org/model@{COMMIT}" in card

    @pytest.mark.slow
    def test_a_folder_whose_name_has_an_at_sign_is_a_folder(self, recipe):
        Path("source").rename("model@v1")
        run_recipe(recipe.replace(source="model@v1"), Path("out"), "x")
        assert load_recipe("out/recipe.yaml").source == "model@v1"


class TestLines:
    @pytest.mark.slow
    def test_are_told_where_no_terminal_looks_on(self, recipe, monkeypatch, capsys):
        logger = logging.getLogger("hf_xlt")
        monkeypatch.setattr(logger, "level", logger.level)
        monkeypatch.setattr("sys.argv", ["hf-xlt", "run", "recipe.yaml", "--output", "out"])
        handler = logging.StreamHandler(sys.stderr)
        logger.addHandler(handler)
        try:
            with pytest.raises(SystemExit) as end:
                cli.main()
        finally:
            logger.removeHandler(handler)
        assert end.value.code in (0, None)
        lines = capsys.readouterr().err.splitlines()
        assert any(line.endswith("· target: 6 steps") for line in lines)
        assert any("· target: step 6 of 6, " in line and line.endswith(" bits/byte") for line in lines)
        assert "\r" not in "".join(lines)

    def test_come_neither_too_often_nor_too_seldom(self, monkeypatch, caplog):
        caplog.set_level(logging.INFO)
        now = [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        lines = ProgressLines("a · b", apart=2, silent=60)
        state = type("State", (), {"global_step": 0, "max_steps": 400})
        lines.on_train_begin(None, state, None)
        for step in range(1, 401):
            now[0] += 0.5
            state.global_step = step
            lines.on_step_end(None, state, None)
            if step <= 40:
                lines.on_evaluate(None, state, None, metrics={"eval_bits_per_byte": 1.5})
        told = [record.getMessage() for record in caplog.records]
        assert told[0] == "a · b: 400 steps"
        assert 5 <= sum("bits/byte" in line for line in told) <= 10
        assert 2 <= sum("bits/byte" not in line for line in told[1:]) <= 4


@pytest.mark.slow
def test_two_processes_run_as_one_does_at_the_same_global_batch(recipe):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = ["-m", "hf_xlt", "run", "recipe.yaml", "--set", "target_tokenizer=null", "--set", "tokenizer.vocab_size=450"]
    run += ["--set", "tokenizer.family=source", "--set", "initializer.method=mean", "--set", "data.dictionary=null"]
    one = [sys.executable, *run, "--output", "one"]
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *run]
    for command in (one, [*two, "--output", "two", "--set", "stages.0.batch_size=2"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
        assert done.stdout.count("Next: hf-xlt push") == 1
    curves = [Results.load(Path(name) / "results.json").runs[0].curve.points for name in ("one", "two")]
    for single, double in zip(*curves, strict=True):
        assert vars(double) == pytest.approx(vars(single), rel=1e-4)
    assert Path("one/tokenizer.json").read_bytes() == Path("two/tokenizer.json").read_bytes()
    weights = [load_file(Path(name) / "model.safetensors") for name in ("one", "two")]
    for name, tensor in weights[0].items():
        assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4, msg=name)
    assert hidden() == []

    refused = [*two, "--output", "three", "--set", "stages.0.sequence_length=512"]
    done = subprocess.run(refused, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode != 0
    assert done.stderr.count("hf-xlt: sequence_length is 512") == 1
    assert hidden() == []

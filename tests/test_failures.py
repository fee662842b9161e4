"""What goes wrong in a command: one line, an exit code, nothing half-written; a traceback only where asked for."""

import errno
import json
import re
import resource
import signal
import subprocess
import sys

import pytest
import tiny
from safetensors import SafetensorError
from test_cli import call, places  # noqa: F401

from hf_xlt import demo
from hf_xlt.cli import app
from hf_xlt.cli.main import told
from hf_xlt.errors import InputError, UploadError
from hf_xlt.files import plain_yaml
from hf_xlt.files.printable import one_line
from hf_xlt.recipes.settings import SettingError


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (InputError("seed is -1"), "seed is -1", 2),
        (InputError("There is no corpus.", key="data.corpus"), r"^There is no corpus\. Its option is --corpus\.$", 2),
        (SettingError("source", "has no effect", value="bert"), "^source has no effect$", 2),
        (UploadError("not taken"), "not taken", 2),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: No space left on device. Make room", 1),
        (PermissionError(errno.EACCES, "Permission denied", b"/x"), "/x: Permission denied. Check who may", 1),
        (OSError(errno.EBADF, "Bad file descriptor", 7), "7: Bad file descriptor", 1),
        (OSError(errno.EIO, "Input/output error", b"/x/\xff"), "/x/\N{REPLACEMENT CHARACTER}: Input/output error", 1),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system. The disk is read-only", 1),
        (SafetensorError("Error: I/O error: No space left on device (os error 28)"), "Make room", 1),
        (Exception("File too large (os error 27)"), "ulimit -f", 1),
        (RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"), "Make room", 1),
        (MemoryError(), "not enough memory", 1),
        (RecursionError(), "nested too deeply", 2),
        (KeyError("x"), "KeyError .'x'. at test_failures.py.*is a fault of hf-xlt.*HF_XLT_DEBUG=1", 1),
    ],
)
def test_every_error_is_one_line_with_what_to_do(error, line, code):
    said, exit_code = told(raised(error))
    assert exit_code == code
    assert re.search(line, said)
    assert len(one_line(said).splitlines()) == 1


def test_a_line_holds_nothing_that_a_terminal_obeys():
    assert one_line("a\nb\x1b[31m\tc") == "a b\N{REPLACEMENT CHARACTER}[31m c"


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupted)
    code, _, err = call(monkeypatch, capsys, "demo", "--output", tmp_path / "out")
    assert (code, err) == (app.INTERRUPTED, "hf-xlt: Interrupted.\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("explain", "x", ""), "empty argument after x"),
        (("tokenizer", "--like", "a", "--like", "b", "--corpus", "c.txt", "--output", "x"), "--like is given 2 times"),
        (("demo", "--output", "x\udcff"), "is not UTF-8"),
    ],
)
def test_words_that_would_not_be_heeded_are_refused(monkeypatch, capsys, words, message):
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "'a' is given twice"),
        ("[" * 5000, "nested too deeply"),
        ("a: &a [*a]", "alias of the whole"),
        ("a: &a [1]\n" + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
        ), "aliases"),
        ("a: 2020-02-31", "day is out of range"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_yaml_that_would_be_misread_or_never_end_is_refused(text, reason):
    with pytest.raises(plain_yaml.yaml.YAMLError, match=reason):
        plain_yaml.load(text)


def test_yaml_with_an_alias_is_read():
    assert plain_yaml.load("a: &a [1]\nb: *a") == {"a": [1], "b": [1]}


@pytest.fixture
def limited():
    """Runs a command in a process whose files may not grow beyond a size; the exit code and what it said."""

    def run(size: int, *words) -> tuple[int, str]:
        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        program = "import sys; from hf_xlt.cli import main; sys.argv[0] = 'hf-xlt'; main()"
        command = [sys.executable, "-c", program, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
        return done.returncode, done.stderr

    return run


@pytest.mark.slow
def test_a_full_disk_leaves_no_half_of_a_model(limited, places):  # noqa: F811
    before = sorted(places.rglob("*"))
    given = ("--source", places / "source", "--helper", places / "helper")
    code, err = limited(20_000, "initialize", "clp", *given, "--output", places / "deep" / "out")
    assert code == 1
    assert err.startswith("hf-xlt: ")
    assert len(err.splitlines()) == 1
    assert sorted(places.rglob("*")) == before


@pytest.mark.slow
def test_a_run_goes_on_when_there_is_room(limited, places, monkeypatch, capsys):  # noqa: F811
    short = ("steps=4", "sequence_length=16", "batch_size=2", "evaluations=2", "checkpoints=2")
    settings = [word for setting in short for word in ("--set", f"stages.0.{setting}")]
    asked = ("run", "clp", "--source", places / "source", "--helper", places / "helper",
             "--corpus", places / "de.txt", "--set", "data.held_out_every=30", *settings)  # fmt: skip
    code, err = limited(30_000, *asked, "--output", places / "out")
    assert code == 2
    assert len([line for line in err.splitlines() if line.startswith("hf-xlt: ")]) == 1
    assert not (places / "out").exists()
    assert call(monkeypatch, capsys, *asked, "--output", places / "out")[0] == 0
    assert call(monkeypatch, capsys, *asked, "--output", places / "whole")[0] == 0
    points = [
        json.loads((places / name / "results.json").read_text(encoding="utf-8"))["runs"][0]["curve"]["points"]
        for name in ("out", "whole")
    ]
    assert points[0] == points[1]


def test_a_demonstration_that_fails_leaves_what_was_there(monkeypatch, capsys, tmp_path):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.tex").write_text("ten years of work")
    code, _, err = call(monkeypatch, capsys, "demo", "--output", out, "--overwrite")
    assert code == 2
    assert "thesis.tex" in err
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_tokenizer_does_not_replace_the_model_it_imitates(monkeypatch, capsys, tmp_path):
    english = tiny.tokenizer("en", "wordpiece")
    model = tiny.save(tiny.model("bert", english), english, tmp_path / "model")
    (tmp_path / "de.txt").write_text("Wasser\n" * 100)
    asked = ("tokenizer", "--like", model, "--corpus", tmp_path / "de.txt", "--output", model, "--overwrite")
    code, _, err = call(monkeypatch, capsys, *asked)
    assert code == 2
    assert "overlaps" in err
    assert (model / "model.safetensors").exists()

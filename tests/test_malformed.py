"""A part of `benchmarks/malformed.py`: malformed input is refused in one line, and leaves everything as it was."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "malformed.py"
COMMANDS = 12  # every so many-th
SLOW = ("structure of", "train_joint_tokenizer", "structure(")


@pytest.fixture(scope="module")
def malformed():
    spec = importlib.util.spec_from_file_location("malformed", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["malformed"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["malformed"]


@pytest.fixture(scope="module")
def folder(malformed, tmp_path_factory):
    here = Path.cwd()
    made = malformed.make_places(tmp_path_factory.mktemp("malformed").resolve())
    os.chdir(made)
    yield made
    os.chdir(here)


@pytest.mark.slow
def test_commands(malformed, folder):
    every = malformed.commands()
    assert len(every) >= 300
    cases = {name: words for name, words in list(every.items())[::COMMANDS] if not name.startswith(SLOW)}
    assert malformed.try_commands(folder, cases) == []


@pytest.mark.slow
def test_constructors(malformed, folder):
    tried, found = malformed.try_constructors(folder, skipped=SLOW, every=3)
    assert found == []
    assert tried >= 300

"""The package as a whole: what it exports, which way its data flows, what its sample holds."""

import ast
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import hf_xlt
from hf_xlt.sample import LANGUAGES, sentences

ROOT = Path(hf_xlt.__file__).parent


@pytest.mark.slow
def test_rewriting_a_checkpoint_imports_nothing_that_trains_reads_datasets_or_plots():
    unneeded = {"datasets", "hf_xlt.recipes", "matplotlib", "peft"}
    program = f"import sys, hf_xlt.initializers; print(*{unneeded}.intersection(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.split() == []


def test_importing_the_package_is_cheap():
    heavy = {"torch", "transformers", "numpy", "huggingface_hub"}
    program = f"import sys, hf_xlt; print(*{heavy}.intersection(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.split() == []


def test_public_names_exist_are_sorted_and_are_what_type_checkers_see():
    assert all(getattr(hf_xlt, name) is not None for name in hf_xlt.__all__)
    assert hf_xlt.__all__ == sorted(hf_xlt.__all__, key=lambda name: (not name[0].isupper(), name))
    assert set(hf_xlt.__all__) <= set(dir(hf_xlt))
    tree = ast.parse(Path(hf_xlt.__file__).read_text(encoding="utf-8"))
    (typed,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in typed.body for alias in node.names}
    assert seen == hf_xlt._HOME


@pytest.mark.slow
def test_type_checkers_report_names_that_the_package_does_not_have(tmp_path, monkeypatch):
    mypy = pytest.importorskip("mypy.api")
    monkeypatch.chdir(tmp_path)
    Path("hf_xlt").mkdir()
    shutil.copy(hf_xlt.__file__, "hf_xlt")  # the modules behind it would take a minute
    Path("script.py").write_text("from hf_xlt import CLPInitializer, Missing\n", encoding="utf-8")
    told, _, _ = mypy.run(
        ["--ignore-missing-imports", "--no-site-packages", "--config-file=", "--cache-dir=cache", "script.py"]
    )
    assert ["Missing" in line for line in told.splitlines() if "script.py" in line and "error" in line] == [True]


def test_the_version_is_the_same_wherever_it_stands():
    citation = yaml.safe_load((ROOT.parent / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version("hf-xlt") == hf_xlt.__version__
    assert f"## {hf_xlt.__version__}" in (ROOT.parent / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_oldest_versions_that_are_claimed_are_those_that_ci_tries():
    checkout = ROOT.parent
    claimed = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    tried = (checkout / ".ci" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    for name in ("transformers", "huggingface_hub"):
        (version,) = (line.partition(">=")[2] for line in claimed if line.startswith(f"{name}>="))
        (pinned,) = (line.partition("==")[2] for line in tried if line.startswith(f"{name}=="))
        assert pinned.startswith(version)


def test_nothing_unpickles():
    source = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    assert "torch.load(" not in source
    assert "import pickle" not in source


def test_the_splits_of_the_sample_are_parallel_disjoint_and_complete():
    for language in LANGUAGES:
        train, held_out = sentences(language, "train"), sentences(language, "held_out")
        assert (len(train), len(held_out)) == (1120, 160)
    pairs = {
        split: set(zip(sentences("en", split), sentences("de", split), strict=True)) for split in ("train", "held_out")
    }
    assert not pairs["train"] & pairs["held_out"]


def test_the_sample_is_small_and_all_safetensors():
    files = [path for path in (ROOT / "sample").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 18_000_000
    assert not [path for path in files if path.suffix in {".bin", ".pt", ".pkl"}]

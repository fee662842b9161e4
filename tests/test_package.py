"""The package as a whole: what it exports, which way its data flows, what its sample holds."""

import ast
import subprocess
import sys
from pathlib import Path

import hf_xlt
from hf_xlt.sample import LANGUAGES, sentences

ROOT = Path(hf_xlt.__file__).parent
ORDER = (
    "errors", "arguments", "files", "tokens", "mixture", "transport", "geometry", "evidence", "checkpoint",
    "model_card", "hub", "trelm", "data", "evaluation", "initializers", "report", "report_html", "recipes", "study",
    "sample", "demo", "cli", "__main__",
)  # fmt: skip


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("hf_xlt.")}


def test_every_module_has_its_place_and_imports_only_from_those_above_it():
    modules = [path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py"]
    assert {room(path) for path in modules} <= set(ORDER)
    for path in modules:
        own = ORDER.index(room(path))
        below = {name for name in imported_rooms(path) if ORDER.index(name) > own}
        assert not below, f"{path.relative_to(ROOT)} imports {sorted(below)}"


def test_rewriting_a_checkpoint_imports_nothing_that_trains_reads_datasets_or_plots():
    unneeded = {"datasets", "hf_xlt.recipes", "matplotlib", "peft"}
    program = f"import sys, hf_xlt.checkpoint, hf_xlt.initializers; print(*{unneeded}.intersection(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.split() == []


def test_public_names_exist_and_are_sorted():
    assert all(hasattr(hf_xlt, name) for name in hf_xlt.__all__)
    assert hf_xlt.__all__ == sorted(hf_xlt.__all__, key=lambda name: (not name[0].isupper(), name))


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

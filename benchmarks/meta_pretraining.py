"""Cross-lingual meta-pretraining on real text: English alone and then with German, against both from the start.

    python benchmarks/meta_pretraining.py --data DATA --output runs/meta-pretraining

The text is that of the study, 30,000 lines of novels of either language; 8,000 translated captions serve as TLM and,
held out, for retrieval. Small models (4 layers of 128), 1,200 steps a phase. Ten minutes on one core.
"""

from __future__ import annotations

import shutil
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from study import CAPTIONS_AND_NEWS, files, write

from hf_xlt.evidence.translations import read_parallel
from hf_xlt.recipes import load_recipe
from hf_xlt.report.tables import text_table
from hf_xlt.runs import run_recipe
from hf_xlt.runs.measured import language_tables

STAGES = [
    f"stages.{stage}.{setting}"
    for stage in (0, 1)
    for setting in ("steps=1200", "sequence_length=64", "learning_rate=1e-3", "precision=bfloat16")
]
SETTINGS = (
    *STAGES,
    "stages.0.evaluations=2",
    "stages.1.evaluations=4",
    "model.hidden_size=128",
    "model.intermediate_size=512",
    "model.num_hidden_layers=4",
    "model.max_position_embeddings=128",
    "tokenizer.vocab_size=8000",
    "data.held_out_lines=200",
    "license=apache-2.0",
)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    output: Annotated[Path, typer.Option(help="Folder of the model.")] = Path("runs/meta-pretraining"),
    results: Annotated[Path | None, typer.Option(help="Folder for the figures and the picture.")] = None,
) -> None:
    """Train both ways, and compare."""
    folder = output.with_name(f"{output.name}-text")
    corpora = [f"data.{setting}" for setting in files(data, folder) if setting.startswith("corpora.")]
    recipe = load_recipe(
        "meta_pretraining", [*SETTINGS, *corpora, f"data.parallel={pairs(data, folder / 'pairs.tsv')}"]
    )
    found = run_recipe(recipe, output, "python benchmarks/meta_pretraining.py", compare=True)
    for table in language_tables(found):
        Console().print(text_table(table))
    if results is not None:
        shutil.copyfile(output / "results.json", results / "meta_pretraining_en_de.json")
        shutil.copyfile(output / "trade_off.png", results / "meta_pretraining_en_de.png")


def pairs(data: Path, path: Path) -> Path:
    """Every second translation pair, unless the file is there."""
    both = chain.from_iterable(read_parallel(f"{data / place}").pairs for place in CAPTIONS_AND_NEWS)
    return write(path, (f"{a}\t{b}" for a, b in islice(both, 1, 16_000, 2)))


if __name__ == "__main__":
    typer.run(main)

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer

from hf_xlt.evaluation.tasks.registry import task_names
from hf_xlt.initializers import METHODS as INITIALIZERS

METHODS = tuple(INITIALIZERS)
TASKS = task_names()
RECIPES = tuple(sorted(path.stem for path in Path(__file__).parents[1].glob("recipes/*.yaml")))
Demonstration = Literal["clp", "trelm"]
Family = Literal["byte-level-bpe", "unigram", "wordpiece"]
Weighting = Literal["paper", "positive", "top-k", "sparsemax"]
MergeName = Literal["elchat", "chat-vector", "linear"]
PrecisionName = Literal["float32", "bfloat16"]


def one_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers for an argument that may be one of these names, or something else."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def several_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """The same for names with commas between."""

    def offered(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in before.split(",")]

    return offered


RecipeName = Annotated[
    str,
    typer.Argument(help=f"A shipped recipe ({', '.join(RECIPES)}) or a .yaml file.", autocompletion=one_of(RECIPES)),
]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: stages.0.steps=500.")]
Source = Annotated[str | None, typer.Option(help="Checkpoint to start from: a Hub id or a folder.")]
Helper = Annotated[str | None, typer.Option(help="Small model of the target language: a Hub id or a folder.")]
Output = Annotated[Path, typer.Option(help="Folder to write; it appears when it is complete.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")]
Donor = Annotated[str | None, typer.Option(help="Model with the wanted tokenizer, for omp: a Hub id or a folder.")]
Tokenizer = Annotated[
    str | None, typer.Option(help="Target tokenizer: a Hub id or a folder; without one, the helper's or the donor's.")
]
DictionaryFiles = Annotated[
    list[str] | None,
    typer.Option(help="Words and translations, source first: .tsv, .txt, .gz. May be given several times."),
]
ParallelFiles = Annotated[
    list[str] | None,
    typer.Option(
        help="Translation pairs: .tsv, .tsv.gz, source first; with a header row FILE:source,target. May be given "
        "several times."
    ),
]
VectorsFile = Annotated[str | None, typer.Option(help="Word vectors of the target language: .vec, .vec.gz, .bin.")]
SourceVectorsFile = Annotated[str | None, typer.Option(help="Word vectors of the source language, likewise.")]
ChatTemplate = Annotated[
    str | None,
    typer.Option(
        help="Chat template of the model: tokenizer, source or a file. By default the tokenizer's own; where it has "
        "none, the source's if the tokenizer has its special tokens."
    ),
]
CorpusFiles = Annotated[
    list[str],
    typer.Option(help="Text: .txt, .txt.gz, .jsonl, .parquet or a Hub dataset id. May be given several times."),
]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that the checkpoint brings.")]

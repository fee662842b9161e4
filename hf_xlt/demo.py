"""The demonstration: German for the embedded English model, every step of a transfer on one screen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from hf_xlt.checkpoint import check_output
from hf_xlt.checkpoint.kind import KINDS
from hf_xlt.errors import InputError
from hf_xlt.evaluation.generation import continuations
from hf_xlt.initializers import TRANSPORT_FILE
from hf_xlt.recipes import Recipe, Results, load_recipe, run_recipe
from hf_xlt.report import explanation_table, results_table
from hf_xlt.sample import FOLDER, sentences
from hf_xlt.transport import Transport

RECIPES = {"clp": FOLDER / "demo_clp.yaml"}
EXPLAINED = ("Mutter", "Haus", "Wasser", "schön", "kleine", "gehen")
NEXT = (
    "hf-xlt run clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased "
    "--corpus YOUR-GERMAN.txt.gz --language de --output bert-large-german --compare"
)


def demo_recipe(name: str, text: Path, seeds: int) -> Recipe:
    """The recipe of a demonstration, its paths filled in.

    Args:
        name: One of `RECIPES`.
        text: Folder with `train.de.txt` and `held_out.de.txt`.
        seeds: How many seeds to train.

    Raises:
        InputError: If there is no such demonstration.
    """
    if name not in RECIPES:
        raise InputError(f"No demonstration of {name!r}; choose one of {', '.join(RECIPES)}.")
    given = {
        "source": FOLDER / "source",
        "helper": FOLDER / "helper",
        "data.corpus": text / "train.de.txt",
        "data.held_out": text / "held_out.de.txt",
        "seeds": list(range(seeds)),
        "prompts": json.dumps(_beginnings(), ensure_ascii=False),
    }
    return load_recipe(RECIPES[name], [f"{key}={value}" for key, value in given.items()])


def run_demo(
    name: str, output: Path, console: Console, command: str, *, seeds: int = 1, overwrite: bool = False
) -> Results:
    """Transfer, train, compare, explain and reopen, printing as it goes.

    Args:
        name: Which demonstration.
        output: Folder to write: `text/` with the German sentences and `model/`.
        console: Where to print.
        command: What to write on the card.
        seeds: How often to train each method.
        overwrite: Whether the output may be replaced.

    Raises:
        InputError: If there is no such demonstration or the output cannot be written.
    """
    check_output(output, overwrite=overwrite)
    text, model = output / "text", output / "model"
    recipe = demo_recipe(name, text, seeds)
    if overwrite and output.exists():
        shutil.rmtree(output)
    text.mkdir(parents=True)
    for split in ("train", "held_out"):
        lines = sentences("de", split)
        (text / f"{split}.de.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(recipe.description + "\n", highlight=False)
    results = run_recipe(recipe, model, command, compare=True, overwrite=overwrite)
    console.print(results_table(results.summaries))
    show_origins(model, console)
    show_continuations(results, console)
    reopen(model, results, console)
    console.print(
        f"\nIn {model}: README.md (the card), learning_curves.png, results.json, recipe.yaml.", soft_wrap=True
    )
    console.print(f"The same with checkpoints from the Hub:\n  {NEXT}", soft_wrap=True, highlight=False)
    return results


def show_origins(model: Path, console: Console) -> None:
    """What rows of a few German words are made of."""
    transport = Transport.load(model / TRANSPORT_FILE)
    counts = transport.counts
    console.print(
        f"\nRows of the German model: {counts.copied:,} copied, {counts.mixed:,} mixed, {counts.drawn:,} drawn. "
        "What some of them are made of:"
    )
    console.print(explanation_table(transport, [word for word in EXPLAINED if word in transport.target_names], k=5))


def show_continuations(results: Results, console: Console) -> None:
    """How each method's model goes on after held-out sentence beginnings."""
    first = {run.curve.method: run for run in reversed(results.runs)}
    table = Table(title="\nContinuations", title_justify="left", show_lines=True)
    table.add_column("method")
    prompts = list(results.recipe["prompts"])
    for prompt in prompts:
        table.add_column(f"{prompt} …", ratio=1)
    for method in results.methods:
        table.add_row(method, *(first[method].continuations[prompt] for prompt in prompts))
    console.print(table)


def reopen(model: Path, results: Results, console: Console) -> None:
    """Open the folder as anyone would, and let it write."""
    auto_class = KINDS[results.kind].auto_class
    opened = auto_class.from_pretrained(model)
    prompt = results.recipe["prompts"][0]
    text = continuations(opened, AutoTokenizer.from_pretrained(model), [prompt])[prompt]
    console.print(
        f'\n{auto_class.__name__}.from_pretrained("{model}"): {type(opened).__name__}, '
        f"{opened.num_parameters():,} parameters. “{prompt}” → “{text}”"
    )


def _beginnings() -> list[str]:
    """The first words of three held-out sentences."""
    return [" ".join(sentence.split()[:3]) for sentence in sentences("de", "held_out")[:3]]

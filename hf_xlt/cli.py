"""The `hf-xlt` command: parse, call, print."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import datasets
import typer
from rich.console import Console
from transformers.utils import logging as transformers_logging

from hf_xlt.checkpoint import atomic_folder
from hf_xlt.data.corpora import Corpus
from hf_xlt.data.tokenizer import open_tokenizer, train_tokenizer, train_tokenizer_like
from hf_xlt.demo import run_demo
from hf_xlt.errors import InputError, UploadError
from hf_xlt.evaluation.checkpoint import evaluate_checkpoint
from hf_xlt.hub import push as upload
from hf_xlt.initializers import TRANSPORT_FILE, initializer_for
from hf_xlt.recipes import load_recipe, run_recipe
from hf_xlt.report import explanation_table, results_table
from hf_xlt.transport import Transport

app = typer.Typer(
    name="hf-xlt",
    help="Give any Hugging Face checkpoint a new language.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console()

Source = Annotated[str | None, typer.Option(help="Checkpoint to start from: a Hub id or a folder.")]
Helper = Annotated[str | None, typer.Option(help="Small model of the target language: a Hub id or a folder.")]
Output = Annotated[Path, typer.Option(help="Folder to write; it appears when it is complete.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")]
Weighting = Annotated[str, typer.Option(help="How rows are mixed: paper, positive, top-k or sparsemax.")]
CorpusOption = Annotated[str, typer.Option(help="Text: .txt, .txt.gz, .jsonl, .parquet or a Hub dataset id.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that the checkpoint brings.")]


@app.command()
def demo(
    recipe: Annotated[str, typer.Option(help="Which recipe to show.")] = "clp",
    output: Output = Path("hf-xlt-demo"),
    overwrite: Overwrite = False,
    seeds: Annotated[int, typer.Option(help="How often to train each method.", min=1)] = 1,
) -> None:
    """Teach German to the embedded English model, offline, in about three minutes, and show what was saved."""
    run_demo(recipe, output, console, command=_command(), seeds=seeds, overwrite=overwrite)


@app.command()
def initialize(
    method: Annotated[str, typer.Argument(help="How target rows are made: clp.")],
    output: Output,
    source: Source = None,
    helper: Helper = None,
    weighting: Weighting = "paper",
    k: Annotated[int, typer.Option(help="Source tokens in a row, for top-k.", min=1)] = 10,
    temperature: Annotated[float, typer.Option(help="What similarities are divided by, for top-k.")] = 0.1,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="Match tokens that differ in case only.")] = False,
    overwrite: Overwrite = False,
    trust_remote_code: Trust = False,
) -> None:
    """Make a target-language checkpoint without training, streaming it past memory.

    Example: hf-xlt initialize clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased
    --output bert-large-german
    """
    options = {
        "method": method,
        "weighting": weighting,
        "k": k,
        "temperature": temperature,
        "ignore_case": ignore_case,
        "trust_remote_code": trust_remote_code,
    }
    initializer = initializer_for(options, source, helper)
    built = initializer.build(output, overwrite=overwrite, command=_command())
    counts = initializer.transport().counts
    _say(f"{built}: {counts.copied:,} rows copied, {counts.mixed:,} mixed, {counts.drawn:,} drawn.")
    _say(f"Next: hf-xlt explain {built} Hund, or train it: hf-xlt run clp --help")


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (clp, trelm, scratch) or a .yaml file.")],
    output: Output,
    source: Source = None,
    helper: Helper = None,
    corpus: Annotated[str | None, typer.Option(help="Text to train on: a file or a Hub dataset id.")] = None,
    source_corpus: Annotated[str | None, typer.Option(help="The same in the source language, for trelm.")] = None,
    parallel: Annotated[str | None, typer.Option(help="Translation pairs, source first: .tsv, .tsv.gz.")] = None,
    languages: Annotated[
        tuple[str, str] | None, typer.Option(help="Codes of source and target language, for trelm.")
    ] = None,
    held_out: Annotated[str | None, typer.Option(help="Text to measure on; by default lines of the corpus.")] = None,
    language: Annotated[str | None, typer.Option(help="Code of the target language, for the card.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence, for the card.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also train the baselines on the same data.")] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: stages.0.steps=500.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Carry out a recipe: initialise, train on the target language, measure, write model, card and pictures.

    A killed run goes on where it stopped when the same command is given again.

    Example: hf-xlt run clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased
    --corpus de.txt.gz --output bert-large-german --compare
    """
    given = {"source": source, "helper": helper, "language": language, "license": license,
             "data.corpus": corpus, "data.source_corpus": source_corpus, "data.parallel": parallel,
             "data.held_out": held_out, "trelm.languages": languages and list(languages)}  # fmt: skip
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    loaded = load_recipe(recipe, [*overrides, *(settings or [])])
    results = run_recipe(loaded, output, _command(), compare=compare, overwrite=overwrite)
    console.print(results_table(results.summaries))
    _say(f"{output}: model, README.md (card), results.json, learning_curves.png, recipe.yaml")
    _say(f"Next: hf-xlt push {output} YOUR-NAME/{output.name}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A language model: a Hub id or a folder.")],
    corpus: CorpusOption,
    length: Annotated[int, typer.Option(help="Tokens a sequence.", min=8)] = 128,
    trust_remote_code: Trust = False,
) -> None:
    """Measure a language model on a text: loss, perplexity and bits per byte."""
    quality = evaluate_checkpoint(model, corpus, length, trust_remote_code)
    _say(
        f"loss {quality.loss:.4f} nats a token, perplexity {quality.perplexity:,.2f}, "
        f"{quality.bits_per_byte:.4f} bits per byte"
    )


@app.command()
def explain(
    folder: Annotated[Path, typer.Argument(help="A model that hf-xlt made.")],
    tokens: Annotated[list[str], typer.Argument(help="Tokens of its vocabulary.")],
    k: Annotated[int, typer.Option(help="Source tokens to show.", min=1)] = 5,
) -> None:
    """Show what source tokens the rows of a model's tokens are made of."""
    console.print(explanation_table(Transport.load(folder / TRANSPORT_FILE), tokens, k))


@app.command()
def tokenizer(
    corpus: CorpusOption,
    output: Output,
    like: Annotated[str | None, typer.Option(help="Model whose tokenizer to imitate: a Hub id or a folder.")] = None,
    family: Annotated[
        str, typer.Option(help="Without --like: byte-level-bpe, unigram or wordpiece.")
    ] = "byte-level-bpe",
    vocab_size: Annotated[int, typer.Option(help="Entries wanted.")] = 32000,
    overwrite: Overwrite = False,
) -> None:
    """Train a tokenizer on a corpus, like an existing model's or of one of the known families."""
    lines = Corpus(corpus).lines()
    with atomic_folder(output, overwrite=overwrite) as folder:
        trained = (
            train_tokenizer(lines, vocab_size, family)
            if like is None
            else train_tokenizer_like(open_tokenizer(like), lines, vocab_size)
        )
        trained.save_pretrained(folder)
    _say(f"{output}: {len(trained):,} entries.")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="A model folder with its card.")],
    repo_id: Annotated[str, typer.Argument(help="Where to: name or namespace/name.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    token: Annotated[str | None, typer.Option(help="Access token; by default the one logged in with.")] = None,
) -> None:
    """Upload a model folder to the Hub, its card last."""
    _say(upload(folder, repo_id, private=private or None, token=token))


def _say(line: str) -> None:
    """Print a line that may hold a command to copy: it is not wrapped."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)


def _command() -> str:
    return shlex.join(["hf-xlt", *sys.argv[1:]])


def quiet_libraries() -> None:
    """Leave the screen to our own progress bars; without a terminal there are none at all."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()


def main() -> None:
    """Run the command; refused input is one line and exit code 2, a traceback only with HF_XLT_DEBUG=1."""
    quiet_libraries()
    try:
        app()
    except (InputError, UploadError) as error:
        if os.environ.get("HF_XLT_DEBUG") == "1":
            raise
        print(f"hf-xlt: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None

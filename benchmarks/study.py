"""The study of emerging cross-lingual structure on real text: English and German novels, three seeds.

    python benchmarks/study.py --data DATA --output runs/study

Small models (4 layers of 128) of 30,000 lines of either language; what is private, which tokens are shared and the kind
of the German text are changed one at a time. Parts of speech are learned from English (EWT) and told of German (GSD);
PUD's sentences are compared layer by layer. About five minutes of one core a cell; what is done is not done again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.text import text_lines
from hf_xlt.hub.card import installed_versions
from hf_xlt.report.tables import text_table
from hf_xlt.runs.results import hardware
from hf_xlt.study import CellResult, Study, StudyResults, load_study, run_study
from hf_xlt.study.report import ALIGNED, cka, precision

LINES = 30_000
CAPTIONS_AND_NEWS = ("terms_unstated/multi30k.en-de.tsv.gz:en,de", "parallel/ntrex128.tsv.gz:en,de")
SETTINGS = (
    "private=[nothing, embeddings, layers-1, layers-2, layers-3, everything]",
    "anchors=[default, none, extra]",
    "domains=[same, different]",
    "training.steps=1200",
    "training.precision=bfloat16",
    "training.evaluations=1",
    "training.checkpoints=1",
    "budget.learning_rate=5.0e-4",
    "budget.epochs=3",
    "budget.train_examples=2000",
    "budget.dev_examples=300",
    "held_out_lines=200",
    "sentences=1000",
)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    output: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/study"),
    seeds: Annotated[str, typer.Option(help="Comma between them.")] = "0,1,2",
    workers: Annotated[int, typer.Option(help="Cells at a time.")] = 1,
    results: Annotated[Path | None, typer.Option(help="Folder for study_en_de.json and the pictures.")] = None,
) -> None:
    """Run what is left of the study, and tell what it shows."""
    study = load_study(None, [*SETTINGS, f"seeds=[{seeds}]", *files(data, output.with_name(f"{output.name}-text"))])
    found = run_study(study, output, workers)
    console = Console()
    for table in found.tables():
        console.print(text_table(table))
    if results is not None:
        record(study, found, results)


def files(data: Path, folder: Path) -> Iterator[str]:
    """The study's files, as settings; text is cut to its first lines in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in ("en", "de"):
        text = write(folder / f"{language}.txt", text_lines(data / f"mono/{language}.eltec.txt.gz"))
        yield f"corpora.{language}={text}"
    german = chain.from_iterable((b for _, b in read_parallel(f"{data / place}").pairs) for place in CAPTIONS_AND_NEWS)
    yield f"other_domain={write(folder / 'de.captions-and-news.txt', german)}"
    yield f"parallel={data / 'parallel/pud_parallel.tsv.gz'}:en,de"
    yield f"dictionary={data / 'dict/wiktionary.en-de.tsv.gz'}"
    for role, treebank in {"train": "en_ewt-ud-train", "dev": "en_ewt-ud-dev", "test": "de_gsd-ud-test"}.items():
        yield f"tagging.{role}={data / 'ud' / treebank}.conllu.gz"


def write(path: Path, lines: Iterator[str]) -> Path:
    """The first lines that are not empty, unless the file is there."""
    if not path.exists():
        path.write_text("".join(f"{line}\n" for line in islice(filter(str.strip, lines), LINES)), encoding="utf-8")
    return path


def record(study: Study, found: StudyResults, folder: Path) -> None:
    """Write settings and figures of every cell, and the pictures."""
    settings = {name: value for name, value in asdict(study).items() if not re.search(r"/|\.t", str(value))}
    written = {"settings": settings, "hardware": hardware(), "versions": installed_versions()}
    written["cells"] = [figures(result) for result in found]
    (folder / "study_en_de.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    for picture in found.pictures(folder):
        picture.rename(folder / f"study_{picture.name}")


def figures(result: CellResult) -> dict[str, Any]:
    """What was measured of a cell; lists go from the embeddings to the last layer."""
    levels = {"sentences": result.structure.sentences, "words": result.structure.words}
    by_layer = {
        name: {"cka": cka(level), "p@1": precision(level, "unaligned"), "p@1 aligned": precision(level, ALIGNED)}
        for name, level in levels.items()
        if level is not None and "unaligned" in level.precision
    }
    told = {"bits_per_byte": dict(result.bits_per_byte), "learned": result.learned, "transfer": result.transfer}
    return {**asdict(result.cell), **told, **by_layer, "seconds": round(result.seconds)}


if __name__ == "__main__":
    typer.run(main)

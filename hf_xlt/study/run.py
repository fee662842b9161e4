"""Carry out a study cell by cell; what is done is not done again."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm.auto import tqdm

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.classification import UPOSTagging
from hf_xlt.evaluation.tasks.fine_tuning import TaskExamples
from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.folders import atomic_folder, write_whole
from hf_xlt.recipes import Recipe
from hf_xlt.runs.contents import contents_of, each, pinned_corpus
from hf_xlt.runs.inputs import Inputs, trained
from hf_xlt.runs.kinds.multilingual import Multilingual
from hf_xlt.runs.languages import languages_text
from hf_xlt.runs.work import held
from hf_xlt.study.cell import CellResult, measure_cell, recipes_of
from hf_xlt.study.report import StudyResults
from hf_xlt.study.study import NOTHING, Cell, Study

STUDY_FILE = "study.yaml"
CONTENTS_FILE = "contents.json"
INPUTS = ("corpora", "other_domain", "held_out", "parallel", "dictionary", "tagging")

logger = logging.getLogger(__name__)


@checked
def run_study(study: Study, output: str | Path, workers: int = 1) -> StudyResults:
    """Train and measure every cell of a study.

    A cell's figures are written to `cells/` when it is done, and its models removed. If the study is killed, the same
    call goes on: with the cells that are left, and within a cell where its training stopped.

    Args:
        study: The grid.
        output: Folder of the study.
        workers: Cells at a time, in processes of their own that share out the cores.

    Raises:
        InputError: If a file or a cell of the study cannot be used, or the folder holds something else.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}", value=workers, expected="a number ≥ 1")
    output = Path(output)
    with held(output):
        hub = {name: each(pinned_corpus, getattr(study, name)) for name in ("corpora", "other_domain", "held_out")}
        study = study.replace(**hub)  # with the commits that its datasets stand for now
        begin(study, output)
        left = [cell for cell in study.cells if kept_result(output, cell) is None]
        for cell in tqdm(_done(study, output, left, workers), total=len(left), desc="study", unit="cell", disable=None):
            logger.info("%s is done", cell.name)
        found = (kept_result(output, cell) for cell in study.cells)
        return StudyResults(result for result in found if result is not None)


def begin(study: Study, output: Path) -> None:
    """Check the study and every file of it, and make its folder and joint tokenizer where they are not there yet."""
    record = output / STUDY_FILE
    if output.exists() and not record.exists():
        raise InputError(f"{output} exists and holds no study; choose another output.")
    if record.exists() and record.read_text(encoding="utf-8") != study.to_yaml():
        raise InputError(f"{output} holds another study; choose another output, or remove it.")
    read_parallel(str(study.parallel))
    if study.tagging:
        TaskExamples.read(UPOSTagging(), study.tagging, zero_shot=True)
    for recipe in recipes(study, Path()):
        languages_text(Inputs(recipe))
    contents = contents_of({name: getattr(study, name) for name in INPUTS})
    if record.exists():
        check_contents(contents, output / CONTENTS_FILE)
        return
    with atomic_folder(output) as folder:
        (folder / "cells").mkdir()
        make_tokenizer(study, folder / "tokenizer")
        tokenizer = open_tokenizer(str(folder / "tokenizer"))
        for kind in map(Multilingual, recipes(study, folder / "tokenizer")):
            kind.check_model(kind.config(tokenizer))
        (folder / CONTENTS_FILE).write_text(json.dumps(contents), encoding="utf-8")
        (folder / STUDY_FILE).write_text(study.to_yaml(), encoding="utf-8")


def check_contents(contents: Mapping[str, str], file: Path) -> None:
    """Refuse files that are no longer what the study began with; a study that an older version began has no record."""
    if not file.exists():
        logger.warning("%s does not tell what its files held when it began; they are taken as they are.", file.parent)
        write_whole(file, json.dumps(dict(contents)))
    begun = json.loads(file.read_text(encoding="utf-8"))
    if changed := [name for name, content in contents.items() if begun.get(name) != content]:
        raise InputError(
            f"The content of {changed[0]} is another than when the study in {file.parent} began",
            path=file.parent,
            hint="Restore it to go on, or choose another output.",
        )


def make_tokenizer(study: Study, folder: Path) -> None:
    """Train the joint tokenizer that all cells share, on the corpora as they are."""
    plain = Cell(NOTHING, "default", "same", seed=0)
    text = languages_text(Inputs(recipes_of(study, plain, folder)[0]))
    trained(study.tokenizer, text.smoothed_lines()).save_pretrained(folder)


def recipes(study: Study, tokenizer: Path) -> Iterator[Recipe]:
    """How the models of all cells are trained, once a setting."""
    settings = {cell.setting: cell for cell in study.cells}
    return chain.from_iterable(recipes_of(study, cell, tokenizer) for cell in settings.values())


def run_cell(study: Study, cell: Cell, output: Path) -> Cell:
    """Train and measure one cell, write its figures and remove its models; returns the cell."""
    folder = output / "models" / cell.name
    measure_cell(study, cell, output / "tokenizer", folder).save(cell_file(output, cell))
    shutil.rmtree(folder)
    return cell


def kept_result(output: Path, cell: Cell) -> CellResult | None:
    """The figures of a cell; None if it is not done, or, with a notice, if its file is broken."""
    file = cell_file(output, cell)
    if not file.exists():
        return None
    try:
        return CellResult.load(file)
    except (OSError, ValueError):
        logger.warning("%s holds no figures of a cell; the cell is trained again.", file)
        return None


def cell_file(output: Path, cell: Cell) -> Path:
    """Where the figures of a cell are."""
    return output / "cells" / f"{cell.name}.json"


def _done(study: Study, output: Path, cells: Sequence[Cell], workers: int) -> Iterator[Cell]:
    """The cells in the order in which they are done."""
    if workers == 1:
        yield from (run_cell(study, cell, output) for cell in cells)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        running = [pool.submit(run_cell, study, cell, output) for cell in cells]
        try:
            for future in as_completed(running):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

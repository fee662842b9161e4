"""Carry out a study cell by cell; what is done is not done again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm.auto import tqdm

from hf_xlt.arguments import checked
from hf_xlt.checkpoint import atomic_folder
from hf_xlt.data.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.evidence.parallel import read_parallel
from hf_xlt.recipes import Recipe
from hf_xlt.recipes.languages import languages_text
from hf_xlt.recipes.multilingual import check_model, languages_config
from hf_xlt.study.cell import CellResult, measure_cell, recipes_of, tagging_material
from hf_xlt.study.study import NOTHING, Cell, Study

STUDY_FILE = "study.yaml"


@checked
def run_study(study: Study, output: Path, workers: int = 1) -> tuple[CellResult, ...]:
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
        raise InputError(f"workers is {workers}; expected a number ≥ 1.")
    begin(study, output)
    left = [cell for cell in study.cells if not cell_file(output, cell).exists()]
    for _ in tqdm(_done(study, output, left, workers), total=len(left), desc="study", unit="cell", disable=None):
        pass
    return results_of(study, output)


def begin(study: Study, output: Path) -> None:
    """Check the study, and make its folder and joint tokenizer where they are not there yet.

    Raises:
        InputError: If a file or a cell of the study cannot be used, or the folder holds something else.
    """
    record = output / STUDY_FILE
    if output.exists() and not record.exists():
        raise InputError(f"{output} exists and holds no study; choose another output.")
    if record.exists() and record.read_text(encoding="utf-8") != study.to_yaml():
        raise InputError(f"{output} holds another study; choose another output, or remove it.")
    check(study)
    if record.exists():
        return
    with atomic_folder(output) as folder:
        (folder / "cells").mkdir()
        make_tokenizer(study, folder / "tokenizer")
        check_models(study, folder / "tokenizer")
        (folder / STUDY_FILE).write_text(study.to_yaml(), encoding="utf-8")


def check(study: Study) -> None:
    """Read every file of a study once.

    Raises:
        InputError: If one cannot be used.
    """
    read_parallel(str(study.parallel))
    if study.tagging:
        tagging_material(study)
    for recipe in recipes(study, Path()):
        languages_text(recipe)


def make_tokenizer(study: Study, folder: Path) -> None:
    """Train the joint tokenizer that all cells share, on the corpora as they are."""
    plain = Cell(NOTHING, "default", "same", seed=0)
    text = languages_text(recipes_of(study, plain, folder)[0])
    text.tokenizer(study.tokenizer.vocab_size, study.tokenizer.family).save_pretrained(folder)


def check_models(study: Study, tokenizer: Path) -> None:
    """Refuse a model that cannot be made.

    Raises:
        InputError: If one of the study's cannot.
    """
    opened = open_tokenizer(str(tokenizer))
    for recipe in recipes(study, tokenizer):
        check_model(recipe, languages_config(recipe, opened), languages_text(recipe))


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


def results_of(study: Study, output: Path) -> tuple[CellResult, ...]:
    """The cells of a study that are done, in its order."""
    files = (cell_file(output, cell) for cell in study.cells)
    return tuple(CellResult.load(file) for file in files if file.exists())


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

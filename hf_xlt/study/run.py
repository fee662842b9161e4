"""Carry out a study cell by cell, training and measuring the models of each; what is done is not done again."""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import torch
from tqdm.auto import tqdm

from hf_xlt.arguments import checked, require_whole
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import EvaluationConfig, ModelSpec
from hf_xlt.evaluation.evaluate import evaluate_model
from hf_xlt.evaluation.structure import structure
from hf_xlt.evaluation.tasks.classification import UPOSTagging
from hf_xlt.evaluation.tasks.fine_tuning import TaskExamples
from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.folders import atomic_folder, write_whole
from hf_xlt.recipes import Data, Recipe
from hf_xlt.recipes.recipe import MultilingualOptions
from hf_xlt.runs import Results, run_recipe
from hf_xlt.runs.contents import contents_of, each, pinned_corpus
from hf_xlt.runs.inputs import Inputs, trained
from hf_xlt.runs.kinds.multilingual import MODEL_TYPE, Multilingual
from hf_xlt.runs.languages import languages_text
from hf_xlt.runs.work import held
from hf_xlt.study.report import CellResult, StudyResults
from hf_xlt.study.study import EVERYTHING, NOTHING, Cell, Study, own_parts

COMMAND = "hf-xlt study"
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
    require_whole("workers", workers, least=1)
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


def measure_cell(study: Study, cell: Cell, tokenizer: Path, folder: Path) -> CellResult:
    """Train what a cell asks for and measure it; a killed call goes on where it stopped."""
    begun = time.monotonic()
    bits: dict[str, float] = {}
    models = []
    for number, recipe in enumerate(recipes_of(study, cell, tokenizer)):
        output = folder / f"model-{number}"
        models.append(str(output))
        if not output.exists():
            run_recipe(recipe, output, COMMAND)
        measured = Results.load(output / "results.json").runs[0].languages
        bits |= {point.language: point.bits_per_byte for point in measured}  # of several of a language the last counts
    found = structure(
        models[0],
        models[-1],
        read_parallel(str(study.parallel)).pairs,
        languages=study.languages,
        sentences=study.sentences,
        words=study.words,
    )
    transfer = learned = None
    if study.tagging and len(models) == 1:
        spec = ModelSpec(models[0], languages=study.languages)
        config = EvaluationConfig(True, (cell.seed,), study.budget)
        (result,) = evaluate_model(spec, ["upos"], {"upos": study.tagging}, config)
        transfer, learned = result.mean(), float(result.runs[0].notes["dev"])
    return CellResult(cell, bits, found, transfer, learned, time.monotonic() - begun)


def recipes_of(study: Study, cell: Cell, tokenizer: Path) -> tuple[Recipe, ...]:
    """How a cell's model is trained; where languages share nothing, one model each, with seeds of their own."""
    places: dict[str, str | None] = dict(study.corpora)
    if cell.domain == "different":
        places[study.languages[1]] = study.other_domain
    if cell.private == EVERYTHING:
        return tuple(
            _recipe(study, cell, tokenizer, {language: place}, seed=2 * cell.seed + number)
            for number, (language, place) in enumerate(places.items())
        )
    return (_recipe(study, cell, tokenizer, places, cell.seed),)


def _recipe(study: Study, cell: Cell, tokenizer: Path, places: Mapping[str, Any], seed: int) -> Recipe:
    embeddings, layers = own_parts(cell.private)
    sharing = {"separate_embeddings": embeddings, "language_specific_layers": layers}
    anchors = cell.anchors if len(places) == 2 else "default"
    data = Data(
        corpora=places,
        held_out_corpora={language: place for language, place in study.held_out.items() if language in places},
        dictionary=study.dictionary if anchors == "extra" else None,
        held_out_every=study.held_out_every,
        held_out_lines=study.held_out_lines,
        max_sequences=study.max_sequences,
    )
    return Recipe(
        name=cell.name,
        model={"model_type": MODEL_TYPE, **study.model, **sharing},
        multilingual=MultilingualOptions(
            alpha=study.alpha,
            pair_share=0.0,
            anchors=cast(Any, anchors),  # checked by the study
            anchor_probability=study.anchor_probability,
        ),
        target_tokenizer=str(tokenizer),
        data=data,
        stages=(study.training,),
        seeds=(seed,),
    )


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

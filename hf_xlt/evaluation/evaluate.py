"""Any task on any checkpoint: what `hf-xlt evaluate` does."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hf_xlt.arguments import checked, require_seeds
from hf_xlt.checkpoint.fetch import checkpoint_content
from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics.counted import CountedMetric
from hf_xlt.evaluation.tasks.budget import Budget
from hf_xlt.evaluation.tasks.direct import DirectTask, ModelAsked, Outcome
from hf_xlt.evaluation.tasks.registry import AnyTask, check_places, task_named
from hf_xlt.evaluation.tasks.result import SeedResult, TaskResult, scored
from hf_xlt.evaluation.tasks.run import Material, Supervised
from hf_xlt.evaluation.tasks.task import Task
from hf_xlt.files.content import content_of
from hf_xlt.files.folders import absolute, check_writable
from hf_xlt.files.place import file_of

logger = logging.getLogger(__name__)


@checked
@dataclass(frozen=True)
class Examination:
    """What is asked of every model.

    Args:
        tasks: Names, in order.
        data: Task → role → file.
        zero_shot: Learn supervised tasks in the source language; select on its development examples.
        seeds: Of supervised tasks; others have nothing to draw.
        budget: Of supervised tasks.

    Raises:
        InputError: If a task is not known or lacks its files, or files are given for a task that is not asked for.
    """

    tasks: tuple[str, ...]
    data: Mapping[str, Mapping[str, str]]
    zero_shot: bool = False
    seeds: tuple[int, ...] = (0,)
    budget: Budget = field(default_factory=Budget)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise InputError("There is nothing to evaluate; name at least one task with --tasks.")
        require_seeds("seeds", self.seeds)
        if twice := [name for place, name in enumerate(self.tasks) if name in self.tasks[:place]]:
            raise InputError(f"The task {twice[0]} is named twice; name it once.", value=self.tasks)
        for name in self.tasks:
            check_places(task_named(name), self.data.get(name, {}))
        if unasked := [name for name in self.data if name not in self.tasks]:
            raise InputError(f"--data names {unasked[0]!r}, which is not among the tasks: {', '.join(self.tasks)}.")

    def settings(self, task: AnyTask, model: ModelAsked) -> dict[str, Any]:
        """Everything that the figures of a task on a model depend on, as JSON knows it."""
        known: dict[str, Any] = {"data": dict(self.data[task.name]), "source": model.source}
        known["languages"] = None if model.languages is None else list(model.languages)
        if isinstance(task, Task):
            known |= {"zero_shot": self.zero_shot, "seeds": list(self.seeds), "budget": asdict(self.budget)}
        return known


@checked
def evaluate_model(model: ModelAsked, examination: Examination, folder: Path | None = None) -> list[TaskResult]:
    """Every task on one model.

    Args:
        model: Which one.
        examination: What is asked.
        folder: Where results are kept, `MODEL/TASK.json`; those that are there, of the same model and files as they are
            now, are not made again. None keeps none.

    Raises:
        InputError: If the model or a file cannot be used, or the folder is none or holds results of other settings.
    """
    if folder is None:
        return [_made(task_named(name), model, examination, {}) for name in examination.tasks]
    check_results_folder(folder)
    checkpoints = {
        role: checkpoint_content(name, ignoring=folder)
        for role, name in (("model", model.name), ("source", model.source))
        if name is not None
    }
    return [_kept(task_named(name), model, examination, folder, checkpoints) for name in examination.tasks]


def check_results_folder(folder: Path) -> None:
    """Refuse a folder that results cannot be added to.

    Raises:
        InputError: If it is a file, or no file can be made there.
    """
    place = absolute(folder)
    if os.path.lexists(place) and not place.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for results. Choose another --output.", path=folder)
    check_writable(place / "results" if place.is_dir() else place)


def metric_of(result: TaskResult) -> CountedMetric:
    """The metric that turns a result's counts into its scores."""
    task = task_named(result.task)
    return task.metric() if isinstance(task, DirectTask) else task.metric(tuple(result.settings["labels"]))


def result_file(folder: Path, model: str, task: str) -> Path:
    """Where the result of a task on a model is kept: of every name in a folder of its own."""
    plain = re.sub(r"[^\w.-]+", "-", model).strip("-.")[:80]
    if plain != model:
        plain = f"{plain or 'model'}-{hashlib.sha256(model.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return folder / plain / f"{task}.json"


def _kept(
    task: AnyTask, model: ModelAsked, examination: Examination, folder: Path, checkpoints: Mapping[str, str]
) -> TaskResult:
    """A result that is there if it is of the same content; else it is made and kept."""
    files = {role: content_of(file_of(place)) for role, place in examination.data[task.name].items()}
    content = {**checkpoints, **{f"data.{role}": found for role, found in files.items()}}
    path = result_file(folder, model.name, task.name)
    if path.exists() and (found := _found(path, examination.settings(task, model), content)) is not None:
        return found
    result = _made(task, model, examination, content)
    result.save(path)
    return result


def _found(path: Path, settings: Mapping[str, Any], content: Mapping[str, str]) -> TaskResult | None:
    """The result in a file; None, with a notice, if it is broken or of another content.

    Raises:
        InputError: If it was made with other settings.
    """
    try:
        found = TaskResult.load(path)
    except InputError:
        logger.warning("%s is no result of `hf-xlt evaluate`; it is made again.", path)
        return None
    if {name: found.settings.get(name) for name in settings} != settings:
        raise InputError(f"{path} was made with other settings; remove it, or choose another --output.")
    known = found.settings.get("content")
    if known != content:
        changed = [name for name in content if not isinstance(known, dict) or known.get(name) != content[name]]
        logger.warning("%s was made of other content (%s). It is made again.", path, ", ".join(changed) or "less")
        return None
    return found


def _made(task: AnyTask, model: ModelAsked, examination: Examination, content: Mapping[str, str]) -> TaskResult:
    """A task done on a model."""
    labels, outcomes = _outcomes(task, model, examination)
    lower = isinstance(task, DirectTask) and task.lower_is_better
    settings = examination.settings(task, model) | {"content": dict(content), "labels": list(labels)}
    result = TaskResult(model.name, task.name, task.headline, lower, settings, ())
    metric = metric_of(result)
    runs = tuple(
        SeedResult(seed, scored(metric, outcome.counts), _plain(outcome.counts), dict(outcome.notes))
        for seed, outcome in outcomes
    )
    return replace(result, runs=runs)


def _outcomes(
    task: AnyTask, model: ModelAsked, examination: Examination
) -> tuple[Sequence[str], list[tuple[int, Outcome]]]:
    """The labels told apart, and the outcome of each seed."""
    places = examination.data[task.name]
    if isinstance(task, DirectTask):
        return (), [(0, task.measure(model, places))]
    material = Material.read(task, places, examination.zero_shot).limited(examination.budget)
    supervised = Supervised(material, model, examination.budget)
    return material.labels, [(seed, supervised.outcome(seed)) for seed in examination.seeds]


def _plain(counts: np.ndarray) -> Sequence[Sequence[float]]:
    return [[round(value, 6) for value in row] for row in counts.tolist()]

"""Any task on any checkpoint: what `hf-xlt evaluate` does."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.fetch import checkpoint_content
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import EvaluationConfig, ModelSpec
from hf_xlt.evaluation.metrics import Metric
from hf_xlt.evaluation.results import Evaluation, SeedResult, TaskResult
from hf_xlt.evaluation.tasks.data import Data, content_at
from hf_xlt.evaluation.tasks.fine_tuning import FineTuning, TaskExamples
from hf_xlt.evaluation.tasks.registry import task_named
from hf_xlt.evaluation.tasks.task import SupervisedTask, Task, TrainingFreeTask
from hf_xlt.files.folders import absolute, check_writable

DEFAULT = EvaluationConfig()

logger = logging.getLogger(__name__)


@checked
def evaluate_model(
    model: str | Path | ModelSpec,
    tasks: Sequence[str],
    data: Data,
    config: EvaluationConfig = DEFAULT,
    output: str | Path | None = None,
) -> Evaluation:
    """Evaluate a model on tasks.

    Args:
        model: A Hub id or a folder, or a `ModelSpec`, which also says what reads the source language.
        tasks: Names, in order; `hf-xlt evaluate --help` lists them, `register_task` adds to them. `lm-eval/NAME` is a
            task of EleutherAI's harness, see `hf_xlt.evaluation.harness.lm_eval.LMEvalTask`, and `mteb/NAME` one of
            mteb, see `hf_xlt.evaluation.harness.mteb.MTEBTask`; they need the extra `harness`.
        data: Task → role → file or dataset, e.g. `{"upos": {"train": "en.conllu", "dev": …, "test": "de.conllu"}}`.
        config: How.
        output: Folder where results are kept, `MODEL/TASK.json`; those that are there, of the same model and files as
            they are now, are not made again. None keeps none.

    Raises:
        InputError: If a task is not known or lacks its data, the model or a file cannot be used, or the folder is none
            or holds results of other settings.

    Example:
        >>> evaluate_model("gpt2-german", ["lm-eval/language-model"], {"lm-eval/language-model": {"test": "de.txt"}})
    """
    spec = model if isinstance(model, ModelSpec) else ModelSpec(str(model))
    places = check_data(tasks, data)
    folder = None if output is None else Path(output)
    content: dict[str, dict[str, str]] = {name: {} for name in tasks}
    kept: dict[str, TaskResult] = {}
    if folder is not None:
        check_results_folder(folder)
        checkpoints = {"model": checkpoint_content(spec.name, ignoring=folder)}
        if spec.source is not None:
            checkpoints["source"] = checkpoint_content(spec.source, ignoring=folder)
        for name in tasks:
            files = {f"data.{role}": content_at(place) for role, place in places[name].items()}
            content[name] = checkpoints | files
            settings = settings_of(task_named(name), spec, places[name], config)
            if (found := _kept(result_file(folder, spec.name, name), settings, content[name])) is not None:
                kept[name] = found
    for name in tasks:
        if name not in kept and isinstance(task := task_named(name), TrainingFreeTask):
            task.check(spec, places[name])
    results = []
    for name in tasks:
        result = kept.get(name)
        if result is None:
            result = _evaluated(task_named(name), spec, places[name], config, content[name])
            if folder is not None:
                result.save(result_file(folder, spec.name, name))
        results.append(result)
    return Evaluation(results)


def check_data(tasks: Sequence[str], data: Data) -> dict[str, dict[str, str]]:
    """The data of tasks, as text."""
    if not tasks:
        raise InputError("There is nothing to evaluate", value=tasks, expected="one task or more in tasks")
    if twice := [name for place, name in enumerate(tasks) if name in tasks[:place]]:
        raise InputError(f"The task {twice[0]} is named twice", value=tasks, hint="Name it once.")
    for name in tasks:
        roles, places = task_named(name).roles, data.get(name, {})
        if missing := [role for role, needed in roles.items() if needed and role not in places]:
            raise InputError(
                f"The task {name} has no data for {missing[0]}",
                value=places,
                expected=f"a file or dataset {name}.{missing[0]} (its roles: {', '.join(roles)})",
                hint=f"{name}: {task_named(name).summary.rstrip('.')}.",
            )
        if unknown := [role for role in places if role not in roles]:
            raise InputError(f"The task {name} has no role {unknown[0]!r}", value=unknown[0], expected=", ".join(roles))
    if others := [name for name in data if name not in tasks]:
        raise InputError(f"There is data for {others[0]!r}", value=others[0], expected=f"tasks: {', '.join(tasks)}")
    return {name: {role: str(place) for role, place in data.get(name, {}).items()} for name in tasks}


def check_results_folder(folder: Path) -> None:
    """Refuse a folder that results cannot be added to: a file, or where no file can be made."""
    place = absolute(folder)
    if os.path.lexists(place) and not place.is_dir():
        raise InputError(
            f"{folder} is a file", path=folder, expected="a folder for results", hint="Choose another output."
        )
    check_writable(place / "results" if place.is_dir() else place)


def metric_of(result: TaskResult) -> Metric:
    """The metric that turns a result's counts into its scores."""
    return task_named(result.task).metric(tuple(result.settings.get("labels", ())))


def result_file(folder: Path, model: str, task: str) -> Path:
    """Where the result of a task on a model is kept: of every name in a folder of its own."""
    plain = re.sub(r"[^\w.-]+", "-", model).strip("-.")[:80]
    if plain != model:
        plain = f"{plain or 'model'}-{hashlib.sha256(model.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    return folder / plain / f"{task}.json"


def settings_of(task: Task, spec: ModelSpec, places: Mapping[str, str], config: EvaluationConfig) -> dict[str, Any]:
    """Everything that the figures of a task on a model depend on, as JSON knows it."""
    settings: dict[str, Any] = {"data": dict(places), "source": spec.source}
    settings["languages"] = None if spec.languages is None else list(spec.languages)
    if isinstance(task, SupervisedTask):
        settings |= {"zero_shot": config.zero_shot, "seeds": list(config.seeds), "budget": asdict(config.fine_tuning)}
    return settings


def _kept(path: Path, settings: Mapping[str, Any], content: Mapping[str, str]) -> TaskResult | None:
    """The result in a file of the same settings; None, with a notice, if it is broken or of another content."""
    if not path.exists():
        return None
    try:
        found = TaskResult.load(path)
    except InputError:
        logger.warning("%s does not hold the result of an evaluation; it is made again.", path)
        return None
    if {name: found.settings.get(name) for name in settings} != settings:
        raise InputError(f"{path} was made with other settings", path=path, hint="Remove it, or choose another output.")
    known = found.settings.get("content")
    if known != content:
        changed = [name for name in content if not isinstance(known, dict) or known.get(name) != content[name]]
        logger.warning("%s was made of other content (%s). It is made again.", path, ", ".join(changed) or "less")
        return None
    return found


def _evaluated(
    task: Task, spec: ModelSpec, places: Mapping[str, str], config: EvaluationConfig, content: Mapping[str, str]
) -> TaskResult:
    labels: Sequence[str] = ()
    headline, lower_is_better = task.headline, task.lower_is_better
    if isinstance(task, SupervisedTask):
        examples = TaskExamples.read(task, places, config.zero_shot).limited(config.fine_tuning)
        labels, tuning = examples.labels, FineTuning(examples, spec, config.fine_tuning)
        outcomes = [(seed, tuning.outcome(seed)) for seed in config.seeds]
    else:
        found = cast(TrainingFreeTask, task).measure(spec, places)
        outcomes = [(0, found)]
        if found.labels:
            labels, headline, lower_is_better = found.labels, found.labels[0], found.lower_is_better
    settings = settings_of(task, spec, places, config) | {"content": dict(content), "labels": list(labels)}
    metric = task.metric(labels)
    runs = (
        SeedResult(seed, metric.scores(outcome.counts), outcome.counts.round(6).tolist(), dict(outcome.notes))
        for seed, outcome in outcomes
    )
    return TaskResult(spec.name, task.name, headline, lower_is_better, settings, tuple(runs))

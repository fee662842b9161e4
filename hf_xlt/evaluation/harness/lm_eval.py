"""Tasks of EleutherAI's Language Model Evaluation Harness (lm-eval), run on a checkpoint opened by hf_xlt."""

import logging
import random
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from jinja2 import TemplateError

from hf_xlt.checkpoint.kind import DECODER, ENCODER_DECODER, kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError, did_you_mean
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.harness.local_tasks import LANGUAGE_MODEL, NAMES, rows_of, write_task
from hf_xlt.evaluation.harness.scores import HarnessScores, scored
from hf_xlt.evaluation.models import LanguageModel, quiet
from hf_xlt.evaluation.tasks.language_modeling import LanguageModeling
from hf_xlt.evaluation.tasks.task import Outcome, TrainingFreeTask
from hf_xlt.files.content import content_of

HARNESS = "lm-eval"
LOGGER = "lm_eval"  # which warns of models that are open already, and of settings of its own tasks
INCLUDE = "include"
"""The role of a folder with tasks of the user's own."""

_FEWSHOT_SEED = 1234  # lm-eval's own default, as are the seeds below
logger = logging.getLogger(__name__)


class LMEvalTask(TrainingFreeTask):
    """A task or a group of lm-eval, by its name there, for decoders and encoder-decoders.

    The name is one of those that lm-eval brings, where the machine has or can get their data, or of a folder of YAML
    files, which is given as the role `include`; functions that these name are run. A group stands for its tasks, whose
    examples then count alike. Or it is one of three whose examples come from a file of the user's, the role `test`:

    - `multiple-choice`: which of several answers the model finds likeliest after a question, and likeliest a character
      (`acc`, `acc_norm`). See `read_choices` for the columns.
    - `rolling-loglikelihood`: bits per byte and perplexities of a text, whose lines are read each alone and in the
      harness's way: after the token that begins a text, in as few windows as the model's positions allow; the end of
      a line is neither predicted nor counted.
    - `language-model`: the same, read as the task `language-model` of hf_xlt reads it, with which its bits per byte
      agree: lines one after the other in windows of 128 tokens that share one, each line closed by the token that ends
      a document, which counts as one byte (and, to `word_perplexity`, as one word). For decoders.

    By design the two ways differ in three things: how much a token is predicted from (the lines before, at most 127
    tokens, or this line alone), whether line ends are predicted, and what a tokenizer puts around a text that is given
    to it alone (where it begins with a token, the harness predicts that token, too). And where a text of the harness's
    needs several windows, the last reaches back as far as it can, where ours begins with one token of the one before.

    (Gao et al. 2024, "A framework for few-shot language model evaluation", doi:10.5281/zenodo.12608602.)
    """

    headline: ClassVar[str] = ""  # the first of the scores that a run finds
    summary: ClassVar[str] = "a task of lm-eval"

    def __init__(self, task: str) -> None:
        self.task = task

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{HARNESS}/{self.task}"

    @property
    def roles(self) -> Mapping[str, bool]:  # type: ignore[override]
        return {"test": True} if self.task in NAMES else {INCLUDE: False}

    def metric(self, labels: Sequence[str] = ()) -> HarnessScores:
        """Scores by their names; counts of each example: its values, and what they are spread over."""
        return HarnessScores(labels)

    def check(self, model: ModelSpec, places: Mapping[str, str]) -> None:
        self._check_model(model)
        if self.task in NAMES:
            rows_of(self.task, places["test"])
        else:
            _manager_of(self.task, places.get(INCLUDE))

    def _check_model(self, model: ModelSpec) -> None:
        """Refuse a model of another kind, and any where lm-eval is not installed."""
        if find_spec("lm_eval") is None:
            raise InputError(
                f"{self.name} needs lm-eval, which is not installed",
                value=self.name,
                hint='Install it with `pip install "hf-xlt[harness]"`.',
            )
        kind = kind_of(Checkpoint.open(model.name, trust_remote_code=model.trust_remote_code).config)
        if kind is not DECODER and (kind is not ENCODER_DECODER or self.task == LANGUAGE_MODEL):
            wanted = "a decoder" if self.task == LANGUAGE_MODEL else "a decoder or an encoder-decoder"
            raise InputError(f"{model.name} is a {kind.name}", value=kind.name, expected=f"{wanted} for {self.name}")

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        self._check_model(model)
        with TemporaryDirectory() as folder, quiet(LOGGER):
            tasks = self._tasks(places, Path(folder))
            results = _run(self.name, _language_model(self.task, LanguageModel.open(model)), tasks)
        found = scored(self.name, results)
        if found.left_out:
            logger.warning("%s: %s left out, to which examples do not add up.", self.name, ", ".join(found.left_out))
        notes: dict[str, str | int | float] = {
            HARNESS: version("lm-eval"),
            "version": ", ".join(dict.fromkeys(str(of_task) for of_task in results["versions"].values())),
            "tasks": len(results["samples"]),
            "examples shown": max(results["n-shot"].values()),
            "left out": ", ".join(found.left_out),
        }
        return Outcome(found.counts, notes, found.names, found.lower_is_better)

    def _tasks(self, places: Mapping[str, str], folder: Path) -> Any:
        """What lm-eval makes of the task's settings and data."""
        if self.task in NAMES:
            write_task(self.task, rows_of(self.task, places["test"]), folder)
            manager = _manager(str(folder), None, stock=False)
        else:
            manager = _manager_of(self.task, places.get(INCLUDE))
        _seed()
        try:
            return manager.load([self.task])
        except Exception as error:  # whatever reading settings, running their functions and loading data comes to
            raise InputError(
                f"{self.name} cannot be made ready ({type(error).__name__}: {_one_line(error)})",
                value=self.task,
                hint="Without a network its data must be in the cache of datasets; check its settings otherwise.",
            ) from error


def _language_model(task: str, opened: LanguageModel) -> Any:
    """The model as lm-eval asks it."""
    from hf_xlt.evaluation.harness.language_models import OpenedModel, RunningText

    if task == LANGUAGE_MODEL:
        return RunningText(opened, min(LanguageModeling.length, opened.max_length))
    if opened.tokenizer.bos_token_id is None and opened.tokenizer.eos_token_id is None:
        raise InputError(
            f"The tokenizer of {opened.name} has no token that begins or ends a text, which lm-eval begins texts with",
            value=opened.name,
            expected="bos_token or eos_token in tokenizer_config.json",
        )
    return OpenedModel(opened)


def _run(name: str, model: Any, tasks: Any) -> dict[str, Any]:
    """What lm-eval returns for tasks: figures, and what it found for each example."""
    from lm_eval.evaluator import evaluate

    for task in tasks["tasks"].values():
        if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
            what = "runs code that the model writes" if getattr(task, "UNSAFE_CODE", False) else "has more than text"
            raise InputError(f"{name} {what}", value=name, expected="another task", hint="Run it with lm_eval itself.")
        if task.get_config("num_fewshot") is None:
            task.set_config("num_fewshot", 0)
        task.set_fewshot_seed(_FEWSHOT_SEED)
    _seed()
    try:
        results: dict[str, Any] = evaluate(model, tasks, bootstrap_iters=0, log_samples=True)
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        TemplateError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(
            f"lm-eval cannot run {name} ({type(error).__name__}: {_one_line(error)})",
            value=name,
            hint="Check that its settings fit its data, and its scores what it asks.",
        ) from error
    return results


@cache
def _manager(include: str | None, content: str | None, *, stock: bool) -> Any:
    """lm-eval's list of tasks: those of a folder, of the given content, and if `stock` its own (14,000 YAML files)."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include, include_defaults=stock)


def _manager_of(task: str, include: str | None) -> Any:
    """The list that has a task: that of the folder alone, unless it is one of lm-eval's or a group, which may be."""
    if include is not None and not Path(include).expanduser().is_dir():
        raise InputError(f"{include} is no folder", path=include, expected="one with YAML files of tasks")
    place = None if include is None else str(Path(include).expanduser())
    content = None if place is None else content_of(place)
    with quiet(LOGGER):
        if place is not None and task in (own := _manager(place, content, stock=False)).all_subtasks:
            return own
        every = _manager(place, content, stock=True)
    if task not in every.all_tasks:
        more = ", ".join(f"{HARNESS}/{name}" for name in NAMES)
        raise InputError(
            f"lm-eval has no task {task!r}",
            value=task,
            expected=f"one that `lm_eval ls tasks` lists, one of an included folder, or {more}",
            hint=did_you_mean(task, [*NAMES, *every.all_tasks]) or None,
        )
    return every


def _seed() -> None:
    """Draw as lm-eval's own command does."""
    random.seed(0)
    np.random.seed(_FEWSHOT_SEED)  # noqa: NPY002
    torch.manual_seed(_FEWSHOT_SEED)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].removesuffix(".")

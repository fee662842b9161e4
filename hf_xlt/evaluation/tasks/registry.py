"""Every task by its name. Only the tasks that are asked for are imported, so that listing them costs nothing."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import TYPE_CHECKING, cast

from hf_xlt.arguments import refused
from hf_xlt.errors import InputError

if TYPE_CHECKING:
    from hf_xlt.evaluation.tasks.task import Task

GROUP = "hf_xlt.tasks"
"""The entry points under which an installed package names its tasks: `name = "module:Class"`."""

_BUILT_IN = {
    "language-model": "language_modeling:LanguageModeling",
    "pseudo-perplexity": "language_modeling:PseudoPerplexity",
    "generation": "generation:Generation",
    "retrieval": "retrieval:SentenceRetrieval",
    "word-translation": "retrieval:WordTranslation",
    "classification": "classification:Classification",
    "upos": "classification:UPOSTagging",
    "pos": "classification:POS",
    "ner": "classification:NER",
    "parsing": "parsing:Parsing",
    "question-answering": "question_answering:QuestionAnswering",
}
# Of each harness the class of its tasks, which are named HARNESS/TASK.
_HARNESSES = {"lm-eval": "lm_eval:LMEvalTask", "mteb": "mteb:MTEBTask"}
_REGISTERED: dict[str, Task] = {}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def task_names() -> tuple[str, ...]:
    """The names of all tasks: those of hf_xlt, of installed packages, and those registered."""
    return tuple(dict.fromkeys([*_BUILT_IN, *_installed(), *_REGISTERED]))


def of_harness(name: str) -> bool:
    """Whether a task is named as one of a harness, HARNESS/TASK; whether that has it is known only when it is asked."""
    harness, _, task = name.partition("/")
    return bool(task) and harness in _HARNESSES


def task_named(name: str) -> Task:
    """The task of a name."""
    if of_harness(name):
        harness, _, task = name.partition("/")
        return cast("Task", resolve_name(f"hf_xlt.evaluation.harness.{_HARNESSES[harness]}")(task))
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name in _BUILT_IN:
        return cast("Task", resolve_name(f"hf_xlt.evaluation.tasks.{_BUILT_IN[name]}")())
    if name in _installed():
        return register_task(_installed()[name].load()())
    raise InputError(
        f"There is no task {name!r}", value=name, expected=f"one of {', '.join(task_names())}, or HARNESS/TASK"
    )


def register_task(task: Task) -> Task:
    """Make a task of your own known by its name, to `evaluate_model` and to the command line of this process.

    A package makes its tasks known wherever it is installed by an entry point of the group `hf_xlt.tasks`.

    Raises:
        InputError: If it is no task, has no name that can be a file's, or has the name of one of hf_xlt's own.
    """
    from hf_xlt.evaluation.tasks.task import SupervisedTask, TrainingFreeTask

    if not isinstance(task, SupervisedTask | TrainingFreeTask):
        raise refused("task", task, "an instance of a subclass of SupervisedTask or TrainingFreeTask")
    if not _NAME.fullmatch(task.name) or task.name in _BUILT_IN:
        raise refused("the name of the task", task.name, "lower-case letters, digits, - and _, of no task of hf_xlt")
    _REGISTERED[task.name] = task
    return task


@cache
def _installed() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP)}

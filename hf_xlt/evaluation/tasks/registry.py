"""Every task by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.classification import Classification
from hf_xlt.evaluation.tasks.direct import DirectTask
from hf_xlt.evaluation.tasks.intrinsic import LanguageModelling, PseudoPerplexity
from hf_xlt.evaluation.tasks.ner import NER
from hf_xlt.evaluation.tasks.parsing.parsing import Parsing
from hf_xlt.evaluation.tasks.question_answering import QuestionAnswering
from hf_xlt.evaluation.tasks.retrieval import SentenceRetrieval
from hf_xlt.evaluation.tasks.run import ROLES
from hf_xlt.evaluation.tasks.tagging import POS, UPOSTagging
from hf_xlt.evaluation.tasks.task import Task
from hf_xlt.evaluation.tasks.word_translation import WordTranslation

AnyTask = DirectTask | Task[Any]

TASKS: dict[str, AnyTask] = {
    task.name: task
    for task in (
        LanguageModelling(),
        PseudoPerplexity(),
        SentenceRetrieval(),
        WordTranslation(),
        Classification(),
        UPOSTagging(),
        POS(),
        NER(),
        Parsing(),
        QuestionAnswering(),
    )
}


def task_named(name: str) -> AnyTask:
    """The task of a name.

    Raises:
        InputError: If there is none.
    """
    if name not in TASKS:
        raise InputError(f"There is no task {name!r}; choose among {', '.join(TASKS)}.")
    return TASKS[name]


def check_places(task: AnyTask, places: Mapping[str, str]) -> None:
    """Refuse a task without its files, or with files of roles that it does not have.

    Raises:
        InputError: Likewise.
    """
    needed = task.roles if isinstance(task, DirectTask) else dict.fromkeys(ROLES, True)
    for role, required in needed.items():
        if required and role not in places:
            raise InputError(
                f"The task {task.name} needs a file for {role}: give --data {task.name}.{role}=FILE "
                f"(its roles: {_named(list(needed))})."
            )
    if unknown := [role for role in places if role not in needed]:
        raise InputError(f"The task {task.name} has no role {unknown[0]!r}; it has {_named(list(needed))}.")


def _named(roles: Sequence[str]) -> str:
    return ", ".join(roles)

"""Which options have an effect beside which others; what has none is refused before work starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.registry import task_named, task_names

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """What an option needs to have an effect: whether the other options fulfil it, and the same in words."""

    holds: Callable[[Options], bool]
    told: str


def _with(option: str) -> Condition:
    return Condition(lambda options: bool(options[option]), f"with --{option}")


def _without(option: str) -> Condition:
    return Condition(lambda options: not options[option], f"without --{option}")


def _asked(options: Options) -> list[Any]:
    return [task_named(name) for name in (options["tasks"] or "").split(",") if name in task_names()]


def _learns(options: Options) -> bool:
    asked = _asked(options)
    return not asked or any(task.learned for task in asked)


def _reads_the_source_language(options: Options) -> bool:
    asked = _asked(options)
    learned = any(task.learned for task in asked) and options["zero_shot"]
    return not asked or learned or any(task.reads_source for task in asked)


TASK = _without("corpus")
LEARNED = Condition(_learns, "for tasks that are learned, such as classification")
SOURCE = Condition(_reads_the_source_language, "where a task reads the source language: retrieval, or with --zero-shot")
SOURCE_OR_MAP = Condition(
    lambda options: bool(options["parallel"]) or _reads_the_source_language(options),
    f"{SOURCE.told}, or with --parallel",
)
TUNED = _without("probe")
OF_LEARNING: dict[str, tuple[Condition, ...]] = {
    **dict.fromkeys(("zero_shot", "seeds", "quick", "probe", "layer", "precision"), (LEARNED,)),
    "dropout": (LEARNED, TUNED),
}
OF_TASKS = ("data", "source", "languages", "output", *OF_LEARNING)

# Command → option → what it needs.
EFFECT: dict[str, dict[str, tuple[Condition, ...]]] = {
    "evaluate": {
        "length": (_with("corpus"),),
        **{option: (TASK, *OF_LEARNING.get(option, ())) for option in OF_TASKS},
        "source": (TASK, SOURCE),
    },
    "compare": {**OF_LEARNING, "source": (SOURCE_OR_MAP,)},
    "structure": {"overwrite": (_with("output"),)},
    "tokenizer": {
        "added": (_with("extend"),),
        "family": (_without("like"), _without("extend")),
        **dict.fromkeys(("vocab_size", "min_frequency", "lowercase", "strip_accents"), (_without("extend"),)),
    },
}


def check_effect(command: str, options: Options, given: Collection[str]) -> None:
    """Refuse an option, of those that the user gave, that would have no effect beside the others of the command."""
    for option, conditions in EFFECT.get(command, {}).items():
        for condition in conditions if option in given else ():
            if not condition.holds(options):
                flag = f"--{option.replace('_', '-')}"
                problem = f"{flag} has an effect only {condition.told}"
                hint = "Leave it out, or change the other options."
                raise InputError(problem, value=options[option], hint=hint)


def check_settings(settings: Sequence[str] | None, flags: Iterable[str] = ()) -> None:
    """Refuse a setting of `--set` that is given twice, or has been set by an option of its own."""
    seen: set[str] = set()
    for key in (*flags, *(setting.partition("=")[0] for setting in settings or ())):
        if key in seen:
            raise InputError(f"{key} is set twice. Set it once, with --set or with its own option.", value=key)
        seen.add(key)

"""Which options have an effect beside which others; what has none is refused before work starts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_xlt.errors import InputError

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """What an option needs to have an effect.

    Args:
        holds: Whether the other options of the command fulfil it.
        told: The same in words, after "has an effect only".
    """

    holds: Callable[[Options], bool]
    told: str


def _with(option: str) -> Condition:
    return Condition(lambda options: bool(options[option]), f"with --{option}")


def _without(option: str) -> Condition:
    return Condition(lambda options: not options[option], f"without --{option}")


def _asked(options: Options) -> list[Any]:
    from hf_xlt.evaluation.tasks.registry import TASKS

    return [TASKS[name] for name in (options["tasks"] or "").split(",") if name in TASKS]


def _learns(options: Options) -> bool:
    from hf_xlt.evaluation.tasks.direct import DirectTask

    asked = _asked(options)
    return not asked or any(not isinstance(task, DirectTask) for task in asked)


def _reads_the_source_language(options: Options) -> bool:
    from hf_xlt.evaluation.tasks.direct import DirectTask

    asked = _asked(options)
    learned = any(not isinstance(task, DirectTask) for task in asked) and options["zero_shot"]
    return not asked or learned or any(task.name in ("retrieval", "word-translation") for task in asked)


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
    """Refuse an option that would have no effect.

    Args:
        command: The command.
        options: All its options, by the names of its parameters.
        given: Those that the user gave.
    """
    for option, conditions in EFFECT.get(command, {}).items():
        for condition in conditions if option in given else ():
            if not condition.holds(options):
                flag = f"--{option.replace('_', '-')}"
                raise InputError(
                    f"{flag} has an effect only {condition.told}. Leave it out, or change the other options.",
                    value=options[option],
                )


def check_settings(settings: Sequence[str] | None, flags: Iterable[str] = ()) -> None:
    """Refuse a setting of `--set` that is given twice, of which the last would win.

    Args:
        settings: `key=value` each.
        flags: Keys that options of their own have set.
    """
    seen: set[str] = set()
    for key in (*flags, *(setting.partition("=")[0] for setting in settings or ())):
        if key in seen:
            raise InputError(f"{key} is set twice. Set it once, with --set or with its own option.", value=key)
        seen.add(key)

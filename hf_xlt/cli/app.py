"""The application that all commands belong to, what they print with, and which options have an effect beside others."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from hf_xlt import __version__
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.registry import task_named, task_names
from hf_xlt.files.printable import one_line

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


app = typer.Typer(name="hf-xlt", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
IS_MAIN = os.environ.get("RANK", "0") == "0"  # of several processes that a launcher started, one speaks for all
console = Console(quiet=not IS_MAIN)

INTERRUPTED = 130  # what a shell calls the end by Ctrl-C


def _version(asked: bool) -> None:
    if asked:
        print(f"hf-xlt {__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Give any Hugging Face checkpoint a new language."""


class Command(TyperCommand):
    """A command that refuses what it would not heed: an option given twice, or one without effect beside the others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line."""
        if "" in args:
            before = args[args.index("") - 1] if args.index("") else self.name
            raise InputError(f"There is an empty argument after {before}. Give it a value, or leave the option out.")
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for param, times in Counter(order).items():
            if times > 1 and not param.multiple and not getattr(param, "is_flag", False):
                raise InputError(f"{param.opts[0]} is given {times} times, but takes one value. Give it once.")
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            raise InputError(error.format_message().replace("Value error, ", "")) from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        given = {name for name in ctx.params if ctx.get_parameter_source(name).name == "COMMANDLINE"}
        check_effect(str(self.name), ctx.params, given)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("hf-xlt: Interrupted.", file=sys.stderr)  # noqa: T201
            raise typer.Exit(INTERRUPTED) from None


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command of the application."""
    return app.command(cls=Command)(function)


def say(line: str) -> None:
    """Print a line that may hold a command to copy: it is not wrapped."""
    console.print(one_line(line), soft_wrap=True, highlight=False, markup=False)


def command_line() -> str:
    """The command as it was given."""
    return shlex.join(["hf-xlt", *sys.argv[1:]])

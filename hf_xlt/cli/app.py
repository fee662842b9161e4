"""The application that all commands belong to, and what they print with."""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from hf_xlt import __version__
from hf_xlt.cli.options import check_effect
from hf_xlt.errors import InputError
from hf_xlt.files.printable import one_line

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

"""The application that all commands belong to, and what they print with."""

from __future__ import annotations

import os
import shlex
import sys

import typer
from rich.console import Console

from hf_xlt.files.printable import one_line

app = typer.Typer(
    name="hf-xlt",
    help="Give any Hugging Face checkpoint a new language.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
IS_MAIN = os.environ.get("RANK", "0") == "0"  # of several processes that a launcher started, one speaks for all
console = Console(quiet=not IS_MAIN)


def say(line: str) -> None:
    """Print a line that may hold a command to copy: it is not wrapped."""
    console.print(one_line(line), soft_wrap=True, highlight=False, markup=False)


def command_line() -> str:
    """The command as it was given."""
    return shlex.join(["hf-xlt", *sys.argv[1:]])

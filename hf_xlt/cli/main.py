"""The entry point: run a command, and say in one line what was refused."""

from __future__ import annotations

import logging
import os
import sys

from hf_xlt.cli import measure as measure  # registers its commands
from hf_xlt.cli import recipe as recipe
from hf_xlt.cli import transfer as transfer
from hf_xlt.cli.app import IS_MAIN, app
from hf_xlt.cli.failures import told
from hf_xlt.errors import InputError
from hf_xlt.files.printable import one_line


def quiet_libraries() -> None:
    """Leave the screen to our own progress bars; without a terminal there are plain lines in their place.

    The libraries read these variables when they are imported, which no command does before it must.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    logging.basicConfig(format="%(message)s")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        logging.getLogger("hf_xlt").setLevel(logging.INFO)
    if not IS_MAIN:
        logging.getLogger("hf_xlt").setLevel(logging.ERROR)


def main() -> None:
    """Run the command; what goes wrong is one line, a traceback only with HF_XLT_DEBUG=1.

    The exit code is 2 for what is refused, 1 for what fails, 130 for Ctrl-C.
    """
    quiet_libraries()
    try:
        check_words(sys.argv[1:])
        app()
    except Exception as error:
        if os.environ.get("HF_XLT_DEBUG") == "1":
            raise
        line, code = told(error)
        if IS_MAIN:
            print(f"hf-xlt: {one_line(line)}", file=sys.stderr)  # noqa: T201
        raise SystemExit(code) from None


def check_words(words: list[str]) -> None:
    """Refuse what cannot be printed, on a card or here: bytes that are not UTF-8."""
    for word in words:
        if not word.isascii() and word != word.encode("utf-8", "replace").decode():
            raise InputError(f"{word!r} is not UTF-8. Rename the file, or give the name in UTF-8.", value=word)

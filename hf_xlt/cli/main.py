"""The entry point: run a command, and say in one line what was refused."""

from __future__ import annotations

import logging
import os
import sys

import datasets
from transformers.utils import logging as transformers_logging

from hf_xlt.cli import measure as measure  # registers its commands
from hf_xlt.cli import transfer as transfer
from hf_xlt.cli.app import IS_MAIN, app
from hf_xlt.errors import InputError, UploadError
from hf_xlt.files.printable import one_line


def quiet_libraries() -> None:
    """Leave the screen to our own progress bars; without a terminal there are plain lines in their place."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.basicConfig(format="%(message)s")
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
        logging.getLogger("hf_xlt").setLevel(logging.INFO)
    if not IS_MAIN:
        logging.getLogger("hf_xlt").setLevel(logging.ERROR)


def main() -> None:
    """Run the command; refused input is one line and exit code 2, a traceback only with HF_XLT_DEBUG=1."""
    quiet_libraries()
    try:
        app()
    except (InputError, UploadError) as error:
        if os.environ.get("HF_XLT_DEBUG") == "1":
            raise
        if IS_MAIN:
            print(f"hf-xlt: {one_line(str(error))}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None

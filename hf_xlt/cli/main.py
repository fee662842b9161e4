"""The entry point: run a command, and say in one line what was refused."""

import errno
import logging
import os
import re
import sys
from pathlib import Path
from traceback import extract_tb
from typing import Any

from hf_xlt.cli import measure as measure  # registers its commands
from hf_xlt.cli import publish as publish
from hf_xlt.cli import transfer as transfer
from hf_xlt.cli.app import IS_MAIN, app
from hf_xlt.errors import InputError, UploadError
from hf_xlt.files.printable import one_line

REFUSED, FAILED = 2, 1

_HINTS = {
    errno.ENOSPC: "Make room on the disk and give the same command again: a run goes on where it stopped.",
    errno.EDQUOT: "Your quota is used up: make room and give the same command again.",
    errno.EFBIG: "A file may not grow that large here (see `ulimit -f`); raise the limit or choose another disk.",
    errno.EROFS: "The disk is read-only; choose another output.",
    errno.EACCES: "Check who may read or write it.",
    errno.EPERM: "Check who may read or write it.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EMFILE: "Too many files are open; raise the limit (`ulimit -n`).",
}
# What `hf-xlt run` gives a setting with that a recipe lacks.
_OPTIONS = {
    "source": "--source",
    "data.corpus": "--corpus",
    "data.source_corpus": "--source-corpus",
    "data.parallel": "--parallel",
    "data.corpora": "--set",
    "compare": "--compare",
}
_OF_THE_SYSTEM = re.compile(r"os error (\d+)")
# What torch says where a file could not be written to its end.
_UNWRITTEN = ("PytorchStreamWriter failed", "enforce fail at inline_container", "basic_ios::clear: iostream error")


def told(error: BaseException) -> tuple[str, int]:
    """One line about an error, and the exit code that goes with it."""
    if isinstance(error, InputError | UploadError):
        option = _OPTIONS.get(getattr(error, "key", None) or "") if getattr(error, "value", None) is None else None
        return str(error) if option is None else f"{error} Its option is {option}.", REFUSED
    if isinstance(error, OSError):
        return _of_the_system(error.errno, error.strerror or str(error), error.filename), FAILED
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "There is not enough memory for this. Use smaller batches, shorter sequences or a smaller model.", FAILED
    if isinstance(error, RecursionError):
        line = f"Something given is nested too deeply to be read ({_place(error)}). Check the JSON and YAML files."
        return line, REFUSED
    if type(error) is Exception or type(error).__name__ == "SafetensorError":  # what libraries in Rust raise
        number = _OF_THE_SYSTEM.search(str(error))
        return _of_the_system(int(number[1]) if number else None, str(error), None), FAILED
    if any(sign in str(error) for sign in _UNWRITTEN):
        return f"A file could not be written to its end. {_HINTS[errno.ENOSPC]}", FAILED
    problem = (
        f"{type(error).__name__} ({error}) at {_place(error)}: this is a fault of hf-xlt or of a library, not yours."
    )
    return f"{problem} Please report it with what HF_XLT_DEBUG=1 shows.", FAILED


def _of_the_system(number: int | None, reason: str, file: Any) -> str:
    name = file.decode(errors="replace") if isinstance(file, bytes) else str(file)  # or the number of an open file
    place = "" if file is None else f"{Path(name)}: "
    hint = _HINTS.get(number or 0)
    return f"{place}{reason.rstrip('.')}." + (f" {hint}" if hint else "")


def _place(error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if "hf_xlt" in Path(frame.filename).parts] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "an unknown place"


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

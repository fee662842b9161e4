"""What went wrong, in one line: refused input, a full disk, too little memory, a fault of our own."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from traceback import extract_tb
from typing import Any

from hf_xlt.errors import InputError, UploadError

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
    if isinstance(error, InputError):
        option = _OPTIONS.get(error.key or "") if error.value is None else None
        return str(error) if option is None else f"{error} Its option is {option}.", REFUSED
    if isinstance(error, UploadError):
        return str(error), REFUSED
    if isinstance(error, OSError):
        return _of_the_system(error.errno, error.strerror or str(error), error.filename), FAILED
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "There is not enough memory for this. Use smaller batches, shorter sequences or a smaller model.", FAILED
    if isinstance(error, RecursionError):
        return (
            f"Something given is nested too deeply to be read ({_place(error)}). Check the JSON and YAML files.",
            REFUSED,
        )
    if type(error) is Exception or type(error).__name__ == "SafetensorError":  # what libraries in Rust raise
        number = _OF_THE_SYSTEM.search(str(error))
        return _of_the_system(int(number[1]) if number else None, str(error), None), FAILED
    if any(sign in str(error) for sign in _UNWRITTEN):
        return f"A file could not be written to its end. {_HINTS[errno.ENOSPC]}", FAILED
    return (
        f"{type(error).__name__} ({error}) at {_place(error)}: this is a fault of hf-xlt or of a library, not yours. "
        "Please report it with what HF_XLT_DEBUG=1 shows.",
        FAILED,
    )


def _of_the_system(number: int | None, reason: str, file: Any) -> str:
    name = file.decode(errors="replace") if isinstance(file, bytes) else str(file)  # or the number of an open file
    place = "" if file is None else f"{Path(name)}: "
    hint = _HINTS.get(number or 0)
    return f"{place}{reason.rstrip('.')}." + (f" {hint}" if hint else "")


def _place(error: BaseException) -> str:
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if "hf_xlt" in Path(frame.filename).parts] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "an unknown place"

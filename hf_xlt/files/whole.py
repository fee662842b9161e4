"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_xlt.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to; it takes the place of `path` at the end, and is removed on an error."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(mode)  # safetensors leaves files that only their owner may read
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    os.replace(unfinished, path)


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def check_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be written, before work starts.

    Raises:
        InputError: If it exists and `overwrite` is not set, or its folder does not exist.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; expected a new file. Choose another name or overwrite it.")
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; expected one to write {path.name} to. Make it first.")

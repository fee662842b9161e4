"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_xlt.errors import InputError
from hf_xlt.files.folders import absolute, check_apart, check_writable


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to; it takes the place of `path` at the end, and is removed on an error."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(mode)  # safetensors leaves files that only their owner may read
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def check_file(
    path: str | Path,
    *,
    overwrite: bool,
    ours: Callable[[Path], bool] = lambda path: True,
    sources: Iterable[str | Path | None] = (),
) -> None:
    """Refuse a file that cannot be written, before work starts.

    Args:
        path: The file to make.
        overwrite: Whether it may replace a file that hf_xlt wrote.
        ours: Whether a file is one of that kind.
        sources: Files and folders that are read, which it may not touch.

    Raises:
        InputError: If it exists and `overwrite` is not set or it is not ours, if it is one of `sources` or lies in one,
            if its folder does not exist, or if no file can be made there.
    """
    file = absolute(path)
    check_apart(file, sources)
    if os.path.lexists(file):
        if not overwrite:
            raise InputError(f"{path} exists; expected a new file. Choose another name or overwrite it.", path=file)
        if file.is_symlink() or not file.is_file():
            raise InputError(f"{path} is no ordinary file, so it is not overwritten. Choose another name.", path=file)
        if not ours(file):
            raise InputError(
                f"{path} was not written by hf-xlt, so it is not overwritten. Choose another name.", path=file
            )
    if not file.parent.is_dir():
        raise InputError(
            f"{file.parent} is not a folder; expected one to write {file.name} to. Make it first.", path=file
        )
    check_writable(file)

"""Write a folder that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_xlt.errors import InputError
from hf_xlt.files.modes import ordinary_modes


@contextmanager
def atomic_folder(output: str | Path, *, overwrite: bool = False, sources: Iterable[str | Path] = ()) -> Iterator[Path]:
    """A hidden folder beside `output` to write into; it takes the name `output` when the block ends well.

    If the block raises, the hidden folder is removed and `output` is as it was. What a killed process left
    behind is removed by the next one that writes to the same place.

    Args:
        output: The folder to make.
        overwrite: Whether an existing folder may be replaced, once the new one is complete.
        sources: Folders that are read meanwhile, which the output may not touch.

    Raises:
        InputError: As `check_output` does.
    """
    output = _absolute(output)
    _recover(output)
    check_output(output, overwrite=overwrite, sources=sources)
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = _sibling(output, "partial")
    partial.mkdir()
    try:
        yield partial
        ordinary_modes(partial)
        _swap(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output(output: str | Path, *, overwrite: bool = False, sources: Iterable[str | Path] = ()) -> None:
    """Refuse a place that cannot be written before any work is done for it.

    Raises:
        InputError: If `output` exists without `overwrite`, is a file, or is, holds or lies in a folder of
            `sources` or holds the working directory.
    """
    output = _absolute(output)
    for source in map(_absolute, sources):
        if output == source or output in source.parents or source in output.parents:
            raise InputError(f"The output {output} overlaps with the source {source}. Choose a folder apart from it.")
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise InputError(f"The output {output} exists. Choose another, or replace it with --overwrite.")
    if not output.is_dir() or output.is_symlink():
        raise InputError(f"The output {output} is not a folder, so it is not overwritten. Choose another.")
    if output == Path.cwd() or output in Path.cwd().parents:
        raise InputError(f"The output {output} holds the working directory, so it is not overwritten. Choose another.")


def check_space(output: str | Path, needed: int) -> None:
    """Refuse to start writing `needed` bytes to `output` where they do not fit.

    Raises:
        InputError: If the disk has fewer bytes free.
    """
    place = next(parent for parent in _absolute(output).parents if parent.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"The output {output} needs {needed / 1e6:,.1f} MB and its disk has {free / 1e6:,.1f} MB free. "
            "Make room, or choose a folder on another disk."
        )


def _absolute(folder: str | Path) -> Path:
    """The path with its parents resolved, so that two spellings compare equal; a link itself is not followed."""
    folder = Path(folder).expanduser()
    return folder.parent.resolve() / folder.name if folder.name not in ("", "..") else folder.resolve()


def _sibling(output: Path, purpose: str) -> Path:
    return output.parent / f".{output.name}.{purpose}-{socket.gethostname()}-{os.getpid()}"


def _swap(partial: Path, output: Path) -> None:
    """Rename `partial` to `output`; an old folder there is put aside first and removed last."""
    if not output.exists():
        partial.rename(output)
        return
    replaced = _sibling(output, "replaced")
    output.rename(replaced)
    try:
        partial.rename(output)
    except OSError:
        replaced.rename(output)
        raise
    shutil.rmtree(replaced)


def _recover(output: Path) -> None:
    """Undo what processes of this machine that died left beside `output`."""
    for replaced in _abandoned(output, "replaced"):
        if output.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(output)
    for partial in _abandoned(output, "partial"):
        shutil.rmtree(partial)


def _abandoned(output: Path, purpose: str) -> list[Path]:
    prefix = f".{output.name}.{purpose}-{socket.gethostname()}-"
    if not output.parent.is_dir():
        return []
    left = [path for path in output.parent.iterdir() if path.name.startswith(prefix)]
    return [path for path in left if not _runs(path.name.removeprefix(prefix))]


def _runs(pid: str) -> bool:
    """Whether another process of this id lives; our own id on a leftover means that the number was used again."""
    if not pid.isdigit() or int(pid) == os.getpid():
        return not pid.isdigit()
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

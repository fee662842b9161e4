"""What a file or a folder holds, as one digest: the same for the same bytes, whatever it is called."""

import hashlib
import os
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

from tqdm.auto import tqdm

_CHUNK = 2**24
_SECONDS_UNSEEN = 2  # a bar appears only for files that take longer to read
_digest = partial(hashlib.blake2b, digest_size=16)


def content_of(path: str | Path, *, ignoring: Path | None = None) -> str:
    """A digest of the bytes of a file, or of names and bytes of all files of a folder; empty where there is neither.

    Hidden files and folders do not count, nor those of `ignoring`. A file is read again only after it was written to.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return _file_digest(path)
    if not path.is_dir():
        return ""
    digest = _digest()
    for file in _files_of(path, None if ignoring is None else ignoring.resolve()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_file_digest(file)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files_of(folder: Path, ignoring: Path | None) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        shown = [name for name in sorted(folders) if not name.startswith(".")]
        folders[:] = [name for name in shown if (here / name).resolve() != ignoring]
        yield from (here / name for name in sorted(files) if not name.startswith(".") and (here / name).is_file())


def _file_digest(path: Path) -> str:
    status = path.stat()
    return _read(path.resolve(), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@cache
def _read(path: Path, size: int, *state: int) -> str:
    """The digest of a file in the state it is in: any write changes the state."""
    digest = _digest()
    bar = tqdm(
        total=size, desc=f"reading {path.name}", unit="B", unit_scale=True, leave=False, disable=None,
        delay=_SECONDS_UNSEEN,
    )  # fmt: skip
    with path.open("rb", buffering=0) as file, bar:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()

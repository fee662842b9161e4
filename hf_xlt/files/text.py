"""The lines of a text file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from hf_xlt.errors import InputError


def text_lines(path: str | Path) -> Iterator[str]:
    """The lines of a UTF-8 text file, gzipped if its name ends in `.gz`, without line ends.

    Raises:
        InputError: If the file is missing or damaged, or at the first line that is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected text. Check the path.")
    opener: Callable[..., Iterable[bytes]] = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:  # type: ignore[attr-defined]
            for number, line in enumerate(file, start=1):
                yield _decoded(line, path, number).rstrip("\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}). Check that it is whole and readable.") from error


def first_numbers(numbers: Sequence[int]) -> str:
    """The first five numbers, and whether there are more."""
    return ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 at line {number} (byte {error.start} of the line). "
            "Convert it first, e.g. with `iconv -t UTF-8`."
        ) from error

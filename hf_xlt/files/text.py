"""Files of text: their bytes, whatever they are compressed with, their lines, and the JSON in them."""

import bz2
import gzip
import json
import lzma
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from hf_xlt.errors import InputError

_BOM = "\ufeff".encode()
_ARCHIVES = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "rar"}


class _Compression(NamedTuple):
    name: str
    suffix: str
    start: re.Pattern[bytes]
    open: Callable[[Path], Any]


_COMPRESSIONS = (
    _Compression("gzip", ".gz", re.compile(rb"\x1f\x8b"), gzip.open),
    _Compression("bzip2", ".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.open),
    _Compression("xz", ".xz", re.compile(rb"\xfd7zXZ\x00"), lzma.open),
)
COMPRESSED = tuple(compression.suffix for compression in _COMPRESSIONS)  # how the names of such files end


def suffix_of(path: str | Path) -> str:
    """The suffix that says what a file holds, in lower case: `.csv` of `words.CSV.gz`."""
    path = Path(path)
    return (path.with_suffix("") if path.suffix.lower() in COMPRESSED else path).suffix.lower()


@contextmanager
def opened(path: str | Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if it is gzip, bzip2 or xz, which its first bytes tell."""
    path = Path(path)
    try:
        if not os.path.isfile(path):  # which is False, too, where a path cannot be
            raise InputError(f"{path} is not a file. Check the path.", path=path)
        with path.open("rb") as file:
            opener = _opener(path, file.read(16))
        with opener(path) as file:
            yield file
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path} cannot be read ({error}). Check that it is whole and readable.", path=path) from error


def text_lines(path: str | Path) -> Iterator[str]:
    r"""The lines of a UTF-8 text file, packed or not, which end with `\n` or `\r\n` and nothing else."""
    path = Path(path)
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and b"\r" in line.rstrip(b"\r\n") and not line.endswith(b"\n"):
                what, hint = "has carriage returns and no line feed", r"Convert it first, e.g. with `tr '\r' '\n'`."
                raise fault(path, 1, what, expected="lines that end with a line feed", hint=hint)
            yield _decoded(line, path, number).rstrip("\r\n")


def check_text(text: str, path: str | Path, line: int, unit: str = "line") -> str:
    """The text itself, if it can be written as UTF-8 and has no NUL."""
    if "\0" in text:
        raise fault(path, line, "holds a NUL character", unit=unit, expected="text", hint="Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half, hint = f"holds half of a surrogate pair ({text[error.start]!a})", "Remove it, or write the file as UTF-8."
        raise fault(path, line, half, ", which is no character", unit=unit, expected="text", hint=hint) from error
    return text


def fault(path: str | Path, line: int, what: str, why: str = "", *, unit: str = "line", **more: Any) -> InputError:
    """The refusal of a line, or another unit, of a file; `more` is what `InputError` takes."""
    return InputError(f"{path} {what} at {unit} {line}{why}", path=path, line=line, **more)


def json_value(text: str, path: str | Path, line: int = 1) -> Any:
    """The value of a JSON text that begins at a line of a file."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise fault(path, line, "is nested too deeply", " to be read.") from error
    except json.JSONDecodeError as error:
        why = f" ({error.msg}, character {error.colno})."
        raise fault(path, line + error.lineno - 1, "is not JSON", why) from error
    except ValueError as error:  # a key twice, or a number of thousands of digits
        raise fault(path, line, "cannot be read", f" ({error}).") from error


def json_settings(path: Path) -> dict[str, Any]:
    """The settings in a JSON file, such as config.json; none where there is no file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})", hint="Download or save it again.", path=path) from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is a {type(found).__name__}", expected="settings by name", path=path)
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write settings as transformers does."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def json_lines(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Line number, from 1, and value of each line that is not blank."""
    for number, line in enumerate(text_lines(path), start=1):
        if line.strip():
            yield number, json_value(line, path, number)


def first_numbers(numbers: Sequence[int]) -> str:
    """The first five numbers, and whether there are more."""
    return ", ".join(map(str, numbers[:5])) + (", …" if len(numbers) > 5 else "")


def _opener(path: Path, start: bytes) -> Callable[[Path], Any]:
    """What opens a file that begins so."""
    for compression in _COMPRESSIONS:
        if compression.start.match(start):
            return compression.open
        if path.suffix.lower() == compression.suffix:
            problem = f"{path} cannot be read: its name ends in {path.suffix}, but it is not whole {compression.name}"
            raise InputError(problem, hint="Download it again, or give it the name of what it is.", path=path)
    for magic, name in _ARCHIVES.items():
        if start.startswith(magic):
            expected = f"a file as it is, or one of {', '.join(COMPRESSED)}"
            raise InputError(f"{path} is packed with {name}", expected=expected, hint="Unpack it first.", path=path)
    return lambda path: path.open("rb")


def _decoded(line: bytes, path: Path, number: int) -> str:
    if b"\0" in line:
        hint = "Remove it, or convert the file, e.g. with `iconv -f UTF-16 -t UTF-8`."
        raise fault(path, number, "holds a NUL character", expected="UTF-8 text", hint=hint)
    try:
        return line.removeprefix(_BOM).decode()  # files that were joined have a mark inside, too
    except UnicodeDecodeError as error:
        hint = "Convert it first, e.g. with `iconv -t UTF-8`."
        raise fault(path, number, "is not UTF-8", f" (byte {error.start} of the line)", hint=hint) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with each key once."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!r} is there twice")
    return made

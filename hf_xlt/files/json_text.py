"""JSON that others wrote: a document, or a value a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hf_xlt.errors import InputError
from hf_xlt.files.text import text_lines


def json_value(text: str, path: str | Path, line: int = 1) -> Any:
    """The value of a JSON text that begins at a line of a file.

    Raises:
        InputError: If it is not JSON, is nested too deeply, or an object has a key twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply at line {line} to be read.", path=path, line=line) from error
    except json.JSONDecodeError as error:
        at = line + error.lineno - 1
        raise InputError(
            f"{path} is not JSON at line {at} ({error.msg}, character {error.colno}).", path=path, line=at
        ) from error
    except ValueError as error:  # a key twice, or a number of thousands of digits
        raise InputError(f"{path} cannot be read at line {line} ({error}).", path=path, line=line) from error


def json_lines(path: str | Path) -> Iterator[tuple[int, Any]]:
    """Line number, from 1, and value of each line that is not blank.

    Raises:
        InputError: If the file cannot be read, or as from `json_value`.
    """
    for number, line in enumerate(text_lines(path), start=1):
        if line.strip():
            yield number, json_value(line, path, number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with each key once."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!r} is there twice")
    return made

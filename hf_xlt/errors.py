"""What hf_xlt raises when it refuses an input, or is refused itself."""

import copyreg
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """Input refused before work starts; the command line prints the message as one line.

    The message is composed from what is given: the problem, what was expected, the next step.

    Args:
        problem: What is wrong, or a whole message.
        value: The value that is refused.
        expected: What would have been accepted, after "expected".
        hint: What to do next, as a sentence.
        path: The file or folder at fault.
        line: The line of the file, counted from 1.
        key: The setting of a recipe at fault, such as `data.corpus`.

    Example:
        >>> str(InputError("seed is -1", value=-1, expected="a number from 0", hint="Choose another seed."))
        'seed is -1; expected a number from 0. Choose another seed.'
    """

    def __init__(
        self,
        problem: str,
        *,
        value: Any = None,
        expected: str | None = None,
        hint: str | None = None,
        path: str | Path | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        message = problem
        if expected is not None:
            message = f"{problem.removesuffix('.')}; expected {expected.removesuffix('.')}."
        if hint is not None:
            message = f"{message.removesuffix('.')}. {hint}"
        super().__init__(message)
        self.value = value
        self.expected = expected
        self.hint = hint
        self.path = None if path is None else Path(path)
        self.line = line
        self.key = key

    def __reduce__(self) -> tuple[Any, ...]:
        """Its message and fields: one process of a run tells the others what it has refused."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class UploadError(RuntimeError):
    """The Hub did not take a folder; one line says what went wrong, that the folder is whole, and how to try again."""


def did_you_mean(given: str, known: Iterable[str], most: int = 1) -> str:
    """The question after the known words nearest to one that is not known; empty where none is near."""
    close = get_close_matches(given, known, n=most)
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else ""

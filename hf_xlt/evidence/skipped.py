"""Lines that a reader leaves out: they are counted and named, and at some point too many to go on with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from hf_xlt.errors import InputError
from hf_xlt.files.text import first_numbers

logger = logging.getLogger(__name__)

_MANY = 10
"""Fewer lines than that are left out and named, whatever else the file holds."""


class _Noticed(Protocol):
    @property
    def notice(self) -> str:
        """How a file was read and what was left out, as one line; empty where all is plain."""


Read = TypeVar("Read", bound=_Noticed)


def told(read: Read) -> Read:
    """What was read, after its notice has been logged."""
    if read.notice:
        logger.warning(read.notice)
    return read


def check_skipped(path: str | Path, skipped: Sequence[int], kept: int, fault: str) -> None:
    """Refuse a file of which more was left out than read.

    Args:
        path: The file.
        skipped: Numbers of the lines left out.
        kept: How many were read.
        fault: What is wrong with those left out, such as "have an empty side".

    Raises:
        InputError: If it is so.
    """
    if len(skipped) > kept and len(skipped) >= _MANY:
        raise InputError(
            f"{path}: {len(skipped)} of {len(skipped) + kept} lines {fault} (lines {first_numbers(skipped)})",
            expected="a file of which most can be read",
            hint="Check what separates its columns, or take those lines out.",
            path=path,
            line=skipped[0],
        )

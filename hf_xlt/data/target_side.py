"""The target side of translation pairs as a corpus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.place import file_of


@dataclass(frozen=True)
class TargetSide(Corpus):
    """The target sentences of a file of translation pairs, `FILE` or `FILE:source,target`, line by line."""

    def __post_init__(self) -> None:
        if not os.path.isfile(self.path):
            raise InputError(f"{self.name} is not a file; expected translation pairs. Check the path.")

    @property
    def path(self) -> Path:
        """Where the file is."""
        return file_of(self.name)

    def lines(self) -> Iterator[str]:
        """The target sentence of every pair, in order."""
        return (target for _, target in read_parallel(Path(self.name).expanduser()).pairs)

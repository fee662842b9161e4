"""The target side of translation pairs as a corpus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hf_xlt.data.corpora import Corpus
from hf_xlt.errors import InputError
from hf_xlt.evidence.parallel import read_parallel


@dataclass(frozen=True)
class TargetSide(Corpus):
    """The second column of a file of translation pairs, line by line.

    Raises:
        InputError: On construction, if there is no such file.
    """

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise InputError(f"{self.name} is not a file; expected translation pairs. Check the path.")

    def lines(self) -> Iterator[str]:
        """The target sentence of every pair, in order.

        Raises:
            InputError: If the file cannot be read or holds no pair.
        """
        return (target for _, target in read_parallel(self.path).pairs)

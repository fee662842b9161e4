"""One vector a word, the most frequent word first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_xlt.errors import InputError


@dataclass(frozen=True, eq=False)
class Vectors:
    """Words and their vectors.

    Attributes:
        words: By falling frequency, each once.
        table: float32 `(n, d)`, a row a word.

    Raises:
        InputError: If there is no word, one is there twice, or rows and words do not fit or are not finite numbers.
    """

    words: Sequence[str]
    table: Tensor

    def __post_init__(self) -> None:
        if not self.words or self.table.ndim != 2 or len(self.table) != len(self.words):
            raise InputError(
                f"{len(self.words)} words and vectors of shape {tuple(self.table.shape)} do not fit; expected at least "
                "one word and a row for each."
            )
        if len(set(self.words)) < len(self.words):
            raise InputError("A word is given twice; expected each once, with one vector.")
        broken = (~self.table.isfinite()).any(dim=1).nonzero()
        if len(broken):
            raise InputError(
                f"The vector of {self.words[int(broken[0])]!r} holds NaN or infinity; expected numbers: "
                "train or export the vectors again."
            )

    def placed(self, tokens: Sequence[str]) -> tuple[Tensor, Tensor]:
        """A table for a vocabulary, and its frequency order.

        Args:
            tokens: The word of each id.

        Returns:
            float32 `(V, d)`, zero where a token has no vector; and int64, the ids of those that have one, by falling
            frequency.
        """
        row_of = {word: row for row, word in enumerate(self.words)}
        rows = torch.tensor([row_of.get(token, -1) for token in tokens], dtype=torch.int64)
        known = rows >= 0
        table = self.table.new_zeros(len(tokens), self.table.shape[1])
        table[known] = self.table[rows[known]]
        ids = known.nonzero().squeeze(1)
        return table, ids[rows[ids].argsort(stable=True)]

"""What one model believes about the links of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor

from hf_xlt.evidence.alignment.bitext import Batch
from hf_xlt.evidence.alignment.lexicon import Lexicon


@dataclass(frozen=True, eq=False)
class Posteriors:
    """The E-step of one batch and direction.

    Attributes:
        links: float32 `(n, b, m)`, the probability that the target word comes from the source word; 0 at padding.
        null: float32 `(n, b)`, the probability that it comes from NULL; 1 at padding.
        statistics: float64, what the distortion is estimated from.
        log_likelihood: float64 scalar, of the targets given the sources.
    """

    links: Tensor
    null: Tensor
    statistics: Tensor
    log_likelihood: Tensor


class Distortion(Protocol):
    """How the source positions of successive target words are distributed: what tells IBM-2 from the HMM."""

    def posteriors(self, batch: Batch, cells: Tensor, lexicon: Lexicon) -> Posteriors:
        """The posterior probabilities of all links of a batch; `cells (n, b, m)` are entries of the lexicon."""

    def estimate(self, statistics: Tensor, shapes: Tensor) -> Self:
        """The M-step.

        Args:
            statistics: Sum of what `posteriors` gave for all batches.
            shapes: int64 `(s, 3)`, the different source and target lengths of pairs and how many pairs have them.
        """

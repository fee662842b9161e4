"""Metrics whose scores follow from counts added over examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np


class CountedMetric(evaluate.Metric, ABC):
    """An `evaluate` metric whose scores follow from counts that are added over examples.

    So scores of a resampled test set cost one product: weights `(samples, n)` times counts `(n, k)`.
    """

    @abstractmethod
    def counts(self, predictions: Sequence[Any], references: Sequence[Any]) -> np.ndarray:
        """float64 `(n, k)`: what each example adds."""

    @abstractmethod
    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """Scores, each of shape `(…)`, of added counts `(…, k)`; 0 where there is nothing to score."""

    def _compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        totals = self.counts(predictions, references).sum(axis=0)
        return {name: float(score) for name, score in self.of_counts(totals).items()}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=np.asarray(whole) != 0)

"""Precision at one of what was found in several ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import datasets
import evaluate
import numpy as np

from hf_xlt.evaluation.metrics.counted import CountedMetric, ratio


class PrecisionAt1(CountedMetric):
    """Share of queries for which one of their right answers was found.

    Each query is answered in several ways (two directions, two measures of nearness); a score is the mean over some of
    them. Counts of a query: 1, and for each way whether its answer is right.
    """

    def __init__(self, scores: Mapping[str, Sequence[int]]) -> None:
        """Scores by name, each with the ways it is the mean over."""
        super().__init__()
        self.scores = {name: list(ways) for name, ways in scores.items()}

    def _info(self) -> evaluate.MetricInfo:
        ids = datasets.Sequence(datasets.Value("int64"))
        return evaluate.MetricInfo(
            description="Share of queries for which one of their right answers was found.",
            citation="",
            inputs_description="predictions: what each way found for each query; references: its right answers.",
            features=datasets.Features({"predictions": ids, "references": ids}),
        )

    def counts(self, predictions: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> np.ndarray:
        """float64 `(n, 1 + ways)`: 1, and whether the answer of each way is right."""
        right = [[answer in gold for answer in found] for found, gold in zip(predictions, references, strict=True)]
        return np.column_stack([np.ones(len(right)), np.asarray(right, dtype=np.float64)])

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """The scores that were named."""
        shares = ratio(totals[..., 1:], totals[..., :1])
        return {name: shares[..., ways].mean(-1) for name, ways in self.scores.items()}

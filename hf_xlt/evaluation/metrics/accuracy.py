"""Accuracy of tags: the share of words that have the right one."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from hf_xlt.evaluation.metrics.counted import CountedMetric, ratio


class TagAccuracy(CountedMetric):
    """The share of words with the right tag, over all sentences. Counts of a sentence: right words, words."""

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description="Share of words with the right tag.",
            citation="",
            inputs_description="predictions, references: the tags of each sentence.",
            features=datasets.Features({"predictions": tags, "references": tags}),
        )

    def counts(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> np.ndarray:
        """float64 `(n, 2)`: right words, words.

        Raises:
            ValueError: If a sentence has more or fewer tags predicted than it has words.
        """
        counts = np.zeros((len(references), 2))
        for row, tags, gold in zip(counts, predictions, references, strict=True):
            row[:] = sum(tag == right for tag, right in zip(tags, gold, strict=True)), len(gold)
        return counts

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`accuracy`."""
        return {"accuracy": ratio(totals[..., 0], totals[..., 1])}

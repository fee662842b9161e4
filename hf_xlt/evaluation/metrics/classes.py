"""Accuracy and macro F1 of classes."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from hf_xlt.evaluation.metrics.counted import CountedMetric, ratio


class ClassScores(CountedMetric):
    """Accuracy, and the mean F1 of the classes that are there or predicted.

    Counts of an example, each one-hot over the classes: the class if it is right, the one predicted, the one it is.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Tell apart `labels`."""
        super().__init__()
        self.labels = tuple(labels)

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("string")
        return evaluate.MetricInfo(
            description="Accuracy, and mean F1 of the classes.",
            citation="",
            inputs_description="predictions, references: the class of each example.",
            features=datasets.Features({"predictions": label, "references": label}),
        )

    def counts(self, predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """float64 `(n, 3 classes)`: right, predicted, gold."""
        one_hot = dict(zip(self.labels, np.eye(len(self.labels)), strict=True))
        shape = len(references), len(self.labels)
        predicted, gold = (
            np.reshape([one_hot[label] for label in labels], shape) for labels in (predictions, references)
        )
        return np.concatenate([predicted * gold, predicted, gold], axis=1)

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`accuracy` and `macro_f1`."""
        right, predicted, gold = np.split(totals, 3, axis=-1)
        f1 = ratio(2 * right, predicted + gold)
        return {
            "accuracy": ratio(right.sum(-1), gold.sum(-1)),
            "macro_f1": ratio(f1.sum(-1), (predicted + gold > 0).sum(-1)),
        }

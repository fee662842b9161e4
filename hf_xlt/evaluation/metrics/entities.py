"""Entity F1 as the CoNLL 2000 script conlleval counts it: an entity is right if its span and its type are."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from hf_xlt.evaluation.metrics.counted import CountedMetric, ratio


class EntityF1(CountedMetric):
    """Precision, recall and F1 of entities over all sentences and types.

    An `I-X` that continues no `X` begins one, as in conlleval. Counts of a sentence: entities that are right, those
    predicted, those there are.
    """

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.Sequence(datasets.Value("string"))
        return evaluate.MetricInfo(
            description="F1 of entities, right if both span and type are.",
            citation="Tjong Kim Sang and Buchholz, Introduction to the CoNLL-2000 shared task, 2000",
            inputs_description="predictions, references: the IOB tags of each sentence.",
            features=datasets.Features({"predictions": tags, "references": tags}),
        )

    def counts(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> np.ndarray:
        """float64 `(n, 3)`: entities that are right, those predicted, those there are.

        Raises:
            ValueError: If a sentence has more or fewer tags predicted than it has words.
        """
        counts = np.zeros((len(references), 3))
        for i, (tags, gold) in enumerate(zip(predictions, references, strict=True)):
            if len(tags) != len(gold):
                raise ValueError(f"Sentence {i} has {len(gold)} words, {len(tags)} tags are predicted.")
            found, there = entities(tags), entities(gold)
            counts[i] = len(found & there), len(found), len(there)
        return counts

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`f1`, `precision` and `recall`."""
        right, predicted, gold = np.moveaxis(totals, -1, 0)
        return {
            "f1": ratio(2 * right, predicted + gold),
            "precision": ratio(right, predicted),
            "recall": ratio(right, gold),
        }


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The type, first word and last word of each entity in the IOB tags of a sentence."""
    found = set()
    kind, first = "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, named = tag.partition("-")
        if prefix == "I" and named == kind:
            continue
        if kind:
            found.add((kind, first, place - 1))
        kind, first = named, place
    return found

"""Models side by side: paired bootstrap over the test examples (Efron & Tibshirani 1993; Koehn 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_xlt.arguments import checked, refused, require_seed
from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics.counted import CountedMetric
from hf_xlt.evaluation.tasks.result import TaskResult

SAMPLES = 2000
LEVEL = 0.95
_BLOCK = 200  # resampled test sets at a time


@dataclass(frozen=True)
class Interval:
    """A value and where it lies in 95 % of the resampled test sets."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """A model beside the first one.

    Args:
        result: Its result.
        score: Mean over seeds.
        difference: To the first model on the same resampled examples; None for the first itself, and where the models
            do not have the same examples, as with texts cut by different tokenizers.
    """

    result: TaskResult
    score: Interval
    difference: Interval | None


@checked
def compare_results(results: Sequence[TaskResult], metric: CountedMetric, seed: int = 0) -> list[Compared]:
    """Results of one task, the first the one to compare with.

    Args:
        results: One a model.
        metric: The task's.
        seed: Of the resampling.

    Raises:
        InputError: If they are of several tasks or test files.
    """
    if not results:
        raise refused("results", results, "one or more")
    require_seed("seed", seed)
    first = results[0]
    for other in results[1:]:
        if other.task != first.task or other.settings["data"]["test"] != first.settings["data"]["test"]:
            raise InputError(
                f"{first.model} and {other.model} were not tested on the same: {first.task} on "
                f"{first.settings['data']['test']}, {other.task} on {other.settings['data']['test']}."
            )
    drawn = [_resampled(result, metric, seed) for result in results]
    compared = []
    for index, (result, scores) in enumerate(zip(results, drawn, strict=True)):
        pairs = index > 0 and result.counts().shape[1] == first.counts().shape[1]
        difference = _interval(result.mean() - first.mean(), scores - drawn[0]) if pairs else None
        compared.append(Compared(result, _interval(result.mean(), scores), difference))
    return compared


def _resampled(result: TaskResult, metric: CountedMetric, seed: int) -> np.ndarray:
    """The headline on resampled test sets, mean over seeds, `(SAMPLES,)`; equal sizes give equal samples."""
    counts = result.counts()
    examples = counts.shape[1]
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(0, SAMPLES, _BLOCK):
        weights = generator.multinomial(examples, np.full(examples, 1 / examples), size=_BLOCK).astype(np.float64)
        totals = np.einsum("bn,snk->bsk", weights, counts, optimize=True)
        scores.append(metric.of_counts(totals)[result.headline].mean(axis=1))
    return np.concatenate(scores)


def _interval(value: float, drawn: np.ndarray) -> Interval:
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))

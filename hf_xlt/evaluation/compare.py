"""Models side by side: paired bootstrap over the test examples (Efron & Tibshirani 1993; Koehn 2004)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_xlt.arguments import checked, refused, require_seed
from hf_xlt.errors import InputError
from hf_xlt.evaluation.evaluate import metric_of
from hf_xlt.evaluation.results import TaskResult, format_score
from hf_xlt.hub.card import CardTable

SAMPLES = 2000
LEVEL = 0.95
_BLOCK = 200  # resampled test sets at a time


@dataclass(frozen=True)
class Interval:
    """A value and where it lies in 95 % of the resampled test sets."""

    value: float
    low: float
    high: float

    def bounds(self, score: str) -> str:
        """Where it lies, as it is shown."""
        return f"{format_score(self.low, score)} to {format_score(self.high, score)}"

    def shown(self, score: str, *, sign: bool = False) -> str:
        """The value and, in brackets, where it lies."""
        return f"{'+' if sign and self.value > 0 else ''}{format_score(self.value, score)} ({self.bounds(score)})"


@dataclass(frozen=True)
class ComparedResult:
    """A model's result beside that of the first one."""

    result: TaskResult
    score: Interval  # mean over seeds
    # to the first model on the same resampled examples; None for the first itself, and where the models do not have the
    # same examples, as with texts cut by different tokenizers
    difference: Interval | None

    @property
    def summary(self) -> str:
        """The headline as it is shown, and in brackets what it differs by."""
        if self.difference is None:
            return self.result.shown()
        value = self.difference.value
        return f"{self.result.shown()} ({'+' if value > 0 else ''}{format_score(value, self.result.headline)})"

    def __repr__(self) -> str:
        name, score = self.result.model, self.result.headline
        difference = "" if self.difference is None else f", difference {self.difference.shown(score, sign=True)}"
        return f"ComparedResult({name!r}, {self.result.task}: {score} {self.score.shown(score)}{difference})"


@checked
def compare_results(results: Sequence[TaskResult], seed: int = 0) -> list[ComparedResult]:
    """Results of one task and test file, one a model and the first the one to compare with, resampled with a seed."""
    if not results:
        raise refused("results", results, "one or more")
    require_seed("seed", seed)
    first = results[0]
    for other in results[1:]:
        if other.task != first.task or _tested(other) != _tested(first):
            raise InputError(
                f"{first.model} and {other.model} were not tested on the same: {first.task} on {_tested(first)}, "
                f"{other.task} on {_tested(other)}.",
                value=other.task,
            )
    drawn = [_resampled(result, seed) for result in results]
    compared = []
    for index, (result, scores) in enumerate(zip(results, drawn, strict=True)):
        pairs = index > 0 and result.counts().shape[1] == first.counts().shape[1]
        difference = _interval(result.mean() - first.mean(), scores - drawn[0]) if pairs else None
        compared.append(ComparedResult(result, _interval(result.mean(), scores), difference))
    return compared


def comparison_table(task: str, compared: Sequence[ComparedResult]) -> CardTable:
    """A line a model: its headline with a 95 % interval, and the paired difference to the first."""
    first = compared[0].result
    headline, better = first.headline, "lower" if first.lower_is_better else "higher"
    lines = [
        (
            one.result.model,
            one.result.shown(),
            one.score.bounds(headline),
            "–" if one.difference is None else one.difference.shown(headline, sign=True),
        )
        for one in compared
    ]
    caption = (
        f"{task}: {headline} ({better} is better), with 95 % bootstrap intervals over {len(first.runs[0].counts):,} "
        f"test examples; differences to {first.model} on the same resampled examples"
    )
    return CardTable(caption, ("model", headline, "95 % interval", "difference"), tuple(lines))


def _tested(result: TaskResult) -> str:
    """What a result was tested on: a file, or of a harness's task the folder that it is in, or the harness's data."""
    data = result.settings["data"]
    return str(data.get("test") or data.get("include") or "its own data")


def _resampled(result: TaskResult, seed: int) -> np.ndarray:
    """The headline on resampled test sets, mean over seeds, `(SAMPLES,)`; equal sizes give equal samples."""
    counts, metric = result.counts(), metric_of(result)
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

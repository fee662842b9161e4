"""Scores of a harness, and what each example adds to them: where its own figure is a mean, nothing else is needed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import Metric, ratio

_UNFILTERED = "none"
# Made of a log-likelihood and of how many words or bytes it is spread over, or of one for the example.
_PERPLEXITIES = ("perplexity", "word_perplexity", "byte_perplexity")
_BITS = "bits_per_byte"
_LARGEST_EXPONENT = 700.0


class HarnessScores(Metric):
    """Scores by the names that the harness has for them: perplexities, bits per byte, and shares, which are means."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def counts(self, predictions: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> np.ndarray:
        """float64 `(n, 2 scores)`: of each score the example's value, then of each what it is spread over."""
        shape = len(predictions), len(self.names)
        return np.column_stack([np.reshape(table, shape) for table in (predictions, references)]).astype(np.float64)

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """The scores that were named."""
        means = ratio(*np.split(totals, 2, axis=-1))
        return {name: _of_mean(name, means[..., place]) for place, name in enumerate(self.names)}


def _of_mean(name: str, mean: np.ndarray) -> np.ndarray:
    if name == _BITS:
        return -mean / math.log(2)
    return np.exp(np.minimum(-mean, _LARGEST_EXPONENT)) if name in _PERPLEXITIES else mean


@dataclass(frozen=True)
class Scored:
    """What a run of a harness came to."""

    names: tuple[str, ...]  # the scores, the first the one to show first
    counts: np.ndarray  # as `HarnessScores.counts` gives them
    lower_is_better: bool  # whether the first score is
    left_out: tuple[str, ...]  # scores that do not follow from what examples add, or are no shares


def scored(task: str, results: Mapping[str, Any]) -> Scored:
    """What examples add to the scores of what lm-eval returned, with all its tasks' examples one after the other.

    They are in the order in which the task names them. A score is kept where the mean over examples gives the very
    figure that the harness gives, in every task. A score such as BLEU or F1, which is not made so, is left out, and so
    is a mean of values that are not between 0 and 1.

    Raises:
        InputError: If no score is left.
    """
    of_tasks = {name: _columns(results["results"][name], samples) for name, samples in results["samples"].items()}
    first = next(iter(results["samples"]))
    named = [one["metric"] for one in results["configs"][first].get("metric_list") or ()]
    ranks = {metric: rank for rank, metric in enumerate(named) if isinstance(metric, str)}
    in_order = sorted(of_tasks[first], key=lambda name: ranks.get(name.partition(",")[0], len(named)))
    names = tuple(name for name in in_order if all(columns.get(name) is not None for columns in of_tasks.values()))
    left_out = tuple(dict.fromkeys(name for columns in of_tasks.values() for name in columns if name not in names))
    if not names:
        raise InputError(
            f"{task} has no score that examples add up to, only {', '.join(left_out)}",
            value=left_out,
            expected="accuracy, exact match, perplexity, bits per byte, or another mean of values from 0 to 1",
            hint="Run it with lm_eval itself.",
        )
    tables = [np.stack([columns[name] for name in names], axis=1) for columns in of_tasks.values()]  # (n, scores, 2)
    values, weights = np.moveaxis(np.concatenate(tables), -1, 0)
    higher = results["higher_is_better"][first].get(names[0].partition(",")[0], True)
    return Scored(names, HarnessScores(names).counts(values, weights), higher is False, left_out)


def _columns(figures: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Score → value and weight `(n, 2)` of each example, None where they do not make the harness's figure."""
    columns = {}
    for key, figure in figures.items():
        metric, comma, kind = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            name = metric if kind == _UNFILTERED else key
            pairs = [_pair(sample.get(metric), name) for sample in samples if sample["filter"] == kind]
            columns[name] = _checked(name, pairs, figure)
    return columns


def _pair(value: Any, name: str) -> tuple[float, float] | None:
    """What an example adds to a score and to what that is divided by; nothing, where the task does not score it."""
    if value is None:
        return 0.0, 0.0
    if isinstance(value, tuple | list) and len(value) == 2 and name in (*_PERPLEXITIES, _BITS):
        return float(value[0]), float(value[1])
    if isinstance(value, int | float | np.number | np.bool_):
        single = float(value)
        return (single, 1.0) if name in _PERPLEXITIES or 0 <= single <= 1 else None
    return None


def _checked(name: str, pairs: Sequence[tuple[float, float] | None], figure: Any) -> np.ndarray | None:
    if not pairs or None in pairs or not isinstance(figure, int | float | np.number):
        return None
    column = np.array(pairs, dtype=np.float64)
    value, weight = column.sum(axis=0)
    made = float(_of_mean(name, ratio(value, weight)))
    return column if np.isfinite(column).all() and math.isclose(made, float(figure), rel_tol=1e-6) else None

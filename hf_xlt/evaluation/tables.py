"""Results of tasks as tables."""

from __future__ import annotations

from collections.abc import Sequence

from hf_xlt.evaluation.compare import Compared, Interval
from hf_xlt.evaluation.tasks.result import TaskResult
from hf_xlt.hub.card import CardTable

# Scores that are no shares: shown as they are, not in per cent.
PLAIN = ("bits_per_byte", "loss", "perplexity")


def results_card_table(results: Sequence[TaskResult]) -> CardTable:
    """Every score of one model, a line each, mean ± standard deviation over seeds."""
    lines = [
        (result.task, score, _spread(result, score), str(len(result.runs)))
        for result in results
        for score in result.runs[0].scores
    ]
    return CardTable(f"{results[0].model}: scores in per cent", ("task", "score", "mean", "seeds"), tuple(lines))


def comparison_table(task: str, compared: Sequence[Compared]) -> CardTable:
    """A line a model: its headline with a 95 % interval, and the paired difference to the first."""
    headline = compared[0].result.headline
    better = "lower" if compared[0].result.lower_is_better else "higher"
    lines = [
        (one.result.model, _spread(one.result, headline), _interval(one.score, headline), _difference(one, headline))
        for one in compared
    ]
    examples = len(compared[0].result.runs[0].counts)
    caption = (
        f"{task}: {headline} ({better} is better), with 95 % bootstrap intervals over {examples:,} test examples; "
        f"differences to {compared[0].result.model} on the same resampled examples"
    )
    return CardTable(caption, ("model", headline, "95 % interval", "difference"), tuple(lines))


def _spread(result: TaskResult, score: str) -> str:
    spread = f" ± {figure(result.spread(score), score)}" if len(result.runs) > 1 else ""
    return f"{figure(result.mean(score), score)}{spread}"


def _interval(interval: Interval, score: str) -> str:
    return f"{figure(interval.low, score)} to {figure(interval.high, score)}"


def _difference(one: Compared, score: str) -> str:
    if one.difference is None:
        return "–"
    value = figure(one.difference.value, score)
    return f"{'+' if one.difference.value > 0 else ''}{value} ({_interval(one.difference, score)})"


def figure(value: float, score: str) -> str:
    """A score as it is shown: in per cent, where it is a share."""
    return f"{value:.3f}" if score in PLAIN else f"{100 * value:.1f}"

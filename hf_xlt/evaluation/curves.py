"""Learning curves and what they say: what a method reaches, and how many steps a better start saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, pstdev
from typing import Any

from hf_xlt.evaluation.language_model import Quality
from hf_xlt.hub.card import ResultRow


@dataclass(frozen=True)
class Point:
    """Held-out quality after a number of training steps."""

    step: int
    loss: float
    perplexity: float
    bits_per_byte: float

    @classmethod
    def at(cls, step: int, quality: Quality) -> Point:
        """The point of a quality measured after `step` steps."""
        return cls(step, **asdict(quality))


@dataclass(frozen=True)
class Curve:
    """One training run: its method, its seed, its points in order of steps, and its training time in seconds."""

    method: str
    seed: int
    points: tuple[Point, ...] = field(repr=False)
    seconds: float

    @property
    def final(self) -> Point:
        """The last point."""
        return self.points[-1]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Curve:
        """Inverse of `dataclasses.asdict`."""
        return cls(**{**data, "points": tuple(Point(**point) for point in data["points"])})


def mean_curve(curves: Sequence[Curve]) -> tuple[tuple[int, float], ...]:
    """Mean bits per byte over seeds, as `(step, bits per byte)`; all curves must share their steps."""
    steps = [tuple(point.step for point in curve.points) for curve in curves]
    if len(set(steps)) != 1:
        raise ValueError("Curves measured at different steps have no mean.")
    columns = zip(*(curve.points for curve in curves), strict=True)
    return tuple((column[0].step, sum(p.bits_per_byte for p in column) / len(column)) for column in columns)


def steps_saved(curves: Sequence[Curve], baseline: Sequence[Curve]) -> float | None:
    """Share of the baseline's steps that a better start does not need to reach the baseline's final value.

    Both are means over seeds, in bits per byte; the crossing lies between two measured steps and is found by linear
    interpolation. `None` if the baseline's value is never reached; 1.0 if it is reached without training.
    """
    goal_step, goal = mean_curve(baseline)[-1]
    points = mean_curve(curves)
    if points[0][1] <= goal:
        return 1.0
    for (step, value), (next_step, next_value) in zip(points, points[1:], strict=False):
        if next_value <= goal:
            crossing = step + (next_step - step) * (value - goal) / (value - next_value)
            return 1.0 - crossing / goal_step
    return None


def summarize(curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str] = ()) -> tuple[ResultRow, ...]:
    """What methods reached, from their curves, one a seed, and the steps each saves against each of the baselines."""
    return tuple(
        ResultRow(
            method=method,
            bits_per_byte=fmean(run.final.bits_per_byte for run in runs),
            seeds=len(runs),
            start_bits_per_byte=fmean(run.points[0].bits_per_byte for run in runs),
            loss=fmean(run.final.loss for run in runs),
            perplexity=fmean(run.final.perplexity for run in runs),
            steps_saved={
                name: steps_saved(runs, curves[name]) for name in baselines if name in curves and name != method
            },
            spread=pstdev(run.final.bits_per_byte for run in runs),
        )
        for method, runs in curves.items()
    )

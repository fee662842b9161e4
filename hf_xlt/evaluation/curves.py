"""Learning curves and what they say: what a method reaches, and how many steps a better start saves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, pstdev
from typing import Any

import numpy as np

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
    def at(cls, step: int, quality: Quality) -> "Point":
        """The point of a quality measured after `step` steps."""
        return cls(step, **asdict(quality))


@dataclass(frozen=True)
class Curve:
    """One training run: its method, its seed, its points in order of steps, and what training it took.

    A step is an average over the run's stages; what it reads and computes is None where that was not recorded.
    """

    method: str
    seed: int
    points: tuple[Point, ...] = field(repr=False)
    seconds: float  # of training
    bytes_per_step: float | None = None  # bytes of UTF-8 that one optimizer step reads
    flops_per_step: float | None = None  # floating-point operations of one optimizer step, see `step_cost`
    flops_before: float = 0.0  # those spent before the first step, on calibrating

    @property
    def final(self) -> Point:
        """The last point."""
        return self.points[-1]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Curve":
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


def quality_after(curves: Sequence[Curve], step: float) -> float | None:
    """Mean bits per byte after so many steps, interpolated linearly; None where the curves do not go so far."""
    steps, values = zip(*mean_curve(curves), strict=True)
    return float(np.interp(step, steps, values)) if step <= steps[-1] else None


def at_equal_compute(curves: Mapping[str, Sequence[Curve]], own: str) -> dict[str, float | None]:
    """Method → mean bits per byte at the compute that the method `own` spent; None where its curve ends before that.

    Empty where a step costs all methods the same, so that the ends of their curves compare, and where its cost was not
    recorded. A curve that goes on beyond has not yet lowered its learning rate there as far as one that ends.
    """
    costs = {method: runs[0].flops_per_step for method, runs in curves.items()}
    known = {method: cost for method, cost in costs.items() if cost}
    before = {method: runs[0].flops_before for method, runs in curves.items()}
    if own not in known or len(known) < len(curves) or len({*known.values()}) == len({*before.values()}) == 1:
        return {}
    spent = before[own] + known[own] * curves[own][0].final.step
    return {
        method: quality_after(runs, max(0.0, spent - before[method]) / known[method]) for method, runs in curves.items()
    }


def summarize(
    curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str] = (), own: str | None = None
) -> tuple[ResultRow, ...]:
    """What methods reached, from their curves, one a seed.

    Steps saved are counted against each of the baselines whose steps read as much text; values at equal compute are
    those at what the method `own` spent.
    """
    at_compute = {} if own is None else at_equal_compute(curves, own)

    def comparable(method: str, baseline: str) -> bool:
        if baseline not in curves or baseline == method:
            return False
        return curves[baseline][0].bytes_per_step == curves[method][0].bytes_per_step

    return tuple(
        ResultRow(
            method=method,
            bits_per_byte=fmean(run.final.bits_per_byte for run in runs),
            seeds=len(runs),
            start_bits_per_byte=fmean(run.points[0].bits_per_byte for run in runs),
            loss=fmean(run.final.loss for run in runs),
            perplexity=fmean(run.final.perplexity for run in runs),
            steps_saved={name: steps_saved(runs, curves[name]) for name in baselines if comparable(method, name)},
            spread=pstdev(run.final.bits_per_byte for run in runs),
            equal_compute_bits_per_byte=at_compute.get(method),
        )
        for method, runs in curves.items()
    )

"""One line a method: means over seeds of what its runs measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from hf_xlt.evaluation.curves import Curve, steps_saved


@dataclass(frozen=True)
class MethodSummary:
    """What a method reached, as means over its seeds.

    Args:
        method: Its name.
        seeds: Number of runs.
        start_bits_per_byte: Before training.
        bits_per_byte: After training.
        spread: Standard deviation of the latter over seeds; 0.0 for a single one.
        loss: Held-out loss in nats a token after training.
        perplexity: Likewise.
        saved: Baseline → share of its steps saved, or None where its final value was not reached.
    """

    method: str
    seeds: int
    start_bits_per_byte: float
    bits_per_byte: float
    spread: float
    loss: float
    perplexity: float
    saved: Mapping[str, float | None]


def summarize(curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str] = ()) -> tuple[MethodSummary, ...]:
    """Summaries in the order of `curves`, with the steps each method saves against each of the baselines.

    Args:
        curves: Method → its curves, one a seed.
        baselines: Names of methods to count saved steps against.
    """
    return tuple(_summary(method, runs, curves, baselines) for method, runs in curves.items())


def _summary(
    method: str, runs: Sequence[Curve], curves: Mapping[str, Sequence[Curve]], baselines: Sequence[str]
) -> MethodSummary:
    finals = [run.final for run in runs]
    return MethodSummary(
        method=method,
        seeds=len(runs),
        start_bits_per_byte=fmean(run.points[0].bits_per_byte for run in runs),
        bits_per_byte=fmean(point.bits_per_byte for point in finals),
        spread=pstdev(point.bits_per_byte for point in finals),
        loss=fmean(point.loss for point in finals),
        perplexity=fmean(point.perplexity for point in finals),
        saved={name: steps_saved(runs, curves[name]) for name in baselines if name in curves and name != method},
    )

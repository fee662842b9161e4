"""The result of a task on a model, over seeds; kept as one JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from hf_xlt.errors import InputError
from hf_xlt.files.folders import write_whole
from hf_xlt.hub.card import CardTable

# Scores that are no shares: shown as they are, not in per cent.
NOT_SHARES = ("bits_per_byte", "loss", "perplexity", "byte_perplexity", "word_perplexity", "characters")


def format_score(value: float, score: str) -> str:
    """A score as it is shown: in per cent, where it is a share."""
    return f"{value:.3f}" if score in NOT_SHARES else f"{100 * value:.1f}"


@dataclass(frozen=True)
class SeedResult:
    """One run."""

    seed: int
    scores: Mapping[str, float]
    counts: Sequence[Sequence[float]]  # what each test example adds to the metric, `(n, k)`
    notes: Mapping[str, Any]  # what was chosen or left out on the way

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {format_score(score, name)}" for name, score in self.scores.items())
        return f"SeedResult(seed={self.seed}, {scores}; {len(self.counts):,} examples)"


@dataclass(frozen=True)
class TaskResult:
    """A task on a model, over seeds."""

    model: str
    task: str
    headline: str  # name of the score to show first
    lower_is_better: bool  # whether the headline is
    settings: Mapping[str, Any]  # everything else that the figures depend on: files, budget, languages
    runs: tuple[SeedResult, ...]  # one a seed

    def __repr__(self) -> str:
        return f"TaskResult({self.model!r}, {self.task}: {self.headline} {self.shown()}, seeds={len(self.runs)})"

    def mean(self, score: str | None = None) -> float:
        """Over seeds, of the headline or another score."""
        return fmean(run.scores[score or self.headline] for run in self.runs)

    def spread(self, score: str | None = None) -> float:
        """Standard deviation over seeds, 0.0 for a single one."""
        values = [run.scores[score or self.headline] for run in self.runs]
        return stdev(values) if len(values) > 1 else 0.0

    def shown(self, score: str | None = None) -> str:
        """Mean ± standard deviation as they are shown, of the headline or another score."""
        score = score or self.headline
        spread = f" ± {format_score(self.spread(score), score)}" if len(self.runs) > 1 else ""
        return f"{format_score(self.mean(score), score)}{spread}"

    def counts(self) -> np.ndarray:
        """float64 `(seeds, n, k)`."""
        return np.array([run.counts for run in self.runs], dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(self), ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "TaskResult":
        """Read a file that `save` wrote; any other raises InputError."""
        try:
            result = TypeAdapter(cls).validate_json(path.read_text(encoding="utf-8"), strict=True)
            counts = result.counts()
            if counts.ndim != 3 or 0 in counts.shape or not np.isfinite(counts).all():
                raise ValueError(f"counts of shape {counts.shape}; expected finite ones of seeds, examples and columns")
            if list(result.settings.get("seeds", [0])) != [run.seed for run in result.runs]:
                raise ValueError("runs are not of the seeds that the settings name")
            if any(result.headline not in run.scores for run in result.runs):
                raise ValueError(f"a run has no score {result.headline}")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} does not hold the result of an evaluation ({' '.join(str(error).split())[:200]})",
                path=path,
                hint="Remove it, or choose another output.",
            ) from error
        return result


class Evaluation(tuple[TaskResult, ...]):
    """What one model came to on several tasks, in their order."""

    def __repr__(self) -> str:
        return f"Evaluation({', '.join(f'{result.task} {result.shown()}' for result in self)})"[:180]

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def table(self) -> CardTable:
        """Every score, a line each, mean ± standard deviation over seeds."""
        lines = [
            (result.task, score, result.shown(score), str(len(result.runs)))
            for result in self
            for score in result.runs[0].scores
        ]
        return CardTable(f"{self[0].model}: scores in per cent", ("task", "score", "mean", "seeds"), tuple(lines))

"""What is measured of a model as it is, without learning anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hf_xlt.arguments import checked
from hf_xlt.evaluation.metrics.counted import CountedMetric


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run of a task came to.

    Args:
        counts: float64 `(n, k)`: what each example adds to the task's metric, so that models can be compared by pairs.
        notes: What was chosen or left out on the way, for the results: a layer, a number of windows.
    """

    counts: np.ndarray
    notes: Mapping[str, str | int | float] = field(default_factory=dict)


@checked
@dataclass(frozen=True)
class ModelAsked:
    """The model a task is asked of, not yet opened.

    Args:
        name: A Hub id or a folder.
        source: Checkpoint whose rows and tokenizer read the source language; None where the model reads it itself.
        languages: Source and target language of a model of several.
        trust_remote_code: Run code that the checkpoint brings.
    """

    name: str
    source: str | None = None
    languages: tuple[str, str] | None = None
    trust_remote_code: bool = False


class DirectTask(ABC):
    """Something measured of a model as it is.

    Class attributes:
        name: What it is called on the command line.
        headline: The score of its metric that is shown first.
        summary: One line of help.
        roles: Role of a file (`test`, `dev`) → whether it is needed.
        lower_is_better: Whether the headline is.
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    summary: ClassVar[str]
    roles: ClassVar[Mapping[str, bool]]
    lower_is_better: ClassVar[bool] = False

    @abstractmethod
    def metric(self) -> CountedMetric:
        """What the counts are turned into scores with."""

    @abstractmethod
    def measure(self, model: ModelAsked, places: Mapping[str, str]) -> Outcome:
        """Open the model and measure it.

        Args:
            model: Which one.
            places: Role → file; of a table also `PATH:column,column@column=value`.

        Raises:
            InputError: If a file or the model cannot be used for this.
        """

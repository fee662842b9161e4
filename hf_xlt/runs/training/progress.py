"""Progress of a training run, on a terminal and in log files, and the time it takes."""

import logging
import time
from typing import Any

from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainingArguments

logger = logging.getLogger(__name__)

SECONDS = "trained_seconds"


class ProgressBar(TrainerCallback):
    """One line a training run: steps done, held-out bits per byte so far; silent where no terminal looks on."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.bar: tqdm | None = None

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, at the step a resumed run goes on from."""
        steps = {"total": state.max_steps, "initial": state.global_step}
        self.bar = tqdm(**steps, desc=self.label, unit="step", disable=None, leave=True)

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_evaluate(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(f"{kwargs['metrics']['eval_bits_per_byte']:.3f} bits/byte")

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class ProgressLines(TrainerCallback):
    """A plain line at the start, for each evaluation, and in between where these are far apart.

    Lines come at least `apart` seconds after one another, but for the first and the last, and at most `silent` seconds.
    """

    def __init__(self, label: str, apart: float = 2.0, silent: float = 60.0) -> None:
        self.label, self.apart, self.silent = label, apart, silent
        self.told = 0.0

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        done = f", going on after {state.global_step:,}" if state.global_step else ""
        self._tell(f"{state.max_steps:,} steps{done}")

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if time.monotonic() - self.told > self.silent:
            self._tell(f"step {state.global_step:,} of {state.max_steps:,}")

    def on_evaluate(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if time.monotonic() - self.told > self.apart or state.global_step == state.max_steps:
            value = kwargs["metrics"]["eval_bits_per_byte"]
            self._tell(f"step {state.global_step:,} of {state.max_steps:,}, {value:.3f} bits/byte")

    def _tell(self, line: str) -> None:
        logger.info("%s: %s", self.label, line)
        self.told = time.monotonic()


class Stopwatch(TrainerCallback):
    """How long training takes, with what it took before it was interrupted; kept in the state that Trainer saves."""

    def __init__(self) -> None:
        self.before = 0.0
        self.started = time.monotonic()
        self.stopped: float | None = None

    @property
    def seconds(self) -> float:
        return self.before + (self.stopped or time.monotonic()) - self.started

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Start, from what the state that training goes on from tells."""
        self.before = max((entry[SECONDS] for entry in state.log_history if SECONDS in entry), default=0.0)
        self.started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time down where the state is about to be saved."""
        if control.should_save:
            state.log_history.append({SECONDS: self.seconds, "step": state.global_step})

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        self.stopped = time.monotonic()

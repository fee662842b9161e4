"""Learning a task: fine-tuning by `Trainer`, with the best state on the development examples kept."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset, Sampler
from tqdm.auto import tqdm
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import LengthGroupedSampler

from hf_xlt.evaluation.tasks.batch import Collator, Features
from hf_xlt.evaluation.tasks.budget import Budget
from hf_xlt.evaluation.tasks.model import TaskModel

Score = Callable[[TaskModel], float]


@dataclass(frozen=True)
class Learned:
    """How learning went: the best score on the development examples, and the share of an epoch-count it came at."""

    dev_score: float
    epochs: float


class KeepBest(TrainerCallback):
    """Scores the model now and then, keeps what trains as it was at its best, and stops when it gets no better."""

    def __init__(self, model: TaskModel, score: Score, every: int, patience: int) -> None:
        self.model, self.score, self.every, self.patience = model, score, every, patience
        self.best, self.epoch, self.worse = -math.inf, 0.0, 0
        self.kept: dict[str, torch.Tensor] = {}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Score every so many steps and after the last one."""
        if state.global_step % self.every and state.global_step < state.max_steps:
            return control
        score = self.score(self.model)
        self.model.train()
        if score > self.best:
            self.best, self.epoch, self.worse = score, float(state.epoch or 0), 0
            self.kept = {name: weight.detach().cpu().clone() for name, weight in self._trained()}
        else:
            self.worse += 1
            control.should_training_stop |= self.worse >= self.patience
        return control

    def restore(self) -> None:
        """Put back what was kept."""
        with torch.no_grad():
            for name, weight in self._trained():
                weight.copy_(self.kept[name])

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]


class Progress(TrainerCallback):
    """One line: steps done and the best score so far; silent where no terminal looks on."""

    def __init__(self, best: KeepBest) -> None:
        self.best = best
        self.bar = tqdm(desc="learning", unit="step", disable=None, leave=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance."""
        self.bar.total = state.max_steps
        if self.best.kept:
            self.bar.set_postfix_str(f"best {self.best.best:.3f}", refresh=False)
        self.bar.update()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self.bar.close()


class Examples(Dataset):
    """Features as a dataset."""

    def __init__(self, features: Sequence[Features]) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> Features:
        return self.features[index]


class LengthTrainer(Trainer):
    """`Trainer` whose batches hold examples of like length."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        lengths = [feature.length for feature in self.train_dataset.features]  # type: ignore[union-attr]
        return LengthGroupedSampler(self.args.train_batch_size, lengths=lengths)


def learn(
    model: TaskModel, features: Sequence[Features], collator: Collator, score: Score, budget: Budget, seed: int
) -> Learned:
    """Train what requires a gradient, and leave the model as it was at its best.

    Args:
        model: An encoder with a new head.
        features: To learn from.
        collator: Batches them.
        score: Of the development examples, the higher the better.
        budget: How long and how fast.
        seed: Of the order of examples and of dropout.
    """
    steps = math.ceil(len(features) / budget.batch_size)
    best = KeepBest(model, score, max(1, steps // budget.evaluations), budget.patience)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=budget.epochs,
            per_device_train_batch_size=budget.batch_size,
            lr_scheduler_type="linear",
            warmup_steps=budget.warmup,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            remove_unused_columns=False,
            seed=seed,
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = LengthTrainer(
            model,
            arguments,
            train_dataset=Examples(features),
            data_collator=collator,
            callbacks=[best, Progress(best)],
            optimizers=(optimizer(model, budget), None),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    best.restore()
    return Learned(best.best, best.epoch)


def optimizer(model: TaskModel, budget: Budget) -> torch.optim.Optimizer:
    """AdamW on what requires a gradient; a new head learns faster than an encoder that knows much already."""
    rates = {model.encoder: budget.learning_rate, model.head: budget.head_learning_rate}
    groups = [
        {"params": [weight for weight in part.parameters() if weight.requires_grad], "lr": rate}
        for part, rate in rates.items()
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.01)

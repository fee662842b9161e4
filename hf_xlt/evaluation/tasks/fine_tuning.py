"""A supervised task on one model: an encoder with a head, fine-tuned by Trainer once a seed, answers the test."""

import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from torch.utils.data import Sampler
from tqdm.auto import tqdm
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from hf_xlt.device import autocast
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import FineTuningConfig, ModelSpec
from hf_xlt.evaluation.models import SIDES, Encoder, Side
from hf_xlt.evaluation.tasks.task import IGNORED, ROLES, Encoded, Outcome, SupervisedTask, TaskHead

BATCH = 64


@dataclass(frozen=True)
class Collator:
    """Puts examples into a batch.

    Texts come as `input_ids`, `attention_mask` `(w, s)` of all windows and `picks` `(b, n)`, positions in the flattened
    windows; or, where states are there already, as `states` `(b, n, d)`. With either, `mask` bool `(b, n)` and `gold`.
    """

    pad: int

    def __call__(self, features: Sequence[Encoded]) -> dict[str, Any]:
        """A batch of one kind."""
        mask = _padded([np.ones(feature.picked, dtype=bool) for feature in features], False)
        gold = {name: _padded([feature.gold[name] for feature in features], IGNORED) for name in features[0].gold}
        batch: dict[str, Any] = {"mask": mask, "gold": gold}
        if features[0].states is not None:
            states = [feature.states for feature in features]
            return batch | {"states": torch.nn.utils.rnn.pad_sequence(states, batch_first=True)}  # type: ignore[arg-type]
        windows = [window for feature in features for window in feature.windows]
        longest = max(map(len, windows))
        starts = np.cumsum([0, *(len(feature.windows) for feature in features)]) * longest
        picks = [
            np.concatenate([start + i * longest + pick for i, pick in enumerate(feature.picks)]).astype(np.int64)
            for start, feature in zip(starts, features, strict=False)
        ]
        return batch | {
            "input_ids": _padded([window.astype(np.int64) for window in windows], self.pad),
            "attention_mask": _padded([np.ones(len(window), dtype=np.int64) for window in windows], 0),
            "picks": _padded(picks, 0),
        }


def by_length(features: Sequence[Encoded], size: int) -> list[list[int]]:
    """Indices in batches of like length, the longest first, so that memory runs out at once or not at all."""
    order = sorted(range(len(features)), key=lambda i: -features[i].length)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _padded(arrays: Sequence[np.ndarray], value: int | bool) -> Tensor:
    shape = np.max([array.shape for array in arrays], axis=0)
    padded = np.full((len(arrays), *shape), value, dtype=arrays[0].dtype)
    for row, array in enumerate(arrays):
        place: Any = (row, *(slice(size) for size in array.shape))
        padded[place] = array
    return torch.from_numpy(padded)


class TaskModel(nn.Module):
    """An encoder and a head; `Trainer` trains it.

    The head gets the states of one layer, by default the last, in float32 whatever the encoder computes in.
    """

    def __init__(
        self, encoder: PreTrainedModel, head: TaskHead, layer: int | None = None, precision: str = "float32"
    ) -> None:
        super().__init__()
        layers = getattr(encoder.config, "num_hidden_layers", None)
        if layer is not None and layers is not None and not 0 <= layer <= layers:
            raise InputError(f"There is no layer {layer}; the encoder has layers 0 (the embeddings) to {layers}.")
        self.encoder, self.head = encoder, head
        self.layer, self.precision = layer, precision

    def forward(self, mask: Tensor, gold: Mapping[str, Tensor], **inputs: Tensor) -> dict[str, Tensor]:
        """The loss of a batch, as `Trainer` expects it."""
        return {"loss": self.head.loss(self.head(self.states(**inputs), mask), mask, gold)}

    def states(
        self,
        states: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        picks: Tensor | None = None,
    ) -> Tensor:
        """The states `(b, n, d)` that the head gets: those given, or those picked from the encoder's."""
        if states is not None:
            return states
        inner = self.layer is not None
        with autocast(self.precision, self.encoder.device):
            output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=inner)
        hidden = output.last_hidden_state if self.layer is None else output.hidden_states[self.layer]
        return hidden.flatten(0, 1)[picks].float()


@torch.inference_mode()
def predict(model: TaskModel, features: Sequence[Encoded], collator: Collator) -> list[Any]:
    """The head's answers, one an example."""
    found: list[Any] = [None] * len(features)
    for indices, states, mask in _states(model, features, collator, "answering"):
        for index, answer in zip(indices, model.head.decode(model.head(states, mask), mask), strict=True):
            found[index] = answer
    return found


@torch.inference_mode()
def cache_states(
    model: TaskModel, features: Sequence[Encoded], collator: Collator, cached: Callable[[Tensor], Tensor]
) -> list[Encoded]:
    """The same examples with what is cached of their states, float32 on the CPU: one forward pass for all epochs."""
    found: list[Any] = [None] * len(features)
    for indices, states, mask in _states(model, features, collator, "states"):
        for index, state, length in zip(indices, states.float().cpu(), mask.sum(1).tolist(), strict=True):
            found[index] = replace(features[index], states=cached(state[:length]).clone())
    return found


def _states(
    model: TaskModel, features: Sequence[Encoded], collator: Collator, name: str
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Indices, states `(b, n, d)` and mask `(b, n)` of each batch, in evaluation mode."""
    model.eval()
    device = next(model.head.parameters()).device
    for indices in tqdm(by_length(features, BATCH), desc=name, unit="batch", disable=None, leave=False):
        batch = send_to_device(collator([features[i] for i in indices]), device)
        mask, _ = batch.pop("mask"), batch.pop("gold")
        yield indices, model.states(**batch), mask


class KeepBest(TrainerCallback):
    """Scores the model now and then, keeps what trains as it was at its best, and stops when it gets no better.

    A bar shows the steps and the best score so far, where a terminal looks on.
    """

    def __init__(self, model: TaskModel, score: Callable[[TaskModel], float], every: int, patience: int) -> None:
        self.model, self.score, self.every, self.patience = model, score, every, patience
        self.best, self.epoch, self.worse = -math.inf, 0.0, 0
        self.kept: dict[str, torch.Tensor] = {}
        self.bar = tqdm(desc="learning", unit="step", disable=None, leave=False)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Score every so many steps and after the last one."""
        self.bar.total = state.max_steps
        self.bar.update()
        if state.global_step % self.every and state.global_step < state.max_steps:
            return control
        score = self.score(self.model)
        self.model.train()
        if score > self.best:
            self.best, self.epoch, self.worse = score, float(state.epoch or 0), 0
            self.kept = {name: weight.detach().cpu().clone() for name, weight in self._trained()}
            self.bar.set_postfix_str(f"best {score:.3f}", refresh=False)
        else:
            self.worse += 1
            control.should_training_stop |= self.worse >= self.patience
        return control

    def restore(self) -> None:
        """Put back what was kept."""
        self.bar.close()
        with torch.no_grad():
            for name, weight in self._trained():
                weight.copy_(self.kept[name])

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad]


class LengthTrainer(Trainer):
    """`Trainer` whose batches hold examples of like length."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        lengths = [feature.length for feature in self.train_dataset]  # type: ignore[union-attr]
        return LengthGroupedSampler(self.args.train_batch_size, lengths=lengths)


def fine_tune(
    model: TaskModel,
    features: Sequence[Encoded],
    collator: Collator,
    score: Callable[[TaskModel], float],
    config: FineTuningConfig,
    seed: int,
) -> KeepBest:
    """Train what requires a gradient, and leave the model as it was at its best."""
    steps = math.ceil(len(features) / config.batch_size)
    best = KeepBest(model, score, max(1, steps // config.evaluations), config.patience)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch_size,
            lr_scheduler_type="linear",
            warmup_steps=config.warmup,
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
            train_dataset=features,
            data_collator=collator,
            callbacks=[best],
            optimizers=(optimizer(model, config), None),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    best.restore()
    return best


def optimizer(model: TaskModel, config: FineTuningConfig) -> torch.optim.Optimizer:
    """AdamW on what requires a gradient; a new head learns faster than an encoder that knows much already."""
    rates = {model.encoder: config.learning_rate, model.head: config.head_learning_rate}
    groups = [
        {"params": [weight for weight in part.parameters() if weight.requires_grad], "lr": rate}
        for part, rate in rates.items()
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=0.01)


@dataclass(frozen=True)
class TaskExamples:
    """The examples of a task by role, read and checked."""

    task: SupervisedTask[Any]
    by_role: Mapping[str, Sequence[Any]] = field(repr=False)
    labels: tuple[str, ...]
    zero_shot: bool

    @classmethod
    def read(cls, task: SupervisedTask[Any], places: Mapping[str, str], zero_shot: bool) -> "TaskExamples":
        """Read the files or datasets of all roles."""
        examples = {role: task.read(places[role]) for role in ROLES}
        labels = task.labels(examples["train"], {role: examples[role] for role in ROLES[1:]})
        return cls(task, examples, labels, zero_shot)

    def side(self, role: str) -> Side:
        """The language a role's examples are in."""
        return "source" if self.zero_shot and role != "test" else "target"

    def limited(self, config: FineTuningConfig) -> "TaskExamples":
        """With no more examples than wanted; the test stays whole."""
        train = list(self.by_role["train"])
        if config.train_examples is not None and config.train_examples < len(train):
            train = random.Random(0).sample(train, config.train_examples)
        limited = {"train": train, "dev": list(self.by_role["dev"])[: config.dev_examples]}
        return replace(self, by_role={**self.by_role, **limited})


@dataclass(frozen=True)
class FineTuning:
    """A supervised task on one model; the run of each seed is independent of the others."""

    data: TaskExamples
    model: ModelSpec
    config: FineTuningConfig

    def outcome(self, seed: int) -> Outcome:
        """Learn with a seed and answer the test."""
        frozen, side = self.config.frozen, self.data.side("train")
        encoder, features = self._frozen if frozen else self._opened()
        set_seed(seed)
        model = self._with_head(encoder)
        encoder.model.requires_grad_(not frozen)
        if self.data.zero_shot and encoder.switches:
            for each in SIDES:  # rows of the one language would move away from those of the other
                encoder.switch_to(each)
                encoder.model.get_input_embeddings().requires_grad_(False)
        if not frozen:
            encoder.switch_to(side)
        collator = collator_of(encoder, side)
        task = self.data.task

        def score(model: TaskModel) -> float:
            counts = self._counts(model, "dev", features, collator)
            return task.metric(self.data.labels).scores(counts)[task.headline]

        learned = fine_tune(model, features["train"], collator, score, self.config, seed)
        if not frozen:
            encoder.switch_to("target")
        counts = self._counts(model, "test", features, collator_of(encoder, "target"))
        windowed = sum(len(feature.windows) > 1 for feature in features["test"])
        notes = {"dev": round(learned.best, 6), "epochs": round(learned.epoch, 2), "windowed": windowed}
        return Outcome(counts, notes)

    @cached_property
    def _frozen(self) -> tuple[Encoder, dict[str, list[Encoded]]]:
        """The encoder and all examples with their states, which no seed changes."""
        encoder, features = self._opened()
        model = self._with_head(encoder)
        for role, rows in features.items():
            side = self.data.side(role)
            encoder.switch_to(side)
            features[role] = cache_states(model, rows, collator_of(encoder, side), self.data.task.cached)
        return encoder, features

    def _opened(self) -> tuple[Encoder, dict[str, list[Encoded]]]:
        encoder, data = Encoder.open(self.model, self.config.dropout), self.data
        features = {}
        for role in ROLES:
            tokenizer = encoder.setups[data.side(role)].tokenizer
            features[role] = data.task.encode(data.by_role[role], data.labels, tokenizer, encoder.max_length)
        return encoder, features

    def _with_head(self, encoder: Encoder) -> TaskModel:
        head = self.data.task.head(encoder.model.config.hidden_size, self.data.labels)
        return TaskModel(encoder.model, head.to(encoder.model.device), self.config.layer, self.config.precision)

    def _counts(
        self, model: TaskModel, role: str, features: Mapping[str, list[Encoded]], collator: Collator
    ) -> np.ndarray:
        task, labels, examples = self.data.task, self.data.labels, self.data.by_role[role]
        found = zip(examples, features[role], predict(model, features[role], collator), strict=True)
        predictions = [task.prediction(example, row, answer, labels) for example, row, answer in found]
        return task.metric(labels).counts(predictions, [task.reference(example) for example in examples])


def collator_of(encoder: Encoder, side: Side) -> Collator:
    """Pads as a side's tokenizer does."""
    return Collator(encoder.setups[side].tokenizer.pad_token_id or 0)

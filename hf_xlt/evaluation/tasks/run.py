"""One task on one model: read, learn where there is something to learn, answer, score; once a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from transformers import set_seed

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.batch import Collator, Features
from hf_xlt.evaluation.tasks.budget import Budget
from hf_xlt.evaluation.tasks.direct import ModelAsked, Outcome
from hf_xlt.evaluation.tasks.encoder import SIDES, Encoder, Side
from hf_xlt.evaluation.tasks.learn import learn
from hf_xlt.evaluation.tasks.model import TaskModel, answers, with_states
from hf_xlt.evaluation.tasks.task import Task

ROLES = ("train", "dev", "test")


@dataclass(frozen=True)
class Material:
    """The examples of a task, read and checked.

    Args:
        task: Which one.
        examples: Role → examples.
        labels: To tell apart.
        zero_shot: Whether training and development examples are in the source language.
    """

    task: Task[Any]
    examples: Mapping[str, Sequence[Any]]
    labels: tuple[str, ...]
    zero_shot: bool

    @classmethod
    def read(cls, task: Task[Any], places: Mapping[str, str], zero_shot: bool) -> Material:
        """Read the files of a task.

        Raises:
            InputError: If a role has no file, or a file or its labels cannot be used.
        """
        if missing := [role for role in ROLES if role not in places]:
            raise InputError(
                f"The task {task.name} needs {', '.join(ROLES)}; there is no file for {missing[0]}. "
                f"Give --data {task.name}.{missing[0]}=FILE."
            )
        examples = {role: task.read(places[role]) for role in ROLES}
        labels = task.labels(examples["train"], {role: examples[role] for role in ROLES[1:]})
        return cls(task, examples, labels, zero_shot)

    def side(self, role: str) -> Side:
        """The language a role's examples are in."""
        return "source" if self.zero_shot and role != "test" else "target"

    def limited(self, budget: Budget) -> Material:
        """With no more examples than the budget allows; the test stays whole."""
        train = list(self.examples["train"])
        if budget.train_examples is not None and budget.train_examples < len(train):
            train = random.Random(0).sample(train, budget.train_examples)
        limited = {"train": train, "dev": list(self.examples["dev"])[: budget.dev_examples]}
        return Material(self.task, {**self.examples, **limited}, self.labels, self.zero_shot)


@dataclass(frozen=True)
class Supervised:
    """A supervised task, one model, one budget; the run of each seed is independent of the others.

    Args:
        material: What to learn from and to be tested on.
        model: Which model.
        budget: How much to learn.
    """

    material: Material
    model: ModelAsked
    budget: Budget

    def outcome(self, seed: int) -> Outcome:
        """Learn with a seed and answer the test."""
        material = self.material
        encoder, features = self._frozen if self.budget.frozen else self._opened()
        set_seed(seed)
        model = self._with_head(encoder)
        encoder.model.requires_grad_(not self.budget.frozen)
        if material.zero_shot:
            freeze_embeddings(encoder)
        if not self.budget.frozen:
            encoder.read(material.side("train"))
        collator = Collator(pad_of(encoder, material.side("train")))
        learned = learn(
            model, features["train"], collator, lambda m: self._score(m, features, collator), self.budget, seed
        )
        if not self.budget.frozen:
            encoder.read("target")
        counts = self._counts(model, "test", features, Collator(pad_of(encoder, "target")))
        windowed = sum(len(feature.encoded.windows) > 1 for feature in features["test"])
        notes = {"dev": round(learned.dev_score, 6), "epochs": round(learned.epochs, 2), "windowed": windowed}
        return Outcome(counts, notes)

    @cached_property
    def _frozen(self) -> tuple[Encoder, dict[str, list[Features]]]:
        """The encoder and all examples with their states, which no seed changes."""
        encoder, features = self._opened()
        model = self._with_head(encoder)
        for role, rows in features.items():
            encoder.read(self.material.side(role))
            collator = Collator(pad_of(encoder, self.material.side(role)))
            features[role] = with_states(model, rows, collator, self.material.task.kept)
        return encoder, features

    def _opened(self) -> tuple[Encoder, dict[str, list[Features]]]:
        encoder, material = Encoder.open(self.model, self.budget.dropout), self.material
        features = {}
        for role in ROLES:
            tokenizer = encoder.readings[material.side(role)].tokenizer
            rows = material.task.encode(material.examples[role], material.labels, tokenizer, encoder.longest)
            features[role] = [Features(row) for row in rows]
        return encoder, features

    def _with_head(self, encoder: Encoder) -> TaskModel:
        head = self.material.task.head(encoder.model.config.hidden_size, self.material.labels)
        return TaskModel(encoder.model, head.to(encoder.model.device), self.budget.layer, self.budget.precision)

    def _score(self, model: TaskModel, features: Mapping[str, list[Features]], collator: Collator) -> float:
        totals = self._counts(model, "dev", features, collator).sum(axis=0)
        return float(self.material.task.metric(self.material.labels).of_counts(totals)[self.material.task.headline])

    def _counts(
        self, model: TaskModel, role: str, features: Mapping[str, list[Features]], collator: Collator
    ) -> np.ndarray:
        task, labels, rows = self.material.task, self.material.labels, features[role]
        found = answers(model, rows, collator)
        encoded = [feature.encoded for feature in rows]
        pair = task.compared(self.material.examples[role], encoded, found, labels)
        return task.metric(labels).counts(*pair)


def freeze_embeddings(encoder: Encoder) -> None:
    """Leave alone what the languages do not share: rows of the one would move away from those of the other."""
    if encoder.switches:
        for side in SIDES:
            encoder.read(side)
            encoder.model.get_input_embeddings().requires_grad_(False)


def pad_of(encoder: Encoder, side: Side) -> int:
    """The padding id of a side's tokenizer."""
    return encoder.readings[side].tokenizer.pad_token_id or 0

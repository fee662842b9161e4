"""Sequence classification: the class of a text, told from the mean of its states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import ClassScores
from hf_xlt.evaluation.retrieval import mean_pooled
from hf_xlt.evaluation.tasks.data import text_rows
from hf_xlt.evaluation.tasks.task import Encoded, SupervisedTask, TaskHead
from hf_xlt.evaluation.tasks.windows import text_windows

DROPOUT = 0.1

E = TypeVar("E")


@dataclass(frozen=True)
class ClassifiedText:
    """A text and its class, on a line of a file, counted from 1."""

    text: str
    label: str
    line: int


class MeanHead(TaskHead):
    """A linear map of the mean of the states picked."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.scores = nn.Linear(width, classes)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Logits `(b, classes)`."""
        return self.scores(self.dropout(mean_pooled(states, mask)))

    def loss(self, scores: Tensor, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Cross entropy of `gold["label"]`, `(b,)`."""
        return nn.functional.cross_entropy(scores, gold["label"])

    def decode(self, scores: Tensor, mask: Tensor) -> list[int]:
        """The index of the best class of each text."""
        return scores.argmax(-1).tolist()


class Classification(SupervisedTask[ClassifiedText]):
    """The class of a text: a topic, a sentiment. Any table that has a column of texts and one of classes."""

    name = "classification"
    headline = "accuracy"
    summary = "Classes of texts, topics or sentiments: accuracy and macro F1 (PATH:text,label@column=value or PATH)."

    def read(self, place: str) -> list[ClassifiedText]:
        """Texts and classes: the columns named, or the first two."""
        texts = []
        for line, (text, label) in text_rows(place, "text", "label"):
            if not text.strip() or not label.strip():
                missing = "class" if text.strip() else "text"
                raise InputError(f"{place}, line {line}: an empty {missing}", expected="both", path=place, line=line)
            texts.append(ClassifiedText(text.strip(), label.strip(), line))
        if not texts:
            raise InputError(f"{place} has no row", expected="a text, a tab and its class on each line", path=place)
        return texts

    def labels(
        self, train: Sequence[ClassifiedText], others: Mapping[str, Sequence[ClassifiedText]]
    ) -> tuple[str, ...]:
        """The classes of the training texts, sorted."""
        return trained_labels(train, others, lambda example: [(example.label, example.line)])

    def encode(
        self,
        examples: Sequence[ClassifiedText],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> list[Encoded]:
        """Every position of every window is picked, special tokens too, as sentence-transformers pools."""
        texts = [example.text for example in examples]
        tokens = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        index = {label: i for i, label in enumerate(labels)}
        encoded, frame = [], Frame.of(tokenizer)
        for example, ids in zip(examples, tokens, strict=True):
            windows, _ = text_windows(ids, frame, max_length)
            picks = tuple(np.arange(len(window)) for window in windows)
            encoded.append(Encoded(windows, picks, {"label": np.array(index[example.label])}))
        return encoded

    def head(self, width: int, labels: Sequence[str]) -> MeanHead:
        """Mean, dropout, linear."""
        return MeanHead(width, len(labels))

    def cached(self, states: Tensor) -> Tensor:
        """Their mean, `(1, d)`."""
        return states.mean(0, keepdim=True)

    def metric(self, labels: Sequence[str] = ()) -> ClassScores:
        """Accuracy and macro F1."""
        return ClassScores(labels)

    def prediction(self, example: ClassifiedText, encoded: Encoded, answer: int, labels: Sequence[str]) -> str:
        """The name of the class."""
        return labels[answer]

    def reference(self, example: ClassifiedText) -> str:
        """Likewise."""
        return example.label


def trained_labels(
    train: Sequence[E], others: Mapping[str, Sequence[E]], labels_of: Callable[[E], Iterable[tuple[str, int]]]
) -> tuple[str, ...]:
    """The labels of training examples, sorted; others may have no more. `labels_of` gives each with its line.

    Fewer than two labels, and a label of the others that training examples never have, raise InputError.
    """
    known = tuple(sorted({label for example in train for label, _ in labels_of(example)}))
    for role, examples in others.items():
        for label, line in (pair for example in examples for pair in labels_of(example)):
            if label not in known:
                raise InputError(
                    f"The {role} examples have the label {label!r} (line {line}), but no training example has it",
                    value=label,
                    expected=f"one of {', '.join(known)}",
                    hint="Give files with the same labels.",
                    line=line,
                )
    if len(known) < 2:
        raise InputError(
            f"All training examples have the label {known[0]!r}, so there is nothing to tell apart",
            value=known,
            expected="examples of two labels or more",
        )
    return known

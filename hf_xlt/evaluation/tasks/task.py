"""What a task says of itself; reading, fine-tuning and scoring follow from it. Texts as windows for an encoder."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.metrics import Metric

IGNORED = -100
ROLES = ("train", "dev", "test")

E = TypeVar("E")  # an example as its file gives it


class Task(ABC):
    """A task that models are evaluated on; subclass `TrainingFreeTask` or `SupervisedTask`.

    Class attributes:
        name: What it is called.
        headline: The score of its metric that is shown first.
        summary: One line of help.
        roles: Role of a file (`train`, `dev`, `test`) → whether it is needed.
        lower_is_better: Whether the headline is.
        learned: Whether a head learns it.
        reads_source: Whether some of its texts are in the source language, even without training.
    """

    name: ClassVar[str]
    headline: ClassVar[str]
    summary: ClassVar[str]
    roles: ClassVar[Mapping[str, bool]]
    lower_is_better: ClassVar[bool] = False
    learned: ClassVar[bool] = False
    reads_source: ClassVar[bool] = False

    @abstractmethod
    def metric(self, labels: Sequence[str] = ()) -> Metric:
        """What counts are turned into scores with; `headline` is one of its scores."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.headline})"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run of a task came to."""

    # float64 `(n, k)`: what each example adds to the task's metric, so that models can be compared by pairs
    counts: np.ndarray = field(repr=False)
    # what was chosen or left out on the way, for the results: a layer, a number of windows
    notes: Mapping[str, str | int | float] = field(default_factory=dict)
    # where only the run tells what is scored: what the metric is told as its labels, the first the headline
    labels: tuple[str, ...] = ()
    lower_is_better: bool = False  # whether that headline is


class TrainingFreeTask(Task):
    """Something measured of a model as it is, without learning anything."""

    def check(self, model: ModelSpec, places: Mapping[str, str]) -> None:
        """Refuse, before any task is begun, what can be told without opening the model; by default nothing."""

    @abstractmethod
    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        """Open a model and measure it on files or datasets by role, see `hf_xlt.evaluation.tasks.data`.

        Files and models that cannot be used for this raise InputError.
        """


@dataclass(frozen=True)
class Encoded:
    """An example as an encoder reads it and a head learns it.

    A text longer than the encoder's positions is cut into windows; the states picked from each are joined again in the
    order of the windows, so that a head never knows of windows.
    """

    windows: tuple[np.ndarray, ...]  # token ids of each window, special tokens included
    picks: tuple[np.ndarray, ...]  # per window, the positions whose states the head gets
    # what the head learns: name → int64 array, of any shape; padded to the batch's with `IGNORED`
    gold: Mapping[str, np.ndarray] = field(default_factory=dict)
    states: Tensor | None = None  # what the head gets `(n, d)`, where it is computed already

    @property
    def length(self) -> int:
        """Tokens an encoder reads, or states a head does."""
        return sum(map(len, self.windows)) if self.states is None else len(self.states)

    @property
    def picked(self) -> int:
        """Number of states the head gets."""
        return sum(map(len, self.picks)) if self.states is None else len(self.states)


class TaskHead(nn.Module, ABC):
    """What turns an encoder's states into the answers of a task."""

    @abstractmethod
    def forward(self, states: Tensor, mask: Tensor) -> Any:
        """Scores of the possible answers.

        States are `(b, n, d)`, those picked, padded to the longest example; mask is bool `(b, n)`, False for padding.
        """

    @abstractmethod
    def loss(self, scores: Any, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of a batch, of what `forward` gave and gold int64 by name, padded with `IGNORED`."""

    @abstractmethod
    def decode(self, scores: Any, mask: Tensor) -> list[Any]:
        """The best answer to each example of a batch, without padding; numpy arrays or plain numbers."""


class SupervisedTask(Task, Generic[E]):
    """A task that a head on an encoder learns; its headline selects among checkpoints, the higher the better."""

    roles: ClassVar[Mapping[str, bool]] = dict.fromkeys(ROLES, True)
    learned: ClassVar[bool] = True

    @abstractmethod
    def read(self, place: str) -> list[E]:
        """Examples of a file or dataset, see `hf_xlt.evaluation.tasks.data`.

        None, and what the task does not expect, raise InputError, with the line's number.
        """

    @abstractmethod
    def labels(self, train: Sequence[E], others: Mapping[str, Sequence[E]]) -> tuple[str, ...]:
        """The labels of training examples, to tell apart, sorted; empty for tasks without any.

        Others are examples by role (`dev`, `test`). InputError is raised where they bring labels that training lacks,
        or there is nothing to tell apart.
        """

    @abstractmethod
    def encode(
        self, examples: Sequence[E], labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> list[Encoded]:
        """Examples as the encoder reads them, one for one, with the labels of `labels`.

        The tokenizer is a fast one of their language; a window may have `max_length` tokens, special ones included.
        """

    @abstractmethod
    def head(self, width: int, labels: Sequence[str]) -> TaskHead:
        """A new head on states of a width."""

    def cached(self, states: Tensor) -> Tensor:
        """What the head needs of an example's states `(n, d)` where these are computed once: `(m, d)`, all by default.

        The head must give the same for these as for all: one that begins with a mean needs the mean alone.
        """
        return states

    @abstractmethod
    def prediction(self, example: E, encoded: Encoded, answer: Any, labels: Sequence[str]) -> Any:
        """What was answered to an example, from what `TaskHead.decode` gave for it, as the metric takes it."""

    @abstractmethod
    def reference(self, example: E) -> Any:
        """What is right, as the metric takes it."""


def text_windows(
    ids: Sequence[int] | np.ndarray, frame: Frame, max_length: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """A text's tokens cut into as few windows as hold them, of nearly equal lengths, special tokens around each.

    With each window come the positions of the text's own tokens in it.
    """
    parts = np.array_split(np.asarray(ids, dtype=np.int64), max(1, -(-len(ids) // frame.room(max_length))))
    windows = tuple(frame.around(part) for part in parts)
    return windows, tuple(np.arange(len(part)) + len(frame.prefix) for part in parts)


def encode_words(
    sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]:
    """Windows of each sentence, and in each the positions of the first pieces of words: one pick a word, in order.

    Words are read as if spaces stood between them. A word that the tokenizer drops is read as the unknown token.
    """
    if not tokenizer.is_fast:
        raise InputError("This tokenizer cannot tell which pieces make up a word; a fast one can (tokenizer.json).")
    if not sentences:
        return []
    # Byte-level tokenizers mark a word that follows a space; whether they mark the first is theirs to say.
    spaced = [[word if i == 0 else f" {word}" for i, word in enumerate(words)] for words in sentences]
    pieces = tokenizer(
        spaced, is_split_into_words=True, add_special_tokens=False, return_attention_mask=False, verbose=False
    )
    encoded, frame = [], Frame.of(tokenizer)
    for row, words in enumerate(sentences):
        ids, first = _first_pieces(pieces["input_ids"][row], pieces.word_ids(row), words, tokenizer.unk_token_id)
        windows, places = text_windows(ids, frame, max_length)
        opens = np.split(first, np.cumsum([len(place) for place in places])[:-1])
        encoded.append((windows, tuple(place[opening] for place, opening in zip(places, opens, strict=True))))
    return encoded


def _first_pieces(
    ids: Sequence[int], owners: Sequence[int], words: Sequence[str], unknown: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pieces int64 `(n,)`, with the unknown token for a word without any, and whether each is the first of its word."""
    owner = np.asarray(owners, dtype=np.int64)
    dropped = np.flatnonzero(np.bincount(owner, minlength=len(words)) == 0)
    if len(dropped) and unknown is None:
        raise InputError(f"The tokenizer has no piece for the word {words[dropped[0]]!r}, and no unknown token.")
    before = np.searchsorted(owner, dropped)
    owner = np.insert(owner, before, dropped)
    return np.insert(np.asarray(ids, dtype=np.int64), before, unknown or 0), np.diff(owner, prepend=-1) > 0

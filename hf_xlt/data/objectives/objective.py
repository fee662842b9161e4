"""What a stage learns: a collator that makes batches, what batches are made with, and the loss of one.

The loss of a language model is that of the stock forward pass, with the output head computed on labeled positions only.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.trelm import TreLMForMaskedLM

IGNORED = -100
UNALIGNED = -1  # in the place of a position that one sequence has and another has not
Example = dict[str, Any]


def stacked(rows: Sequence[np.ndarray]) -> Tensor:
    """Rows of one length as an int64 tensor `(batch, length)`."""
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    """Rows of any length as an int64 tensor `(batch, longest)`, filled up with `value`."""
    longest = max(len(row) for row in rows)
    return stacked([np.pad(row, (0, longest - len(row)), constant_values=value) for row in rows])


def full_batch(inputs: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """The batch of inputs without padding."""
    input_ids = stacked(inputs)
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": stacked(labels)}


def padded_batch(inputs: Sequence[np.ndarray], labels: Sequence[np.ndarray], pad: int) -> dict[str, Tensor]:
    """The batch of inputs and labels of unequal lengths; padding is masked, and ignored in labels."""
    attention_mask = padded([np.ones(len(row)) for row in inputs], 0)
    return {"input_ids": padded(inputs, pad), "attention_mask": attention_mask, "labels": padded(labels, IGNORED)}


def special_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Ids of all special tokens, ascending."""
    return np.array(sorted(set(tokenizer.all_special_ids)), dtype=np.int64)


def generator_for(example: Example) -> np.random.Generator:
    """The randomness of an example: decided by its `key`, or drawn from torch's where a plain `Trainer` gives none."""
    key = example.get("key")
    return np.random.default_rng(int(torch.randint(2**62, ())) if key is None else key)


def languages_of(examples: Sequence[Example]) -> dict[str, Tensor]:
    """The `lang_ids` `(batch,)` of examples that have them; nothing for those that have none."""
    if "lang_ids" not in examples[0]:
        return {}
    return {"lang_ids": torch.tensor([int(example["lang_ids"]) for example in examples])}


@dataclass(frozen=True)
class Setting:
    """What an objective may need to know."""

    tokenizer: PreTrainedTokenizerBase  # of the target language, or of both
    source_tokenizer: PreTrainedTokenizerBase | None = None  # of the source, where it has a vocabulary of its own
    position_offset: int = 0  # the model's row of the first position, see `TreLMConfig`
    sentence_head: nn.Module | None = None  # what makes one vector of a sentence's states, where a stage learns them
    temperature: float = 0.05  # what cosines are divided by there
    negatives: int = 0  # how many further vectors a sentence is told from there, and what they are drawn from
    bank: Tensor | None = None
    layer: int = -1  # whose states are compared, where a stage distils new tokens


class Objective(ABC):
    """A collator with a loss.

    Subclasses make batches in `__call__`; those whose loss is not the cross entropy of labels have a `loss` of their
    own. `register_objective` gives one a name that a stage can have. The examples that an objective `reads` are packed
    `text`, aligned translation `pairs`, `sentences` with the vectors that they should get, or `snippets` in two
    segmentations.
    """

    reads: ClassVar[Literal["text", "pairs", "sentences", "snippets"]] = "text"
    shifts_labels: ClassVar[bool] = False  # whether a label is the token at its place, which the one before predicts

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """The objective of a run; by default made of its tokenizer alone."""
        return cls(setting.tokenizer)  # type: ignore[call-arg]

    @abstractmethod
    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The batch of some examples: inputs, and `labels` where there are any."""

    def learner(self, model: PreTrainedModel) -> PreTrainedModel:
        """What of a language model is called in training: by default all of it."""
        return model

    def loss(self, model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """What is made small.

        Args:
            model: What `learner` gave.
            forward: What to call: `model` itself or its wrapper for distributed training.
            batch: As `__call__` makes it.

        Returns:
            A loss for every target `(n,)`, which are weighted alike over the whole optimizer step; or, of batches
            without labels, one `()`.
        """
        return token_losses(model, forward, batch, self.shifts_labels)[0]


def targets(labels: Tensor, shifted: bool) -> Tensor:
    """Labels `(batch, length)` at the positions that predict them; if `shifted`, `i` predicts the label at `i + 1`."""
    if not shifted:
        return labels
    return nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)


@contextmanager
def head_on(model: PreTrainedModel, selected: Tensor, *, detached: bool = False) -> Iterator[None]:
    """Within the context the output layer sees only the states at `selected`, boolean `(batch, length)`.

    If `detached`, what is learned from its output stays in it.
    """

    def select(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        chosen = (of_positions[selected] for of_positions in inputs)
        return tuple(states.detach() if detached else states for states in chosen)

    handle = output_layer(model).register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()


def output_layer(model: PreTrainedModel) -> nn.Module:
    """What makes logits of states: the output embeddings, or those of all languages where each has its own."""
    return model.decoder if isinstance(model, TreLMForMaskedLM) else model.get_output_embeddings()


def target_logits(
    model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor], shifted: bool
) -> tuple[Tensor, Tensor]:
    """Logits `(labeled positions, V)` of every labeled position, and its target id, in reading order.

    The vocabulary-wide head (for a masked model most of a small model's arithmetic) runs only where there is something
    to predict. Arguments as in `token_losses`.
    """
    inputs = dict(batch)
    labels = inputs.pop("labels")
    if getattr(model.config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = _decoder_input_ids(model, labels)
    wanted = targets(labels, shifted)
    selected = wanted != IGNORED
    with head_on(model, selected):
        logits = forward(**inputs).logits
    return logits.flatten(0, -2), wanted[selected]


def token_losses(
    model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor], shifted: bool
) -> tuple[Tensor, Tensor]:
    """Losses in nats of every labeled position, and their target ids, each `(labeled positions,)`, in reading order.

    Equal to the loss of the stock forward pass.

    Args:
        model: The language model.
        forward: What to call: `model` itself or its wrapper for distributed training.
        batch: Inputs and `labels`, `(batch, length)`.
        shifted: Whether labels are shifted, see `targets`.
    """
    logits, target_ids = target_logits(model, forward, batch, shifted)
    return nn.functional.cross_entropy(logits.float(), target_ids, reduction="none"), target_ids


def _decoder_input_ids(model: PreTrainedModel, labels: Tensor) -> Tensor:
    """Labels shifted right, as the stock forward does it; models like M2M-100 have no method for that."""
    if (prepare := getattr(model, "prepare_decoder_input_ids_from_labels", None)) is not None:
        return prepare(labels=labels)
    shifted = nn.functional.pad(labels[:, :-1], (1, 0), value=model.config.decoder_start_token_id)
    return shifted.masked_fill(shifted == IGNORED, model.config.pad_token_id)


@torch.inference_mode()
def evaluate_losses(model: PreTrainedModel, batch: Mapping[str, Tensor], shifted: bool) -> tuple[Tensor, Tensor]:
    """`token_losses` in evaluation mode and without gradients; the model's mode is restored."""
    training = model.training
    model.eval()
    try:
        return token_losses(model, model, batch, shifted)
    finally:
        model.train(training)

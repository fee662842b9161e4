"""An encoder with the head of a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from hf_xlt.device import computing
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.batch import Collator, Features, by_length, to_device
from hf_xlt.evaluation.tasks.task import TaskHead

BATCH = 64


class TaskModel(nn.Module):
    """An encoder and a head; `Trainer` trains it.

    Args:
        encoder: Headless.
        head: Of the task.
        layer: Whose states the head gets; None for the last.
        precision: What the encoder computes in; the head gets float32.

    Raises:
        InputError: If the encoder has no such layer.
    """

    def __init__(
        self, encoder: PreTrainedModel, head: TaskHead, layer: int | None = None, precision: str = "float32"
    ) -> None:
        super().__init__()
        layers = getattr(encoder.config, "num_hidden_layers", None)
        if layer is not None and layers is not None and not 0 <= layer <= layers:
            raise InputError(f"There is no layer {layer}; the encoder has layers 0 (the embeddings) to {layers}.")
        self.encoder = encoder
        self.head = head
        self.layer = layer
        self.precision = precision

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
        with computing(self.precision, self.encoder.device):
            output = self.encoder(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=inner)
        hidden = output.last_hidden_state if self.layer is None else output.hidden_states[self.layer]
        return hidden.flatten(0, 1)[picks].float()


@torch.inference_mode()
def answers(model: TaskModel, features: Sequence[Features], collator: Collator) -> list[Any]:
    """The head's answers, one an example."""
    model.eval()
    device = next(model.head.parameters()).device
    found: list[Any] = [None] * len(features)
    for indices in _bar(by_length(features, BATCH), "answering"):
        batch = to_device(collator([features[i] for i in indices]), device)
        mask, _ = batch.pop("mask"), batch.pop("gold")
        decoded = model.head.decode(model.head(model.states(**batch), mask), mask)
        for index, answer in zip(indices, decoded, strict=True):
            found[index] = answer
    return found


@torch.inference_mode()
def with_states(
    model: TaskModel, features: Sequence[Features], collator: Collator, kept: Callable[[Tensor], Tensor]
) -> list[Features]:
    """The same examples with what is kept of their states, float32 on the CPU: one forward pass for all epochs."""
    model.eval()
    found: list[Any] = [None] * len(features)
    for indices in _bar(by_length(features, BATCH), "states"):
        batch = to_device(collator([features[i] for i in indices]), model.encoder.device)
        mask, _ = batch.pop("mask"), batch.pop("gold")
        states = model.states(**batch)
        lengths = mask.sum(1).tolist()
        for index, state, length in zip(indices, states.float().cpu(), lengths, strict=True):
            found[index] = Features(features[index].encoded, kept(state[:length]).clone())
    return found


def _bar(batches: list[list[int]], name: str) -> Any:
    return tqdm(batches, desc=name, unit="batch", disable=None, leave=False)

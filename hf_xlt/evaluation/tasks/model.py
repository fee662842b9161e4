"""An encoder with the head of a task, and its examples as batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from hf_xlt.device import autocast
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, TaskHead

BATCH = 64


@dataclass(frozen=True, eq=False)
class Features:
    """An example for training or answering: encoded, and with its states where these are computed already."""

    encoded: Encoded
    states: Tensor | None = None

    @property
    def length(self) -> int:
        """Tokens an encoder reads, or states a head does."""
        return self.given if self.states is not None else sum(map(len, self.encoded.windows))

    @property
    def given(self) -> int:
        """States that the head gets."""
        return self.encoded.picked if self.states is None else len(self.states)


@dataclass(frozen=True)
class Collator:
    """Puts examples into a batch.

    Texts come as `input_ids`, `attention_mask` `(w, s)` of all windows and `picks` `(b, n)`, positions in the flattened
    windows; or, where states are there already, as `states` `(b, n, d)`. With either, `mask` bool `(b, n)` and `gold`.
    """

    pad: int

    def __call__(self, features: Sequence[Features]) -> dict[str, Any]:
        """A batch of one kind."""
        encoded = [feature.encoded for feature in features]
        mask = _padded([np.ones(feature.given, dtype=bool) for feature in features], False)
        gold = {name: _padded([one.gold[name] for one in encoded], IGNORED) for name in encoded[0].gold}
        batch: dict[str, Any] = {"mask": mask, "gold": gold}
        if features[0].states is not None:
            states = [feature.states for feature in features]
            return batch | {"states": torch.nn.utils.rnn.pad_sequence(states, batch_first=True)}  # type: ignore[arg-type]
        return batch | self._texts(encoded)

    def _texts(self, encoded: Sequence[Encoded]) -> dict[str, Tensor]:
        windows = [window for one in encoded for window in one.windows]
        longest = max(map(len, windows))
        starts = np.cumsum([0, *(len(one.windows) for one in encoded)]) * longest
        picks = [
            np.concatenate([start + i * longest + pick for i, pick in enumerate(one.picks)]).astype(np.int64)
            for start, one in zip(starts, encoded, strict=False)
        ]
        return {
            "input_ids": _padded([window.astype(np.int64) for window in windows], self.pad),
            "attention_mask": _padded([np.ones(len(window), dtype=np.int64) for window in windows], 0),
            "picks": _padded(picks, 0),
        }


def by_length(features: Sequence[Features], size: int) -> list[list[int]]:
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
def predict(model: TaskModel, features: Sequence[Features], collator: Collator) -> list[Any]:
    """The head's answers, one an example."""
    found: list[Any] = [None] * len(features)
    for indices, states, mask in _states(model, features, collator, "answering"):
        for index, answer in zip(indices, model.head.decode(model.head(states, mask), mask), strict=True):
            found[index] = answer
    return found


@torch.inference_mode()
def cache_states(
    model: TaskModel, features: Sequence[Features], collator: Collator, cached: Callable[[Tensor], Tensor]
) -> list[Features]:
    """The same examples with what is cached of their states, float32 on the CPU: one forward pass for all epochs."""
    found: list[Any] = [None] * len(features)
    for indices, states, mask in _states(model, features, collator, "states"):
        for index, state, length in zip(indices, states.float().cpu(), mask.sum(1).tolist(), strict=True):
            found[index] = Features(features[index].encoded, cached(state[:length]).clone())
    return found


def _states(
    model: TaskModel, features: Sequence[Features], collator: Collator, name: str
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Indices, states `(b, n, d)` and mask `(b, n)` of each batch, in evaluation mode."""
    model.eval()
    device = next(model.head.parameters()).device
    for indices in tqdm(by_length(features, BATCH), desc=name, unit="batch", disable=None, leave=False):
        batch = send_to_device(collator([features[i] for i in indices]), device)
        mask, _ = batch.pop("mask"), batch.pop("gold")
        yield indices, model.states(**batch), mask

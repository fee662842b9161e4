"""Examples of a task as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_xlt.evaluation.tasks.task import IGNORED, Encoded


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


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch, moved."""
    return {
        name: to_device(value, device) if isinstance(value, Mapping) else value.to(device)
        for name, value in batch.items()
    }


def _padded(arrays: Sequence[np.ndarray], value: int | bool) -> Tensor:
    shape = np.max([array.shape for array in arrays], axis=0)
    padded = np.full((len(arrays), *shape), value, dtype=arrays[0].dtype)
    for row, array in enumerate(arrays):
        place: Any = (row, *(slice(size) for size in array.shape))
        padded[place] = array
    return torch.from_numpy(padded)

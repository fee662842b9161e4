"""Causal language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hf_xlt.data.objectives.batch import IGNORED, Example, full_batch


@dataclass(frozen=True)
class CausalLM:
    """Predict every token from those before it (Radford et al. 2018).

    Labels follow the convention of stock models: `labels[i]` is the token *at* `i`, shifted inside the loss. The
    first one is never a target, and is ignored here so that counting labels counts targets.
    """

    shifts_labels = True

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate packed sequences: `input_ids` and `labels`, each `(batch, length)`."""
        rows = [np.asarray(example["input_ids"]) for example in examples]
        return full_batch(rows, [np.concatenate([[IGNORED], row[1:]]) for row in rows])

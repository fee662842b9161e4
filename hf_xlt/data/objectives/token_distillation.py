"""Token distillation: a new token makes the states that follow it what its old pieces made them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.arguments import checked
from hf_xlt.data.objectives.objective import (
    IGNORED,
    UNALIGNED,
    Example,
    Objective,
    Setting,
    head_on,
    padded,
    targets,
)
from hf_xlt.errors import InputError


@checked
@dataclass(frozen=True)
class DataCollatorForTokenDistillation(Objective):
    """Distil new tokens from the pieces that they replace (Dobler et al. 2025, arXiv:2505.20133).

    The same decoder reads a snippet twice: in the source's segmentation, without gradients, and in the one with new
    tokens. With states `t` and `s` `(positions, d)` at the positions of both that have read the same text, from the
    first new token on, the loss is `|s − t|² / |t|²`, which teaches input rows, and the cross entropy of the next token
    in nats, which teaches output rows: the states that the head gets for it are detached.

    A tied row thus learns what it is read for from the one and what it is said for from the other. Measured there, a
    cross entropy that reached the states too won back less, and so did one scaled down to the size of the distance.

    Old rows and the body have to stay as they are: the teacher is made of them.

    Args:
        tokenizer: The extended one, with a pad token.
        layer: Whose states are compared: as many layers up from the embeddings, or from behind; −1 are those that the
            head gets, after the last norm.

    Example:
        >>> DataCollatorForTokenDistillation(tokenizer, layer=8)  # doctest: +SKIP
    """

    tokenizer: PreTrainedTokenizerBase
    layer: int = -1
    reads = "snippets"

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            raise InputError("Batches of snippets need a tokenizer with a pad token; add one first.")

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """That of an extended tokenizer."""
        return cls(setting.tokenizer, setting.layer)

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate snippets.

        `input_ids`, `attention_mask`, `alignment` `(batch, longest)` and, of the source's segmentation, `source_ids`,
        `source_attention_mask` `(batch, longest of these)`.
        """
        new, old, alignment = (
            [np.asarray(example[name]) for example in examples] for name in ("input_ids", "source_ids", "alignment")
        )
        pad = self.tokenizer.pad_token_id
        return {
            "input_ids": padded(new, pad),
            "attention_mask": padded([np.ones(len(row)) for row in new], 0),
            "alignment": padded(alignment, UNALIGNED),
            "source_ids": padded(old, pad),
            "source_attention_mask": padded([np.ones(len(row)) for row in old], 0),
        }

    def loss(self, model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss `()` of a batch, as the class describes it."""
        distance, predicted = self.parts(model, forward, batch)
        return distance + predicted

    def parts(self, model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """How far states are apart, and the cross entropy of the next token, `()` each."""
        mask, alignment = batch["attention_mask"], batch["alignment"]
        next_ids = targets(batch["input_ids"].masked_fill(mask == 0, IGNORED), shifted=True)
        selected = next_ids != IGNORED
        with without_dropout(model):
            with torch.no_grad(), head_on(model, torch.zeros_like(batch["source_ids"], dtype=torch.bool)):
                teacher, _ = self._states(forward, batch["source_ids"], batch["source_attention_mask"])
            with head_on(model, selected, detached=True):
                student, logits = self._states(forward, batch["input_ids"], mask)
        matched = alignment != UNALIGNED
        rows = torch.arange(len(alignment), device=alignment.device)[:, None].expand_as(alignment)
        wanted = teacher[rows[matched], alignment[matched]].float()
        distance = mse_loss(student[matched].float(), wanted) / wanted.square().mean()
        return distance, cross_entropy(logits.flatten(0, -2).float(), next_ids[selected])

    def _states(self, forward: nn.Module, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """States of the layer `(batch, length, d)`, and the logits."""
        output = forward(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        return output.hidden_states[self.layer], output.logits


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Within the context a model is in evaluation mode: what differs between two passes is what they read."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

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
    first new token on, the loss is `MSE(s, t)`, which teaches input rows.

    Output rows are taught by the cross entropy of the next token. A head of its own learns from it alone: the states
    that it gets are detached. Where output rows are the input rows, it is added as it is, but scaled by MSE / cross
    entropy, taken as a constant, so that neither drowns the other.

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
        mask, alignment = batch["attention_mask"], batch["alignment"]
        tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
        next_ids = targets(batch["input_ids"].masked_fill(mask == 0, IGNORED), shifted=True)
        selected = next_ids != IGNORED
        with without_dropout(model):
            with torch.no_grad(), head_on(model, torch.zeros_like(batch["source_ids"], dtype=torch.bool)):
                teacher = self._states(forward, batch["source_ids"], batch["source_attention_mask"])[0]
            with head_on(model, selected, detached=not tied):
                student, logits = self._states(forward, batch["input_ids"], mask)
        matched = alignment != UNALIGNED
        rows = torch.arange(len(alignment), device=alignment.device)[:, None].expand_as(alignment)
        near = mse_loss(student[matched].float(), teacher[rows[matched], alignment[matched]].float())
        predicted = cross_entropy(logits.flatten(0, -2).float(), next_ids[selected])
        return near + predicted * (near / predicted).detach() if tied else near + predicted

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

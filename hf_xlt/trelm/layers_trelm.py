"""Layers of TreLM: an encoder layer, and the TRILayer that turns source order into target order."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_trelm import TreLMConfig


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Attention written out, for `attn_implementation="eager"`: the way that also returns its weights.

    Args:
        module: The attention that calls.
        query: `(b, heads, s, d)`.
        key: `(b, heads, s, d)`.
        value: `(b, heads, s, d)`.
        attention_mask: Added to the scores, broadcast to `(b, heads, s, s)`.
        scaling: Factor of the scores.
        dropout: Dropout of the weights.
        kwargs: What other implementations take.

    Returns:
        `(b, s, heads, d)`, and the weights `(b, heads, s, s)`.
    """
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.dropout(scores.softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2), weights


class TreLMAttention(nn.Module):
    """Self-attention in both directions, through transformers' attention interface."""

    is_causal = False

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.head_size = width // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """`(b, s, width)` and, where the implementation has them, the weights `(b, heads, s, s)`."""
        query, key, value = (linear(hidden_states) for linear in (self.query, self.key, self.value))
        mixed, weights = self.mix(query, key, value, attention_mask, **kwargs)
        return self.output(mixed), weights

    def mix(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Values mixed as queries attend to keys, all `(b, s, width)`; and the weights as `forward` returns them."""
        shape = query.shape[:-1]
        query, key, value = (
            projected.view(*shape, -1, self.head_size).transpose(1, 2)  # (b, heads, s, d)
            for projected in (query, key, value)
        )
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        dropout = self.dropout if self.training else 0.0
        mixed, weights = attention(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return mixed.reshape(*shape, -1), weights


class TreLMLayer(GradientCheckpointingLayer):
    """An encoder layer as BERT's: attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        self.attention = TreLMAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """`(b, s, width)` to `(b, s, width)`; the mask is one that `create_bidirectional_mask` made."""
        attended, _ = self.attention(hidden_states, attention_mask, **kwargs)
        modules = (self.attention_norm, self.intermediate, self.output, self.output_norm)
        return self.transform(hidden_states, attended, *modules)

    def transform(
        self,
        hidden_states: Tensor,
        attended: Tensor,
        attention_norm: nn.Module,
        intermediate: nn.Module,
        output: nn.Module,
        output_norm: nn.Module,
    ) -> Tensor:
        """What follows attention, by these modules: states and what they attended to, `(b, s, width)`, to the same."""
        hidden_states = attention_norm(hidden_states + self.dropout(attended))
        transformed = output(self.activation(intermediate(hidden_states)))
        return output_norm(hidden_states + self.dropout(transformed))


class TRILayer(nn.Module):
    """The layer between the halves: reorders to the target, tells it its language and positions, and transforms.

    Beside an encoder layer of its own it holds `unaligned` `(width,)`, the learned vector of target positions without
    a link.
    """

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        self.unaligned = nn.Parameter(torch.empty(config.hidden_size))
        self.layer = TreLMLayer(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        target_embeddings: Tensor,
        alignment: Tensor | None,
        **kwargs: Any,
    ) -> Tensor:
        """Source states `(b, s, width)` to target states `(b, t, width)`.

        Args:
            hidden_states: `(b, s, width)`.
            attention_mask: The target's, as `create_bidirectional_mask` made it.
            target_embeddings: Of the target's language and positions, added; broadcast to `(b, t, width)`.
            alignment: int64 `(b, t)`, see `reorder`; None leaves the states where they are.
            kwargs: For the attention implementation.
        """
        if alignment is not None:
            hidden_states = reorder(hidden_states, alignment, self.unaligned)
        return self.layer(hidden_states + target_embeddings, attention_mask, **kwargs)


def reorder(hidden_states: Tensor, alignment: Tensor, unaligned: Tensor) -> Tensor:
    """Source states in the order and length of the target, by one gather over the rows of the whole batch.

    Args:
        hidden_states: `(b, s, width)`.
        alignment: int64 `(b, t)`: for each target position its source position, or -1 for none.
        unaligned: `(width,)`, what positions with -1 take.

    Returns:
        `(b, t, width)`.

    Raises:
        ValueError: If an entry is below -1 or not below s. On an accelerator, where looking would make the host wait,
            and in compiled code, such an entry makes the gather itself fail: it never reads a neighbour's states.
    """
    batch, length, width = hidden_states.shape
    in_range = (alignment >= 0) & (alignment < length)
    _check_links(alignment, length)
    rows = alignment + length * torch.arange(batch, device=alignment.device)[:, None]
    nothing = batch * length  # the row after the states'; the one after that does not exist
    rows = torch.where(in_range, rows, torch.where(alignment == -1, nothing, nothing + 1))
    table = torch.cat([hidden_states.reshape(-1, width), unaligned.to(hidden_states.dtype)[None]])
    return table.index_select(0, rows.view(-1)).view(batch, -1, width)


def _check_links(alignment: Tensor, length: int) -> None:
    if not alignment.is_cpu or torch.compiler.is_compiling():
        return
    wrong = (alignment < -1) | (alignment >= length)
    if wrong.any():
        pair, position = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"alignment of pair {pair}, target position {position} is {alignment[pair, position]}; expected a source "
            f"position below {length}, or -1 for none. Check that links and tokens come from the same texts."
        )


__all__ = ["TRILayer", "TreLMAttention", "TreLMLayer", "reorder"]

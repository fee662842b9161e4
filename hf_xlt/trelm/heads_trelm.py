"""Heads of TreLM models, up to their output weights."""

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from .configuration_trelm import TreLMConfig


class MaskedLMHead(nn.Module):
    """Transform of the states before the output weights: dense, activation, norm."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.dense = nn.Linear(config.hidden_size, width)
        self.activation = ACT2FN[config.head_act]
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        """`(…, hidden_size)` to `(…, embedding_size)`."""
        return self.norm(self.activation(self.dense(states)))


class ClassificationHead(nn.Module):
    """Transform of one state a text: dropout, dense, tanh, dropout."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        self.dropout = task_dropout(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """`(b, hidden_size)` to `(b, hidden_size)`."""
        return self.dropout(torch.tanh(self.dense(self.dropout(states))))


def task_dropout(config: TreLMConfig) -> nn.Dropout:
    """The dropout of task heads: `classifier_dropout`, or else that of the layers."""
    chosen = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if chosen is None else chosen)


def first_token(states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The state of each text's first token `(b, width)`, whichever side `states` `(b, s, width)` is padded on."""
    if attention_mask is None or attention_mask.ndim != 2:
        return states[:, 0]
    first = attention_mask.to(torch.int64).argmax(1)
    return states[torch.arange(len(states), device=states.device), first]


__all__ = ["ClassificationHead", "MaskedLMHead", "first_token", "task_dropout"]

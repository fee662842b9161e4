"""Discriminators that tell the rows of two spaces apart, several trained as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2


class Discriminators(nn.Module):
    """One network a restart: input dropout, two hidden layers with leaky ReLU, one logit (Conneau et al., 2018).

    Every parameter has a leading dimension `(restarts, …)`; layers are batched products. No restart sees another's
    rows or draws: each has its own generator, so that a batch plays as its restarts would play alone.

    Args:
        width: Width of the rows.
        hidden: Width of the hidden layers.
        dropout: Probability that an input is dropped in training mode.
        draws: A generator a restart, for the first weights and the dropout.
    """

    def __init__(self, width: int, hidden: int, dropout: float, draws: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._dropout, self._draws = dropout, draws
        widths = (width, hidden, hidden, 1)
        layers = list(zip(widths, widths[1:], strict=False))
        self.weights = nn.ParameterList(self._uniform((n, m), n**-0.5) for n, m in layers)
        self.biases = nn.ParameterList(self._uniform((1, m), n**-0.5) for n, m in layers)

    def _uniform(self, shape: tuple[int, int], bound: float) -> Tensor:
        return torch.stack([torch.empty(shape).uniform_(-bound, bound, generator=draw) for draw in self._draws])

    def forward(self, rows: Tensor) -> Tensor:
        """Logits `(restarts, batch)` of rows `(restarts, batch, width)`: high where they seem mapped."""
        if self.training:
            kept = [torch.rand(rows.shape[1:], generator=draw, device=draw.device) for draw in self._draws]
            rows = rows * (torch.stack(kept).to(rows.device) >= self._dropout) / (1 - self._dropout)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = F.leaky_relu(torch.baddbmm(bias, rows, weight), LEAK)
        return torch.baddbmm(self.biases[-1], rows, self.weights[-1]).squeeze(-1)

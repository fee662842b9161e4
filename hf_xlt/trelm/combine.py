"""Combine two models whose halves were trained apart (TreLM's fourth stage)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from hf_xlt.trelm.modeling_trelm import TreLMPreTrainedModel

State = Mapping[str, Tensor]


@torch.no_grad()
def combine_halves(model: TreLMPreTrainedModel, lower: State, upper: State) -> None:
    """Give a model the lower layers of one state, the upper ones of another, and the mean of both elsewhere.

    Args:
        model: With a TRILayer; its weights are replaced.
        lower: Weights of a model of the same shape, trained below the TRILayer.
        upper: The same, trained from the TRILayer on.

    Raises:
        ValueError: If the model has no TRILayer, and so no halves.
    """
    given = {
        id(parameter): state for part, state in (("lower", lower), ("upper", upper)) for parameter in model.part(part)
    }
    state_of = {name: given[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in given}
    model.load_state_dict(
        {name: state_of[name][name] if name in state_of else (lower[name] + upper[name]) / 2 for name in lower}
    )

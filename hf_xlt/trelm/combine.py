"""Combine two models whose halves were trained apart (TreLM's fourth stage)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hf_xlt.trelm.modeling_trelm import TreLMPreTrainedModel

State = Mapping[str, Tensor]


@torch.no_grad()
def combine_halves(model: TreLMPreTrainedModel, lower: State, upper: State) -> None:
    """Give a model with a TRILayer the lower layers of one state, the upper ones of another, and the mean elsewhere."""
    halves = {"lower": lower, "upper": upper}
    given = {id(parameter): state for part, state in halves.items() for parameter in model.part(part)}
    kept = {name: given[id(parameter)][name] for name, parameter in model.named_parameters() if id(parameter) in given}
    model.load_state_dict({name: kept[name] if name in kept else (lower[name] + upper[name]) / 2 for name in lower})

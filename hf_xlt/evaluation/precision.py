"""The precision a model computes in while its weights stay float32."""

from __future__ import annotations

import torch

PRECISIONS = ("float32", "bfloat16")


def computing(precision: str, device: torch.device) -> torch.autocast:
    """A context in which a model's forward pass computes in one of `PRECISIONS`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

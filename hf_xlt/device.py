"""The accelerator there is, and what it computes in."""

from __future__ import annotations

import torch

PRECISIONS = ("float32", "bfloat16")


def best_device() -> torch.device:
    """The accelerator where there is one, else the processor."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def computing(precision: str, device: torch.device) -> torch.autocast:
    """A context in which a forward pass computes in one of `PRECISIONS` while the weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

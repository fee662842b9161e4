"""The accelerator there is, and what it computes in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16")
"""What a model may compute in while its weights stay float32."""


def best_device() -> torch.device:
    """The accelerator where there is one, else the processor."""
    import torch

    return torch.accelerator.current_accelerator() or torch.device("cpu")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context in which a model's forward pass computes in one of `PRECISIONS`."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")

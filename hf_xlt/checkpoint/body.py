"""Checks on the weights of a checkpoint that keep their values: those beside its vocabulary-sized tables."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from hf_xlt.checkpoint.layout import FLOATS
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError

BLOCK = 2**20  # numbers looked at together


def check_body(checkpoint: Checkpoint) -> None:
    """Refuse a body that holds NaN or infinity, or nothing but zeros, by the name of a tensor.

    One tensor is in memory at a time, and of that the pages that are read.

    Raises:
        InputError: If there is such a tensor, or all matrices are zero.
    """
    zeros: list[str] = []
    has_values = False
    for name, tensor in _body(checkpoint):
        if not _is_finite(tensor):
            raise InputError(
                f"{name} of {checkpoint.name} holds NaN or infinity",
                value=name,
                expected="finite weights",
                hint="Repair the checkpoint, or choose another.",
            )
        if not has_values and tensor.ndim > 1:
            has_values = bool(tensor.any())
            zeros.append(name)
    if zeros and not has_values:
        raise InputError(
            f"All {len(zeros)} matrices of the body of {checkpoint.name} are zero, {zeros[0]} first",
            value=zeros[0],
            expected="trained weights",
            hint="Download the checkpoint again, or choose another.",
        )


def _body(checkpoint: Checkpoint) -> Iterator[tuple[str, Tensor]]:
    for shard in checkpoint.weights.shards:
        for name, stored in shard.tensors.items():
            if stored.dtype in FLOATS and name not in checkpoint.layout.axes:
                yield name, shard.load(name)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; a sum tells without a copy, unless it overflows itself."""
    summed = torch.float32 if tensor.dtype == torch.float16 else None
    blocks = tensor.reshape(-1).split(BLOCK)
    return all(block.sum(dtype=summed).isfinite() or block.isfinite().all() for block in blocks)

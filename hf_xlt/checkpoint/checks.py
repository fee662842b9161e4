"""Checks on the values of weights: the rows of a vocabulary-sized table, and the body beside them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hf_xlt.checkpoint.layout import FLOATS
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError

BLOCK = 2**20  # numbers looked at together
_MOST_WITHOUT_ROW = 0.05  # share of a tokenizer's tokens; where more are beyond a table, it is another model's


def check_finite(rows: Tensor, name: str) -> None:
    """Refuse rows `(n, d)` or `(n,)` that hold NaN or infinity; messages call them `name`."""
    rows = rows.reshape(len(rows), -1)
    suspects = (~rows.sum(dim=1).isfinite()).nonzero().flatten()  # without a copy of the table; sums may overflow
    bad = suspects[~rows[suspects].isfinite().all(dim=1)]
    if len(bad):
        first = ", ".join(str(row) for row in bad[:5].tolist())
        problem = f"{name} holds NaN or infinity in {len(bad):,} of {len(rows):,} rows (first ids: {first})"
        raise InputError(problem, hint="Repair or choose another checkpoint.")


def check_ids(size: int, rows: int, name: str) -> None:
    """Refuse a tokenizer whose ids reach beyond a table."""
    if size > rows:
        problem = f"The tokenizer of {name} has ids up to {size - 1:,}, but the embedding table has {rows:,} rows"
        raise InputError(problem, hint="Give the tokenizer that the checkpoint was trained with.")


def tokens_without_row(vocab: Mapping[str, int], rows: int, name: str) -> tuple[str, ...]:
    """The tokens of a tokenizer whose ids lie beyond the table, by id, as Gemma 3 has one: nothing is known of them."""
    without = sorted((id_, token) for token, id_ in vocab.items() if id_ >= rows)
    if len(without) > _MOST_WITHOUT_ROW * len(vocab):
        check_ids(without[-1][0] + 1, rows, name)
    return tuple(token for _, token in without)


def rows_of_ids(table: Tensor, size: int) -> Tensor:
    """The first `size` rows of a table, float32; zeros for ids that it has no row for."""
    rows = table[:size].float()
    missing = size - len(rows)
    return rows if missing <= 0 else torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


def check_body(checkpoint: Checkpoint) -> None:
    """Refuse a body that holds NaN or infinity, or nothing but zeros; one tensor is in memory at a time."""
    zeros: list[str] = []
    has_values = False
    for name, stored in checkpoint.weights.tensors.items():
        if stored.dtype not in FLOATS or name in checkpoint.layout.axes:
            continue
        tensor = checkpoint.weights.load(name)
        if not _is_finite(tensor):
            problem = f"{name} of {checkpoint.name} holds NaN or infinity"
            expected = "finite weights"
            raise InputError(problem, value=name, expected=expected, hint="Repair the checkpoint, or choose another.")
        if not has_values and tensor.ndim > 1:
            has_values = bool(tensor.any())
            zeros.append(name)
    if zeros and not has_values:
        problem = f"All {len(zeros)} matrices of the body of {checkpoint.name} are zero, {zeros[0]} first"
        hint = "Download the checkpoint again, or choose another."
        raise InputError(problem, value=zeros[0], expected="trained weights", hint=hint)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; a sum tells without a copy, unless it overflows itself."""
    summed = torch.float32 if tensor.dtype == torch.float16 else None
    blocks = tensor.reshape(-1).split(BLOCK)
    return all(block.sum(dtype=summed).isfinite() or block.isfinite().all() for block in blocks)

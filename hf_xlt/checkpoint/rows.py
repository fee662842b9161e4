"""Checks on the rows of a vocabulary-sized table."""

from __future__ import annotations

from torch import Tensor

from hf_xlt.errors import InputError


def check_finite(rows: Tensor, name: str) -> None:
    """Refuse rows that hold NaN or infinity.

    Args:
        rows: `(n, d)` or `(n,)`.
        name: What the rows are, for the message.

    Raises:
        InputError: With the number of such rows and the first ids.
    """
    rows = rows.reshape(len(rows), -1)
    suspects = (~rows.sum(dim=1).isfinite()).nonzero().flatten()  # without a copy of the table; sums may overflow
    bad = suspects[~rows[suspects].isfinite().all(dim=1)]
    if len(bad):
        first = ", ".join(str(row) for row in bad[:5].tolist())
        raise InputError(
            f"{name} holds NaN or infinity in {len(bad):,} of {len(rows):,} rows (first ids: {first}). "
            "Repair or choose another checkpoint."
        )


def check_ids(size: int, rows: int, name: str) -> None:
    """Refuse a tokenizer whose ids reach beyond a table.

    Args:
        size: The tokenizer's largest id + 1.
        rows: Rows of the table.
        name: Whose tokenizer and table they are, for the message.

    Raises:
        InputError: If there are more ids than rows.
    """
    if size > rows:
        raise InputError(
            f"The tokenizer of {name} has ids up to {size - 1:,}, but the embedding table has {rows:,} rows. "
            "Give the tokenizer that the checkpoint was trained with."
        )

"""Padded tables: rows beyond the tokenizer's ids, so that their number is a multiple of what hardware computes by."""

MULTIPLES = (128, 64)
"""What a table is taken to be padded to, where both its size and its spare rows say so; the first that fits.

Models are padded to these: Pythia (50,304 rows), Qwen 2.5 (151,936) and T5 (32,128) to 128, Gemma 3 (262,208) to 64. A
smaller power of two divides too many counts by chance to tell of any purpose, one in eight already by 8; and a larger
one serves nothing, as matrix products are computed in tiles of 64 or 128 rows.
"""


def multiple_of(rows: int, ids: int) -> int:
    """What a table of so many rows was padded to, whose tokenizer has so many ids (the largest + 1); 1 for no padding.

    Example:
        >>> multiple_of(rows=50_304, ids=50_277)
        128
        >>> multiple_of(rows=50_304, ids=50_304), multiple_of(rows=30_000, ids=29_999)
        (1, 1)
    """
    return next((multiple for multiple in MULTIPLES if rows > ids and rows % multiple == 0), 1)


def padded(ids: int, multiple: int) -> int:
    """The rows of a table for so many ids: the next multiple.

    Example:
        >>> padded(24_001, 64), padded(24_001, 1)
        (24064, 24001)
    """
    return -(-ids // multiple) * multiple

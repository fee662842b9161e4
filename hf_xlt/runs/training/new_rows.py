"""Train some rows of a table and keep the others, to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def rows_kept(tables: Iterable[nn.Parameter], rows: Tensor) -> Iterator[None]:
    """Within the context the gradients of some rows, int64 `(k,)`, of the tables, `(V, …)` each, are zero.

    An optimizer that begins there and has no weight decay leaves such rows as they are: its moments stay zero too.
    """

    def clear(table: Tensor) -> None:
        if table.grad is not None:
            table.grad.index_fill_(0, rows.to(table.grad.device), 0)

    trained = [table for table in tables if table.requires_grad]
    hooks = [table.register_post_accumulate_grad_hook(clear) for table in trained] if len(rows) else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()

"""How many threads the aligner's arithmetic runs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread meanwhile.

    The tensors of a step of forward-backward are too small to divide: two threads gain little when both cores are
    free, and wait for each other at every step when they are not (measured: 266 s for 16 s).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

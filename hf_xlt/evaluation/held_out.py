"""A held-out text, cut into sequences for one objective."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives import CausalLM, Example, Objective, special_ids
from hf_xlt.data.token_stream import Frame, token_stream
from hf_xlt.errors import InputError

MASKING_SEED = 20230


@dataclass(frozen=True)
class HeldOut:
    """A held-out text, cut so that each of its tokens is seen once.

    For causal models neighbouring sequences share one token, so that every token is a target (but for the first,
    where the tokenizer has no special token to begin with).

    Args:
        examples: Sequences with a fixed masking key; all of one length but the last.
        text_bytes: Bytes of UTF-8 the text has, one line end a line included.
        text_tokens: Ordinary tokens in it: neither separators nor unknown ones.
        objective: What the text was cut for, and is measured by.
    """

    examples: tuple[Example, ...]
    text_bytes: int
    text_tokens: int
    objective: Objective

    @classmethod
    def cut(
        cls, lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int, objective: Objective
    ) -> HeldOut:
        """Tokenise and cut a text.

        Raises:
            InputError: If there is no text, or none that the tokenizer knows.
        """
        kept = list(lines)
        if not kept:
            raise InputError("The held-out text is empty; give a longer corpus or a held-out file with text in it.")
        ids = np.concatenate(list(token_stream(kept, tokenizer)))
        text_tokens = int((~np.isin(ids, special_ids(tokenizer))).sum())
        windows = _causal_windows if isinstance(objective, CausalLM) else _framed_windows
        rows = list(windows(ids, Frame.of(tokenizer), length))
        if not rows or not text_tokens:
            raise InputError("The tokenizer knows no two tokens of the held-out text; give more text or check both.")
        examples = tuple({"input_ids": row, "key": (MASKING_SEED, i)} for i, row in enumerate(rows))
        return cls(examples, sum(len(line.encode()) + 1 for line in kept), text_tokens, objective)

    def batches(self, size: int) -> Iterator[list[Example]]:
        """Examples in order, at most `size` at a time and all of one length."""
        batch: list[Example] = []
        for example in self.examples:
            if batch and (len(batch) == size or len(example["input_ids"]) != len(batch[0]["input_ids"])):
                yield batch
                batch = []
            batch.append(example)
        yield batch


def _causal_windows(ids: np.ndarray, frame: Frame, length: int) -> Iterator[np.ndarray]:
    whole = np.concatenate([frame.opening, ids]).astype(np.int32)
    for begin in range(0, len(whole) - 1, length - 1):
        yield whole[begin : begin + length]


def _framed_windows(ids: np.ndarray, frame: Frame, length: int) -> Iterator[np.ndarray]:
    inner = frame.room(length)
    for begin in range(0, len(ids) - 1, inner):
        yield frame.around(ids[begin : begin + inner])

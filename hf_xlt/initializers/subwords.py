"""Vectors of a vocabulary's tokens, of which there must be some."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors.subword import TextVectors


def some_tokens(side: str, vectors: TextVectors, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """The vectors `(V, d)` of a tokenizer's tokens.

    Args:
        side: `source` or `target`, for the message.
        vectors: Word vectors of its language.
        tokenizer: The tokenizer.

    Raises:
        InputError: If no token has one.
    """
    tokens = vectors.of_tokens(tokenizer)
    if not tokens.any():
        raise InputError(
            f"The {side} vectors have none for any of the {len(tokens)} {side} tokens; expected some: give vectors of "
            "the tokenizer's language."
        )
    return tokens

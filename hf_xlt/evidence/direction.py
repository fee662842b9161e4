"""Whether the two sides of translations are in the order that was asked for, as the tokenizers see them."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.token_ids import token_ids

_FEWEST, _MOST = 100, 1000
_CLEAR = 1.25
_UNKNOWN = 5
"""What an unknown token counts for: it stands for a whole word."""


def check_direction(
    texts: Sequence[tuple[str, str]], source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> None:
    """Refuse pairs whose sides are exchanged: either tokenizer would cut the other side's texts into far fewer tokens.

    A tokenizer cuts its own language into fewer tokens than another. Few pairs tell nothing and pass.

    Args:
        texts: Source and target text of each pair.
        source: Tokenizer of the source side.
        target: Tokenizer of the target side.

    Raises:
        InputError: If the first thousand pairs take at least a quarter more tokens than they would the other way round.
    """
    some = texts[:_MOST]
    if len(some) < _FEWEST:
        return
    first, second = zip(*some, strict=True)
    given = _tokens(source, first) + _tokens(target, second)
    exchanged = _tokens(source, second) + _tokens(target, first)
    if given >= _CLEAR * exchanged:
        raise InputError(
            f"The first {len(some)} pairs take {given:,} tokens of the two tokenizers, and {exchanged:,} with source "
            f"and target exchanged, such as {some[0][0][:40]!r} and {some[0][1][:40]!r}",
            expected="texts of the source language and their translations, in this order",
            hint="Exchange the columns, or name them as FILE:source,target.",
        )


def _tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> int:
    ids = [id_ for of_text in token_ids(tokenizer, texts) for id_ in of_text]
    return len(ids) + (_UNKNOWN - 1) * ids.count(tokenizer.unk_token_id)

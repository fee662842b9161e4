"""Nearest neighbours of words among a model's own tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import unit_rows


def nearest_tokens(
    name: str, words: Sequence[str], k: int = 5, *, trust_remote_code: bool = False
) -> dict[str, tuple[tuple[str, float], ...]]:
    """Word → the tokens whose input embeddings are nearest to its own by cosine, itself left out.

    A word of several tokens stands at their mean.

    Args:
        name: A Hub id or a folder.
        words: Which words.
        k: Neighbours of each.
        trust_remote_code: Run code that the checkpoint brings.

    Raises:
        InputError: If the checkpoint cannot be opened or the tokenizer does not know a word.
    """
    checkpoint = Checkpoint.open(name, trust_remote_code=trust_remote_code)
    tokenizer = checkpoint.tokenizer()
    rows = checkpoint.input_rows().float()
    names = tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), len(rows)))))
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    for word, pieces in zip(words, ids, strict=True):
        if not pieces or tokenizer.unk_token_id in pieces:
            raise InputError(f"The tokenizer of {name} does not know the word {word!r}; choose another.")
    means = unit_rows(torch.stack([rows[pieces].mean(dim=0) for pieces in ids]))
    cosines = means @ unit_rows(rows[: len(names)]).T
    for row, pieces in zip(cosines, ids, strict=True):
        row[[*pieces, *(i for i in tokenizer.all_special_ids if i < len(row))]] = -2.0
    nearest = cosines.topk(min(k, cosines.shape[1]), dim=1)
    return {
        word: tuple((names[i], round(float(value), 3)) for i, value in zip(row.tolist(), values, strict=True))
        for word, row, values in zip(words, nearest.indices, nearest.values, strict=True)
    }

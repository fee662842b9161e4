"""The vocabulary of a TreLM model made of another's: its rows and biases, and what the configuration says of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.settings import in_place_of, role_ids, token_ids
from hf_xlt.trelm.configuration_trelm import VOCABULARY
from hf_xlt.trelm.modeling_trelm import name_of

Rows = Callable[[Tensor], Tensor]  # makes the new vocabulary's table `(n, d)`, or bias `(n,)`, out of the source's
TABLE = "trelm.embeddings.word_embeddings.weight"
OUTPUT = "decoder.weight"
TENSORS = (TABLE, OUTPUT, "decoder.bias")  # vocabulary-sized; output weights that are tied are made once, as the table


def joint_vocabulary(
    source: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase, rows: Rows
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """One vocabulary for all languages: its tensors, and its fields of the configuration."""
    made = {name: rows(tensor) for name, tensor in source.items()}
    return made, _described(made[TABLE], tokenizer)


def separate_vocabularies(
    source: Mapping[str, Tensor],
    languages: Sequence[str],
    tokenizers: Sequence[PreTrainedTokenizerBase],
    rows: Rows | None,
    seed: int,
    default_language: str,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A vocabulary a language, the first one the source's: their tensors, and their fields of the configuration."""
    tensors: dict[str, Tensor] = {}
    described: dict[str, dict[str, int | None]] = {}
    for number, (language, tokenizer) in enumerate(zip(languages, tokenizers, strict=True)):
        make = rows or rows_by_spelling(tokenizers[0], tokenizer, seed)
        made = {name: make(tensor) if number else tensor for name, tensor in source.items()}
        _check_size(language, tokenizer, len(made[TABLE]))
        tensors |= {name_of(name, language): tensor for name, tensor in made.items()}
        described[language] = _described(made[TABLE], tokenizer)
    default = described.pop(default_language, {})
    return tensors, {"separate_embeddings": True, "other_vocabularies": described, **default}


def check_tokenizers(
    languages: Sequence[str], tokenizers: Sequence[PreTrainedTokenizerBase], rows: Rows | None
) -> None:
    """Refuse tokenizers that are not one a language, and rows that could be those of several."""
    if len(tokenizers) != len(languages):
        raise ValueError(
            f"There are {len(tokenizers)} tokenizers for {len(languages)} languages; expected one each. "
            "Give them in the order of languages, the source's own first."
        )
    if rows is not None and len(languages) != 2:
        raise ValueError(
            f"rows is given with {len(languages)} languages; expected two, the source's and the one it makes rows for. "
            "Leave it out, or name two languages."
        )


def _check_size(language: str, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    largest = max(tokenizer.get_vocab().values())
    if largest >= size:
        raise ValueError(
            f"The tokenizer of {language!r} has ids up to {largest}, its word embeddings have {size} rows; expected a "
            "row for every id. Give the tokenizer that the rows are made for."
        )


def rows_by_spelling(source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase, seed: int) -> Rows:
    """Rows of tokens that the source has too, by spelling or, for special tokens, by role or its stand-in.

    The others are drawn from N(mean, std) of each column of the source, seeded. Equal vocabularies keep every row.
    """
    old, new = source.get_vocab(), target.get_vocab()
    if old == new:
        return lambda matrix: matrix
    origin = {number: old[token] for token, number in new.items() if token in old}
    before = role_ids(source)
    for role, number in role_ids(target).items():
        known = in_place_of(before, role)
        if number is not None and known is not None:
            origin[number] = known
    size = max(new.values()) + 1
    to, of = torch.tensor(list(origin.items()), dtype=torch.int64).view(-1, 2).T

    def rows(matrix: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(size, *matrix.shape[1:], generator=generator)
        known = matrix.float()
        drawn = (known.mean(0) + known.std(0, correction=0) * noise.to(matrix.device)).to(matrix.dtype)
        kept = of < len(matrix)
        return drawn.index_copy(0, to[kept].to(matrix.device), matrix[of[kept].to(matrix.device)])

    return rows


def _described(table: Tensor, tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """A vocabulary's fields of the configuration."""
    return {"vocab_size": len(table)} | {name: token_ids(tokenizer)[name] for name in VOCABULARY[1:]}

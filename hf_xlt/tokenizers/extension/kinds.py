"""The models of tokenizers that can be extended, as tokenizer.json holds them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from hf_xlt.errors import InputError

_BATCH = 10_000

Model = dict[str, Any]


class Merge(NamedTuple):
    """Two tokens side by side, and the token that they become."""

    left: str
    right: str
    result: str


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Attributes:
        whole: The model with all tokens of its tokenizer in it; those beside it would lose their ids to new ones.
        grown: A whole model with new tokens after the last; made by merges, of which it takes those it has use for.
        own_spelling: Whether a token that some text is cut into is what its own spelling is cut into.
    """

    whole: Callable[[Model, Mapping[str, int]], Model]
    grown: Callable[[Model, Sequence[str], Sequence[Merge]], Model]
    own_spelling: bool


def kind_of(model: Model) -> Kind:
    """The kind of a model.

    Raises:
        InputError: If it cannot be extended.
    """
    name = model["type"]
    if name not in KINDS:
        raise InputError(f"A {name} tokenizer cannot be extended; expected {', '.join(KINDS)}: train a new one.")
    if name == "BPE" and (model["continuing_subword_prefix"] or model["end_of_word_suffix"]):
        raise InputError(
            "A BPE tokenizer whose tokens mark the inside or the end of words cannot be extended; expected one that "
            "marks spaces: train a new one."
        )
    return KINDS[name]


def tokens_of(model: Model, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What a model makes of texts, without what its tokenizer does before and after.

    Returns:
        int64 `(n,)`, the ids of all texts, one text after the other; int64 `(texts,)`, how many each has.
    """
    steps = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    steady = model | {"dropout": None} if model["type"] == "BPE" else model
    alone = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], **steps, "model": steady}))
    batches = (texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH))
    ids = [each.ids for batch in batches for each in alone.encode_batch_fast(batch, add_special_tokens=False)]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum())), lengths


def spellings(model: Model) -> list[str]:
    """The tokens of a whole model by id, empty where there is none."""
    vocab = model["vocab"]
    if isinstance(vocab, list):
        return [token for token, _ in vocab]
    found = [""] * (max(vocab.values()) + 1)
    for token, id_ in vocab.items():
        found[id_] = token
    return found


def _with_added_tokens(model: Model, vocab: Mapping[str, int]) -> Model:
    return model | {"vocab": dict(vocab)}


def _with_added_pieces(model: Model, vocab: Mapping[str, int]) -> Model:
    pieces = model["vocab"]
    beside = sorted((id_, token) for token, id_ in vocab.items() if id_ >= len(pieces))
    return model | {"vocab": [*pieces, *([token, _lowest(model)] for _, token in beside)]}


def _grown_wordpiece(model: Model, new: Sequence[str], merges: Sequence[Merge]) -> Model:
    return model | {"vocab": _numbered(model["vocab"], new)}


def _grown_bpe(model: Model, new: Sequence[str], merges: Sequence[Merge]) -> Model:
    vocab, wanted = _numbered(model["vocab"], new), set(new)
    rules = [[left, right] for left, right, result in merges if result in wanted and left in vocab and right in vocab]
    return model | {"vocab": vocab, "merges": [*model["merges"], *rules]}


def _grown_unigram(model: Model, new: Sequence[str], merges: Sequence[Merge]) -> Model:
    lowest, scores = _lowest(model), dict(model["vocab"])
    for left, right, result in merges:
        scores.setdefault(result, min(scores.get(left, lowest), scores.get(right, lowest)))
    return model | {"vocab": [*model["vocab"], *([token, scores.get(token, lowest)] for token in new)]}


def _numbered(vocab: Mapping[str, int], new: Sequence[str]) -> dict[str, int]:
    return {**vocab, **dict(zip(new, count(max(vocab.values()) + 1), strict=False))}


def _lowest(model: Model) -> float:
    return min(score for _, score in model["vocab"])


KINDS = {
    "WordPiece": Kind(_with_added_tokens, _grown_wordpiece, own_spelling=False),
    "BPE": Kind(_with_added_tokens, _grown_bpe, own_spelling=True),
    "Unigram": Kind(_with_added_pieces, _grown_unigram, own_spelling=False),
}

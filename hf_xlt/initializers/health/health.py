"""Health of a new vocabulary's embedding table, before any training: what its rows are like beside the source's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rows import check_finite
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus
from hf_xlt.initializers.health.rows import Isotropy, Lengths, nearest_names
from hf_xlt.initializers.health.text import CountedText, Fertility, count_text, whole_words
from hf_xlt.transport import Transport

HEALTH_FILE = "health.json"

_TOKENS = 10
_NEAREST = 3
_SHORTEST_WORD = 4


@dataclass(frozen=True)
class RowHealth:
    """The target rows of one origin.

    Attributes:
        lengths: How many there are, and how long.
        share: Share of the text's tokens that have such a row; None without text.
    """

    lengths: Lengths
    share: float | None = None


@dataclass(frozen=True)
class TableHealth:
    """A whole embedding table, and what its tokenizer makes of the text.

    Attributes:
        lengths: Lengths of all rows.
        isotropy: How evenly they fill their space.
        fertility: Tokens a word and unknown tokens; None without text.
    """

    lengths: Lengths
    isotropy: Isotropy
    fertility: Fertility | None = None


@dataclass(frozen=True)
class Neighbours:
    """A target token whose row is not copied, where that comes from, and the source tokens nearest to it.

    Attributes:
        token: Its name.
        origin: `mixed`, `projected` or `drawn`.
        nearest: Names and cosines, nearest first.
    """

    token: str
    origin: str
    nearest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class TextFacts:
    """The text that tokens were counted in: its name, and how many lines and words, from the first on."""

    name: str
    lines: int
    words: int


@dataclass(frozen=True)
class Health:
    """What an initialisation made.

    Attributes:
        rows: Origin → the rows of that origin; origins without rows are left out.
        source: The source's embedding table and tokenizer.
        target: The target's.
        neighbours: Of the most frequent whole words of the text that were not copied; without text, of the words of
            four letters or more with the lowest ids.
        text: What tokens were counted in; None without text.
        notices: What was changed in the tokenizer and lost in the settings to fit them to each other, a sentence each.
    """

    rows: Mapping[str, RowHealth]
    source: TableHealth
    target: TableHealth
    neighbours: tuple[Neighbours, ...]
    text: TextFacts | None = None
    notices: tuple[str, ...] = ()

    def save(self, folder: str | Path) -> Path:
        """Write `health.json` into a folder, over the one that is there, and return its path."""
        path = Path(folder) / HEALTH_FILE
        path.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: If the folder has no such file.
        """
        path = Path(folder) / HEALTH_FILE
        if not path.is_file():
            raise InputError(f"{folder} has no {HEALTH_FILE}; expected a model that hf-xlt made.")
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            rows={origin: RowHealth(Lengths(**rows.pop("lengths")), **rows) for origin, rows in data["rows"].items()},
            source=_table_health(data["source"]),
            target=_table_health(data["target"]),
            neighbours=tuple(
                Neighbours(found["token"], found["origin"], tuple((name, cosine) for name, cosine in found["nearest"]))
                for found in data["neighbours"]
            ),
            text=None if data["text"] is None else TextFacts(**data["text"]),
            notices=tuple(data.get("notices", ())),
        )


def _table_health(data: Mapping[str, Any]) -> TableHealth:
    fertility = data["fertility"]
    return TableHealth(
        Lengths(**data["lengths"]),
        Isotropy(**data["isotropy"]),
        None if fertility is None else Fertility(**fertility | {"examples": tuple(fertility.get("examples", ()))}),
    )


@torch.no_grad()
def health(
    transport: Transport,
    source: Checkpoint,
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus | None = None,
    table: Tensor | None = None,
) -> Health:
    """Look at the input embeddings that a transport makes; no vocabulary × vocabulary matrix is formed.

    Args:
        transport: Makes target rows out of source rows.
        source: The checkpoint it was built for.
        tokenizer: The target tokenizer.
        corpus: Text of the target language, of which the beginning is read; without one, nothing is weighted by how
            often tokens occur.
        table: The target rows `(target_size, d)`, where they are made already.

    Raises:
        InputError: If the text cannot be read or has no word, or the source's rows are not finite.
    """
    given = source.input_rows()[: transport.source_size]
    check_finite(given, f"the embedding table of {source.name}")
    text = None if corpus is None else count_text(corpus, source.tokenizer(), tokenizer)
    cut_source, cut_target = (None, None) if text is None else (text.source.fertility, text.target.fertility)
    made = transport.apply(given) if table is None else table
    return Health(
        rows={
            origin: RowHealth(
                Lengths.of(made, rows.nonzero().squeeze(1)), None if text is None else text.target.share(rows.numpy())
            )
            for origin, rows in transport.origins.items()
            if rows.any()
        },
        source=TableHealth(Lengths.of(given), Isotropy.of(given), cut_source),
        target=TableHealth(Lengths.of(made), Isotropy.of(made), cut_target),
        neighbours=_neighbours(transport, given, made, _words_to_show(transport, tokenizer, text)),
        text=None if text is None else TextFacts(text.name, text.lines, text.words),
    )


def _words_to_show(transport: Transport, tokenizer: PreTrainedTokenizerBase, text: CountedText | None) -> list[int]:
    """The ids of some whole words that were not copied."""
    names = transport.target_names
    long = (i for i, name in enumerate(names) if name.isalpha() and len(name) >= _SHORTEST_WORD)
    ids = long if text is None else iter(whole_words(text.common, tokenizer))
    copied = transport.origins["copied"]
    return list(islice((id_ for id_ in ids if not copied[id_]), _TOKENS))


def _neighbours(transport: Transport, given: Tensor, made: Tensor, ids: list[int]) -> tuple[Neighbours, ...]:
    nearest = nearest_names(made[ids], given, transport.source_names, _NEAREST)
    origins = [next(origin for origin, rows in transport.origins.items() if rows[id_]) for id_ in ids]
    named = zip((transport.target_names[id_] for id_ in ids), origins, nearest, strict=True)
    return tuple(Neighbours(*found) for found in named)

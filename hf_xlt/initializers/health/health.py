"""Health of a new vocabulary's embedding table, before any training: what its rows are like beside the source's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self
from unicodedata import category

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.checks import check_finite
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus
from hf_xlt.hub.card import CardTable
from hf_xlt.initializers.health.rows import Isotropy, Lengths, nearest_names
from hf_xlt.initializers.health.text import CountedText, Fertility, count_text, whole_words
from hf_xlt.transport import Transport

HEALTH_FILE = "health.json"

_TOKENS = 10
_NEAREST = 3
_SHORTEST_WORD = 4


@dataclass(frozen=True)
class RowHealth:
    """The target rows of one origin."""

    lengths: Lengths
    share: float | None = None  # share of the text's tokens that have such a row; None without text


@dataclass(frozen=True)
class TableHealth:
    """A whole embedding table, and what its tokenizer makes of the text."""

    lengths: Lengths
    isotropy: Isotropy  # how evenly they fill their space
    fertility: Fertility | None = None  # tokens a word and unknown tokens; None without text


@dataclass(frozen=True)
class Neighbors:
    """A target token whose row is not copied, where that comes from, and the source tokens nearest to it."""

    token: str
    origin: str  # `mixed`, `projected` or `drawn`
    nearest: tuple[tuple[str, float], ...]  # names and cosines, nearest first


@dataclass(frozen=True)
class TextFacts:
    """The text that tokens were counted in: its name, and how many lines and words, from the first on."""

    name: str
    lines: int
    words: int


@dataclass(frozen=True)
class Health:
    """What an initialization made.

    Attributes:
        rows: Origin → the rows of that origin; origins without rows are left out.
        source: The source's embedding table and tokenizer.
        target: The target's.
        neighbors: Of the most frequent whole words of the text that were not copied; without text, of the words of
            four letters or more with the lowest ids.
        text: What tokens were counted in; None without text.
        notices: What was changed in the tokenizer and lost in the settings to fit them to each other, a sentence each.
    """

    rows: Mapping[str, RowHealth]
    source: TableHealth
    target: TableHealth
    neighbors: tuple[Neighbors, ...]
    text: TextFacts | None = None
    notices: tuple[str, ...] = ()

    def __repr__(self) -> str:
        origins = ", ".join(f"{rows.lengths.rows:,} {origin}" for origin, rows in self.rows.items())
        cosines = f"{self.source.isotropy.mean_cosine:.3f} -> {self.target.isotropy.mean_cosine:.3f}"
        return f"Health({origins} rows; mean cosine {cosines}; {len(self.neighbors)} words with neighbors)"

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in health_tables(self))

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
            raise InputError(f"{folder} has no {HEALTH_FILE}", value=HEALTH_FILE, expected="a model that hf-xlt made")
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            rows={origin: RowHealth(Lengths(**rows.pop("lengths")), **rows) for origin, rows in data["rows"].items()},
            source=_table_health(data["source"]),
            target=_table_health(data["target"]),
            neighbors=tuple(
                Neighbors(found["token"], found["origin"], tuple((name, cosine) for name, cosine in found["nearest"]))
                for found in data["neighbors" if "neighbors" in data else "neighbours"]
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
        neighbors=_neighbors(transport, given, made, _words_to_show(transport, tokenizer, text)),
        text=None if text is None else TextFacts(text.name, text.lines, text.words),
    )


def _words_to_show(transport: Transport, tokenizer: PreTrainedTokenizerBase, text: CountedText | None) -> list[int]:
    """The ids of some whole words that were not copied."""
    names = transport.target_names
    long = (i for i, name in enumerate(names) if name.isalpha() and len(name) >= _SHORTEST_WORD)
    ids = long if text is None else iter(whole_words(text.common, tokenizer))
    copied = transport.origins["copied"]
    return list(islice((id_ for id_ in ids if not copied[id_]), _TOKENS))


def _neighbors(transport: Transport, given: Tensor, made: Tensor, ids: list[int]) -> tuple[Neighbors, ...]:
    nearest = nearest_names(made[ids], given, transport.source_names, _NEAREST)
    origins = [next(origin for origin, rows in transport.origins.items() if rows[id_]) for id_ in ids]
    named = zip((transport.target_names[id_] for id_ in ids), origins, nearest, strict=True)
    return tuple(Neighbors(*found) for found in named)


def health_tables(health: Health) -> tuple[CardTable, ...]:
    """Rows by origin; source against target; nearest source tokens, where there are words to show; notices."""
    near = _neighbor_table(health.neighbors, health.text is not None)
    notices = CardTable("What was fitted to each other", ("notice",), tuple((notice,) for notice in health.notices))
    return tuple(table for table in (_origins(health), _source_and_target(health), near, notices) if table.lines)


def _origins(health: Health) -> CardTable:
    lines = [
        (origin, f"{rows.lengths.rows:,}", _length(rows.lengths), *([] if rows.share is None else [_share(rows.share)]))
        for origin, rows in health.rows.items()
    ]
    if health.text is None:
        return CardTable("Rows by origin, before training", ("origin", "rows", "length"), tuple(lines))
    text = f"the first {health.text.lines:,} lines ({health.text.words:,} words) of {health.text.name}"
    header = ("origin", "rows", "length", "share of the text's tokens")
    return CardTable(f"Rows by origin, before training, and their share of {text}", header, tuple(lines))


def _source_and_target(health: Health) -> CardTable:
    sides = (health.source, health.target)
    lines = [
        ("length of rows", *(_length(side.lengths) for side in sides)),
        ("mean cosine of two rows", *(_cosine(side.isotropy.mean_cosine) for side in sides)),
        ("variance along first component", *(_share(side.isotropy.first_component) for side in sides)),
        ("tokens a word", *_fertility(sides, "tokens_per_word", ".2f")),
        ("unknown tokens", *_fertility(sides, "unknown", ".2%")),
        ("text lost", *_lost(sides)),
    ]
    return CardTable(
        "Embedding table and tokenizer, source against target",
        ("", "source", "target"),
        tuple(line for line in lines if len(line) == 1 + len(sides)),
    )


def _fertility(sides: tuple[TableHealth, ...], name: str, form: str) -> list[str]:
    return [format(getattr(side.fertility, name), form) for side in sides if side.fertility is not None]


def _lost(sides: tuple[TableHealth, ...]) -> list[str]:
    """How much text does not come back, how much of that are accents, and the characters most often lost."""
    return [_lost_by(cut) for side in sides if (cut := side.fertility) is not None and cut.lost is not None]


def _lost_by(fertility: Fertility) -> str:
    share = f"{fertility.lost:.2%}"
    if not fertility.lost:
        return share
    accents = f", accents {fertility.accents_lost:.2%}" if fertility.accents_lost else ""
    shown = (
        f"\N{DOTTED CIRCLE}{character}" if category(character)[0] == "M" else character
        for character in fertility.examples
    )
    return f"{share}{accents}: {' '.join(shown)}"


def _neighbor_table(neighbors: tuple[Neighbors, ...], counted: bool) -> CardTable:
    words = "frequent words" if counted else "words"
    lines = [
        (found.token, found.origin, ", ".join(f"{name} {cosine:.2f}" for name, cosine in found.nearest))
        for found in neighbors
    ]
    return CardTable(
        f"Source tokens nearest to {words} that were not copied, by cosine",
        ("word", "origin", "nearest source tokens"),
        tuple(lines),
    )


def _length(lengths: Lengths) -> str:
    return f"{lengths.mean:.3f} ± {lengths.std:.3f}"


def _cosine(cosine: float) -> str:
    return f"{round(cosine, 3) + 0.0:.3f}"  # no minus before 0.000


def _share(share: float) -> str:
    return f"{share:.1%}"

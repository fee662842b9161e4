"""Health of a new vocabulary's embedding table, before any training: what its rows are like beside the source's."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Self
from unicodedata import category

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint, check_finite
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus
from hf_xlt.hub.card import CardTable
from hf_xlt.initializers.health.rows import Isotropy, Lengths, nearest_names
from hf_xlt.initializers.health.text import Fertility, TextFacts, TokenizedText, count_text, whole_words
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
class FalseFriend:
    """A target token whose row is copied, and the source tokens that translations link it to."""

    token: str
    linked: tuple[tuple[str, float], ...]  # names and numbers of links, most first


@dataclass(frozen=True)
class FalseFriendHealth:
    """The copied rows of tokens that translations tell to mean something else in the target language."""

    rows: int
    share: float | None  # share of the text's tokens that have such a row; None without text
    examples: tuple[FalseFriend, ...]  # the most frequent ones; without text, those with the most links


@dataclass(frozen=True)
class Health:
    """What an initialization made."""

    rows: Mapping[str, RowHealth]  # origin → the rows of that origin; origins without rows are left out
    source: TableHealth  # the source's embedding table and tokenizer
    target: TableHealth  # the target's
    # of the most frequent whole words of the text that were not copied; without text, of the words of four letters or
    # more with the lowest ids
    neighbors: tuple[Neighbors, ...]
    text: TextFacts | None = None  # what tokens were counted in; None without text
    # what was changed in the tokenizer and lost in the settings to fit them to each other, a sentence each
    notices: tuple[str, ...] = ()
    false_friends: FalseFriendHealth | None = None  # None where nothing tells which there are

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
        """Read what `save` wrote; InputError if the folder has no such file."""
        path = Path(folder) / HEALTH_FILE
        if not path.is_file():
            raise InputError(f"{folder} has no {HEALTH_FILE}", value=HEALTH_FILE, expected="a model that hf-xlt made")
        data = json.loads(path.read_text(encoding="utf-8"))
        data["neighbors"] = data.pop("neighbours", data.get("neighbors"))  # as it was spelled at first
        return TypeAdapter(cls).validate_python(data)


@torch.no_grad()
def health(
    transport: Transport,
    source: Checkpoint,
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus | None = None,
    table: Tensor | None = None,
) -> Health:
    """Look at the input embeddings that a transport makes out of a source; no V × V matrix is formed.

    The beginning of a corpus of the target language is read, and rows are weighted by how often tokens occur in it. The
    `table` is that of the target rows `(target_size, d)`, where they are made already.
    """
    given = source.input_rows()[: transport.source_size]
    check_finite(given, f"the embedding table of {source.name}")
    text = None if corpus is None else count_text(corpus, source.tokenizer(), tokenizer)
    cut_source, cut_target = (None, None) if text is None else (text.source.fertility, text.target.fertility)
    made = transport.apply(given) if table is None else table
    names = transport.target_names
    long = (i for i, name in enumerate(names) if name.isalpha() and len(name) >= _SHORTEST_WORD)
    words = long if text is None else whole_words(text.common, tokenizer)
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
        neighbors=_neighbors(transport, given, made, words),
        text=None if text is None else text.facts,
        false_friends=_false_friends(transport, None if text is None else text.target),
    )


def _false_friends(transport: Transport, text: TokenizedText | None) -> FalseFriendHealth | None:
    found = transport.false_friends
    if found is None:
        return None
    rows = found.rows.numpy()
    is_false = np.zeros(transport.target_size, bool)
    is_false[rows] = True
    links = np.bincount(found.target_ids.numpy(), found.links.numpy(), transport.target_size)
    often = (links if text is None else text.counts)[rows]
    shown = rows[np.argsort(-often, kind="stable")[:_TOKENS]]
    linked = (found.strongest(int(row), _NEAREST) for row in shown)
    examples = (
        FalseFriend(
            transport.target_names[row],
            tuple((transport.source_names[id_], count) for id_, count in zip(*strongest, strict=True)),
        )
        for row, strongest in zip(shown, linked, strict=True)
    )
    return FalseFriendHealth(len(rows), None if text is None else text.share(is_false), tuple(examples))


def _neighbors(transport: Transport, given: Tensor, made: Tensor, ids: Iterable[int]) -> tuple[Neighbors, ...]:
    """What is nearest to the first words that were not copied."""
    origins = transport.origins
    shown = list(islice((id_ for id_ in ids if not origins["copied"][id_]), _TOKENS))
    nearest = nearest_names(made[shown], given, transport.source_names, _NEAREST)
    return tuple(
        Neighbors(transport.target_names[id_], next(origin for origin, rows in origins.items() if rows[id_]), near)
        for id_, near in zip(shown, nearest, strict=True)
    )


def health_tables(health: Health) -> tuple[CardTable, ...]:
    """Rows by origin; source against target; nearest source tokens and false friends, where there are some; notices."""
    words = "words" if health.text is None else "frequent words"
    near = CardTable(
        f"Source tokens nearest to {words} that were not copied, by cosine",
        ("word", "origin", "nearest source tokens"),
        tuple(
            (found.token, found.origin, ", ".join(f"{name} {cosine:.2f}" for name, cosine in found.nearest))
            for found in health.neighbors
        ),
    )
    false = () if health.false_friends is None else (_false_friend_table(health.false_friends),)
    notices = CardTable("What was fitted to each other", ("notice",), tuple((notice,) for notice in health.notices))
    return tuple(
        table for table in (_origins(health), _source_and_target(health), near, *false, notices) if table.lines
    )


def _false_friend_table(false: FalseFriendHealth) -> CardTable:
    share = "" if false.share is None else f" ({false.share:.1%} of the text's tokens)"
    return CardTable(
        f"False friends: {false.rows:,} rows{share} were copied though translations say otherwise, as those of",
        ("token", "source tokens that it is linked to"),
        tuple(
            (each.token, ", ".join(f"{name} {count:,.0f}" for name, count in each.linked)) for each in false.examples
        ),
    )


def _origins(health: Health) -> CardTable:
    title, header = "Rows by origin, before training", ("origin", "rows", "length")
    lines = [(origin, f"{rows.lengths.rows:,}", _length(rows.lengths)) for origin, rows in health.rows.items()]
    if health.text is None:
        return CardTable(title, header, tuple(lines))
    text = f"the first {health.text.lines:,} lines ({health.text.words:,} words) of {health.text.name}"
    shares = (() if rows.share is None else (f"{rows.share:.1%}",) for rows in health.rows.values())
    return CardTable(
        f"{title}, and their share of {text}",
        (*header, "share of the text's tokens"),
        tuple((*line, *share) for line, share in zip(lines, shares, strict=True)),
    )


def _source_and_target(health: Health) -> CardTable:
    tables = health.source, health.target
    cuts = [table.fertility for table in tables if table.fertility is not None]
    lines = {
        "length of rows": [_length(table.lengths) for table in tables],
        # no minus before 0.000
        "mean cosine of two rows": [f"{round(table.isotropy.mean_cosine, 3) + 0.0:.3f}" for table in tables],
        "variance along first component": [f"{table.isotropy.first_component:.1%}" for table in tables],
        "tokens a word": [f"{cut.tokens_per_word:.2f}" for cut in cuts],
        "unknown tokens": [f"{cut.unknown:.2%}" for cut in cuts],
        "text lost": [_lost(cut, cut.lost) for cut in cuts if cut.lost is not None],
    }
    return CardTable(
        "Embedding table and tokenizer, source against target",
        ("", "source", "target"),
        tuple((name, *cells) for name, cells in lines.items() if len(cells) == len(tables)),
    )


def _lost(cut: Fertility, share: float) -> str:
    """How much text does not come back, how much of that are accents, and the characters most often lost."""
    if not share:
        return f"{share:.2%}"
    accents = f", accents {cut.accents_lost:.2%}" if cut.accents_lost else ""
    marked = (f"\N{DOTTED CIRCLE}{each}" if category(each)[0] == "M" else each for each in cut.examples)
    return f"{share:.2%}{accents}: {' '.join(marked)}"


def _length(lengths: Lengths) -> str:
    return f"{lengths.mean:.3f} ± {lengths.std:.3f}"

"""The health of an embedding table in words: the same cells for the terminal and for the model card."""

from __future__ import annotations

from unicodedata import category

from hf_xlt.hub.card import CardTable
from hf_xlt.initializers.health.health import Health, Neighbours, TableHealth
from hf_xlt.initializers.health.rows import Lengths
from hf_xlt.initializers.health.text import Fertility


def health_tables(health: Health) -> tuple[CardTable, ...]:
    """Rows by origin; source against target; nearest source tokens, where there are words to show; notices."""
    near = _neighbours(health.neighbours, health.text is not None)
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


def _neighbours(neighbours: tuple[Neighbours, ...], counted: bool) -> CardTable:
    words = "frequent words" if counted else "words"
    lines = [
        (found.token, found.origin, ", ".join(f"{name} {cosine:.2f}" for name, cosine in found.nearest))
        for found in neighbours
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

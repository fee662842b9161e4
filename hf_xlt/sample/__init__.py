"""The embedded sample: a small parallel corpus and three tiny models trained by this project."""

import csv
from pathlib import Path

FOLDER = Path(__file__).parent
LANGUAGES = ("en", "de", "id", "zh")
HELD_OUT_EVERY = 8


def sentences(language: str, split: str) -> list[str]:
    """The sentences of one language of `everyday.tsv`; the splits are fixed and parallel across languages.

    Args:
        language: One of `LANGUAGES`.
        split: `"train"` (1,120 sentences) or `"held_out"` (160: every eighth line, the first one included).
    """
    with (FOLDER / "everyday.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    held_out = split == "held_out"
    return [row[language] for i, row in enumerate(rows) if (i % HELD_OUT_EVERY == 0) == held_out]

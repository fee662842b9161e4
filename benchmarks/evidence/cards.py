"""The card of a model of the evidence, as the repository keeps it: named, and with what the model can do."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evidence.table import markdown
from huggingface_hub import metadata_load, metadata_save
from minilm_german import HUB_NAME, RESULTS

TASKS = """## Tasks

In per cent, of one seed, topics by a probe of three. Retrieval: P@1 to English / from English. `topics: probe`,
`fine-tuned`, UPOS and LAS are zero-shot: learned in English.

{table}
"""


def publish_card(model: Path, name: str, figures: Mapping[str, Any], cards: Path) -> None:
    """Write `cards/NAME.md`, and its picture beside the results.

    Args:
        model: Folder of the model.
        name: What the card calls it.
        figures: Of the model, as `evidence_LANGUAGE.json` has them.
        cards: Folder of the cards.
    """
    card = cards / f"{name}.md"
    text = (model / "README.md").read_text(encoding="utf-8")
    text = text.replace(f"# {model.name}\n", f"# {name}\n").replace(f'name = "{model.name}"', f'name = "{name}"')
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        kept = RESULTS / f"{name}_{picture}"
        shutil.copy(model / picture, kept)
        text = text.replace(f"({picture})", f"({Path(os.path.relpath(kept, cards)).as_posix()})")
    tasks = TASKS.format(table=markdown({name: figures}).strip())
    card.write_text(text.replace("## Limits\n", f"{tasks}\n## Limits\n"), encoding="utf-8")
    base = {"base_model": HUB_NAME, "base_model_relation": "finetune"}
    metadata_save(card, base | (metadata_load(card) or {}))

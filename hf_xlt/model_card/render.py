"""The model card: how a model came about and what it can do, rendered from plain facts.

A card never shows where something lies on this machine: a local folder or file goes by its last name alone.
"""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml
from huggingface_hub import ModelCard, ModelCardData

from hf_xlt.files.revision import split_revision
from hf_xlt.model_card.facts import (
    HEADS,
    KINDS,
    CardFacts,
    CardTable,
    EvidenceFacts,
    ResultRow,
    RowCounts,
    parsed,
)
from hf_xlt.model_card.public import is_local, is_repo_id, public_command, public_name, without_paths

CARD = "README.md"
TEMPLATE = Path(__file__).with_name("template.md")
LIBRARIES = ("hf-xlt", "transformers", "torch", "tokenizers", "datasets", "safetensors", "huggingface_hub")
PIPELINE_TAGS = {
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")


def installed_versions() -> dict[str, str]:
    """Library → version of what makes a model here, Python included; what is not installed is left out."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def render_card(facts: CardFacts) -> ModelCard:
    """The model card of a set of facts; nothing is looked up on the Hub."""
    title = public_name(facts.title)
    languages = list(facts.languages or ())
    source = None if facts.base_model is None else public_name(facts.base_model)
    base_model = None if facts.base_model is None else split_revision(facts.base_model)[0]
    on_hub = base_model is not None and not is_local(base_model) and is_repo_id(base_model)
    data = ModelCardData(
        base_model=base_model if on_hub else None,
        base_model_relation="finetune" if on_hub else None,
        language=languages[0] if len(languages) == 1 else languages or None,
        license=facts.license,
        library_name=facts.library_name,
        pipeline_tag=facts.pipeline_tag or PIPELINE_TAGS.get(facts.auto_class),
        tags=_tags(facts),
    )
    prompt = next(iter(facts.continuations), None) if facts.kind == "decoder" else None
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        facts=facts,
        kind=HEADS.get(facts.auto_class, KINDS[facts.kind]),
        source=source,
        helper=None if facts.helper is None else public_name(facts.helper),
        corpus_name=None if facts.corpus is None else public_name(facts.corpus.name),
        title=title,
        name=_python_string(title),
        prompt=None if prompt is None else _python_string(prompt),
        command=None if facts.command is None else public_command(facts.command),
        recipe=None if facts.recipe is None else _public_yaml(facts.recipe),
        origins=None if facts.rows is None else _origins(facts.rows),
        evidence=[_evidence(piece) for piece in facts.evidence or ()],
        health=_captioned(facts.health or ()),
        retrieval=_captioned(facts.retrieval or ()),
        table=_table(facts.results),
    )


def write_card(folder: str | Path, facts: CardFacts) -> Path:
    """Write the model card of a set of facts into a folder, over the one that is there, and return its path."""
    path = Path(folder) / CARD
    render_card(facts).save(path)
    return path


def _python_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _tags(facts: CardFacts) -> list[str]:
    method = re.sub(r"[^a-z0-9]+", "-", facts.method.lower()).strip("-")
    return ["hf-xlt", *(["cross-lingual-transfer"] if facts.base_model else []), method]


def _public_yaml(recipe: str) -> str:
    return yaml.safe_dump(without_paths(parsed(recipe)), sort_keys=False, allow_unicode=True).strip()


def _origins(rows: RowCounts) -> str:
    """How many rows have which origin, where any do."""
    counts = {
        "copied from the source": rows.copied,
        "mixed out of its rows": rows.mixed,
        "static vectors led into its space": rows.projected,
        "drawn at random around its mean row": rows.drawn,
    }
    return ", ".join(f"{count:,} {origin}" for origin, count in counts.items() if count)


def _evidence(piece: EvidenceFacts) -> str:
    size = "" if piece.size is None else f" ({piece.size})"
    return f"{piece.kind}, `{public_name(piece.name)}`{size}"


def _captioned(tables: tuple[CardTable, ...]) -> list[tuple[str, list[list[str]]]]:
    return [(table.caption, _cells(table)) for table in tables]


def _cells(table: CardTable) -> list[list[str]]:
    """Header and lines, their text safe in Markdown."""
    return [[_SPECIAL.sub(r"\\\1", cell) for cell in line] for line in (table.header, *table.lines)]


def _table(results: tuple[ResultRow, ...]) -> list[list[str]]:
    """Header and cells; a column that nobody has a value for is left out."""
    baselines = dict.fromkeys(baseline for row in results for baseline in row.steps_saved)
    columns = {
        "method": [row.method for row in results],
        "seeds": [str(row.seeds) for row in results],
        "bits/byte at the start": [_cell(row.start_bits_per_byte, ".3f") for row in results],
        "bits/byte": [_cell(row.bits_per_byte, ".3f") for row in results],
        "loss": [_cell(row.loss, ".3f") for row in results],
        "perplexity": [_cell(row.perplexity, ",.1f") for row in results],
        **{f"steps saved against {name}": [_saved_cell(row, name) for row in results] for name in baselines},
    }
    filled = [[head, *cells] for head, cells in columns.items() if any(cells)]
    return [[cell.replace("|", "\\|") or "–" for cell in line] for line in zip(*filled, strict=True)]


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _saved_cell(row: ResultRow, baseline: str) -> str:
    share = row.steps_saved.get(baseline)
    never_reached = "not reached" if baseline in row.steps_saved else ""
    return never_reached if share is None else f"{share:.0%}"

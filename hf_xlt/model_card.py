"""The model card: how a model came about and what it can do, rendered from plain facts.

A card never shows where something lies on this machine: a local folder or file goes by its last name alone.
"""

from __future__ import annotations

import json
import platform
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_xlt.errors import InputError

CARD = "README.md"
TEMPLATE = Path(__file__).with_name("model_card_template.md")
LIBRARIES = ("hf-xlt", "transformers", "torch", "tokenizers", "datasets", "safetensors", "huggingface_hub")
PIPELINE_TAGS = {"AutoModelForMaskedLM": "fill-mask", "AutoModelForCausalLM": "text-generation"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")
KINDS = {
    "encoder": "a masked language model (encoder)",
    "decoder": "a causal language model (decoder)",
    "encoder-decoder": "an encoder-decoder language model",
}


@dataclass(frozen=True)
class RowCounts:
    """Where the rows of the new vocabulary come from.

    Attributes:
        copied: Rows of the source.
        mixed: Sums of source rows.
        drawn: Drawn at random.
        projected: Static vectors led into the source's space.
    """

    copied: int
    mixed: int
    drawn: int
    projected: int = 0

    @property
    def total(self) -> int:
        """All rows."""
        return self.copied + self.mixed + self.drawn + self.projected


@dataclass(frozen=True)
class EvidenceFacts:
    """Something that rows were made of.

    Attributes:
        kind: What it is, such as `a dictionary`.
        name: A file or a Hub id; of something local the card shows the last name alone.
        size: How much of it there is, such as `1,234 entries`, where that is known.
    """

    kind: str
    name: str
    size: str | None = None


@dataclass(frozen=True)
class CardTable:
    """A table of text: what it shows, its header, and its lines of as many cells."""

    caption: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class CorpusFacts:
    """What a model was trained and measured on.

    Attributes:
        name: A Hub dataset id, or a file; of the latter the card shows the last name alone.
        sequences: Packed training sequences there were.
        tokens: Tokens in them.
        held_out_lines: Lines measured on.
        held_out_bytes: Bytes of UTF-8 in these.
    """

    name: str
    sequences: int
    tokens: int
    held_out_lines: int
    held_out_bytes: int


@dataclass(frozen=True)
class ResultRow:
    """One line of the table of results: a method, averaged over its seeds.

    Attributes:
        method: What was measured.
        bits_per_byte: Held-out bits per byte after training.
        seeds: Number of runs behind the figures.
        start_bits_per_byte: Held-out bits per byte before training.
        loss: Held-out loss after training, in nats a target token.
        perplexity: Its exponential.
        steps_saved: Baseline → share of its steps that this method did not need to reach its final value; None if it
            never reached that. A baseline is left out where there is nothing to compare, such as with itself.
    """

    method: str
    bits_per_byte: float
    seeds: int = 1
    start_bits_per_byte: float | None = None
    loss: float | None = None
    perplexity: float | None = None
    steps_saved: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class CardFacts:
    """Everything a model card tells; whatever is absent is left out of the card.

    Attributes:
        title: What the model is called: its Hub id, or its folder.
        kind: `encoder`, `decoder` or `encoder-decoder`.
        auto_class: Name of the Auto class that opens the folder.
        method: How the model was begun, as tables label it.
        base_model: Source checkpoint, a Hub id or a folder; None for a model trained from scratch.
        brings_code: Whether the model's code lies beside it, and has to be trusted.
        helper: Helper model of the target language, a Hub id or a folder.
        language: Code of the target language.
        license: Licence as the Hub spells it, such as `apache-2.0`.
        library_name: Library that opens the model.
        pipeline_tag: The Hub's name for the task, where it does not follow from the Auto class.
        recipe_name: Name of the recipe.
        recipe_description: What the recipe says of itself.
        recipe: The resolved recipe, YAML.
        command: The exact command that made the model, as `shlex.join` writes it.
        rows: Where the rows of the vocabulary come from.
        evidence: What they were made of, besides source and helper.
        health: What they were like before training.
        corpus: The text; None if the model was not trained after its vocabulary was made.
        results: Table of results, best told first.
        retrieval: What sentence vectors find, before and after training.
        curves: Name of the picture of learning curves, a file beside the card.
        continuations: Sentence beginning → method → what the method's model wrote after it.
        versions: Library → version; see `installed_versions`.
        hardware: What the model was trained on.
        citation: BibTeX of the method's paper.

    Raises:
        InputError: If the title or command is not one line, the kind is unknown, `curves` is not a bare file name, or
            the recipe is not a YAML mapping.
    """

    title: str
    kind: str
    auto_class: str
    method: str
    base_model: str | None = None
    brings_code: bool = False
    helper: str | None = None
    language: str | None = None
    license: str | None = None
    library_name: str = "transformers"
    pipeline_tag: str | None = None
    recipe_name: str | None = None
    recipe_description: str | None = None
    recipe: str | None = None
    command: str | None = None
    rows: RowCounts | None = None
    evidence: tuple[EvidenceFacts, ...] = ()
    health: tuple[CardTable, ...] = ()
    corpus: CorpusFacts | None = None
    results: tuple[ResultRow, ...] = ()
    retrieval: tuple[CardTable, ...] = ()
    curves: str | None = None
    continuations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str | None = None
    citation: str | None = None

    def __post_init__(self) -> None:
        if len(self.title.splitlines()) != 1:
            raise InputError(f"The card's title is {self.title!r}; expected one line. Name the model.")
        if self.kind not in KINDS:
            raise InputError(f"The model's kind is {self.kind!r}; expected one of {', '.join(KINDS)}.")
        if self.command is not None and len(self.command.splitlines()) != 1:
            raise InputError(f"The command is {self.command!r}; expected one line. Join its words with shlex.join.")
        if self.curves is not None and Path(self.curves).name != self.curves:
            raise InputError(
                f"The picture of the curves is {self.curves!r}; expected a bare file name. Save it beside the card."
            )
        if self.recipe is not None and not isinstance(_parsed(self.recipe), dict):
            raise InputError(f"The recipe is {self.recipe[:80]!r}; expected a YAML mapping. Pass the resolved recipe.")


def _parsed(recipe: str) -> Any:
    try:
        return yaml.safe_load(recipe)
    except yaml.YAMLError:
        return None


def installed_versions() -> dict[str, str]:
    """Library → version of what makes a model here, Python included; what is not installed is left out."""
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return versions


def public_name(name_or_path: str | Path) -> str:
    """What a card calls a checkpoint or corpus: something local by its last name, a Hub id as it is."""
    return Path(name_or_path).expanduser().resolve().name if _is_local(name_or_path) else str(name_or_path)


def _is_local(name_or_path: str | Path) -> bool:
    path = Path(name_or_path).expanduser()
    return path.is_absolute() or path.exists()


def render_card(facts: CardFacts) -> ModelCard:
    """The model card of a set of facts; nothing is looked up on the Hub."""
    title = public_name(facts.title)
    base_model = None if facts.base_model is None else public_name(facts.base_model)
    on_hub = facts.base_model is not None and not _is_local(facts.base_model) and is_repo_id(facts.base_model)
    data = ModelCardData(
        base_model=base_model if on_hub else None,
        base_model_relation="finetune" if on_hub else None,
        language=facts.language,
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
        kind=KINDS[facts.kind],
        source=base_model,
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


def is_repo_id(name: str | None) -> bool:
    """Whether the Hub would take a name for a repository's."""
    try:
        validate_repo_id(name or "")
    except HFValidationError:
        return False
    return True


def public_command(command: str) -> str:
    """A command with local paths cut down to their last names."""
    words = (word.rpartition("=") for word in shlex.split(command))
    return shlex.join(f"{key}{equals}{_without_path(value)}" for key, equals, value in words)


def _public_yaml(recipe: str) -> str:
    return yaml.safe_dump(without_paths(_parsed(recipe)), sort_keys=False, allow_unicode=True).strip()


def without_paths(value: Any) -> Any:
    """Plain data with every absolute path in it cut down to its last name."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    return _without_path(value) if isinstance(value, str) else value


def _without_path(text: str) -> str:
    return Path(text).name if Path(text).is_absolute() else text


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

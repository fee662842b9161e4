"""What a card tells, as plain facts, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hf_xlt.errors import InputError
from hf_xlt.files.printable import html_table
from hf_xlt.hub.card.codes import OTHER, check_language, check_license

KINDS = {
    "encoder": "a masked language model (encoder)",
    "decoder": "a causal language model (decoder)",
    "encoder-decoder": "an encoder-decoder language model",
    "multimodal": "a language model of text and images or sound",
    "speech": "an encoder-decoder that writes down speech",
}
HEADS = {
    "AutoModel": "a text encoder",
    "AutoModelForSequenceClassification": "a text classifier",
    "AutoModelForTokenClassification": "a token classifier",
    "AutoModelForQuestionAnswering": "a question answering model",
    "AutoModelForMultipleChoice": "a multiple choice model",
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

    def __repr__(self) -> str:
        return f"CardTable({self.caption[:100]!r}, {len(self.lines)} lines of {len(self.header)})"

    def _repr_html_(self) -> str:
        return html_table(self.header, self.lines, self.caption)


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
    """What a method reached, averaged over its seeds: a line of the table of results.

    Attributes:
        method: What was measured.
        bits_per_byte: Held-out bits per byte after training.
        seeds: Number of runs behind the figures.
        start_bits_per_byte: Held-out bits per byte before training.
        loss: Held-out loss after training, in nats a target token.
        perplexity: Its exponential.
        steps_saved: Baseline → share of its steps that this method did not need to reach its final value; None if it
            never reached that. A baseline is left out where there is nothing to compare, such as with itself.
        spread: Standard deviation of the bits per byte over seeds; 0.0 for a single one.
    """

    method: str
    bits_per_byte: float
    seeds: int = 1
    start_bits_per_byte: float | None = None
    loss: float | None = None
    perplexity: float | None = None
    steps_saved: Mapping[str, float | None] = field(default_factory=dict)
    spread: float = 0.0


@dataclass(frozen=True)
class Score:
    """A figure of the model's for the Hub's own display, beside those in the table of results.

    Attributes:
        task: The Hub's name for the task, such as `translation`.
        metric: Identifier of the metric, such as `accuracy`.
        value: The figure.
        name: What the metric is called.
        dataset: What it was measured on: a Hub dataset id, or a file.

    Raises:
        InputError: If one of them is empty.
    """

    task: str
    metric: str
    value: float
    name: str
    dataset: str

    def __post_init__(self) -> None:
        for name in ("task", "metric", "name", "dataset"):
            if not getattr(self, name).strip():
                raise InputError(f"A score's {name} is empty", expected="a name", hint="The Hub shows none without.")


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
        languages: Codes of the languages that the model is for.
        license: License as the Hub spells it, such as `apache-2.0`; `other` for one that it does not list.
        license_name: What a license is called that the Hub does not list.
        library_name: Library that opens the model.
        pipeline_tag: The Hub's name for the task, where it does not follow from the Auto class.
        recipe_name: Name of the recipe.
        recipe_description: What the recipe says of itself.
        recipe: The resolved recipe, YAML.
        command: The exact command that made the model, as `shlex.join` writes it.
        rows: Where the rows of the vocabulary come from.
        evidence: What they were made of, besides source and helper.
        health: What they were like before training.
        datasets: What it was trained on: Hub dataset ids, which the metadata names, or files, which it does not.
        corpus: The text; None if the model was not trained after its vocabulary was made.
        results: Table of results, best told first.
        scores: More figures of the model itself.
        retrieval: What sentence vectors find, before and after training.
        pictures: What a picture shows → its name, a file beside the card.
        continuations: Sentence beginning → method → what the method's model wrote after it.
        versions: Library → version; see `installed_versions`.
        hardware: What the model was trained on.
        citation: BibTeX of the method's paper.

    Raises:
        InputError: If the title or command is not one line, the kind is unknown, a language or the license is none, a
            picture is not a bare file name, or the recipe is not a YAML mapping.
    """

    title: str
    kind: str
    auto_class: str
    method: str
    base_model: str | None = None
    brings_code: bool = False
    helper: str | None = None
    languages: tuple[str, ...] = ()
    license: str | None = None
    license_name: str | None = None
    library_name: str = "transformers"
    pipeline_tag: str | None = None
    recipe_name: str | None = None
    recipe_description: str | None = None
    recipe: str | None = None
    command: str | None = None
    rows: RowCounts | None = None
    evidence: tuple[EvidenceFacts, ...] = ()
    health: tuple[CardTable, ...] = ()
    datasets: tuple[str, ...] = ()
    corpus: CorpusFacts | None = None
    results: tuple[ResultRow, ...] = ()
    scores: tuple[Score, ...] = ()
    retrieval: tuple[CardTable, ...] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    continuations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str | None = None
    citation: str | None = None

    def __repr__(self) -> str:
        base = "" if self.base_model is None else f", from {self.base_model}"
        return f"CardFacts({self.title!r}, {self.kind}, {self.method}{base})"[:180]

    def __post_init__(self) -> None:
        if len(self.title.splitlines()) != 1:
            raise InputError(
                f"The card's title is {self.title!r}", value=self.title, expected="one line", hint="Name the model."
            )
        if self.kind not in KINDS:
            raise InputError(
                f"The model's kind is {self.kind!r}", value=self.kind, expected=f"one of {', '.join(KINDS)}"
            )
        for language in self.languages or ():
            check_language(language, "The card's language")
        if self.license is not None:
            check_license(self.license, "The card's license")
        if self.license_name is not None and self.license != OTHER:
            raise InputError(
                f"The card's license is {self.license!r} and its license_name {self.license_name!r}",
                value=self.license_name,
                expected=f"a name with the license {OTHER!r} alone",
                hint="Leave out the name.",
            )
        if self.command is not None and len(self.command.splitlines()) != 1:
            raise InputError(
                f"The command is {self.command!r}", expected="one line", hint="Join its words with shlex.join."
            )
        for shown, name in self.pictures.items():
            if Path(name).name != name:
                raise InputError(
                    f"The picture of {shown!r} is {name!r}",
                    value=name,
                    expected="a bare file name",
                    hint="Save it beside the card.",
                )
        if self.recipe is not None and not isinstance(parsed(self.recipe), dict):
            raise InputError(
                f"The recipe is {self.recipe[:80]!r}", expected="a YAML mapping", hint="Pass the resolved recipe."
            )


def parsed(recipe: str) -> Any:
    """The data of a recipe in YAML; None where it is none."""
    try:
        return yaml.safe_load(recipe)
    except yaml.YAMLError:
        return None

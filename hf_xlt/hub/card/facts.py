"""What a card tells, as plain facts, checked once."""

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
    """Where the rows of the new vocabulary come from."""

    copied: int  # rows of the source
    mixed: int  # sums of source rows
    drawn: int  # drawn at random
    projected: int = 0  # static vectors mapped into the source's space
    unused: int = 0  # of no token: holes in the ids, and what pads the table

    @property
    def total(self) -> int:
        """All rows."""
        return self.copied + self.mixed + self.drawn + self.projected + self.unused


@dataclass(frozen=True)
class EvidenceFacts:
    """Something that rows were made of."""

    kind: str  # what it is, such as `a dictionary`
    name: str  # a file or a Hub id; of something local the card shows the last name alone
    size: str | None = None  # how much of it there is, such as `1,234 entries`


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
    """What a model was trained and measured on."""

    name: str  # a Hub dataset id, or a file; of the latter the card shows the last name alone
    sequences: int  # packed training sequences
    tokens: int  # tokens in them
    held_out_lines: int  # lines measured on
    held_out_bytes: int  # bytes of UTF-8 in these


@dataclass(frozen=True)
class ResultRow:
    """What a method reached, averaged over its seeds: a line of the table of results.

    `steps_saved` leads from a baseline to the share of its steps that this method did not need to reach its final
    value; None if it never reached that. A baseline is left out where there is nothing to compare, as with one whose
    steps read more text. `equal_compute_bits_per_byte` is read off the learning curve at the compute that the model of
    the card took to train; None where the curve ends before that, or all took the same.
    """

    method: str  # what was measured
    bits_per_byte: float  # held-out, after training
    seeds: int = 1  # number of runs behind the figures
    start_bits_per_byte: float | None = None  # held-out, before training
    loss: float | None = None  # held-out, after training, in nats a target token
    perplexity: float | None = None  # its exponential
    steps_saved: Mapping[str, float | None] = field(default_factory=dict)
    spread: float = 0.0  # standard deviation of the bits per byte over seeds; 0.0 for a single one
    equal_compute_bits_per_byte: float | None = None  # held-out, at equal compute


@dataclass(frozen=True)
class Score:
    """A figure of the model's for the Hub's own display, beside those in the table of results."""

    task: str  # the Hub's name for the task, such as `translation`
    metric: str  # identifier of the metric, such as `accuracy`
    value: float
    name: str  # what the metric is called
    dataset: str  # what it was measured on: a Hub dataset id, or a file

    def __post_init__(self) -> None:
        for name in ("task", "metric", "name", "dataset"):
            if not getattr(self, name).strip():
                raise InputError(f"A score's {name} is empty", expected="a name", hint="The Hub shows none without.")


@dataclass(frozen=True)
class CardFacts:
    """Everything a model card tells; whatever is absent is left out of the card."""

    title: str  # what the model is called: its Hub id, or its folder
    kind: str  # one of `KINDS`
    auto_class: str  # name of the Auto class that opens the folder
    method: str  # how the model was begun, as tables label it
    base_model: str | None = None  # a Hub id or a folder; None for a model trained from scratch
    brings_code: bool = False  # whether the model's code lies beside it, and has to be trusted
    helper: str | None = None  # helper model of the target language, a Hub id or a folder
    languages: tuple[str, ...] = ()  # codes of the languages that the model is for
    license: str | None = None  # as the Hub spells it, such as `apache-2.0`; `other` for one that it does not list
    license_name: str | None = None  # what a license is called that the Hub does not list
    library_name: str = "transformers"  # library that opens the model
    pipeline_tag: str | None = None  # the Hub's name for the task, where it does not follow from the Auto class
    recipe_name: str | None = None
    recipe_description: str | None = None  # what the recipe says of itself
    recipe: str | None = None  # the resolved recipe, YAML
    command: str | None = None  # the exact command that made the model, as `shlex.join` writes it
    rows: RowCounts | None = None  # where the rows of the vocabulary come from
    evidence: tuple[EvidenceFacts, ...] = ()  # what they were made of, besides source and helper
    health: tuple[CardTable, ...] = ()  # what they were like before training
    datasets: tuple[str, ...] = ()  # trained on: Hub dataset ids, which the metadata names, or files, which it does not
    corpus: CorpusFacts | None = None  # the text; None if the model was not trained after its vocabulary was made
    results: tuple[ResultRow, ...] = ()  # table of results, best told first
    scores: tuple[Score, ...] = ()  # more figures of the model itself
    retrieval: tuple[CardTable, ...] = ()  # what sentence vectors find, before and after training
    pictures: Mapping[str, str] = field(default_factory=dict)  # what one shows → its name, a file beside the card
    continuations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # beginning → method → what it wrote
    versions: Mapping[str, str] = field(default_factory=dict)  # library → version; see `installed_versions`
    hardware: str | None = None  # what the model was trained on
    citation: str | None = None  # BibTeX of the method's paper

    def __repr__(self) -> str:
        base = "" if self.base_model is None else f", from {self.base_model}"
        return f"CardFacts({self.title!r}, {self.kind}, {self.method}{base})"[:180]

    def __post_init__(self) -> None:
        if len(self.title.splitlines()) != 1:
            problem = f"The card's title is {self.title!r}"
            raise InputError(problem, value=self.title, expected="one line", hint="Name the model.")
        if self.kind not in KINDS:
            problem = f"The model's kind is {self.kind!r}"
            raise InputError(problem, value=self.kind, expected=f"one of {', '.join(KINDS)}")
        for language in self.languages or ():
            check_language(language, "The card's language")
        if self.license is not None:
            check_license(self.license, "The card's license")
        if self.license_name is not None and self.license != OTHER:
            problem = f"The card's license is {self.license!r} and its license_name {self.license_name!r}"
            expected = f"a name with the license {OTHER!r} alone"
            raise InputError(problem, value=self.license_name, expected=expected, hint="Leave out the name.")
        if self.command is not None and len(self.command.splitlines()) != 1:
            problem = f"The command is {self.command!r}"
            raise InputError(problem, expected="one line", hint="Join its words with shlex.join.")
        for shown, name in self.pictures.items():
            if Path(name).name != name:
                problem = f"The picture of {shown!r} is {name!r}"
                raise InputError(problem, value=name, expected="a bare file name", hint="Save it beside the card.")
        if self.recipe is not None and not isinstance(parsed(self.recipe), dict):
            problem = f"The recipe is {self.recipe[:80]!r}"
            raise InputError(problem, expected="a YAML mapping", hint="Pass the resolved recipe.")


def parsed(recipe: str) -> Any:
    """The data of a recipe in YAML; None where it is none."""
    try:
        return yaml.safe_load(recipe)
    except yaml.YAMLError:
        return None

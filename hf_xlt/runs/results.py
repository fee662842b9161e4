"""Results: everything a run measured, as one JSON file beside the model."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hf_xlt.evaluation.curves import Curve, Point, summarize
from hf_xlt.files.printable import html_table
from hf_xlt.hub.card import ResultRow, public_command, without_paths

SOURCE_TOKENIZER = "source tokenizer"
RESIZED_ROWS = "resized rows"
RANDOM_ROWS = "random rows"
FROM_SCRATCH = "from scratch"
ONE_PHASE = "one phase"
BASELINES = (SOURCE_TOKENIZER, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH, ONE_PHASE)


@dataclass(frozen=True)
class LanguagePoint(Point):
    """Quality on the validation set of one language."""

    language: str


@dataclass(frozen=True)
class RetrievalPoint:
    """P@1 of validation pairs after a number of training steps, found among each other; cosines where measured."""

    step: int
    to_source: float  # share of target sentences whose nearest source sentence is their translation
    from_source: float  # the other way round
    cosine: float | None = None  # the mean of a sentence and its translation
    margin: float | None = None  # by how much the translation is nearer than the nearest other sentence, a mean
    kept: float | None = None  # the mean cosine of a source sentence's vector and the one it had before, where measured
    language: str = ""  # of the target sentences, where it is known or there are several


@dataclass(frozen=True)
class Economy:
    """What a method's tokenizer costs and gains, on the validation lines."""

    method: str
    characters_per_token: float
    unknown: float  # share of the tokens that stand for text which the tokenizer does not know
    characters_per_second: float | None = None  # written by the trained model; None unless it is a decoder


@dataclass(frozen=True)
class Probe:
    """A candidate after its probe."""

    method: str
    curve: Curve  # to the last step of the probe

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Probe":
        """Inverse of `dataclasses.asdict`."""
        return cls(data["method"], Curve.from_dict(data["curve"]))

    @property
    def flops(self) -> float | None:
        """Floating-point operations that it took; None where what a step takes was not recorded."""
        per_step = self.curve.flops_per_step
        return None if per_step is None else self.curve.flops_before + per_step * self.curve.final.step


@dataclass(frozen=True)
class Run:
    """One method trained with one seed.

    Where there are held-out translations or several languages, `retrieval` and `languages` are measured before training
    and after every stage.
    """

    curve: Curve  # held-out quality by steps
    rows: Mapping[str, int] | None  # how many target rows were copied, mixed and drawn; None for a new model
    parameters: int
    continuations: Mapping[str, str]  # prompt → greedy continuation; empty unless the model is a decoder
    retrieval: tuple[RetrievalPoint, ...] = ()
    languages: tuple[LanguagePoint, ...] = ()  # the first one first

    def __repr__(self) -> str:
        return f"Run({self.curve.method!r}, seed {self.curve.seed}, {self.parameters:,} parameters)"[:199]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Run":
        """Inverse of `dataclasses.asdict`."""
        retrieval = tuple(RetrievalPoint(**point) for point in data.get("retrieval", ()))
        languages = tuple(LanguagePoint(**point) for point in data.get("languages", ()))
        measured = {"curve": Curve.from_dict(data["curve"]), "retrieval": retrieval, "languages": languages}
        return cls(**{**data, **measured})


@dataclass(frozen=True)
class Results:
    """What a recipe's runs measured, and all that is needed to run them again.

    Args:
        recipe: The resolved recipe as plain data.
        command: The command that made this.
        kind: `encoder`, `decoder` or `encoder-decoder`.
        method: The method whose model was kept.
        runs: One a method and seed.
        corpus: Facts about the text: name, sequences, tokens and bytes.
        versions: Library → version.
        hardware: What it ran on.
        pooling: How the sentence vectors are made that a stage distils; None where none does.
        economies: What the tokenizers of the kept model and of the source cost, where both are compared.
        probes: The candidates among which the kept method was chosen, where there was a probe.
    """

    recipe: Mapping[str, Any]
    command: str
    kind: str
    method: str
    runs: tuple[Run, ...]
    corpus: Mapping[str, Any]
    versions: Mapping[str, str]
    hardware: str
    pooling: str | None = None
    economies: tuple[Economy, ...] = ()
    probes: tuple[Probe, ...] = ()

    def __repr__(self) -> str:
        seeds = len({run.curve.seed for run in self.runs})
        return f"Results({', '.join(self.methods)}; {seeds} {'seed' if seeds == 1 else 'seeds'})"[:199]

    def _repr_html_(self) -> str:
        lines = [
            (row.method, f"{row.start_bits_per_byte:.3f}", f"{row.bits_per_byte:.3f}", f"{row.perplexity:,.1f}")
            for row in self.summaries
        ]
        header = ("method", "bits per byte at the start", "in the end", "perplexity")
        return html_table(header, lines, "Quality on the validation set, means over seeds")

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods in the order they were run."""
        return tuple(self.runs_of)

    @property
    def kept(self) -> tuple[Run, ...]:
        """The runs of the variant whose model was kept."""
        return self.runs_of.get(self.method, ())

    @property
    def runs_of(self) -> dict[str, tuple[Run, ...]]:
        """Method → its runs, one a seed, in the order they were run."""
        methods = dict.fromkeys(run.curve.method for run in self.runs)
        return {method: tuple(run for run in self.runs if run.curve.method == method) for method in methods}

    @property
    def by_method(self) -> dict[str, tuple[Curve, ...]]:
        """Method → its curves, likewise."""
        return {method: tuple(run.curve for run in runs) for method, runs in self.runs_of.items()}

    @property
    def summaries(self) -> tuple[ResultRow, ...]:
        """One summary a method, with the steps it saves against each baseline, and its quality at equal compute."""
        return summarize(self.by_method, BASELINES, self.method)

    def to_json(self) -> str:
        """The file `results.json`: all fields, and a summary a method; like the card, it tells no local paths."""
        summaries = [asdict(summary) for summary in self.summaries]
        public = {"recipe": without_paths(self.recipe), "command": public_command(self.command)}
        return json.dumps({"summaries": summaries, **asdict(self), **public}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def load(cls, path: Path) -> "Results":
        """Read what `to_json` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        del data["summaries"]
        economies = tuple(Economy(**economy) for economy in data.get("economies", ()))
        probes = tuple(map(Probe.from_dict, data.get("probes", ())))
        runs = tuple(map(Run.from_dict, data["runs"]))
        return cls(**{**data, "runs": runs, "economies": economies, "probes": probes})


def hardware() -> str:
    """One line about the machine: processor, cores, accelerator."""
    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores{accelerator}"

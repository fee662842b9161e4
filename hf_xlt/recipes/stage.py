"""Stage: one stretch of a recipe's training, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transformers import SchedulerType

from hf_xlt.arguments import MOST, checked, require_number, require_positive, require_share
from hf_xlt.checkpoint.kind import ModelKind
from hf_xlt.data.objectives import DISTILLATION, OBJECTIVES, PAIR_OBJECTIVES
from hf_xlt.device import PRECISIONS
from hf_xlt.errors import InputError
from hf_xlt.recipes.schema import check_name, one_of, require

TRAINS = ("all", "embeddings", "lora", "new-rows")
ADAPTERS = ("merged", "kept")
LANGUAGES = ("source", "target")
SCHEDULES = tuple(schedule.value for schedule in SchedulerType)


@checked
@dataclass(frozen=True)
class Halves:
    """Two earlier stages that were trained apart: one gives the lower layers, the other the upper ones."""

    lower: str
    upper: str


@checked
@dataclass(frozen=True)
class Stage:
    """One stretch of training, or the meeting of two.

    Args:
        name: What the stage is called in logs and folders.
        steps: Optimizer steps.
        objective: `auto` (from the kind of model), `clm`, `mlm`, `denoise`; on translation pairs `cdlm` or `tlm`, or
            `distill`: a sentence encoder learns to give a sentence the vector that the source gives its translation.
        languages: `source` and `target`. For `mlm` those to train on, in turn, all there are if none is named; for
            objectives on pairs the one that is read and the one that is predicted. Of many languages `source` is the
            first and `target` all others.
        frozen: Parts of a TreLM that stay as they are, e.g. `lower`.
        starts_from: An earlier stage to start from; the one before if none is named.
        combine: In place of training: lower layers from one earlier stage, upper ones from another, the rest averaged.
        trains: `all` parameters; only the `embeddings` (input, output and output bias); `lora` adapters on the body
            beside the embeddings; or of the embeddings only `new-rows`, which the initializer did not copy.
        batch_size: Sequences a forward pass and process.
        accumulation: Forward passes a step.
        sequence_length: Tokens a sequence.
        learning_rate: Peak of the schedule.
        warmup: Share of the steps with rising learning rate.
        schedule: A learning-rate schedule `transformers` knows.
        weight_decay: AdamW's; none where only new rows are trained.
        evaluations: How often held-out quality is measured, evenly spaced, besides before the first step.
        checkpoints: How often training state is saved, evenly spaced, for a killed run to resume from.
        precision: `float32`, or `bfloat16` for mixed precision; weights stay float32.
        compile: Compile the body with `torch.compile`; pays only in long runs.
        lora_rank: Rank of the adapters where `trains` is `lora`.
        adapters: Whether these are `merged` into the weights after the stage or, in the last one, `kept` beside them as
            peft writes them.
        temperature: What cosines are divided by where `distill` tells the right vector from the batch's others.
    """

    name: str = "target"
    steps: int = 1000
    objective: str = "auto"
    languages: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    starts_from: str | None = None
    combine: Halves | None = None
    trains: str = "all"
    batch_size: int = 16
    accumulation: int = 1
    sequence_length: int = 128
    learning_rate: float = 5e-4
    warmup: float = 0.1
    schedule: str = "cosine"
    weight_decay: float = 0.01
    evaluations: int = 10
    checkpoints: int = 5
    precision: str = "float32"
    compile: bool = False
    lora_rank: int = 16
    adapters: str = "merged"
    temperature: float = 0.05

    def __post_init__(self) -> None:
        require(re.fullmatch(r"[\w-]+", self.name) is not None, "stage name", self.name, "letters, digits, - and _")
        check_name("stage name", self.name)
        for name in ("steps", "batch_size", "accumulation", "sequence_length", "evaluations", "lora_rank"):
            value = getattr(self, name)
            require(0 < value <= MOST, f"stage {self.name!r}: {name}", value, f"a number > 0 and at most {MOST:,}")
        require(0 <= self.checkpoints <= MOST, f"stage {self.name!r}: checkpoints", self.checkpoints, "a number ≥ 0")
        for name in ("learning_rate", "temperature"):
            require_positive(f"stage {self.name!r}: {name}", getattr(self, name))
        require_share(f"stage {self.name!r}: warmup", self.warmup, below_one=True)
        require_number(f"stage {self.name!r}: weight_decay", self.weight_decay, least=0)
        one_of(f"stage {self.name!r}: schedule", self.schedule, SCHEDULES)
        one_of(f"stage {self.name!r}: objective", self.objective, ("auto", *OBJECTIVES))
        one_of(f"stage {self.name!r}: trains", self.trains, TRAINS)
        one_of(f"stage {self.name!r}: adapters", self.adapters, ADAPTERS)
        one_of(f"stage {self.name!r}: precision", self.precision, PRECISIONS)
        for language in self.languages:
            one_of(f"stage {self.name!r}: language", language, LANGUAGES)
        if self.on_pairs and len(set(self.languages)) != 2:
            raise InputError(
                f"stage {self.name!r}: languages is {list(self.languages)}; expected two for {self.objective}: "
                "the one that is read and the one that is predicted."
            )
        if self.adapters == "kept" and (self.trains != "lora" or self.distils):
            raise InputError(
                f"stage {self.name!r}: adapters is 'kept'; expected 'merged', as "
                + ("a sentence encoder keeps none." if self.distils else f"it trains {self.trains}, not lora.")
            )

    @property
    def on_pairs(self) -> bool:
        """Whether it trains on translation pairs."""
        return self.objective in PAIR_OBJECTIVES

    @property
    def distils(self) -> bool:
        """Whether it trains a sentence encoder on the source's vectors."""
        return self.objective == DISTILLATION and self.combine is None

    @property
    def follows(self) -> tuple[str, ...]:
        """The stages it names as its beginning."""
        if self.combine is not None:
            return (self.combine.lower, self.combine.upper)
        return () if self.starts_from is None else (self.starts_from,)

    def objective_for(self, kind: ModelKind) -> str:
        """The stage's objective, or the one a kind of model was made for."""
        return kind.objective if self.objective == "auto" else self.objective

    @property
    def evaluate_every(self) -> int:
        """Steps between evaluations."""
        return max(1, self.steps // self.evaluations)

    @property
    def save_every(self) -> int | None:
        """Steps between training checkpoints, or None for none."""
        return max(1, self.steps // self.checkpoints) if self.checkpoints else None

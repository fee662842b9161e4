"""A recipe made ready: its checkpoints open, its tokenizer and rows made, its text packed."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from transformers import TrainerCallback

from hf_xlt.errors import InputError
from hf_xlt.files.folders import check_space
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison, Variant
from hf_xlt.runs.kinds import Kind
from hf_xlt.runs.plan import check_lengths, training_bytes
from hf_xlt.runs.results import Probe
from hf_xlt.runs.text import Text
from hf_xlt.runs.work import end

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A recipe made ready: what is trained, on which text, and where work in progress lives."""

    kind: Kind
    comparison: Comparison
    text: Text
    work: Path
    callbacks: tuple[TrainerCallback, ...] = ()
    own_texts: Mapping[str, Text] = field(default_factory=dict)  # of variants with a tokenizer of their own, by name
    probes: tuple[Probe, ...] = ()  # the candidates that its first variant was chosen among

    @property
    def recipe(self) -> Recipe:
        return self.kind.recipe

    @property
    def kept(self) -> Variant:
        """The variant whose model is kept: the recipe's own."""
        return self.comparison.variants[0]

    def folder(self, variant: Variant, seed: int) -> Path:
        """Where one variant's run with one seed is kept."""
        return self.work / f"{file_name(variant.name)}-seed{seed}"

    def text_of(self, variant: Variant) -> Text:
        """What a variant is trained and measured on: the text of all, or the same by its own tokenizer."""
        return self.own_texts.get(variant.name, self.text)

    def stages_of(self, variant: Variant) -> tuple[Stage, ...]:
        """What a variant is trained in; with a tokenizer of its own, as many steps as reading the same bytes takes."""
        stages = variant.stages or self.recipe.stages
        if variant.name not in self.own_texts:
            return stages
        own = self.own_texts[variant.name]
        return tuple(
            same_bytes(stage, self.text, own, as_in) for stage, as_in in zip(stages, self.recipe.stages, strict=True)
        )


def file_name(variant_name: str) -> str:
    """What the files of a variant are called."""
    return re.sub(r"[^a-z0-9]+", "-", variant_name.lower()).strip("-")


def same_bytes(stage: Stage, text: Text, own: Text, as_in: Stage) -> Stage:
    """A stage with as many steps on `own` as read the bytes of text that stage `as_in` reads on `text`, rounded up."""
    size, own_size = text.sequence_size(as_in), own.sequence_size(stage)
    if size is None or own_size is None:
        return stage
    return stage.replace(max_steps=math.ceil(as_in.max_steps * size.text_bytes / own_size.text_bytes))


def prepare(
    kind: Kind, work: Path, compare: bool, callbacks: tuple[TrainerCallback, ...], *, new: bool = False
) -> Plan:
    """Open the checkpoints, make the tokenizer, pack the text; a new run that is refused leaves nothing behind."""
    try:
        kind.check_inputs()
        logger.info("Making the vocabulary and its rows")
        comparison = kind.comparison(work, compare=compare)
        own = {variant.name: variant.tokenizer for variant in comparison.variants if variant.tokenizer is not None}
        sharing = len(comparison.variants) - len(own)
        configs = [comparison.config] * sharing + [kind.shape(len(tokenizer)) for tokenizer in own.values()]
        check_space(work / "model", training_bytes(configs, len(kind.recipe.seeds)))
        check_lengths(kind.recipe.stages, comparison.config)
        kind.inputs.chat(comparison.tokenizer)
        logger.info("Reading the text")
        text = kind.text(comparison, work)
        own_texts = {
            name: kind.text(replace(comparison, tokenizer=tokenizer), work / file_name(name))
            for name, tokenizer in own.items()
        }
        return Plan(kind, comparison, text, work, callbacks, own_texts)
    except InputError:
        if new:
            end(work)
        raise

"""The text of a run in which stages distil new tokens: snippets around them, beside packed text."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
from datasets import Dataset
from transformers import PreTrainedModel

from hf_xlt.checkpoint.kind import ModelKind
from hf_xlt.data.objectives import OBJECTIVES, Objective, Setting
from hf_xlt.data.sampling import ShuffledStream, Stream
from hf_xlt.data.snippets import Snippets, cut_snippets
from hf_xlt.evaluation.language_model import ValidationSet
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.text import Measured, PackedText, SequenceSize, Text

logger = logging.getLogger(__name__)

NAMED = 5  # tokens that a notice names


@dataclass(frozen=True, kw_only=True)
class SnippetText(Text):
    """Snippets around new tokens, in two segmentations, beside packed text."""

    packed: PackedText  # what stages of language modeling are trained on
    snippets: Mapping[tuple[int, int], Dataset]  # how many of each new token and how long → what stages distil from
    bytes_per_token: float  # of text, by the extended tokenizer

    def objective(self, stage: Stage, kind: ModelKind) -> Objective:
        if not stage.distils_tokens:
            return self.packed.objective(stage, kind)
        return OBJECTIVES[stage.objective].of(Setting(self.tokenizer, layer=stage.layer))

    def validation_set(self, kind: ModelKind) -> ValidationSet:
        return self.packed.validation_set(kind)

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        if not stage.distils_tokens:
            return self.packed.stream(stage, positions, seed)
        return ShuffledStream(self.snippets[stage.snippets, stage.snippet_length], positions, seed)

    def sequence_size(self, stage: Stage) -> SequenceSize | None:
        """Of a snippet; reading it by the source's tokens, without gradients, costs a third of a training pass."""
        if not stage.distils_tokens:
            return self.packed.sequence_size(stage)
        snippets = self.snippets[stage.snippets, stage.snippet_length]
        new, old = (total_length(snippets, name) / len(snippets) for name in ("input_ids", "source_ids"))
        return SequenceSize(tokens=new + old / 3, text_bytes=new * self.bytes_per_token)

    def measure(self, model: PreTrainedModel, step: int) -> Measured:
        return self.packed.measure(model, step)


def total_length(snippets: Dataset, column: str) -> int:
    """Of the lists in a column, together."""
    return int(pc.sum(pc.list_value_length(snippets.data.column(column))).as_py())


def snippet_text(inputs: Inputs, packed: PackedText, cache: Path) -> SnippetText:
    """Cut the snippets that stages ask for, in files of `cache`."""
    tokenizer, source_tokenizer = packed.tokenizer, inputs.source_tokenizer
    asked = {(stage.snippets, stage.snippet_length) for stage in inputs.recipe.stages if stage.distils_tokens}
    cutters = {how: Snippets(tokenizer, source_tokenizer, *how) for how in asked}
    found = {how: cut_snippets(inputs.split, cutter, cache) for how, cutter in cutters.items()}
    for how, cutter in cutters.items():
        if len(missing := cutter.missing(found[how])):
            names = ", ".join(tokenizer.convert_ids_to_tokens(missing[:NAMED].tolist()))
            more = ", …" * (len(missing) > NAMED)
            logger.warning(f"{len(missing):,} new tokens are in no snippet, and keep their rows: {names}{more}")
    size = packed.sizes["target"]
    alone = all(stage.distils_tokens for stage in inputs.recipe.stages)
    return SnippetText(
        tokenizer=tokenizer,
        validation_lines=packed.validation_lines,
        length=packed.length,
        sequences=sum(map(len, found.values())) if alone else packed.sequences,
        tokens=sum(total_length(some, "input_ids") for some in found.values()) if alone else packed.tokens,
        packed=packed,
        snippets=found,
        bytes_per_token=size.text_bytes / size.tokens,
    )

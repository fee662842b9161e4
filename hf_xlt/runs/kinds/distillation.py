"""The distillation of a sentence encoder: a transfer whose stages learn the source's vectors of translations."""

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset, Features, Value
from datasets import Sequence as ListOf
from torch import Tensor
from tqdm.auto import tqdm
from transformers import AutoModel, PreTrainedModel

from hf_xlt.checkpoint.kind import ENCODER, ModelKind, auto_class_name, kind_of
from hf_xlt.data.objectives import OBJECTIVES, Objective, Setting
from hf_xlt.data.packing import fingerprint, memory_mapped
from hf_xlt.data.pairs import tokenized
from hf_xlt.data.sampling import ShuffledStream, Stream
from hf_xlt.data.token_stream import BATCH, Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import ValidationSet
from hf_xlt.evaluation.retrieval import nearness, retrieval
from hf_xlt.evaluation.sentence_encoder import (
    BodyEncoder,
    SentenceHead,
    check_sentence_head,
    sentence_encoder,
    sentence_head,
)
from hf_xlt.hub.card import ResultRow
from hf_xlt.recipes.recipe import Recipe, names_in
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.runs.measured import plot_retrieval
from hf_xlt.runs.results import Results, RetrievalPoint
from hf_xlt.runs.text import Measured, SequenceSize, Text

logger = logging.getLogger(__name__)

RETRIEVAL_FILE = "retrieval.png"
ENOUGH = 200

FEATURES = Features({"input_ids": ListOf(Value("int32")), "teacher": ListOf(Value("float32"))})


class Distillation(Transfer):
    """A transfer of a sentence encoder; stages of language modeling may stand beside those that distil."""

    name = "distillation"
    uses = Transfer.uses - {"calibrate", "probe"}
    replays = False
    reads = frozenset({"text", "sentences"})

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.initializer is not None and recipe.distils

    @classmethod
    def resolved(cls, recipe: Recipe) -> Recipe:
        """Where no corpus is named and no language is modeled, the target side of the pairs is one."""
        recipe = super().resolved(recipe)
        if recipe.data.corpus is not None or not recipe.only_distils:
            return recipe
        return recipe.replace(data=recipe.data.replace(corpus=recipe.data.parallel))

    def heeds(self, evidence: str) -> bool:
        """Pairs are trained on."""
        return evidence == "parallel" or super().heeds(evidence)

    def check_inputs(self) -> None:
        validation = self.inputs.validation_pairs
        if len(validation) < ENOUGH:
            logger.warning(
                f"The validation set has {len(validation)} pairs; P@1 among fewer than {ENOUGH} says little, so look "
                "at cosine and margin. Give more pairs, or hold out more: data.held_out_every=5."
            )
        super().check_inputs()
        source = self.inputs.source
        if (kind := kind_of(source.config)) is not ENCODER:
            expected, hint = "an encoder to distil sentence vectors from", "Leave out the stages that distill."
            raise InputError(f"{source.name} is of the kind {kind.name}", value=kind.name, expected=expected, hint=hint)
        check_sentence_head(source)

    @property
    def evidence(self) -> dict[str, Any]:
        """Rows too are made without the validation pairs."""
        return super().evidence | {"parallel": self.inputs.pairs_to_train_on}

    def text(self, comparison: Comparison, work: Path) -> Text:
        return sentence_text(self.inputs, super().text(comparison, work), work / "distillation")

    def saved_as(self, model_kind: ModelKind) -> Any:
        """One without a head where the source has none and no stage trained one.

        Such a head is measured while the model trains, but it is random, and nobody's use.
        """
        if self.recipe.only_distils and auto_class_name(self.inputs.source.config) == AutoModel.__name__:
            return AutoModel
        return super().saved_as(model_kind)

    def draw(self, results: Results, folder: Path) -> dict[str, str]:
        """The head of a language model is there, but may have been trained by nobody."""
        if not self.recipe.only_distils:
            return super().draw(results, folder)
        plot_retrieval(results, folder / RETRIEVAL_FILE)
        return {"Retrieval of validation pairs": RETRIEVAL_FILE}

    def result_rows(self, results: Results) -> tuple[ResultRow, ...]:
        """None where nothing trained the head that was measured."""
        return () if self.recipe.only_distils else super().result_rows(results)

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The files of pairs where nothing else is trained on."""
        return tuple(names_in((self.recipe.data.parallel,))) if self.recipe.only_distils else super().trained_on


@dataclass(frozen=True, kw_only=True)
class SentenceText(Text):
    """Target sentences and the source model's vectors of their translations, beside packed text."""

    packed: Text  # what stages of language modeling are trained on
    sentence_size: SequenceSize  # of a target sentence that is trained on
    training: Dataset  # `input_ids` of target sentences, framed, and `teacher`, float32 `(d,)`
    sentences: tuple[str, ...]  # the validation set: target sentences that are not trained on
    vectors: Tensor  # the teacher's for them, float32 `(n, d)`
    head: SentenceHead  # what makes one vector of the states of who learns: the source's pooling, and what follows it

    def objective(self, stage: Stage, kind: ModelKind) -> Objective:
        if not stage.distils:
            return self.packed.objective(stage, kind)
        setting = Setting(self.tokenizer, sentence_head=self.head, temperature=stage.temperature)
        return OBJECTIVES[stage.objective].of(setting)

    def validation_set(self, kind: ModelKind) -> ValidationSet:
        return self.packed.validation_set(kind)

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        if stage.distils:
            return ShuffledStream(self.training, positions, seed)
        return self.packed.stream(stage, positions, seed)

    def sequence_size(self, stage: Stage) -> SequenceSize | None:
        return self.sentence_size if stage.distils else self.packed.sequence_size(stage)

    def measure(self, model: PreTrainedModel, step: int) -> Measured:
        """How well a model's vectors of the validation sentences find the teacher's."""
        body = cast(PreTrainedModel, model.base_model)
        vectors = BodyEncoder(body, self.tokenizer, self.head).vectors(self.sentences)
        found, near = retrieval(vectors, self.vectors), nearness(vectors, self.vectors)
        return Measured((RetrievalPoint(step, found.forward, found.backward, near.cosine, near.margin),))


def sentence_text(inputs: Inputs, packed: Text, cache: Path) -> SentenceText:
    """Tokenize the target sides and compute the teacher's vectors of the source sides, once, in files of `cache`.

    The teacher's vectors are the source's own. It is in memory only meanwhile, and not at all where `cache` has them.
    """
    tokenizer, recipe = packed.tokenizer, inputs.recipe
    training, validation = inputs.pairs_to_train_on.pairs, inputs.validation_pairs
    head = sentence_head(inputs.source, tokenizer)
    declared = head.declared
    length = min(packed.length, declared.max_seq_length or packed.length)
    frame = Frame.of(tokenizer)
    pairs = (*training, *validation)
    digest = hashlib.sha256(json.dumps([training, validation]).encode()).digest()
    name = fingerprint(tokenizer, digest, repr((recipe.source, length, declared.label)).encode())

    def batches() -> Iterator[dict[str, list]]:
        teacher = sentence_encoder(inputs.source)
        for start in tqdm(range(0, len(pairs), BATCH), desc="teacher", unit="k pairs", disable=None):
            sources, targets = zip(*pairs[start : start + BATCH], strict=True)
            yield {
                "input_ids": [frame.around(ids) for ids in tokenized(declared.prepared(targets), tokenizer, length)],
                "teacher": list(teacher.vectors(sources).numpy()),
            }

    both = memory_mapped(cache, name, FEATURES, batches)
    to_learn, to_measure = both.select(range(len(training))), both.select(range(len(training), len(both)))
    sentences = tuple(target for _, target in validation)
    alone = recipe.only_distils
    return SentenceText(
        tokenizer=tokenizer,
        validation_lines=sentences if alone else packed.validation_lines,
        length=packed.length,
        sequences=len(to_learn) if alone else packed.sequences,
        tokens=sum(map(len, to_learn["input_ids"])) if alone else packed.tokens,
        packed=packed,
        sentence_size=SequenceSize(
            tokens=fmean(map(len, to_learn["input_ids"])),
            text_bytes=fmean(len(target.encode()) + 1 for _, target in training),
        ),
        training=to_learn,
        sentences=sentences,
        vectors=torch.from_numpy(np.stack(list(to_measure["teacher"]))),
        head=head,
        pooling=declared.label,
    )

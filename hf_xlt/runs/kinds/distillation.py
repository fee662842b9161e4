"""The distillation of a sentence encoder: a transfer whose stages learn the source's vectors of translations."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset, Features, Value
from datasets import Sequence as ListOf
from torch import Tensor
from torch.nn.functional import cosine_similarity
from tqdm.auto import tqdm
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import ENCODER, ModelKind, auto_class_name, kind_of
from hf_xlt.data.objectives import OBJECTIVES, Objective, Setting
from hf_xlt.data.packing import fingerprint, memory_mapped
from hf_xlt.data.pairs import tokenized
from hf_xlt.data.sampling import MixedStream, ShuffledStream, Stream, language_probabilities
from hf_xlt.data.token_stream import BATCH, Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import ValidationSet
from hf_xlt.evaluation.retrieval import nearness, retrieval
from hf_xlt.evaluation.sentence_encoder import (
    BodyEncoder,
    SentenceEncoder,
    SentenceHead,
    check_sentence_head,
    sentence_encoder,
    sentence_head,
)
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.hub.card import ResultRow
from hf_xlt.recipes.recipe import Recipe, names_in
from hf_xlt.recipes.settings import SettingError
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.kinds.transfer import OPENED, Transfer
from hf_xlt.runs.measured import plot_retrieval
from hf_xlt.runs.results import Results, RetrievalPoint
from hf_xlt.runs.text import Measured, SequenceSize, Text

logger = logging.getLogger(__name__)

RETRIEVAL_FILE = "retrieval.png"
ENOUGH = 200
OF_UNTRAINED_HEAD = 50  # validation lines by which a head that no stage trains is measured, for its curve alone

FEATURES = Features({"input_ids": ListOf(Value("int32")), "teacher": ListOf(Value("float32"))})


class Distillation(Transfer):
    """A transfer of a sentence encoder; stages of language modeling may stand beside those that distil."""

    name = "distillation"
    uses = (Transfer.uses | {"data.translations", "data.alpha"}) - {"calibrate", "probe"}
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
        pairs = recipe.data.parallel or tuple(recipe.data.translations.values()) or None
        return recipe.replace(data=recipe.data.replace(corpus=pairs))

    def check(self, *, compare: bool) -> None:
        super().check(compare=compare)
        data = self.recipe.data
        if data.parallel is not None and data.translations:
            problem, hint = "is given beside data.parallel", "Name the file of each language in data.translations."
            raise SettingError("data.translations", problem, value=dict(data.translations), hint=hint)
        if len(data.translations) < 2 and data.alpha != type(data).model_fields["alpha"].default:
            raise SettingError("data.alpha", value=data.alpha, expected="it only with several languages")
        for number, stage in enumerate(self.recipe.stages):
            if stage.entries and data.dictionary is None:
                expected = f"one, as stage {stage.name!r} trains on its entries"
                raise SettingError("data.dictionary", "is missing", expected=expected)
            if stage.replay and stage.trains == "new-rows":
                problem = "has no effect where the source's rows and the body stay as they are"
                raise SettingError(f"stages.{number}.replay", problem, value=stage.replay, hint="Leave it out.")

    def heeds(self, evidence: str) -> bool:
        """Pairs are trained on, and what a stage puts between."""
        between = {"source_corpus": "replay", "dictionary": "entries"}.get(evidence)
        put_between = between is not None and any(getattr(stage, between) for stage in self.recipe.stages)
        return evidence == "parallel" or put_between or super().heeds(evidence)

    def check_inputs(self) -> None:
        for language, (_, validation) in self.inputs.sentence_pairs.items():
            if len(validation) < ENOUGH:
                of = f" of {language}" if language else ""
                logger.warning(
                    f"The validation set{of} has {len(validation)} pairs; P@1 among fewer than {ENOUGH} says little, "
                    "so look at cosine and margin. Give more pairs, or hold out more: data.held_out_every=5."
                )
        super().check_inputs()
        source = self.inputs.source
        if (kind := kind_of(source.config)) is not ENCODER:
            expected, hint = "an encoder to distil sentence vectors from", "Leave out the stages that distill."
            raise InputError(f"{source.name} is of the kind {kind.name}", value=kind.name, expected=expected, hint=hint)
        check_sentence_head(source)

    @property
    def named(self) -> dict[str, Any]:
        """The evidence that the recipe names; the pairs of many languages are evidence together."""
        named = super().named
        if self.recipe.data.translations:
            named["parallel"] = tuple(self.recipe.data.translations.values())
        return named

    @property
    def evidence(self) -> dict[str, Any]:
        """The same, opened; rows too are made without the validation pairs."""
        training = tuple(chain.from_iterable(pairs for pairs, _ in self.inputs.sentence_pairs.values()))
        opened = {name: value for name, value in OPENED.items() if name != "parallel"}
        named = self.named
        found = named | {name: getattr(self.inputs, place) for name, place in opened.items() if name in named}
        return found | {"parallel": ParallelText(training)}

    def text(self, comparison: Comparison, work: Path) -> Text:
        return sentence_text(self.inputs, super().text(comparison, work), work / "distillation")

    def saved_as(self, model_kind: ModelKind) -> Any:
        """One without a head where the source has none and no stage trained one.

        Such a head is random; it is measured while the model trains, and not kept.
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
    def languages(self) -> tuple[str, ...]:
        return tuple(self.recipe.data.translations) or super().languages

    @property
    def trained_on(self) -> tuple[str, ...]:
        """The files of pairs where nothing else is trained on."""
        data = self.recipe.data
        return (
            tuple(names_in((data.parallel, *data.translations.values())))
            if self.recipe.only_distils
            else super().trained_on
        )


@dataclass(frozen=True)
class ValidationPairs:
    """Pairs that are not trained on, and the teacher's vectors of their source sides, float32 `(n, d)`."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    vectors: Tensor


@dataclass(frozen=True, kw_only=True)
class SentenceText(Text):
    """Sentences of all languages and the source model's vectors of them, beside packed text.

    Rows of the datasets are `input_ids`, framed, and `teacher`, float32 `(d,)`.
    """

    packed: Text  # what stages of language modeling are trained on
    of_head: Text  # the text whose quality is measured: a part of it where nothing trains the output head
    sentence_size: SequenceSize  # of a target sentence that is trained on
    targets: Mapping[str, Dataset]  # language → target sentences
    entries: Dataset | None  # the target words of a dictionary, where a stage trains on them
    sources: Dataset | None  # sentences of the source language, where a stage replays them
    validation: Mapping[str, ValidationPairs]  # language → its validation set
    head: SentenceHead  # what makes one vector of the states of who learns: the source's pooling, and what follows it
    alpha: float  # how far languages are sampled by size
    bank: Tensor | None  # the teacher's vectors of the target sentences, where a stage draws from them

    def objective(self, stage: Stage, kind: ModelKind) -> Objective:
        if not stage.distils:
            return self.packed.objective(stage, kind)
        setting = Setting(
            self.tokenizer,
            sentence_head=self.head,
            temperature=stage.temperature,
            negatives=stage.negatives,
            bank=self.bank,
        )
        return OBJECTIVES[stage.objective].of(setting)

    def validation_set(self, kind: ModelKind) -> ValidationSet:
        return self.of_head.validation_set(kind)

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        """Sentences of all languages by their smoothed sizes, entries and source sentences by their shares."""
        if not stage.distils:
            return self.packed.stream(stage, positions, seed)
        sizes = {language: len(part) for language, part in self.targets.items()}
        left = 1 - stage.replay - stage.entries
        parts = [
            (self.targets[language], left * share)
            for language, share in language_probabilities(sizes, self.alpha).items()
        ]
        for beside, share in ((self.entries, stage.entries), (self.sources, stage.replay)):
            if beside is not None and share:
                parts.append((beside, share))
        if len(parts) == 1:
            return ShuffledStream(parts[0][0], positions, seed)
        datasets, shares = zip(*parts, strict=True)
        return MixedStream(datasets, shares, positions, seed)

    def sequence_size(self, stage: Stage) -> SequenceSize | None:
        return self.sentence_size if stage.distils else self.packed.sequence_size(stage)

    def measure(self, model: PreTrainedModel, step: int) -> Measured:
        """How well a model's vectors of the validation sentences find those of their translations.

        These are the teacher's; where source sentences are trained on they are the model's own, as users of one model
        for both languages get them, and how near they are to the teacher's is measured too.
        """
        body = cast(PreTrainedModel, model.base_model)
        encoder = BodyEncoder(body, self.tokenizer, self.head)
        return Measured(tuple(self._point(encoder, step, *each) for each in self.validation.items()))

    def _point(self, encoder: BodyEncoder, step: int, language: str, pairs: ValidationPairs) -> RetrievalPoint:
        targets, sources, kept = encoder.vectors(pairs.targets), pairs.vectors, None
        if self.sources is not None:
            sources = encoder.vectors(pairs.sources)
            kept = float(cosine_similarity(sources, pairs.vectors).mean())
        found, near = retrieval(targets, sources), nearness(targets, sources)
        return RetrievalPoint(step, found.forward, found.backward, near.cosine, near.margin, kept, language)


def sentence_text(inputs: Inputs, packed: Text, cache: Path) -> SentenceText:
    """Tokenize all sentences and compute the teacher's vectors of the source sides, once, in files of `cache`.

    The teacher's vectors are the source's own. It is in memory only meanwhile, and not at all where `cache` has them.
    """
    tokenizer, recipe = packed.tokenizer, inputs.recipe
    head = sentence_head(inputs.source, tokenizer)
    length = min(packed.length, head.declared.max_seq_length or packed.length)
    teacher = TeacherRows(inputs, tokenizer, length, head, cache)
    targets, validation = {}, {}
    for language, (training, held_out) in inputs.sentence_pairs.items():
        both = teacher.rows([*training, *held_out])
        targets[language] = both.select(range(len(training)))
        vectors = np.stack(list(both.select(range(len(training), len(both)))["teacher"]))
        sources, sentences = zip(*held_out, strict=True)
        validation[language] = ValidationPairs(sources, sentences, torch.from_numpy(vectors))
    entries = inputs.dictionary.pairs if inputs.dictionary and any(stage.entries for stage in recipe.stages) else ()
    replayed = source_sentences(inputs) if any(stage.replay for stage in recipe.stages if stage.distils) else ()
    draws = any(stage.negatives for stage in recipe.stages)
    alone, ids = recipe.only_distils, [row for part in targets.values() for row in part["input_ids"]]
    trained = [target for pairs, _ in inputs.sentence_pairs.values() for _, target in pairs]
    return SentenceText(
        tokenizer=tokenizer,
        validation_lines=tuple(chain.from_iterable(pairs.targets for pairs in validation.values()))
        if alone
        else packed.validation_lines,
        length=packed.length,
        sequences=len(ids) if alone else packed.sequences,
        tokens=sum(map(len, ids)) if alone else packed.tokens,
        packed=packed,
        of_head=replace(packed, validation_lines=packed.validation_lines[:OF_UNTRAINED_HEAD]) if alone else packed,
        sentence_size=SequenceSize(
            tokens=fmean(map(len, ids)), text_bytes=fmean(len(target.encode()) + 1 for target in trained)
        ),
        targets=targets,
        entries=teacher.rows(entries) if entries else None,
        sources=teacher.rows([(sentence, sentence) for sentence in replayed]) if replayed else None,
        validation=validation,
        head=head,
        alpha=recipe.data.alpha,
        bank=torch.cat([torch.from_numpy(np.stack(list(part["teacher"]))) for part in targets.values()])
        if draws
        else None,
        pooling=head.declared.label,
    )


def source_sentences(inputs: Inputs) -> list[str]:
    """What is replayed: the source sides of the pairs, and as many lines of a source corpus where there is one."""
    sides = [source for training, _ in inputs.sentence_pairs.values() for source, _ in training]
    lines = () if inputs.data.source_corpus is None else islice(inputs.source_split.training_lines(), len(sides))
    return list(dict.fromkeys(line for line in (*sides, *lines) if line.strip()))


@dataclass(frozen=True)
class TeacherRows:
    """Sentences as they are learned, and the vectors that they should get, in files of `cache`."""

    inputs: Inputs
    tokenizer: PreTrainedTokenizerBase
    length: int
    head: SentenceHead
    cache: Path

    @cached_property
    def _teacher(self) -> SentenceEncoder:
        return sentence_encoder(self.inputs.source)

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        """Sentence → the teacher's vector of it: what is replayed are mostly the sides of pairs."""
        return {}

    def _vectors(self, sentences: Sequence[str]) -> list[np.ndarray]:
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in self._known]
        if new:
            self._known.update(zip(new, self._teacher.vectors(new).numpy(), strict=True))
        return [self._known[sentence] for sentence in sentences]

    def rows(self, pairs: Sequence[tuple[str, str]]) -> Dataset:
        """`input_ids` of the second of each pair, framed, and as `teacher` the source's vector of the first."""
        frame, declared = Frame.of(self.tokenizer), self.head.declared

        def batches() -> Iterator[dict[str, list]]:
            for start in tqdm(range(0, len(pairs), BATCH), desc="teacher", unit="k pairs", disable=None):
                sources, targets = zip(*pairs[start : start + BATCH], strict=True)
                ids = tokenized(declared.prepared(targets), self.tokenizer, self.length)
                yield {
                    "input_ids": [frame.around(row) for row in ids],
                    "teacher": self._vectors(sources),
                }

        digest = hashlib.sha256(json.dumps(list(pairs)).encode()).digest()
        made_for = repr((self.inputs.recipe.source, self.length, declared.label)).encode()
        return memory_mapped(self.cache, fingerprint(self.tokenizer, digest, made_for), FEATURES, batches)

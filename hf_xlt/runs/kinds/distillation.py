"""What the distillation of a sentence encoder learns from: translation pairs, and the source's vectors."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from datasets import Dataset, Features, Value
from datasets import Sequence as ListOf
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import ENCODER, kind_of
from hf_xlt.data.arrow import fingerprint, memory_mapped
from hf_xlt.data.pairs import tokenized
from hf_xlt.data.stream import ShuffledStream
from hf_xlt.data.token_stream import BATCH, Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import nearness, retrieval
from hf_xlt.evaluation.sentence_encoder import (
    BodyEncoder,
    SentenceHead,
    check_sentence_head,
    sentence_encoder,
    sentence_head,
)
from hf_xlt.evidence.skipped import told
from hf_xlt.files.folders import write_whole
from hf_xlt.recipes.recipe import Data, Recipe
from hf_xlt.recipes.schema import require
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.source import source_checkpoint

logger = logging.getLogger(__name__)

ENOUGH_HELD_OUT = 200

FEATURES = Features({"input_ids": ListOf(Value("int32")), "teacher": ListOf(Value("float32"))})


@dataclass(frozen=True)
class RetrievalPoint:
    """P@1 of held-out translation pairs after a number of training steps, found among each other.

    Args:
        step: Training steps.
        to_source: Share of target sentences whose nearest source sentence is their translation.
        from_source: The other way round.
        cosine: The mean cosine of a sentence and its translation; None where it was not measured.
        margin: By how much the translation is nearer than the nearest other sentence, in cosines; a mean, likewise.
    """

    step: int
    to_source: float
    from_source: float
    cosine: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class SentencePairs:
    """Target sentences and the source model's vectors of their translations.

    Args:
        training: `input_ids` of target sentences, framed, and `teacher`, float32 `(d,)`.
        held_out: Target sentences that are not trained on.
        held_out_vectors: The teacher's for them, float32 `(n, d)`.
        head: What makes one vector of the states of who learns: the source's own pooling, and what follows it.
    """

    training: Dataset
    held_out: tuple[str, ...]
    held_out_vectors: Tensor
    head: SentenceHead

    def stream(self, stage: Stage, positions: int, seed: int) -> ShuffledStream:
        """What a stage trains on, in the order of use."""
        return ShuffledStream(self.training, positions, seed)

    def measure(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, step: int) -> RetrievalPoint:
        """How well a model's vectors of the held-out sentences find the teacher's; its mode is restored."""
        vectors = BodyEncoder(cast(PreTrainedModel, model.base_model), tokenizer, self.head).vectors(self.held_out)
        found, near = retrieval(vectors, self.held_out_vectors), nearness(vectors, self.held_out_vectors)
        return RetrievalPoint(step, found.forward, found.backward, near.cosine, near.margin)


def with_corpus(recipe: Recipe) -> Recipe:
    """The recipe; where it names no corpus and only distils, the target side of its pairs is one."""
    if recipe.data.corpus is not None or not recipe.only_distils:
        return recipe
    return replace(recipe, data=replace(recipe.data, corpus=recipe.data.parallel))


def check_distillation(recipe: Recipe) -> None:
    """Refuse what cannot be distilled before anything is learned.

    Raises:
        InputError: If there are no pairs or too few, or the source is no encoder, or its sentence vectors cannot be had
            or cannot be learned by a model with another vocabulary.
    """
    if not recipe.distils:
        return
    told(recipe.data.pairs())
    _, held_out = split_pairs(recipe.data)
    if len(held_out) < ENOUGH_HELD_OUT:
        logger.warning(
            f"Of the translation pairs, {len(held_out)} are held out; P@1 among fewer than {ENOUGH_HELD_OUT} says "
            "little, so look at cosine and margin. Give more pairs, or hold out more: --set data.held_out_every=5."
        )
    checkpoint = source_checkpoint(recipe)
    if (kind := kind_of(checkpoint.config)) is not ENCODER:
        raise InputError(
            f"{checkpoint.name} is of the kind {kind.name}; expected an encoder to distil sentence vectors from. "
            "Leave the stages out whose objective is distill."
        )
    check_sentence_head(checkpoint)


def split_pairs(data: Data) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Training pairs and held-out pairs: every so many-th as of a corpus' lines.

    Raises:
        InputError: If the pairs cannot be read, there are fewer than three, or all would be held out.
    """
    require(data.held_out_every > 1, "data: held_out_every", data.held_out_every, "a number > 1")
    pairs = data.pairs().pairs
    if len(pairs) < 3:
        raise InputError(f"{data.parallel} holds {len(pairs)} translation pairs; expected 3 or more.")
    limit = data.held_out_every * data.held_out_lines
    held_out = pairs[: limit : data.held_out_every]
    training = [pair for i, pair in enumerate(pairs) if i % data.held_out_every or i >= limit]
    return training, list(held_out)


def write_training_pairs(data: Data, path: Path) -> Path:
    """The training pairs as a file, so that rows too are made without the held-out ones."""
    training, _ = split_pairs(data)
    write_whole(path, "".join(f"{source}\t{target}\n" for source, target in training))
    return path


def read_sentence_pairs(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, cache: Path) -> SentencePairs:
    """Tokenise the target sides and compute the teacher's vectors of the source sides, once.

    The teacher's vectors are the source's own. It is in memory only meanwhile, and not at all where `cache` has them.

    Args:
        recipe: With a source and translation pairs.
        tokenizer: The target's.
        cache: Folder for the Arrow files; a second call with the same content reads them again.
    """
    parts = split_pairs(recipe.data)
    checkpoint = source_checkpoint(recipe)
    head = sentence_head(checkpoint, tokenizer)
    length = min(recipe.stages[0].sequence_length, head.max_seq_length or recipe.stages[0].sequence_length)
    frame = Frame.of(tokenizer)
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    name = fingerprint(tokenizer, digest, repr((recipe.source, length, head.pooling)).encode())
    pairs = [pair for part in parts for pair in part]

    def batches() -> Iterator[dict[str, list]]:
        teacher = sentence_encoder(checkpoint)
        for start in tqdm(range(0, len(pairs), BATCH), desc="teacher", unit="k pairs", disable=None):
            sources, targets = zip(*pairs[start : start + BATCH], strict=True)
            yield {
                "input_ids": [frame.around(ids) for ids in tokenized(head.prepared(targets), tokenizer, length)],
                "teacher": list(teacher.vectors(sources).numpy()),
            }

    both = memory_mapped(cache, name, FEATURES, batches)
    border = len(parts[0])
    held_out = both.select(range(border, len(both)))
    vectors = torch.from_numpy(np.stack(list(held_out["teacher"])))
    return SentencePairs(both.select(range(border)), tuple(target for _, target in parts[1]), vectors, head)

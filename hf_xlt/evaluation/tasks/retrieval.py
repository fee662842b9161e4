"""Sentence retrieval: is a sentence's translation found among all sentences of the other language?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics.precision import PrecisionAt1
from hf_xlt.evaluation.retrieval import (
    ALL_LAYERS,
    LAST_LAYER,
    nearest,
    nearest_by_margin,
    retrieval,
    sentence_vectors,
)
from hf_xlt.evaluation.tasks.direct import DirectTask, ModelAsked, Outcome
from hf_xlt.evaluation.tasks.encoder import Encoder, Side
from hf_xlt.evaluation.tasks.pairs import Pairs

_SCORES = {"p@1": (0, 1), "forward": (0,), "backward": (1,), "margin_p@1": (2, 3)}


@dataclass(frozen=True)
class SentenceRetrieval(DirectTask):
    """Share of sentences whose translation is their nearest by cosine, mean of both directions.

    Sentences are the means of their tokens' states, of the layer that is best on a dev file and else of the last one.
    The source sentences are encoded by the model itself, and where a `source` is given by that checkpoint, whole, with
    its last layer: the vectors that a model made from it and trained on the target language alone is to agree with.
    """

    name: ClassVar[str] = "retrieval"
    headline: ClassVar[str] = "p@1"
    summary: ClassVar[str] = "P@1 of translations among the sentences of a parallel text, both ways, and by margin"
    roles: ClassVar[Mapping[str, bool]] = {"test": True, "dev": False}

    def metric(self) -> PrecisionAt1:
        """Counts of each pair: 1, and whether it was found forward and backward, by cosine and by margin."""
        return PrecisionAt1(_SCORES)

    def measure(self, model: ModelAsked, places: Mapping[str, str]) -> Outcome:
        """Encode both sides and look for translations.

        Raises:
            InputError: If a table holds fewer than two pairs, or the model or its source is no encoder, or their states
                differ in width.
        """
        tables = {role: Pairs.read(place) for role, place in places.items()}
        encoders = _Encoders.open(model)
        dev = tables.get("dev")
        layer = LAST_LAYER if dev is None else _best_layer(*encoders.vectors(dev, ALL_LAYERS))
        sources, targets = (vectors[0] for vectors in encoders.vectors(tables["test"], layer))
        found = torch.stack([*nearest(sources, targets), *nearest_by_margin(sources, targets)], dim=1)
        notes: dict[str, str | int | float] = {
            "layer": "the last, as there is no dev file" if dev is None else f"{layer.start}, the best on dev",
            "source sentences by": encoders.source.name,
            "skipped": tables["test"].skipped,
            "truncated": encoders.truncated(tables["test"]),
        }
        return Outcome(self.metric().counts(found.tolist(), [[i] for i in range(len(found))]), notes)


@dataclass(frozen=True, eq=False)
class _Encoders:
    """What encodes the source sentences and what the target ones; one encoder for both, or two."""

    source: Encoder
    target: Encoder

    @classmethod
    def open(cls, asked: ModelAsked) -> _Encoders:
        target = Encoder.open(replace(asked, source=None))
        if asked.source is None:
            return cls(target, target)
        source = Encoder.open(replace(asked, name=asked.source, source=None, languages=None))
        widths = [encoder.model.config.hidden_size for encoder in (source, target)]
        if widths[0] != widths[1]:
            raise InputError(
                f"The states of {source.name} have width {widths[0]}, those of {target.name} {widths[1]}; give the "
                "checkpoint that the model was made from as its source."
            )
        return cls(source, target)

    def vectors(self, pairs: Pairs, layers: slice) -> tuple[Tensor, Tensor]:
        """Sentence vectors `(layers, n, d)` of both sides; those of a source of its own are the same for all layers."""
        sources, targets = zip(*pairs.entries, strict=True)
        of_targets = _vectors(self.target, "target", targets, layers)
        if self.source is self.target:
            return _vectors(self.source, "source", sources, layers), of_targets
        return _vectors(self.source, "source", sources, LAST_LAYER).expand_as(of_targets), of_targets

    def truncated(self, pairs: Pairs) -> int:
        """Sentences of either side that are longer than the positions."""
        sources, targets = zip(*pairs.entries, strict=True)
        return _too_long(self.source, "source", sources) + _too_long(self.target, "target", targets)


def _vectors(encoder: Encoder, side: Side, texts: Sequence[str], layers: slice) -> Tensor:
    tokenizer = encoder.read(side)
    return sentence_vectors(encoder.model, tokenizer, texts, layers=layers)


def _too_long(encoder: Encoder, side: Side, texts: Sequence[str]) -> int:
    ids = encoder.readings[side].tokenizer(list(texts), verbose=False)["input_ids"]
    return sum(len(of_text) > encoder.longest for of_text in ids)


def _best_layer(sources: Tensor, targets: Tensor) -> slice:
    """The layer with the highest mean P@1; of equals the last, which is the one that is taken without a dev file."""
    found = [retrieval(*vectors) for vectors in zip(sources, targets, strict=True)]
    _, layer = max((both.forward + both.backward, layer) for layer, both in enumerate(found))
    return slice(layer, layer + 1)

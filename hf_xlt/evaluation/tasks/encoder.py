"""An encoder that reads two languages: the one a task is learned in, and the one it is done in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.body import check_body
from hf_xlt.checkpoint.kind import kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language import refuse_languages, require_languages, tokenizer_of
from hf_xlt.evaluation.positions import positions
from hf_xlt.evaluation.quiet import quiet
from hf_xlt.evaluation.tasks.direct import ModelAsked
from hf_xlt.trelm import TreLMPreTrainedModel

Side = Literal["source", "target"]
SIDES: tuple[Side, ...] = ("source", "target")


@dataclass(frozen=True, eq=False)
class Reading:
    """How an encoder reads one language: by a tokenizer, and embeddings or a language of its own where these change."""

    tokenizer: PreTrainedTokenizerBase
    embeddings: nn.Embedding | None = None
    language: str | None = None


@dataclass(frozen=True, eq=False)
class Encoder:
    """A headless encoder, and how it reads either language.

    A model whose vocabulary was replaced reads the source language with the source's rows: the body is the same, its
    embeddings are switched (RAMEN's zero-shot transfer, Tran 2020 §3). A TreLM switches its language. A model with one
    vocabulary for both reads both alike.

    Args:
        name: The checkpoint's.
        model: Headless.
        readings: Side → how it is read.
    """

    name: str
    model: PreTrainedModel
    readings: dict[Side, Reading]

    @classmethod
    def open(cls, asked: ModelAsked, dropout: float | None = None) -> Encoder:
        """Open a checkpoint.

        Args:
            asked: Which one, and what reads the source language.
            dropout: Wherever the checkpoint drops something; None for what its configuration says.

        Raises:
            InputError: If it cannot be opened, is no encoder, or source and model do not fit each other.
        """
        name, source, trust_remote_code = asked.name, asked.source, asked.trust_remote_code
        checkpoint = Checkpoint.open(name, trust_remote_code=trust_remote_code)
        refuse_languages(checkpoint, asked.languages)
        kind = kind_of(checkpoint.config)
        if kind.name != "encoder":
            raise InputError(f"{name} is a {kind.name}; these tasks are done by encoders (BERT and its kin).")
        model = headless(checkpoint, trust_remote_code, dropout)
        tokenizer = checkpoint.tokenizer()
        if isinstance(model, TreLMPreTrainedModel):
            readings = _languages(checkpoint, asked.languages)
        elif source is not None:
            own = cast(nn.Embedding, model.get_input_embeddings())
            readings = {
                "source": _rows_of(source, own.embedding_dim, name, trust_remote_code),
                "target": Reading(tokenizer, own),
            }
        else:
            readings = {"source": Reading(tokenizer), "target": Reading(tokenizer)}
        model.to(device=torch.accelerator.current_accelerator() or "cpu")  # type: ignore[call-arg]
        return cls(name, model.eval(), readings)

    @property
    def switches(self) -> bool:
        """Whether the languages have embeddings of their own, so that training must leave these alone."""
        own_rows = any(reading.embeddings is not None for reading in self.readings.values())
        return own_rows or getattr(self.model.config, "separate_embeddings", False)

    @property
    def longest(self) -> int:
        """Tokens a sequence may have."""
        limits = [reading.tokenizer.model_max_length for reading in self.readings.values()]
        return min(*limits, positions(self.model))

    def read(self, side: Side) -> PreTrainedTokenizerBase:
        """Make the encoder read a side, and return that side's tokenizer."""
        reading = self.readings[side]
        if reading.embeddings is not None:
            self.model.set_input_embeddings(reading.embeddings.to(self.model.device))
        if reading.language is not None:
            cast(TreLMPreTrainedModel, self.model).set_language(reading.language)
        return reading.tokenizer


def headless(checkpoint: Checkpoint, trust_remote_code: bool, dropout: float | None = None) -> PreTrainedModel:
    """The body of a checkpoint, in float32.

    Raises:
        InputError: If it is not finite, or all zeros.
    """
    check_body(checkpoint)
    settings = {} if dropout is None else checkpoint.config.to_dict()
    changed = {name: dropout for name, value in settings.items() if "dropout" in name and isinstance(value, float)}
    with quiet():
        model = AutoModel.from_pretrained(
            checkpoint.body, dtype=torch.float32, trust_remote_code=trust_remote_code, **changed
        )
    return cast(PreTrainedModel, model)


def _languages(checkpoint: Checkpoint, languages: tuple[str, str] | None) -> dict[Side, Reading]:
    source, target = languages or tuple(checkpoint.config.languages)[:2]
    require_languages(checkpoint, (source, target))
    return {
        "source": Reading(tokenizer_of(checkpoint, source), language=source),
        "target": Reading(tokenizer_of(checkpoint, target), language=target),
    }


def _rows_of(source: str, width: int, name: str, trust_remote_code: bool) -> Reading:
    checkpoint = Checkpoint.open(source, trust_remote_code=trust_remote_code)
    embeddings = cast(nn.Embedding, headless(checkpoint, trust_remote_code).get_input_embeddings())
    if embeddings.embedding_dim != width:
        raise InputError(
            f"The rows of {source} have width {embeddings.embedding_dim}, those of {name} {width}; give the checkpoint "
            "that the model was made from as its source."
        )
    return Reading(checkpoint.tokenizer(), embeddings)

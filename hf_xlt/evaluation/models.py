"""Checkpoints opened to be measured: encoders that read two languages, and language models with their heads."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
import transformers
from torch import nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import ModelKind, auto_class_name, kind_of
from hf_xlt.checkpoint.open import Checkpoint, check_body
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.device import best_device
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.trelm import TreLMConfig, TreLMPreTrainedModel

Side = Literal["source", "target"]
SIDES: tuple[Side, ...] = ("source", "target")
SOURCE_TOKENIZER = "source_tokenizer"
"""Where a saved model keeps the first language's tokenizer, if each has one; the default one's lies at the root."""

_POSITIONS = 512  # where a configuration names none
_NAMED = 3


@dataclass(frozen=True, eq=False)
class LanguageSetup:
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
    """

    name: str
    model: PreTrainedModel = field(repr=False)
    setups: dict[Side, LanguageSetup] = field(repr=False)

    @classmethod
    def open(cls, spec: ModelSpec, dropout: float | None = None) -> "Encoder":
        """Open a checkpoint; its dropout, wherever there is some, is replaced if one is given."""
        checkpoint = Checkpoint.open(spec.name, trust_remote_code=spec.trust_remote_code)
        check_languages(checkpoint, spec.languages)
        kind = kind_of(checkpoint.config)
        if kind.name != "encoder":
            raise InputError(
                f"{spec.name} is a {kind.name}", value=kind.name, expected="an encoder, such as BERT, for this task"
            )
        model = open_body(checkpoint, dropout)
        tokenizer = checkpoint.tokenizer()
        setups = {side: LanguageSetup(tokenizer) for side in SIDES}
        if isinstance(model, TreLMPreTrainedModel):
            languages = spec.languages or tuple(checkpoint.config.languages)[:2]
            setups = {
                side: LanguageSetup(tokenizer_of(checkpoint, language), language=language)
                for side, language in zip(SIDES, languages, strict=True)
            }
        elif spec.source is not None:
            own = cast(nn.Embedding, model.get_input_embeddings())
            setups = {"source": _rows_of(spec, own.embedding_dim), "target": LanguageSetup(tokenizer, own)}
        model.to(device=best_device())  # type: ignore[call-arg]
        return cls(spec.name, model.eval(), setups)

    @property
    def switches(self) -> bool:
        """Whether the languages have embeddings of their own, so that training must leave these alone."""
        own_rows = any(setup.embeddings is not None for setup in self.setups.values())
        return own_rows or getattr(self.model.config, "separate_embeddings", False)

    @property
    def max_length(self) -> int:
        """Tokens a sequence may have."""
        return longest(self.model, *(setup.tokenizer for setup in self.setups.values()))

    def switch_to(self, side: Side) -> PreTrainedTokenizerBase:
        """Make the encoder read a side, and return that side's tokenizer."""
        setup = self.setups[side]
        if setup.embeddings is not None:
            self.model.set_input_embeddings(setup.embeddings.to(self.model.device))
        if setup.language is not None:
            cast(TreLMPreTrainedModel, self.model).set_language(setup.language)
        return setup.tokenizer


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A language model whose head was trained, in float32 and evaluation mode, and its tokenizer."""

    name: str
    kind: ModelKind
    model: PreTrainedModel = field(repr=False)
    tokenizer: PreTrainedTokenizerBase = field(repr=False)

    @classmethod
    def open(cls, spec: ModelSpec) -> "LanguageModel":
        """Open a checkpoint; a multilingual model in the target language, if one is named."""
        checkpoint = Checkpoint.open(spec.name, trust_remote_code=spec.trust_remote_code)
        check_languages(checkpoint, spec.languages and spec.languages[1:])
        tokenizer, kind = checkpoint.tokenizer(), kind_of(checkpoint.config)
        check_body(checkpoint)
        with quiet():
            model, loading = kind.auto_class.from_pretrained(
                checkpoint.body,
                config=checkpoint.config,
                dtype=torch.float32,
                trust_remote_code=spec.trust_remote_code,
                output_loading_info=True,
            )
        if missing := sorted(loading["missing_keys"]):
            wanted = type(model).__name__
            saved = ", ".join(checkpoint.config.architectures or ()) or "no architecture"
            names = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
            raise InputError(
                f"{spec.name} was saved as {saved}, without weights that {wanted} would then draw at random: {names}",
                value=saved,
                expected="a checkpoint saved with a trained language-modeling head",
                hint="Train one: hf-xlt run --help.",
                path=checkpoint.folder,
            )
        if spec.languages is not None:
            tokenizer = tokenizer_of(checkpoint, spec.languages[1])
            model.set_language(spec.languages[1])
        return cls(spec.name, kind, model.to(best_device()).eval(), tokenizer)

    @property
    def max_length(self) -> int:
        """Tokens a sequence may have."""
        return longest(self.model, self.tokenizer)


def open_body(checkpoint: Checkpoint, dropout: float | None = None) -> PreTrainedModel:
    """The body of a checkpoint, in float32."""
    check_body(checkpoint)
    settings = {} if dropout is None else checkpoint.config.to_dict()
    changed = {name: dropout for name, value in settings.items() if "dropout" in name and isinstance(value, float)}
    own_code = getattr(checkpoint.config, "auto_map", None)
    bare = not own_code or "AutoModel" in own_code  # code of a checkpoint's own may open it with its head alone
    auto_class = AutoModel if bare else getattr(transformers, auto_class_name(checkpoint.config))
    with quiet():
        model = auto_class.from_pretrained(
            checkpoint.body, dtype=torch.float32, trust_remote_code=checkpoint.trust_remote_code, **changed
        )
    return cast(PreTrainedModel, model if bare else model.base_model)


def longest(model: PreTrainedModel, *tokenizers: PreTrainedTokenizerBase) -> int:
    """The number of tokens a sequence may have; models like RoBERTa count positions from after their padding id."""
    rows = getattr(model.config, "max_position_embeddings", None) or _POSITIONS
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    before = [table.padding_idx + 1 for table in tables if isinstance(getattr(table, "padding_idx", None), int)]
    return int(min(rows - max(before, default=0), *(tokenizer.model_max_length for tokenizer in tokenizers)))


@contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Log errors alone of some libraries, by default of those that open models: not of weights that a body lacks."""
    names = libraries or ("transformers", "sentence_transformers")
    loggers = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def check_languages(checkpoint: Checkpoint, languages: Sequence[str] | None) -> None:
    """Refuse languages that a TreLM does not have, and any of another model: they would have no effect."""
    known = checkpoint.config.languages if isinstance(checkpoint.config, TreLMConfig) else ()
    unknown = [language for language in languages or () if language not in known]
    if unknown and known:
        raise InputError(
            f"{checkpoint.name} has no language {unknown[0]!r}", value=unknown[0], expected=f"one of {', '.join(known)}"
        )
    if unknown:
        raise InputError(
            f"{checkpoint.name} has no languages to choose from, but is to read {', '.join(unknown)}",
            value=languages,
            expected="none for a model that is not a TreLM",
            hint="Leave languages out.",
        )


def tokenizer_of(checkpoint: Checkpoint, language: str) -> PreTrainedTokenizerBase:
    """The tokenizer of one of a TreLM's languages."""
    config, beside = checkpoint.config, checkpoint.folder / SOURCE_TOKENIZER
    if not config.separate_embeddings or language == config.default_language:
        return checkpoint.tokenizer()
    if language != config.languages[0] or not beside.is_dir():
        raise InputError(
            f"{checkpoint.name} has a vocabulary for each language, but no tokenizer for {language!r}",
            value=language,
            expected=f"that of {config.default_language!r} beside the weights, that of {config.languages[0]!r} in "
            f"{SOURCE_TOKENIZER}",
            hint="Save it there, or make it the default language and save its tokenizer.",
            path=checkpoint.folder,
        )
    return open_tokenizer(beside, trust_remote_code=checkpoint.trust_remote_code)


def check_widths(what: str, source: str, width: int, model: str, wanted: int) -> None:
    """Refuse a source whose rows or vectors are not as wide as the model's."""
    if width != wanted:
        raise InputError(
            f"The {what} of {source} have width {width}, those of {model} {wanted}",
            value=source,
            expected="one width",
            hint="Give the checkpoint that the model was made from as its source.",
        )


def _rows_of(spec: ModelSpec, width: int) -> LanguageSetup:
    checkpoint = Checkpoint.open(str(spec.source), trust_remote_code=spec.trust_remote_code)
    embeddings = cast(nn.Embedding, open_body(checkpoint).get_input_embeddings())
    check_widths("rows", str(spec.source), embeddings.embedding_dim, spec.name, width)
    return LanguageSetup(checkpoint.tokenizer(), embeddings)

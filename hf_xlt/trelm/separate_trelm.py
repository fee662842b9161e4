"""What each language has for itself; where vocabularies are separate, word embeddings, output weights and bias."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from .configuration_trelm import TreLMConfig


def own_name(language: str) -> str:
    """The name of a language's own modules; the prefix is there since `to`, Tongan, is the name of a method."""
    return f"lang_{language}"


def name_of(name: str, language: str) -> str:
    """What a tensor is called where each language has one of its own."""
    module, _, tensor = name.rpartition(".")
    return f"{module}.{own_name(language)}.{tensor}"


class LanguageModules(nn.Module):
    """One module a language, under `own_name`."""

    def __init__(self, config: TreLMConfig, make: Callable[[str], nn.Module]) -> None:
        super().__init__()
        self.config = config
        for language in config.languages:
            self[language] = make(language)

    def __getitem__(self, language: str) -> nn.Module:
        return cast(nn.Module, getattr(self, own_name(language)))

    def __setitem__(self, language: str, module: nn.Module) -> None:
        setattr(self, own_name(language), module)

    @property
    def default(self) -> nn.Module:
        """The default language's."""
        return self[str(self.config.default_language)]


class SeparateEmbedding(LanguageModules):
    """Word embeddings with a table for each language."""

    def __init__(self, config: TreLMConfig) -> None:
        width = config.embedding_size or config.hidden_size

        def table(language: str) -> nn.Embedding:
            vocabulary = config.vocabulary(language)
            return nn.Embedding(vocabulary["vocab_size"] or 0, width, padding_idx=vocabulary["pad_token_id"])

        super().__init__(config, table)

    def forward(self, input_ids: Tensor, lang_ids: Tensor | None = None) -> Tensor:
        """Embeddings `(b, s, embedding_size)` of ids `(b, s)`.

        Every table is looked into for every position, with id 0 for texts of other languages: shapes do not depend
        on who speaks what, so that nothing waits for an accelerator and a compiled model stays one graph.

        Args:
            input_ids: int64 `(b, s)`, ids of each text's own language.
            lang_ids: int64 `(b, 1)` or `(b, s)`; None for the default language.

        Raises:
            ValueError: If an id is not below its language's `vocab_size`. On an accelerator, where looking would make
                the host wait, and in compiled code the look-up itself fails.
        """
        check_ids(input_ids, lang_ids, self.config)
        if lang_ids is None:
            return self.default(input_ids)
        chosen = [lang_ids == number for number in range(len(self.config.languages))]
        looked_up = [
            self[language](input_ids.where(which, 0))
            for language, which in zip(self.config.languages, chosen, strict=True)
        ]
        words = looked_up[0]
        for which, of_language in zip(chosen[1:], looked_up[1:], strict=True):
            words = torch.where(which[..., None], of_language, words)
        return words

    def is_token(self, input_ids: Tensor, lang_ids: Tensor) -> Tensor:
        """Bool `(b, s)`, false where an id is its language's padding; arguments as in `forward`."""
        is_token = torch.ones_like(input_ids, dtype=torch.bool)
        for number, language in enumerate(self.config.languages):
            pad = self.config.vocabulary(language)["pad_token_id"]
            if pad is not None:
                is_token = is_token & ((lang_ids != number) | (input_ids != pad))
        return is_token


class SeparateDecoder(LanguageModules):
    """Output layer with weights and a bias for each language."""

    def __init__(self, config: TreLMConfig) -> None:
        width = config.embedding_size or config.hidden_size
        super().__init__(config, lambda language: nn.Linear(width, config.vocabulary(language)["vocab_size"] or 0))

    def forward(self, states: Tensor, lang_ids: Tensor | None = None) -> Tensor:
        """Logits over the vocabulary of each state's own language.

        Args:
            states: `(…, embedding_size)`.
            lang_ids: int64 `(…)`, the language of each; None for the default language.

        Returns:
            Without `lang_ids` logits `(…, vocab_size)` of the default language; with them `(…, widest)`, as wide as
            the largest vocabulary of any language: after the end of a smaller one they are the lowest number of their
            dtype, whose share of a softmax is zero.
        """
        if lang_ids is None:
            return self.default(states)
        chosen = [lang_ids == number for number in range(len(self.config.languages))]
        own = [self[language](states[which]) for language, which in zip(self.config.languages, chosen, strict=True)]
        widest = max(logits.shape[-1] for logits in own)
        logits = own[0].new_full((*lang_ids.shape, widest), torch.finfo(own[0].dtype).min)
        for which, of_language in zip(chosen, own, strict=True):
            logits[..., : of_language.shape[-1]][which] = of_language
        return logits


def check_ids(ids: Tensor, lang_ids: Tensor | None, config: TreLMConfig) -> None:
    """Refuse ids that the vocabulary of their language does not have, where looking costs nothing."""
    if not ids.is_cpu or torch.compiler.is_compiling():
        return
    for number, language in enumerate(config.languages):
        size = config.vocabulary(language)["vocab_size"] or 0
        spoken = language == config.default_language if lang_ids is None else lang_ids == number
        beyond = ids[(ids >= size) & spoken]
        if len(beyond):
            raise ValueError(
                f"Token id {beyond[0]} stands in a text of {language!r}, whose vocabulary has {size} rows; expected "
                "ids below. Cut each text with the tokenizer of its own language, and tell the language by lang_ids."
            )


def check_languages(lang_ids: Tensor, config: TreLMConfig) -> None:
    """Refuse ids of languages that the model does not have, where looking costs nothing.

    On an accelerator it would make the host wait; there the table's own look-up fails.
    """
    if not lang_ids.is_cpu or torch.compiler.is_compiling():
        return
    known = config.languages
    unknown = lang_ids[(lang_ids < 0) | (lang_ids >= len(known))]
    if len(unknown):
        names = ", ".join(f"{number} ({language})" for number, language in enumerate(known))
        raise ValueError(
            f"Language id {unknown[0]} is not one of this model's: {names}. "
            "Take ids from config.language_id, and name every language when the model is made."
        )


__all__ = [
    "LanguageModules",
    "SeparateDecoder",
    "SeparateEmbedding",
    "check_ids",
    "check_languages",
    "name_of",
    "own_name",
]

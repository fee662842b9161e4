"""Which tokenizer reads a language of a model of several."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.trelm import TreLMConfig

# Where a saved model keeps the first language's tokenizer, if each has one; the default one's lies at the root.
SOURCE_TOKENIZER = "source_tokenizer"


def require_languages(checkpoint: Checkpoint, languages: Sequence[str]) -> None:
    """Refuse languages that a TreLM does not have.

    Raises:
        InputError: If there is one.
    """
    known = checkpoint.config.languages
    if unknown := [language for language in languages if language not in known]:
        raise InputError(f"{checkpoint.name} has no language {unknown[0]!r}; it has {', '.join(known)}.")


def refuse_languages(checkpoint: Checkpoint, languages: Sequence[str] | None) -> None:
    """Refuse languages named for a model that is not of several: they would have no effect.

    Raises:
        InputError: If it is not a TreLM and there are some.
    """
    if languages is not None and not isinstance(checkpoint.config, TreLMConfig):
        raise InputError(
            f"{checkpoint.name} has no languages to choose from, but is to read {', '.join(languages)}",
            value=languages,
            expected="none for a model that is not a TreLM",
            hint="Leave --languages out.",
        )


def tokenizer_of(checkpoint: Checkpoint, language: str) -> PreTrainedTokenizerBase:
    """The tokenizer of one of a TreLM's languages.

    Raises:
        InputError: If each language has a vocabulary, and this one's tokenizer is not in the folder.
    """
    config, beside = checkpoint.config, checkpoint.folder / SOURCE_TOKENIZER
    if not config.separate_embeddings or language == config.default_language:
        return checkpoint.tokenizer()
    if language != config.languages[0] or not beside.is_dir():
        raise InputError(
            f"{checkpoint.name} has a vocabulary for each language, but no tokenizer for {language!r}; expected that "
            f"of {config.default_language!r} beside the weights, that of {config.languages[0]!r} in "
            f"{SOURCE_TOKENIZER}. Save it there, or make it the default language and save its tokenizer."
        )
    return open_tokenizer(beside, trust_remote_code=checkpoint.trust_remote_code)

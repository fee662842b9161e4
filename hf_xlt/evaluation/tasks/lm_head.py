"""A language model with the head it was trained with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.body import check_body
from hf_xlt.checkpoint.kind import ModelKind, kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language import refuse_languages, require_languages, tokenizer_of
from hf_xlt.evaluation.positions import positions
from hf_xlt.evaluation.quiet import quiet
from hf_xlt.evaluation.tasks.direct import ModelAsked

_NAMED = 3


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A language model whose head was trained, and its tokenizer.

    Args:
        name: The checkpoint's.
        kind: Encoder, decoder or encoder-decoder.
        model: With its head, in float32, in evaluation mode.
        tokenizer: Its own.
    """

    name: str
    kind: ModelKind
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def open(cls, asked: ModelAsked) -> LanguageModel:
        """Open a checkpoint; a model of several languages in the target language, if one is named.

        Raises:
            InputError: If it cannot be opened, lacks weights (of its head, mostly), or does not know the language.
        """
        trust = asked.trust_remote_code
        checkpoint = Checkpoint.open(asked.name, trust_remote_code=trust)
        refuse_languages(checkpoint, asked.languages)
        tokenizer, kind = checkpoint.tokenizer(), kind_of(checkpoint.config)
        check_body(checkpoint)
        with quiet():
            model, loading = kind.auto_class.from_pretrained(
                checkpoint.body,
                config=checkpoint.config,
                dtype=torch.float32,
                trust_remote_code=trust,
                output_loading_info=True,
            )
        if missing := sorted(loading["missing_keys"]):
            raise InputError(_headless(checkpoint, type(model).__name__, missing))
        if asked.languages is not None:
            require_languages(checkpoint, asked.languages[1:])
            tokenizer = tokenizer_of(checkpoint, asked.languages[1])
            model.set_language(asked.languages[1])
        model.to(torch.accelerator.current_accelerator() or "cpu")
        return cls(asked.name, kind, model.eval(), tokenizer)

    @property
    def longest(self) -> int:
        """Tokens a sequence may have."""
        return min(self.tokenizer.model_max_length, positions(self.model))


def _headless(checkpoint: Checkpoint, wanted: str, missing: list[str]) -> str:
    saved = ", ".join(checkpoint.config.architectures or ()) or "no architecture"
    names = ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
    return (
        f"{checkpoint.name} was saved as {saved}, without weights that {wanted} would then draw at random: "
        f"{names}. Give a checkpoint saved with a trained language-modelling head, or train one: hf-xlt run --help."
    )

"""Checkpoints that are to read a language: checked before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.body import check_body
from hf_xlt.checkpoint.kind import auto_class_name
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language import tokenizer_of
from hf_xlt.evaluation.sentence_encoder import LayerPooling
from hf_xlt.evaluation.structure.sample import Side
from hf_xlt.evaluation.structure.states import States, encode
from hf_xlt.trelm import TreLMConfig


@dataclass(frozen=True, eq=False)
class Reader:
    """A checkpoint and how it reads one language.

    Attributes:
        checkpoint: Opened, not loaded.
        tokenizer: Cuts the language; pads on the right.
        language: The language a TreLM model is set to; None for any other model.
        pooling: How a sentence's tokens become one vector.
    """

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    language: str | None = None
    pooling: LayerPooling = field(default_factory=LayerPooling)

    @classmethod
    def open(cls, name_or_folder: str, language: str | None = None, *, trust_remote_code: bool = False) -> Reader:
        """Open a checkpoint of any text model: an encoder; of an encoder-decoder the encoder is taken.

        Args:
            name_or_folder: A Hub id or a folder.
            language: For a TreLM model, the one of its languages that it is to read. Where each has a vocabulary of
                its own, the default language's tokenizer is beside the weights, the first one's in `source_tokenizer`.
            trust_remote_code: Run code that the checkpoint brings.

        Raises:
            InputError: If it cannot be opened, cannot pad, its body is not finite or all zeros, or the language does
                not fit the model; or it pools as only sentence-transformers can, which is not installed.
        """
        checkpoint = Checkpoint.open(name_or_folder, trust_remote_code=trust_remote_code)
        _check_language(checkpoint, language)
        check_body(checkpoint)
        tokenizer = checkpoint.tokenizer() if language is None else tokenizer_of(checkpoint, language)
        if tokenizer.pad_token is None and tokenizer.eos_token is None:
            raise InputError(
                f"The tokenizer of {name_or_folder} has neither a padding nor an end-of-text token; expected one to "
                "fill batches with. Set tokenizer.pad_token and save it again."
            )
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        tokenizer.padding_side = "right"
        return cls(checkpoint, tokenizer, language, LayerPooling.of(checkpoint))

    def read(self, side: Side) -> States:
        """Load the model, in float32, and pool its states; it is let go of again."""
        return encode(self._model(), self.tokenizer, side, self.pooling)

    def _model(self) -> PreTrainedModel:
        config = self.checkpoint.config
        auto_class = getattr(transformers, auto_class_name(config))
        model = auto_class.from_pretrained(
            self.checkpoint.body, dtype=torch.float32, trust_remote_code=self.checkpoint.trust_remote_code
        )
        if self.language is not None:
            model.set_language(self.language)
        body = model.get_encoder() if getattr(config, "is_encoder_decoder", False) else model.base_model
        return cast(PreTrainedModel, body.to(torch.accelerator.current_accelerator() or "cpu"))


def _check_language(checkpoint: Checkpoint, language: str | None) -> None:
    config = checkpoint.config
    known = tuple(config.languages) if isinstance(config, TreLMConfig) else ()
    if language is None and known:
        raise InputError(
            f"{checkpoint.name} has the languages {', '.join(known)}; expected to be told which one it is to read. "
            "Name it in languages."
        )
    if language is not None and language not in known:
        has = f"the languages {', '.join(known)}" if known else "no languages of its own"
        raise InputError(f"{checkpoint.name} is to read {language!r}, but has {has}. Name one it has, or none.")

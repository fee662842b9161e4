"""Configuration of TreLM models."""

import os
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# What opens a saved folder: every Auto class, whichever class was saved.
AUTO_MAP = {
    "AutoConfig": "configuration_trelm.TreLMConfig",
    "AutoModel": "modeling_trelm.TreLMModel",
    "AutoModelForMaskedLM": "modeling_trelm.TreLMForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_trelm.TreLMForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_trelm.TreLMForTokenClassification",
    "AutoModelForQuestionAnswering": "modeling_trelm.TreLMForQuestionAnswering",
}


@strict
class TreLMConfig(PreTrainedConfig):
    """Shape of a TreLM model: a BERT-like encoder with language embeddings and, if wanted, a TRILayer.

    Attributes:
        vocab_size: Rows of the word embeddings.
        hidden_size: Width of the layers.
        embedding_size: Width of all embeddings; where it is not `hidden_size` (ELECTRA), they are projected. None
            stands for `hidden_size`.
        num_hidden_layers: Encoder layers, the TRILayer not counted.
        num_attention_heads: Attention heads a layer; a divisor of `hidden_size`.
        intermediate_size: Width inside the feed-forward part of a layer.
        hidden_act: Activation of the feed-forward part.
        head_act: Activation of the masked language modelling head.
        hidden_dropout_prob: Dropout of embeddings and of each sublayer's output.
        attention_probs_dropout_prob: Dropout of attention weights.
        classifier_dropout: Dropout of the task heads; None stands for `hidden_dropout_prob`.
        max_position_embeddings: Rows of the position table. The longest input is `position_offset` shorter.
        position_offset: Row of the first position. 0: positions count on from 0, padding included (BERT, ELECTRA).
            Above 0: only tokens that are not padding are counted, and padding takes the row before the first
            (RoBERTa, XLM-R, CamemBERT: 2).
        type_vocab_size: Rows of the token type table.
        layer_norm_eps: Epsilon of the layer norms.
        initializer_range: Standard deviation of weights that start at random.
        tie_word_embeddings: Whether the output weights of the masked LM are the word embeddings.
        pad_token_id: Id of the padding token; its row is not trained through the input.
        bos_token_id: Id of the token that begins a text.
        eos_token_id: Id of the token that ends a text.
        cls_token_id: Id of the token that stands for a whole text.
        sep_token_id: Id of the token between two texts.
        mask_token_id: Id of the masked LM's mask.
        languages: Codes of the languages; a language id is an index into this list.
        default_language: The language of inputs that come without `lang_ids`; None stands for the last of `languages`,
            the one transferred to.
        tri_layer_index: Number of layers below the TRILayer; None for a plain encoder without one.
        return_logits: Whether the masked LM also returns the logits of every position when labels are given. Off,
            it computes the head at labelled positions alone: the loss is the same and `logits` is None. `Trainer`
            needs it on for `compute_metrics` and `predict`, not for the loss of `evaluate`.

    Raises:
        StrictDataclassError: When made or saved with a value of the wrong type, or with values that do not fit
            together.
    """

    model_type = "trelm"

    vocab_size: int = 30522
    hidden_size: int = 768
    embedding_size: int | None = None
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    head_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    classifier_dropout: float | int | None = None
    max_position_embeddings: int = 512
    position_offset: int = 0
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    cls_token_id: int | None = None
    sep_token_id: int | None = None
    mask_token_id: int | None = None
    languages: list[str] | tuple[str, ...] = ("en",)
    default_language: str | None = None
    tri_layer_index: int | None = None
    return_logits: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.languages = list(self.languages)
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size
        if self.default_language is None and self.languages:
            self.default_language = self.languages[-1]
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Raise ValueError where values do not fit together; transformers calls this on creation and on saving."""
        super().validate_architecture()
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}, which {self.num_attention_heads} attention heads do not divide; "
                "expected a multiple. Change num_attention_heads."
            )
        if not 0 <= self.position_offset < self.max_position_embeddings:
            raise ValueError(
                f"position_offset is {self.position_offset}; expected from 0 to below max_position_embeddings, "
                f"{self.max_position_embeddings}. Use 0 for BERT and ELECTRA, 2 for RoBERTa, XLM-R and CamemBERT."
            )
        if not self.languages or len(set(self.languages)) < len(self.languages):
            raise ValueError(
                f"languages is {self.languages}; expected one code or more, each once. Give for instance ['en', 'de']."
            )
        self.language_id(str(self.default_language))
        if self.tri_layer_index is not None and not 0 <= self.tri_layer_index < self.num_hidden_layers:
            raise ValueError(
                f"tri_layer_index is {self.tri_layer_index}; expected from 0 to below num_hidden_layers, "
                f"{self.num_hidden_layers}, or None. Give the number of layers that are to lie below the TRILayer."
            )

    def language_id(self, language: str) -> int:
        """The id that stands for a language in `lang_ids`.

        Raises:
            ValueError: If the model does not have the language.
        """
        if language not in self.languages:
            raise ValueError(
                f"{language!r} is not a language of this model; expected one of {', '.join(self.languages)}. "
                "Name every language when the model is made."
            )
        return self.languages.index(language)

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save as transformers does, with an `auto_map` for every Auto class.

        transformers itself names only the class that is saved. Entries that point into another repository are
        dropped, since the code is saved along.
        """
        own = {auto: code for auto, code in (getattr(self, "auto_map", None) or {}).items() if "--" not in code}
        self.auto_map = AUTO_MAP | own
        super().save_pretrained(save_directory, push_to_hub, **kwargs)


__all__ = ["TreLMConfig"]

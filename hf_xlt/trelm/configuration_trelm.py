"""Configuration of TreLM models."""

import os
import re
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# What opens a saved folder: every Auto class, whichever class was saved.
TASKS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
AUTO_MAP = {"AutoConfig": "configuration_trelm.TreLMConfig", "AutoModel": "modeling_trelm.TreLMModel"}
AUTO_MAP |= {f"AutoModel{task}": f"modeling_trelm.TreLM{task}" for task in TASKS}

SIZES = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "type_vocab_size",
)  # fmt: skip
# What a language has for itself where each has its own vocabulary.
VOCABULARY = ("vocab_size", *(f"{role}_token_id" for role in ("pad", "bos", "eos", "cls", "sep", "mask")))
# The parts of a model, and what recipes call the two sides of a transfer: no names for a language.
RESERVED = ("embeddings", "layers", "lower", "tri_layer", "upper", "head", "source", "target")
LONGEST_CODE = 64


@strict
class TreLMConfig(PreTrainedConfig):
    """Shape of a TreLM model: a BERT-like encoder with language embeddings and, if wanted, a TRILayer.

    What `BertConfig` has too means the same as there.

    Attributes:
        embedding_size: Width of all embeddings; where it is not `hidden_size` (ELECTRA), they are projected. None
            stands for `hidden_size`.
        max_position_embeddings: Rows of the position table. The longest input is `position_offset` shorter.
        position_offset: Row of the first position. 0: positions count on from 0, padding included (BERT, ELECTRA).
            Above 0: only tokens that are not padding are counted, and padding takes the row before the first
            (RoBERTa, XLM-R, CamemBERT: 2).
        languages: Codes of the languages; a language id is an index into this list.
        default_language: The language of inputs that come without `lang_ids`; None stands for the last of `languages`,
            the one transferred to. `set_language` changes it.
        separate_embeddings: Whether each language has a vocabulary of its own: its own token ids, word embeddings,
            output weights and output bias. `vocab_size` and the ids of special tokens are the default language's then.
        other_vocabularies: With `separate_embeddings`, for each language but the default one its `vocab_size` and the
            ids of its special tokens, under the same names as here; ids that are left out are None. Languages need not
            agree on any id. Padding is told by a language's own `pad_token_id`, which models that count tokens (see
            `position_offset`) need for all languages.
        language_specific_layers: Layers of which each language has its own, all others are shared: the number of
            lowest layers, or indices; kept as indices, ascending. With a TRILayer only layers below it, which are then
            the source language's. Always shared are positions, token types, the norm and projection of the embeddings,
            and the heads up to the output weights.
        tri_layer_index: Number of layers below the TRILayer; None for a plain encoder without one.
        encoder_type: Model type of the encoder that the model was made of, such as "bert": what `export` makes of one
            language. None for a model made anew.
        return_logits: Whether the masked LM also returns the logits of every position when labels are given. Off,
            it computes the head at labelled positions alone: the loss is the same and `logits` is None. `Trainer`
            needs it on for `compute_metrics` and `predict`, not for the loss of `evaluate`.

    Raises:
        StrictDataclassError: When made or saved with values of the wrong type, or that do not fit together.
    """

    model_type = "trelm"

    vocab_size: int = 30522
    hidden_size: int = 768
    embedding_size: int | None = None
    num_hidden_layers: int = 12  # the TRILayer not counted
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    head_act: str = "gelu"  # of the masked language modeling head
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    classifier_dropout: float | int | None = None  # of the task heads; None stands for `hidden_dropout_prob`
    max_position_embeddings: int = 512
    position_offset: int = 0
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0  # its row is not trained through the input
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    cls_token_id: int | None = None
    sep_token_id: int | None = None
    mask_token_id: int | None = None
    languages: list[str] | tuple[str, ...] = ("en",)
    default_language: str | None = None
    separate_embeddings: bool = False
    other_vocabularies: dict[str, dict[str, int | None]] | None = None
    language_specific_layers: int | list[int] | tuple[int, ...] = ()
    tri_layer_index: int | None = None
    encoder_type: str | None = None
    return_logits: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a value; layers given as a number are kept as indices."""
        if name == "language_specific_layers":
            lowest = isinstance(value, int) and 0 <= value <= self.num_hidden_layers
            value = list(range(value)) if lowest else value
            value = sorted(value) if isinstance(value, list | tuple) else value
        super().__setattr__(name, value)

    def __post_init__(self, **kwargs: Any) -> None:
        self.languages = list(self.languages)
        if self.embedding_size is None:
            self.embedding_size = self.hidden_size
        if self.default_language is None and self.languages:
            self.default_language = self.languages[-1]
        if self.separate_embeddings:
            given = self.other_vocabularies or {}
            self.other_vocabularies = {language: dict.fromkeys(VOCABULARY) | own for language, own in given.items()}
        super().__post_init__(**kwargs)

    def validate_architecture(self) -> None:
        """Raise ValueError where values do not fit together; transformers calls this on creation and on saving."""
        super().validate_architecture()
        for name in SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number > 0. Choose another.")
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
        self._validate_names()
        self._validate_own_layers()
        if self.separate_embeddings:
            self._validate_vocabularies()
        elif self.other_vocabularies is not None:
            hint = "Set separate_embeddings, or leave it out."
            raise ValueError(f"other_vocabularies is given without separate_embeddings; expected None. {hint}")

    def _validate_names(self) -> None:
        for language in self.languages:
            spelled = re.fullmatch(r"[^\W_]+(?:[-_][^\W_]+)*", language) and len(language) <= LONGEST_CODE
            if not spelled or language in RESERVED:
                raise ValueError(
                    f"languages has the code {language[:LONGEST_CODE]!r}; expected letters, digits, - and _ "
                    f"between them, and none of {', '.join(RESERVED)}, since parts of the model are named after "
                    "its languages. Give for instance 'de' or 'zh-Hant'."
                )

    def _validate_own_layers(self) -> None:
        own: Any = self.language_specific_layers
        index = self.tri_layer_index
        limit = self.num_hidden_layers if index is None else index
        if isinstance(own, int) or len(set(own)) < len(own) or not set(own) <= set(range(limit)):
            there = "the model has" if index is None else "lie below the TRILayer"
            raise ValueError(
                f"language_specific_layers is {own}; expected so many lowest layers, or indices from 0 on, each once, "
                f"of the {limit} layers that {there}. Give for instance 1 or [0], or () for none."
            )

    def _validate_vocabularies(self) -> None:
        known = set(self.other_vocabularies or {})
        expected = set(self.languages) - {str(self.default_language)}
        if known != expected:
            raise ValueError(
                f"other_vocabularies is of {', '.join(sorted(known)) or 'no language'}; expected "
                f"{', '.join(sorted(expected)) or 'none'}: every language but the default one, "
                f"{self.default_language}. Give the vocab_size of each."
            )
        for language in self.languages:
            vocabulary = self.vocabulary(language)
            if unknown := sorted(set(vocabulary) - set(VOCABULARY)):
                raise ValueError(
                    f"The vocabulary of {language!r} has the field {unknown[0]!r}; expected some of "
                    f"{', '.join(VOCABULARY)}. Leave it out."
                )
            size = vocabulary["vocab_size"] or 0
            if size < 1:
                problem = f"vocab_size of {language!r} is {vocabulary['vocab_size']}; expected a number > 0."
                hint = "Give the rows of its word embeddings."
                raise ValueError(f"{problem} {hint}")
            for name in VOCABULARY[1:]:
                number = vocabulary[name]
                if number is not None and not 0 <= number < size:
                    raise ValueError(
                        f"{name} of {language!r} is {number}; expected from 0 to below its vocab_size, {size}, or "
                        "None. Give the id that its own tokenizer has."
                    )

    @property
    def own_layers(self) -> list[int]:
        """Indices of the layers of which each language has its own."""
        return list(self.language_specific_layers)  # type: ignore[arg-type]

    def language_id(self, language: str) -> int:
        """The id that stands for a language in `lang_ids`; ValueError if the model does not have the language."""
        if language not in self.languages:
            problem = f"{language!r} is not a language of this model; expected one of {', '.join(self.languages)}."
            hint = "Name every language when the model is made."
            raise ValueError(f"{problem} {hint}")
        return self.languages.index(language)

    def vocabulary(self, language: str) -> dict[str, int | None]:
        """Size and special ids of the vocabulary that the texts of a language are written in, by their names here."""
        self.language_id(language)
        if self.separate_embeddings and language != self.default_language:
            return dict((self.other_vocabularies or {})[language])
        return {name: getattr(self, name) for name in VOCABULARY}

    def set_language(self, language: str) -> None:
        """Make a language the default one; `vocab_size` and special ids follow, where it has its own."""
        vocabularies = {code: self.vocabulary(code) for code in [*self.languages, language]}
        if self.separate_embeddings:
            for name, value in vocabularies.pop(language).items():
                setattr(self, name, value)
            self.other_vocabularies = vocabularies
        self.default_language = language

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Make a configuration as transformers does; a `default_language` is set as `set_language` does."""
        language = kwargs.pop("default_language", None)
        made = super().from_dict(config_dict, **kwargs)
        if language is not None:
            (made[0] if isinstance(made, tuple) else made).set_language(language)
        return made

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """Save as transformers does, with an `auto_map` for every Auto class, not only for the one that is saved.

        Entries that point into another repository are dropped, since the code is saved along.
        """
        own = {auto: code for auto, code in (getattr(self, "auto_map", None) or {}).items() if "--" not in code}
        self.auto_map = AUTO_MAP | own
        super().save_pretrained(save_directory, push_to_hub, **kwargs)


__all__ = ["TreLMConfig"]

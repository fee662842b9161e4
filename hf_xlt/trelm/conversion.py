"""A BERT-like checkpoint as the configuration and weights of a TreLM model."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from hf_xlt.trelm.configuration_trelm import TreLMConfig
from hf_xlt.trelm.modeling_trelm import name_of
from hf_xlt.trelm.vocabulary import (
    OUTPUT,
    TABLE,
    TENSORS,
    Rows,
    check_tokenizers,
    joint_vocabulary,
    rows_by_spelling,
    separate_vocabularies,
)

logger = logging.get_logger(__name__)

_ENCODER = {
    r"embeddings\.LayerNorm": "embeddings.norm",
    r"embeddings_project": "embeddings.projection",
    r"encoder\.layer\.(\d+)\.attention\.self": r"layers.\1.attention",
    r"encoder\.layer\.(\d+)\.attention\.output\.dense": r"layers.\1.attention.output",
    r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm": r"layers.\1.attention_norm",
    r"encoder\.layer\.(\d+)\.intermediate\.dense": r"layers.\1.intermediate",
    r"encoder\.layer\.(\d+)\.output\.dense": r"layers.\1.output",
    r"encoder\.layer\.(\d+)\.output\.LayerNorm": r"layers.\1.output_norm",
}
_HEAD = ("head.dense", "head.norm", "decoder")
_WHERE = ("cache_dir", "local_files_only", "revision", "subfolder", "token", "trust_remote_code")
SAME = (
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act", "hidden_dropout_prob",
    "attention_probs_dropout_prob", "classifier_dropout", "layer_norm_eps", "max_position_embeddings",
    "type_vocab_size", "initializer_range", "pad_token_id", "bos_token_id",
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """How a model type differs from the others."""

    prefix: str  # name of the encoder within a model with a head
    head: tuple[str, str, str]  # names of the dense layer, the norm and the output weights of its masked LM head
    counts_tokens: bool = False  # whether positions begin after the padding id and count tokens alone
    plain_head: bool = True  # whether the head's activation is GELU whatever the layers' is


_TRANSFORM, _PREDICTIONS = "cls.predictions.transform", "generator_predictions"
_ROBERTA = Body("roberta", ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"), counts_tokens=True)
BODIES = {
    "bert": Body(
        "bert", (f"{_TRANSFORM}.dense", f"{_TRANSFORM}.LayerNorm", "cls.predictions.decoder"), plain_head=False
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Body("electra", (f"{_PREDICTIONS}.dense", f"{_PREDICTIONS}.LayerNorm", "generator_lm_head")),
}


@dataclass(frozen=True, eq=False)
class Encoder:
    """A BERT-like checkpoint, read: its configuration, and its tensors by their names in TreLM."""

    config: PreTrainedConfig
    weights: Mapping[str, Tensor]

    @classmethod
    def read(cls, checkpoint: str | PreTrainedModel, **kwargs: Any) -> "Encoder":
        """Read a Hub id, a folder, or a model that is open; a head that the checkpoint lacks is left out."""
        if isinstance(checkpoint, PreTrainedModel):
            body = _body(checkpoint.config)
            return cls(checkpoint.config, renamed(checkpoint.state_dict(), body))
        config = AutoConfig.from_pretrained(checkpoint, **_where(kwargs))
        body = _body(config)
        model, info = AutoModelForMaskedLM.from_pretrained(checkpoint, output_loading_info=True, **kwargs)
        missing = set(info["missing_keys"])
        lost = sorted(name for name in missing if name.startswith(f"{body.prefix}."))
        if lost:
            raise ValueError(
                f"{checkpoint} lacks {len(lost)} tensors of its encoder, {lost[0]} first; expected all. "
                "Give a complete checkpoint."
            )
        return cls(model.config, renamed({k: v for k, v in model.state_dict().items() if k not in missing}, body))

    @property
    def tied(self) -> bool:
        """Whether the output weights are the word embeddings."""
        return getattr(self.config, "tie_word_embeddings", True)

    def parted(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The tensors of the vocabulary, tied output weights left out, and all others."""
        own = [name for name in TENSORS if name in self.weights and not (name == OUTPUT and self.tied)]
        vocabulary = {name: self.weights[name] for name in own}
        return vocabulary, {name: tensor for name, tensor in self.weights.items() if name not in TENSORS}

    def to_config(self, **fields: Any) -> TreLMConfig:
        """The configuration of a TreLM model with this body; `fields` wins over what the source has."""
        source, body = self.config, _body(self.config)
        found = {name: getattr(source, name) for name in SAME if hasattr(source, name)}
        eos = getattr(source, "eos_token_id", None)
        found |= {
            "eos_token_id": eos if isinstance(eos, int) else None,
            "embedding_size": getattr(source, "embedding_size", source.hidden_size),
            "head_act": "gelu" if body.plain_head else source.hidden_act,
            "encoder_type": source.model_type,
            "position_offset": source.pad_token_id + 1 if body.counts_tokens else 0,
            "tie_word_embeddings": self.tied,
        }
        return TreLMConfig(**found | fields)


def _body(config: PreTrainedConfig) -> Body:
    if config.model_type not in BODIES:
        raise ValueError(
            f"The source is of model type {config.model_type!r}; expected one of {', '.join(BODIES)}. "
            "Give an encoder of one of these types."
        )
    if getattr(config, "is_decoder", False) or getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise ValueError(
            "The source is a decoder or has relative positions; expected an encoder with absolute positions."
        )
    return BODIES[config.model_type]


def renamed(state: Mapping[str, Tensor], body: Body) -> dict[str, Tensor]:
    """The tensors that TreLM has too, under its names."""
    renames = {rf"{old}\.": f"trelm.{new}." for old, new in _ENCODER.items()}
    renames |= {r"(embeddings\.\w+_embeddings)\.": r"trelm.\1."}
    renames |= {rf"{re.escape(old)}\.": f"{new}." for old, new in zip(body.head, _HEAD, strict=True)}
    found = {}
    for name, tensor in state.items():
        name = name.removeprefix(f"{body.prefix}.")
        new = next((re.sub(f"^{old}", to, name) for old, to in renames.items() if re.match(old, name)), None)
        if new is not None:
            found[new] = tensor
    return found


def middle(layers: int) -> int:
    """The number of layers below a TRILayer that parts them into halves."""
    if layers < 2 or layers % 2:
        raise ValueError(
            f"The encoder has {layers} layers, which have no middle; expected an even number from 2 on. "
            "Give tri_layer_index as the number of layers that are to lie below the TRILayer."
        )
    return layers // 2


def _rows_for(
    checkpoint: str | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    source_tokenizer: PreTrainedTokenizerBase | None,
    seed: int,
    given: Mapping[str, Any],
) -> Rows:
    if source_tokenizer is None and isinstance(checkpoint, PreTrainedModel):
        raise ValueError(
            "tokenizer is given with an open model, whose own tokenizer is not known; expected source_tokenizer too. "
            "Give it, or give the model's folder in place of the model."
        )
    if source_tokenizer is None:
        source_tokenizer = AutoTokenizer.from_pretrained(checkpoint, **_where(given))
    return rows_by_spelling(source_tokenizer, tokenizer, seed)


def _where(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments of `from_pretrained` that a configuration and a tokenizer take too."""
    return {name: given[name] for name in _WHERE if name in given}


def _copied_layer(weights: Mapping[str, Tensor], index: int | None) -> dict[str, Tensor]:
    """The TRILayer's own layer: a copy of the one that follows."""
    following = f"trelm.layers.{index}."
    found = {name: tensor for name, tensor in weights.items() if name.startswith(following)}
    return {name.replace(following, "trelm.tri_layer.layer."): tensor for name, tensor in found.items()}


def _own_layers(weights: Mapping[str, Tensor], config: TreLMConfig) -> dict[str, Tensor]:
    """The weights, those of layers that each language has for itself once for each."""
    own = tuple(f"trelm.layers.{index}." for index in config.own_layers)
    return {
        new: tensor
        for name, tensor in weights.items()
        for new in ([name_of(name, code) for code in config.languages] if name.startswith(own) else [name])
    }


def convert(
    checkpoint: str | PreTrainedModel,
    languages: Sequence[str],
    tri_layer_index: int | Literal["middle"] | None,
    *,
    language_specific_layers: int | Sequence[int],
    tokenizer: PreTrainedTokenizerBase | None,
    tokenizers: Sequence[PreTrainedTokenizerBase] | None,
    rows: Rows | None,
    source_tokenizer: PreTrainedTokenizerBase | None,
    seed: int,
    given: Mapping[str, Any],
    default_language: str | None,
) -> tuple[TreLMConfig, dict[str, Tensor]]:
    """Configuration and weights of the TreLM model of a checkpoint, for `from_encoder`; see there."""
    if tokenizers is not None and (tokenizer is not None or source_tokenizer is not None):
        raise ValueError(
            "tokenizers is given beside tokenizer or source_tokenizer; expected tokenizers alone, the source's first. "
            "Leave the others out."
        )
    if rows is not None and tokenizer is None and tokenizers is None:
        raise ValueError("rows is given without tokenizer; expected the one it makes rows for. Give it too.")
    if tokenizers is not None:
        check_tokenizers(languages, tokenizers, rows)
    given = {"trust_remote_code": False, **given}
    source = Encoder.read(checkpoint, **given)
    vocabulary, weights = source.parted()
    fields: dict[str, Any] = {"vocab_size": len(vocabulary[TABLE])}
    if tokenizers is not None:
        default = default_language or languages[-1]
        vocabulary, fields = separate_vocabularies(vocabulary, languages, tokenizers, rows, seed, default)
    elif tokenizer is not None:
        rows = rows or _rows_for(checkpoint, tokenizer, source_tokenizer, seed, given)
        vocabulary, fields = joint_vocabulary(vocabulary, tokenizer, rows)
    index = middle(source.config.num_hidden_layers) if tri_layer_index == "middle" else tri_layer_index
    fields |= {"languages": list(languages), "default_language": default_language, "tri_layer_index": index}
    own = language_specific_layers
    fields["language_specific_layers"] = own if isinstance(own, int) else list(own)
    config = source.to_config(**fields)
    return config, _own_layers(weights | _copied_layer(weights, index), config) | vocabulary


def fill(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Give a new model the weights that `convert` found; a head that the source lacks stays, and the log says so."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    model.tie_weights()
    headless = "head.dense.weight" not in weights
    anew = ["trelm.embeddings.language_embeddings.", "trelm.tri_layer.unaligned"]
    anew += model.all_tied_weights_keys
    anew += ["head.", "decoder."] if headless else []
    lost = [name for name in missing if not name.startswith(tuple(anew))]
    if lost or unexpected:
        raise ValueError(
            f"The source's encoder does not fit: {lost or 'nothing'} missing, {unexpected or 'nothing'} left over. "
            "Give a complete checkpoint of a BERT-like encoder."
        )
    if headless:
        logger.warning("The source has no masked LM head: the model's starts at random, its bias at zero. Train it.")

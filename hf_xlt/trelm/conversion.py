"""A BERT-like checkpoint as a TreLM model, and halves trained apart as one."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
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

from hf_xlt.checkpoint.settings import in_place_of, role_ids, token_ids
from hf_xlt.trelm.configuration_trelm import VOCABULARY, TreLMConfig
from hf_xlt.trelm.modeling_trelm import TreLMPreTrainedModel, name_of

logger = logging.get_logger(__name__)

State = Mapping[str, Tensor]
Rows = Callable[[Tensor], Tensor]  # makes the new vocabulary's table `(n, d)`, or bias `(n,)`, out of the source's
TABLE = "trelm.embeddings.word_embeddings.weight"
OUTPUT = "decoder.weight"
TENSORS = (TABLE, OUTPUT, "decoder.bias")  # vocabulary-sized; output weights that are tied are made once, as the table
TYPES, LANGUAGES, POSITIONS = (
    f"trelm.embeddings.{kind}_embeddings.weight" for kind in ("token_type", "language", "position")
)

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
            problem = f"{checkpoint} lacks {len(lost)} tensors of its encoder, {lost[0]} first; expected all."
            hint = "Give a complete checkpoint."
            raise ValueError(f"{problem} {hint}")
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
        problem = f"The source is of model type {config.model_type!r}; expected one of {', '.join(BODIES)}."
        hint = "Give an encoder of one of these types."
        raise ValueError(f"{problem} {hint}")
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
        problem = f"The encoder has {layers} layers, which have no middle; expected an even number from 2 on."
        hint = "Give tri_layer_index as the number of layers that are to lie below the TRILayer."
        raise ValueError(f"{problem} {hint}")
    return layers // 2


def _where(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those arguments of `from_pretrained` that a configuration and a tokenizer take too."""
    return {name: given[name] for name in _WHERE if name in given}


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
    needs_source = tokenizer is not None and rows is None and source_tokenizer is None
    if needs_source and isinstance(checkpoint, PreTrainedModel):
        raise ValueError(
            "tokenizer is given with an open model, whose own tokenizer is not known; expected source_tokenizer too. "
            "Give it, or give the model's folder in place of the model."
        )
    if tokenizers is not None:
        _check_tokenizers(languages, tokenizers, rows)
    given = {"trust_remote_code": False, **given}
    source = Encoder.read(checkpoint, **given)
    vocabulary, weights = source.parted()
    fields: dict[str, Any] = {"vocab_size": len(vocabulary[TABLE])}
    if tokenizers is not None:
        default = default_language or languages[-1]
        vocabulary, fields = _separate_vocabularies(vocabulary, languages, tokenizers, rows, seed, default)
    elif tokenizer is not None:
        if needs_source:
            source_tokenizer = AutoTokenizer.from_pretrained(checkpoint, **_where(given))
        rows = rows or _rows_by_spelling(cast(PreTrainedTokenizerBase, source_tokenizer), tokenizer, seed)
        vocabulary = {name: rows(tensor) for name, tensor in vocabulary.items()}
        fields = _fields_of(vocabulary[TABLE], tokenizer)
    index = middle(source.config.num_hidden_layers) if tri_layer_index == "middle" else tri_layer_index
    own = language_specific_layers if isinstance(language_specific_layers, int) else list(language_specific_layers)
    fields |= {"languages": list(languages), "default_language": default_language}
    config = source.to_config(**fields, tri_layer_index=index, language_specific_layers=own)
    following = f"trelm.layers.{index}."
    above = {name: tensor for name, tensor in weights.items() if name.startswith(following)}
    weights |= {name.replace(following, "trelm.tri_layer.layer."): tensor for name, tensor in above.items()}
    return config, _own_layers(weights, config) | vocabulary


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


def _separate_vocabularies(
    source: Mapping[str, Tensor],
    languages: Sequence[str],
    tokenizers: Sequence[PreTrainedTokenizerBase],
    rows: Rows | None,
    seed: int,
    default_language: str,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A vocabulary a language, the first one the source's: their tensors, and their fields of the configuration."""
    tensors: dict[str, Tensor] = {}
    described: dict[str, dict[str, int | None]] = {}
    for number, (language, tokenizer) in enumerate(zip(languages, tokenizers, strict=True)):
        make = rows or _rows_by_spelling(tokenizers[0], tokenizer, seed)
        made = {name: make(tensor) if number else tensor for name, tensor in source.items()}
        size, largest = len(made[TABLE]), max(tokenizer.get_vocab().values())
        if largest >= size:
            raise ValueError(
                f"The tokenizer of {language!r} has ids up to {largest}, its word embeddings have {size} rows; "
                "expected a row for every id. Give the tokenizer that the rows are made for."
            )
        tensors |= {name_of(name, language): tensor for name, tensor in made.items()}
        described[language] = _fields_of(made[TABLE], tokenizer)
    default = described.pop(default_language, {})
    return tensors, {"separate_embeddings": True, "other_vocabularies": described, **default}


def _check_tokenizers(
    languages: Sequence[str], tokenizers: Sequence[PreTrainedTokenizerBase], rows: Rows | None
) -> None:
    """Refuse tokenizers that are not one a language, and rows that could be those of several."""
    if len(tokenizers) != len(languages):
        problem = f"There are {len(tokenizers)} tokenizers for {len(languages)} languages; expected one each."
        hint = "Give them in the order of languages, the source's own first."
        raise ValueError(f"{problem} {hint}")
    if rows is not None and len(languages) != 2:
        raise ValueError(
            f"rows is given with {len(languages)} languages; expected two, the source's and the one it makes rows for. "
            "Leave it out, or name two languages."
        )


def _rows_by_spelling(source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase, seed: int) -> Rows:
    """Rows of tokens that the source has too, by spelling or, for special tokens, by role or its stand-in.

    The others are drawn from N(mean, std) of each column of the source, seeded. Equal vocabularies keep every row.
    """
    old, new = source.get_vocab(), target.get_vocab()
    if old == new:
        return lambda matrix: matrix
    origin = {number: old[token] for token, number in new.items() if token in old}
    before = role_ids(source)
    for role, number in role_ids(target).items():
        known = in_place_of(before, role)
        if number is not None and known is not None:
            origin[number] = known
    size = max(new.values()) + 1
    to, of = torch.tensor(list(origin.items()), dtype=torch.int64).view(-1, 2).T

    def rows(matrix: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(size, *matrix.shape[1:], generator=generator)
        known = matrix.float()
        drawn = (known.mean(0) + known.std(0, correction=0) * noise.to(matrix.device)).to(matrix.dtype)
        kept = of < len(matrix)
        return drawn.index_copy(0, to[kept].to(matrix.device), matrix[of[kept].to(matrix.device)])

    return rows


def _fields_of(table: Tensor, tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """A vocabulary's fields of the configuration."""
    return {"vocab_size": len(table)} | {name: token_ids(tokenizer)[name] for name in VOCABULARY[1:]}


@torch.no_grad()
def combine_halves(model: TreLMPreTrainedModel, lower: State, upper: State) -> None:
    """Give a model with a TRILayer the lower layers of one state, the upper ones of another, and the mean elsewhere."""
    halves = {"lower": lower, "upper": upper}
    given = {id(parameter): state for part, state in halves.items() for parameter in model.part(part)}
    kept = {name: given[id(parameter)][name] for name, parameter in model.named_parameters() if id(parameter) in given}
    model.load_state_dict({name: kept[name] if name in kept else (lower[name] + upper[name]) / 2 for name in lower})

"""One language of a TreLM without a TRILayer, as a stock model of the family that it came from."""

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel

from hf_xlt.trelm.configuration_trelm import TreLMConfig
from hf_xlt.trelm.conversion import BODIES, LANGUAGES, POSITIONS, SAME, TYPES, renamed
from hf_xlt.trelm.modeling_trelm import own_name


def stock_model(config: TreLMConfig, state: Mapping[str, Tensor], language: str) -> PreTrainedModel:
    """The stock model of a language, for `TreLMForMaskedLM.export`; see there."""
    vocabulary = config.vocabulary(language)
    _check_family(config, vocabulary)
    weights = _weights(config, state, language, vocabulary["pad_token_id"])
    model = AutoModelForMaskedLM.from_config(_stock_config(config, vocabulary, len(weights[POSITIONS])))
    names = renamed({name: name for name in model.state_dict()}, BODIES[str(config.encoder_type)])
    if names.keys() != weights.keys():
        others = ", ".join(sorted(names.keys() ^ weights.keys()))
        raise ValueError(
            f"The model's shape is not that of {config.encoder_type}, its encoder_type: {others} would be left over. "
            "Set config.encoder_type to the family it is of, or keep the model as it is."
        )
    model.load_state_dict({name: weights[new] for new, name in names.items()}, strict=False)
    return model


def _check_family(config: TreLMConfig, vocabulary: Mapping[str, int | None]) -> None:
    if config.tri_layer_index is not None:
        raise ValueError(
            "The model has a TRILayer, which adds positions to the states half-way; a stock model, however deep, has "
            "no place for them. Keep the model as it is, or make it with tri_layer_index=None."
        )
    if config.encoder_type not in BODIES:
        raise ValueError(
            f"encoder_type is {config.encoder_type!r}; expected one of {', '.join(BODIES)}, the model type to export "
            "to. Set config.encoder_type, or make the model with from_encoder."
        )
    body = BODIES[config.encoder_type]
    activation = "gelu" if body.plain_head else config.hidden_act
    if config.head_act != activation:
        raise ValueError(
            f"head_act is {config.head_act!r}; expected {activation!r}, which {config.encoder_type} has in its head. "
            "Keep the model as it is."
        )
    if bool(config.position_offset) != body.counts_tokens:
        counted = "above 0" if body.counts_tokens else "0"
        raise ValueError(
            f"position_offset is {config.position_offset}; expected {counted}, as {config.encoder_type} counts "
            "positions. Keep the model as it is."
        )
    if body.counts_tokens and vocabulary["pad_token_id"] is None:
        raise ValueError(
            f"The language has no pad_token_id, and {config.encoder_type} counts positions from it on; expected one. "
            "Give the vocabulary a padding token."
        )


def _stock_config(config: TreLMConfig, vocabulary: Mapping[str, int | None], positions: int) -> PreTrainedConfig:
    """The configuration of the family with the model's shape and the language's vocabulary and ids."""
    family = str(config.encoder_type)
    names = (*SAME, "embedding_size", "tie_word_embeddings")
    fields = {name: getattr(config, name) for name in names} | dict(vocabulary)
    known = AutoConfig.for_model(family)
    fields = {name: value for name, value in fields.items() if hasattr(known, name)}
    return AutoConfig.for_model(family, **fields | {"max_position_embeddings": positions})


def _weights(config: TreLMConfig, state: Mapping[str, Tensor], language: str, pad: int | None) -> dict[str, Tensor]:
    """The language's tensors, by their names in a TreLM that shares all and has no language embeddings."""
    own = own_name(language)
    others = {own_name(code) for code in config.languages} - {own}
    paths = {name: name.split(".") for name in state}
    weights = {
        ".".join(part for part in path if part != own): state[name]
        for name, path in paths.items()
        if others.isdisjoint(path)
    }
    spoken = weights.pop(LANGUAGES)[config.language_id(language)]
    weights[TYPES] = weights[TYPES] + spoken
    offset, table = config.position_offset, weights[POSITIONS]
    if offset and pad is not None and pad != offset - 1:  # the row before the first position is the padding's
        weights[POSITIONS] = torch.cat([table.new_zeros(pad, table.shape[1]), table[offset - 1 :]])
    return weights

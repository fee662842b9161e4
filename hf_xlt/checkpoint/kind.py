"""Encoder, decoder or encoder-decoder: which language model a checkpoint is, and the Auto class that opens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, PreTrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from hf_xlt.errors import InputError


@dataclass(frozen=True)
class ModelKind:
    """A family of language models: its name, its training objective and its Auto class."""

    name: str
    objective: str
    auto_class: Any


ENCODER = ModelKind("encoder", "mlm", AutoModelForMaskedLM)
DECODER = ModelKind("decoder", "clm", AutoModelForCausalLM)
ENCODER_DECODER = ModelKind("encoder-decoder", "denoise", AutoModelForSeq2SeqLM)
KINDS = {kind.name: kind for kind in (ENCODER, DECODER, ENCODER_DECODER)}


def auto_class_name(config: PreTrainedConfig) -> str:
    """Name of the Auto class that opens a checkpoint as it was saved: with its language-modelling head or without."""
    bare = MODEL_MAPPING_NAMES.get(config.model_type)
    return "AutoModel" if bare in (config.architectures or ()) else kind_of(config).auto_class.__name__


def kind_of(config: PreTrainedConfig) -> ModelKind:
    """The kind of language model a configuration describes.

    BERT-like types can serve as encoder or decoder: they count as encoders unless the checkpoint itself was
    saved as a causal language model.

    Raises:
        InputError: If transformers has no language model for this type.
    """
    model_type = config.model_type
    saved_as = " ".join(getattr(config, "architectures", None) or ())
    if getattr(config, "is_encoder_decoder", False) and model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return ENCODER_DECODER
    causal = model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    saved_causal = "CausalLM" in saved_as or "LMHead" in saved_as
    if model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not (causal and saved_causal):
        return ENCODER
    if causal:
        return DECODER
    for kind in KINDS.values():  # types that transformers does not bring: registered here, or with code of their own
        registered = type(config) in kind.auto_class._model_mapping
        if registered or kind.auto_class.__name__ in (getattr(config, "auto_map", None) or ()):
            return kind
    raise InputError(
        f"Model type {model_type!r} has no masked, causal or sequence-to-sequence language model in transformers; "
        "give a checkpoint of a text model."
    )

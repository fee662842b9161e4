"""Which language model a checkpoint is: the Auto class that opens it, and the model without storage for its weights."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoModel, AutoModelForPreTraining, PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto as auto

from hf_xlt.errors import InputError


@dataclass(frozen=True)
class ModelKind:
    """A family of language models: its name, its training objective and its Auto class."""

    name: str
    objective: str
    auto_class: Any


ENCODER = ModelKind("encoder", "mlm", transformers.AutoModelForMaskedLM)
DECODER = ModelKind("decoder", "clm", transformers.AutoModelForCausalLM)
ENCODER_DECODER = ModelKind("encoder-decoder", "denoise", transformers.AutoModelForSeq2SeqLM)
MULTIMODAL = ModelKind("multimodal", "clm", transformers.AutoModelForMultimodalLM)
SPEECH = ModelKind("speech", "denoise", transformers.AutoModelForSpeechSeq2Seq)
BRINGS_CODE = "The checkpoint brings its own code; if you trust it, allow it with --trust-remote-code."
TRAINED = (ENCODER, DECODER, ENCODER_DECODER)
KINDS = {kind.name: kind for kind in (*TRAINED, MULTIMODAL, SPEECH)}
_AUTO_CLASSES = [value for name, value in vars(auto).items() if name.startswith("AutoModel")]


def auto_class_name(config: PreTrainedConfig) -> str:
    """Name of the Auto class that opens a checkpoint as it was saved, with its head: a classifier as a classifier."""
    saved_as = next(iter(config.architectures or ()), None)
    own = kind_of(config).auto_class
    found = (each for each in (AutoModel, own, *_AUTO_CLASSES) if saved_as in _classes(each, config))
    return str(next(found, own).__name__)


def has_other_head(config: PreTrainedConfig) -> bool:
    """Whether a checkpoint was saved with a head that is no language model's, such as a classifier's."""
    saved_as = next(iter(config.architectures or ()), None)
    holders = {each for each in _AUTO_CLASSES if saved_as in _classes(each, config)}
    known = {AutoModel, AutoModelForPreTraining, *(kind.auto_class for kind in TRAINED)}
    return saved_as is not None and bool(holders) and holders.isdisjoint(known)


def _classes(auto_class: Any, config: PreTrainedConfig) -> tuple[str, ...]:
    """Names of the classes that an Auto class takes for a configuration."""
    own_code = (getattr(config, "auto_map", None) or {}).get(auto_class.__name__)
    found = auto_class._model_mapping.get(type(config), ())
    classes = found if isinstance(found, (tuple, list)) else (found,)
    return (*([own_code.rpartition(".")[2]] if own_code else []), *(each.__name__ for each in classes))


def kind_of(config: PreTrainedConfig) -> ModelKind:
    """The kind of a configuration's model; an encoder, where it can be a decoder too and was not saved as one."""
    model_type = config.model_type
    saved_as = " ".join(getattr(config, "architectures", None) or ())
    both_ways = getattr(config, "is_encoder_decoder", False)
    causal = model_type in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    saved_causal = "CausalLM" in saved_as or "LMHead" in saved_as
    if both_ways and model_type in auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        return ENCODER_DECODER
    if model_type in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not (causal and saved_causal):
        return ENCODER
    if causal:
        return DECODER
    if model_type in auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES:
        return MULTIMODAL
    if model_type in auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES:
        return SPEECH
    for kind in TRAINED:  # types that transformers does not bring: registered here, or with code of their own
        registered = type(config) in kind.auto_class._model_mapping
        if registered or kind.auto_class.__name__ in (getattr(config, "auto_map", None) or ()):
            return kind
    problem = f"Model type {model_type!r} has no masked, causal or sequence-to-sequence language model in transformers"
    raise InputError(problem, hint="Give a checkpoint of a text model.")


def skeleton(config: PreTrainedConfig, trust_remote_code: bool) -> PreTrainedModel:
    """Build the model of a configuration on the meta device; the Auto classes choose one where it names none."""
    name = (config.architectures or [""])[0]
    native = getattr(transformers, name, None) if name else None
    is_native = isinstance(native, type) and issubclass(native, PreTrainedModel)
    auto_class = None if is_native else _auto_class(config, name)
    try:
        with torch.device("meta"):
            if auto_class is None:
                return native(copy.deepcopy(config))  # type: ignore[misc]
            return auto_class.from_config(copy.deepcopy(config), trust_remote_code=trust_remote_code)
    except Exception as error:  # whatever a constructor makes of values that do not fit each other
        reason = " ".join(str(error).split())
        brings_code = getattr(config, "auto_map", None) and not trust_remote_code
        raise InputError(
            f"config.json describes a {name or config.model_type} that cannot be built "
            f"({type(error).__name__}: {reason})",
            value=name,
            hint=BRINGS_CODE if brings_code else "Correct config.json, or download the checkpoint again.",
        ) from error


def _auto_class(config: PreTrainedConfig, name: str) -> Any:
    auto_map = getattr(config, "auto_map", None) or {}
    saved_for = (each for each, code in auto_map.items() if name and str(code).endswith(f".{name}"))
    auto_class = getattr(transformers, next(saved_for, ""), None)
    if auto_class is not None:
        return auto_class
    if config.model_type in auto.MODEL_FOR_PRETRAINING_MAPPING_NAMES:
        return AutoModelForPreTraining
    try:
        return kind_of(config).auto_class
    except InputError as error:
        problem = f"Architecture {name or 'none'} of model type {config.model_type!r} is not known to transformers"
        hint = "Set `architectures` in config.json to the class that the weights were saved from."
        raise InputError(problem, value=name, expected="a language model", hint=hint) from error

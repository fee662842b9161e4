"""A model without storage for its weights, built as the class that a checkpoint was saved from."""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_PRETRAINING_MAPPING_NAMES

from hf_xlt.checkpoint.kind import kind_of
from hf_xlt.errors import InputError


def skeleton(config: PreTrainedConfig, trust_remote_code: bool) -> PreTrainedModel:
    """Build the model of a configuration on the meta device.

    Where the configuration names no class, or one that transformers does not have, it is the class that the Auto
    classes take for such a model.

    Raises:
        InputError: If transformers has no such model, or cannot build it from these values.
    """
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
        raise InputError(
            f"config.json describes a {name or config.model_type} that cannot be built "
            f"({type(error).__name__}: {reason})",
            value=name,
            hint=_hint(config, trust_remote_code),
        ) from error


def _auto_class(config: PreTrainedConfig, name: str) -> Any:
    auto_map = getattr(config, "auto_map", None) or {}
    saved_for = (auto for auto, code in auto_map.items() if name and str(code).endswith(f".{name}"))
    auto_class = getattr(transformers, next(saved_for, ""), None)
    if auto_class is not None:
        return auto_class
    if config.model_type in MODEL_FOR_PRETRAINING_MAPPING_NAMES:
        return transformers.AutoModelForPreTraining
    try:
        return kind_of(config).auto_class
    except InputError as error:
        raise InputError(
            f"Architecture {name or 'none'} of model type {config.model_type!r} is not known to transformers",
            value=name,
            expected="a language model",
            hint="Set `architectures` in config.json to the class that the weights were saved from.",
        ) from error


def _hint(config: PreTrainedConfig, trust_remote_code: bool) -> str:
    if getattr(config, "auto_map", None) and not trust_remote_code:
        return "The checkpoint brings its own code; if you trust it, allow it with --trust-remote-code."
    return "Correct config.json, or download the checkpoint again."

"""Make the model of a checkpoint with another vocabulary in memory."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.body import check_body
from hf_xlt.checkpoint.kind import kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import check_tables, target_settings, transported
from hf_xlt.transport import Transport


def assemble(
    checkpoint: Checkpoint,
    transport: Transport,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype | None = None,
) -> PreTrainedModel:
    """The language model of a checkpoint with its vocabulary-sized tensors transported.

    Equal to what opens from the folder that `revocabulary` writes; only, a checkpoint without a language-modelling
    head gets a new one here.

    Args:
        checkpoint: The source.
        transport: Makes target rows out of source rows.
        tokenizer: The target tokenizer.
        dtype: Type of the weights; by default the one they are stored in.

    Raises:
        InputError: If source rows in use or the body are not finite, or the body is all zeros.
    """
    check_tables(checkpoint, transport)
    check_body(checkpoint)
    axes = checkpoint.layout.axes
    state: dict[str, Tensor] = {
        name: transported(checkpoint.weights.load(name), transport, axes[name])
        if name in axes
        else checkpoint.weights.load(name)
        for name in checkpoint.weights.tensors
    }
    settings = target_settings(checkpoint, transport.target_size, tokenizer).files
    config = type(checkpoint.config).from_dict(settings["config.json"])
    stored = state[checkpoint.layout.input_name].dtype
    model = _class_of(config, checkpoint.trust_remote_code).from_pretrained(
        None, config=config, state_dict=state, dtype=dtype or stored
    )
    if "generation_config.json" in settings:
        model.generation_config = GenerationConfig.from_dict(settings["generation_config.json"])
    return model


def _class_of(config: PreTrainedConfig, trust_remote_code: bool) -> type[PreTrainedModel]:
    """The class that the Auto class of a kind of model chooses; `from_pretrained` of the latter wants a folder."""
    with torch.device("meta"):
        return type(kind_of(config).auto_class.from_config(config, trust_remote_code=trust_remote_code))

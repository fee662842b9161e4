"""LoRA adapters on a model's body, and their files as peft writes and reads them."""

from __future__ import annotations

from copy import copy
from pathlib import Path

from peft import LoraConfig, LoraModel, TaskType, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hf_xlt.checkpoint.kind import DECODER, ENCODER_DECODER, kind_of
from hf_xlt.files.tensors import write_tensors

NAME = "default"
PREFIX = "base_model.model."  # what a PeftModel calls the model inside it
TASKS = {DECODER: TaskType.CAUSAL_LM, ENCODER_DECODER: TaskType.SEQ_2_SEQ_LM}


def add_adapters(model: PreTrainedModel, rank: int) -> LoraModel:
    """Put adapters on every linear layer but the output head; the model is changed in place."""
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type=TASKS.get(kind_of(model.config)),
    )
    return LoraModel(model, config, NAME)


def write_adapters(adapters: LoraModel, folder: Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, and take the adapters off the model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = copy(adapters.peft_config[NAME])
    config.inference_mode = True
    config.save_pretrained(str(folder))
    state = get_peft_model_state_dict(adapters.model, adapter_name=NAME, save_embedding_layers=False)
    tensors = {PREFIX + name: tensor for name, tensor in state.items()}
    write_tensors(folder / SAFETENSORS_WEIGHTS_NAME, tensors, {"format": "pt"}, overwrite=True)
    adapters.unload()

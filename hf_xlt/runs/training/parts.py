"""What of a model a stage trains: all of it, the rows of its vocabulary, some of these, or also LoRA adapters."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import cast

from peft import LoraConfig, LoraModel, TaskType, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hf_xlt.checkpoint.kind import DECODER, ENCODER_DECODER, kind_of
from hf_xlt.files.tensors import write_tensors
from hf_xlt.recipes.stage import Stage
from hf_xlt.trelm import TreLMPreTrainedModel

NAME = "default"
PREFIX = "base_model.model."  # what a PeftModel calls the model inside it
TASKS = {DECODER: TaskType.CAUSAL_LM, ENCODER_DECODER: TaskType.SEQ_2_SEQ_LM}


@contextmanager
def trained_parts(model: PreTrainedModel, stage: Stage, copied_rows: Tensor) -> Iterator[LoraModel | None]:
    """Leave trainable only what the stage trains; afterwards everything is trainable again.

    Yields the adapters that the stage keeps; others are merged into the weights in the end.
    """
    adapters = add_adapters(model, stage.lora_rank) if stage.trains == "lora" else None
    keep = stage.adapters == "kept"
    model.requires_grad_(stage.trains == "all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad or "lora_" in name)
    vocabulary = vocabulary_parameters(model)
    for parameter in vocabulary:
        parameter.requires_grad_(True)
    if stage.frozen:
        cast(TreLMPreTrainedModel, model).freeze(*stage.frozen)
    with rows_kept(vocabulary, copied_rows if stage.trains == "new-rows" else copied_rows[:0]):
        yield adapters if keep else None
    if adapters is not None and not keep:
        adapters.merge_and_unload()
    model.requires_grad_(True)


def vocabulary_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """Input embeddings, output embeddings and output bias; tied ones once."""
    return list(nn.ModuleList([model.get_input_embeddings(), model.get_output_embeddings()]).parameters())


@contextmanager
def rows_kept(tables: Iterable[nn.Parameter], rows: Tensor) -> Iterator[None]:
    """Within the context the gradients of some rows, int64 `(k,)`, of the tables, `(V, …)` each, are zero.

    An optimizer that begins there and has no weight decay leaves such rows as they are: its moments stay zero too.
    """

    def clear(table: Tensor) -> None:
        if table.grad is not None:
            table.grad.index_fill_(0, rows.to(table.grad.device), 0)

    trained = [table for table in tables if table.requires_grad]
    hooks = [table.register_post_accumulate_grad_hook(clear) for table in trained] if len(rows) else []
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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
    """Write adapters as peft does and reads them, and take them off the model."""
    folder.mkdir(parents=True, exist_ok=True)
    config = copy(adapters.peft_config[NAME])
    config.inference_mode = True
    config.save_pretrained(str(folder))
    state = get_peft_model_state_dict(adapters.model, adapter_name=NAME, save_embedding_layers=False)
    tensors = {PREFIX + name: tensor for name, tensor in state.items()}
    write_tensors(folder / SAFETENSORS_WEIGHTS_NAME, tensors, {"format": "pt"}, overwrite=True)
    adapters.unload()

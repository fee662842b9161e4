"""The folder that a run leaves: the kept model as what its source was, its tokenizer, its adapters."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import cast

import torch
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.contents import carried_files, transformer_path
from hf_xlt.checkpoint.kind import ModelKind
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import write_tokenizer
from hf_xlt.runs.kinds import Kind

ADAPTERS = "adapters"


def save_kept(
    kind: Kind,
    model_kind: ModelKind,
    trained: Path,
    dtype: torch.dtype | str,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    name: str,
) -> None:
    """Write the language model in the folder `trained`, and its adapters, to a folder that will be called `name`.

    Where the source is a sentence-transformers model, so is this: its modules and settings are carried over, as
    `Initializer.build` does. Adapters stay in float32.
    """
    inputs, body = kind.inputs, folder
    if inputs.source_is_sentence_transformer:
        source = inputs.source.folder
        for path in carried_files(source):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, folder / path)
        body = folder / transformer_path(source)
    model = model_kind.auto_class.from_pretrained(trained, dtype=dtype)
    if kind.saved_as(model_kind) is AutoModel:
        save_bare(model, inputs.source, body)
    else:
        model.save_pretrained(body)
    if kind.recipe.source is None:
        talking = copy.copy(tokenizer)
        talking.chat_template = inputs.chat(tokenizer).templates
        talking.save_pretrained(body)
    else:
        write_tokenizer(inputs.source, tokenizer, body, kind.recipe.chat_template)
    if (adapters := trained.with_name(ADAPTERS)).is_dir():
        shutil.copyfile(adapters / SAFETENSORS_WEIGHTS_NAME, folder / SAFETENSORS_WEIGHTS_NAME)
        settings = json.loads((adapters / CONFIG_NAME).read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = name
        (folder / CONFIG_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def save_bare(model: PreTrainedModel, source: Checkpoint, folder: Path) -> None:
    """Write the body of a language model, and with it what the source's has and a language model's does without.

    That is a pooler, mostly: nothing here trains it, but the class that opens the folder would miss it.
    """
    bare = cast(PreTrainedModel, model.base_model)
    state = bare.state_dict()
    with torch.device("meta"):
        whole = AutoModel.from_config(model.config, trust_remote_code=source.trust_remote_code).state_dict()
    others = [name for name in whole if name not in state and name in source.weights.tensors]
    state |= {name: source.weights.load(name).to(model.dtype) for name in others}
    bare.save_pretrained(folder, state_dict=state)

"""Which stored tensors of a checkpoint follow the size of its vocabulary."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from hf_xlt.checkpoint.weights import StoredTensor
from hf_xlt.errors import InputError

SIZES = ("vocab_size", "decoder_vocab_size", "src_vocab_size", "tgt_vocab_size", "vocab_size_per_layer_input")
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Layout:
    """The vocabulary-sized tensors of a checkpoint.

    Attributes:
        rows: Rows of the input embeddings.
        input_name: Stored name of the input embeddings.
        axes: Stored name → vocabulary axis, for the input embeddings and all that goes with them: tied copies,
            output embeddings, output biases.
        counted_from: The padding id that the body counts positions from, as RoBERTa does; None where it does not.
    """

    rows: int
    input_name: str
    axes: Mapping[str, int]
    counted_from: int | None = None

    @classmethod
    def of(
        cls, config: PreTrainedConfig, stored: Mapping[str, StoredTensor], *, trust_remote_code: bool = False
    ) -> Layout:
        """Find them by building the model twice on the meta device, the second time with one token more.

        What grows is vocabulary-sized, whatever the architecture; a table that merely has as many rows does not.

        Raises:
            InputError: If the model has no token embeddings or several vocabularies, if they are not stored as
                configured, or if a stored tensor looks vocabulary-sized but has no place in the architecture.
        """
        model = _skeleton(config, trust_remote_code)
        rows, input_names = _token_embeddings(model)
        larger = _skeleton(_with_rows(config, rows, rows + 1), trust_remote_code).state_dict()
        places = _places(stored, model)
        growing = {name: _growing_axis(model.state_dict()[place], larger[place]) for name, place in places.items()}
        axes = {name: axis for name, axis in growing.items() if axis is not None}
        _check_stored(stored, places, axes, model)
        _check_unplaced(stored.keys() - places.keys(), stored, rows, type(model).__name__)
        tables = [name for name in axes if places[name] in input_names]
        if not tables:
            raise InputError(
                f"The weights hold no input embeddings ({' or '.join(input_names)}) for {type(model).__name__}. "
                "Check `architectures` and `vocab_size` in config.json."
            )
        return cls(rows, tables[0], axes, _counted_from(model))


def size_fields(config: PreTrainedConfig) -> list[tuple[PreTrainedConfig, str, int]]:
    """Each field of a configuration and its sub-configurations that counts tokens: its owner, name and value."""
    found = []
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            found += size_fields(value)
        elif name in SIZES and isinstance(value, int):
            found.append((config, name, value))
    return found


def _with_rows(config: PreTrainedConfig, old: int, new: int) -> PreTrainedConfig:
    """A copy of the configuration with `new` tokens for `old`."""
    changed = copy.deepcopy(config)
    fields = size_fields(changed)
    sizes = sorted({value for _, _, value in fields})
    if sizes != [old]:
        raise InputError(
            f"The configuration counts {' and '.join(map(str, sizes)) or 'no'} tokens where the embedding table has "
            f"{old} rows. Only models with one vocabulary are supported."
        )
    for owner, name, _ in fields:
        setattr(owner, name, new)
    return changed


def _skeleton(config: PreTrainedConfig, trust_remote_code: bool) -> PreTrainedModel:
    """The model of a configuration without storage for its weights, as the class it was saved from."""
    name = (config.architectures or [""])[0]
    native = getattr(transformers, name, None) if name else None
    with torch.device("meta"):
        if isinstance(native, type) and issubclass(native, PreTrainedModel):
            return native(copy.deepcopy(config))
        auto_map = getattr(config, "auto_map", None) or {}
        saved_for = (auto for auto, code in auto_map.items() if name and str(code).endswith(f".{name}"))
        auto_class = getattr(transformers, next(saved_for, "AutoModelForPreTraining"))
        try:
            return auto_class.from_config(copy.deepcopy(config), trust_remote_code=trust_remote_code)
        except ValueError as error:
            raise InputError(
                f"Architecture {name or 'none'} of model type {config.model_type!r} is not known to transformers. Set "
                "`architectures` in config.json to the class that the weights were saved from; if the checkpoint "
                "brings its own code and you trust it, allow it with trust_remote_code."
            ) from error


def _token_embeddings(model: PreTrainedModel) -> tuple[int, list[str]]:
    """Rows of the input embeddings, and every name that they have in the model, tied ones included."""
    try:
        weight: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    except (NotImplementedError, AttributeError) as error:
        raise InputError(f"{type(model).__name__} has no token embeddings. Give a text model.") from error
    names = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is weight]
    return len(weight), names


def _counted_from(model: PreTrainedModel) -> int | None:
    """The padding id of the position embeddings: one that the configuration sets, or that is written into the code."""
    positions = (module for name, module in model.named_modules() if "position" in name.rpartition(".")[2])
    ids = (getattr(module, "padding_idx", None) for module in positions)
    return next((id_ for id_ in ids if isinstance(id_, int)), None)


def _places(stored: Mapping[str, StoredTensor], model: PreTrainedModel) -> dict[str, str]:
    """Stored name → name in the model: the same, or with the base model's prefix added or taken away."""
    state, prefix = model.state_dict(), f"{model.base_model_prefix}."
    candidates = ((name, (name, prefix + name, name.removeprefix(prefix))) for name in stored)
    found = ((name, next((place for place in places if place in state), None)) for name, places in candidates)
    return {name: place for name, place in found if place is not None}


def _growing_axis(tensor: torch.Tensor, larger: torch.Tensor) -> int | None:
    return next((axis for axis, size in enumerate(tensor.shape) if size != larger.shape[axis]), None)


def _check_stored(
    stored: Mapping[str, StoredTensor], places: Mapping[str, str], axes: Mapping[str, int], model: PreTrainedModel
) -> None:
    state = model.state_dict()
    for name in axes:
        expected = tuple(state[places[name]].shape)
        if stored[name].shape != expected:
            raise InputError(
                f"{name} is stored as {stored[name].shape}, but config.json asks for {expected}. "
                "Correct `vocab_size` there, or give a whole checkpoint."
            )
        if stored[name].dtype not in FLOATS:
            raise InputError(
                f"{name} is stored as {stored[name].dtype}; expected one of {', '.join(FLOATS)}. "
                "Give the checkpoint before quantization."
            )


def _check_unplaced(names: set[str], stored: Mapping[str, StoredTensor], rows: int, architecture: str) -> None:
    """Refuse leftovers of another head that would keep the old vocabulary; int64 buffers hold positions."""
    for name in sorted(names):
        shape = stored[name].shape
        if rows in shape and len(shape) <= 2 and stored[name].dtype != "I64":
            raise InputError(
                f"The stored tensor {name} {shape} has an entry for each of the {rows} tokens, but {architecture} has "
                "no such part, so it would keep the old vocabulary. Set `architectures` in config.json to the class "
                "that the weights were saved from, or save them again without it."
            )

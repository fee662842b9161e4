"""Which stored tensors of a checkpoint follow the size of its vocabulary, and which of a model each becomes."""

import copy
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from hf_xlt.checkpoint.kind import skeleton
from hf_xlt.checkpoint.weights import StoredTensor
from hf_xlt.errors import InputError


@dataclass(frozen=True)
class Place:
    """Where a stored tensor goes."""

    name: str  # of the tensor in the model, or of the first one where it is converted
    made: tuple[str, ...] = ()  # names of all that a conversion makes of it; empty where it goes as it is


def places(stored: Iterable[str], model: PreTrainedModel) -> dict[str, Place]:
    """Stored name → its place, as `from_pretrained` finds it; what the model has no place for is left out."""
    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    state, prefix = model.state_dict(), model.base_model_prefix
    targets = {pattern: entry.target_patterns for entry in converters for pattern in entry.source_patterns}
    found = {}
    for name in stored:
        place, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if place not in state and name in state:  # the mapping leads nowhere; the stored name does
            place, pattern = rename_source_key(name, [], [], prefix, state)
        if place in state:
            first, *others = targets[pattern] if pattern else [""]
            made = (place, *(place.replace(first, other) for other in others)) if pattern else ()
            found[name] = Place(place, made)
    return found


SIZES = ("vocab_size", "decoder_vocab_size", "src_vocab_size", "tgt_vocab_size", "vocab_size_per_layer_input")
LAYER = re.compile(r"^(.*?\.)(\d+)\.")
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Layout:
    """The vocabulary-sized tensors of a checkpoint."""

    rows: int  # of the input embeddings
    input_name: str  # their stored name
    axes: Mapping[str, int]  # stored name → vocabulary axis, of them, tied copies, output embeddings and biases
    counted_from: int | None = None  # the padding id that the body counts positions from, as RoBERTa does

    @classmethod
    def of(
        cls, config: PreTrainedConfig, stored: Mapping[str, StoredTensor], *, trust_remote_code: bool = False
    ) -> Self:
        """Find them by building the model twice on the meta device, the second time with one token more.

        What grows is vocabulary-sized, whatever the architecture; a table that merely has as many rows does not.
        """
        model = skeleton(config, trust_remote_code)
        rows, input_names = _token_embeddings(model)
        growing = _growing_axes(config, rows, model, trust_remote_code)
        found = places(stored, model)
        _check_whole(found, growing)
        axes = {name: growing[place.name] for name, place in found.items() if place.name in growing}
        _check_stored(stored, found, axes, model)
        _check_layers(found, model)
        _check_unplaced(stored, found, rows, model)
        tables = [name for name in axes if found[name].name in input_names]
        if not tables:
            raise InputError(
                f"The weights hold no input embeddings ({' or '.join(input_names)}) for {type(model).__name__}; they "
                f"hold {', '.join(sorted(stored)[:3])} …",
                hint="Check `architectures` in config.json, and that all weights are there.",
            )
        positions = (module for name, module in model.named_modules() if "position" in name.rpartition(".")[2])
        ids = (getattr(module, "padding_idx", None) for module in positions)  # set, or written into the code
        return cls(rows, tables[0], axes, next((id_ for id_ in ids if isinstance(id_, int)), None))


def size_fields(config: PreTrainedConfig) -> list[tuple[PreTrainedConfig, str, int]]:
    """Each field of a configuration and its sub-configurations that counts tokens: its owner, name and value."""
    found = []
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            found += size_fields(value)
        elif name in SIZES and isinstance(value, int):
            found.append((config, name, value))
    return found


def _growing_axes(
    config: PreTrainedConfig, rows: int, model: PreTrainedModel, trust_remote_code: bool
) -> dict[str, int]:
    """Name in the model → axis that grows with one token more; a size that shapes nothing is no matter."""
    changed = copy.deepcopy(config)
    for owner, name, value in size_fields(changed):
        setattr(owner, name, value + 1)
    state, larger = model.state_dict(), skeleton(changed, trust_remote_code).state_dict()
    axes: dict[str, int] = {}
    for name, tensor in state.items():
        grown = [axis for axis, size in enumerate(tensor.shape) if size != larger[name].shape[axis]]
        if grown:
            axes[name] = grown[0]
    sizes = sorted({state[name].shape[axis] for name, axis in axes.items()})
    if sizes != [rows]:
        raise InputError(
            f"The configuration counts {' and '.join(map(str, sizes)) or 'no'} tokens where the embedding table has "
            f"{rows} rows",
            hint="Only models with one vocabulary are supported.",
            value=sizes,
        )
    return axes


def _token_embeddings(model: PreTrainedModel) -> tuple[int, list[str]]:
    """Rows of the input embeddings, and every name that they have in the model, tied ones included."""
    try:
        weight: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    except (NotImplementedError, AttributeError) as error:
        raise InputError(f"{type(model).__name__} has no token embeddings", hint="Give a text model.") from error
    names = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is weight]
    return len(weight), names


def _check_whole(found: Mapping[str, Place], growing: Mapping[str, int]) -> None:
    """Refuse a vocabulary-sized tensor that is joined of stored parts, or cut out of a stored whole."""
    for name, made in ((name, made) for name, place in found.items() for made in place.made):
        if made in growing:
            problem = f"{name} is not the whole {made}: transformers converts it on opening"
            hint = "This layout of weights is not supported."
            raise InputError(problem, value=name, expected="vocabulary-sized tensors stored one by one", hint=hint)


def _check_stored(
    stored: Mapping[str, StoredTensor], found: Mapping[str, Place], axes: Mapping[str, int], model: PreTrainedModel
) -> None:
    """Refuse tensors of other shapes than the model's, and tables that cannot be computed with."""
    state, packed = model.state_dict(), getattr(model.config, "quantization_config", None) is not None
    for name, place in found.items():
        expected, given = tuple(state[place.name].shape), stored[name].shape
        differs = given != expected if name in axes else math.prod(given) != math.prod(expected)
        if differs and not place.made and (name in axes or not packed):
            fields = "`vocab_size`" if name in axes else "the sizes"
            problem = f"{name} is stored as {given}, but config.json asks for {expected}"
            raise InputError(problem, hint=f"Correct {fields} there, or give a whole checkpoint.", value=given)
        if name in axes and stored[name].dtype == "I64":
            raise InputError(
                f"{name} says something of each token in whole numbers, such as where it is sent, and these cannot be "
                "mixed",
                value=stored[name].dtype,
                hint="Choose a model without such a table.",
            )
        if name in axes and stored[name].dtype not in FLOATS:
            problem = f"{name} is stored as {stored[name].dtype}"
            hint = "Give the checkpoint before quantization."
            raise InputError(problem, expected=f"one of {', '.join(FLOATS)}", hint=hint, value=stored[name].dtype)


def _check_layers(found: Mapping[str, Place], model: PreTrainedModel) -> None:
    """Refuse a checkpoint that lacks a whole layer of those that it has others of: it would be drawn at random."""
    own = model.state_dict().keys() - model.all_tied_weights_keys.keys()
    filled = (name for place in found.values() for name in (place.name, *place.made))
    wanted, held = ({layer for name in names for layer in LAYER.findall(name)[:1]} for names in (own, filled))
    stacks = {stack for stack, _ in held}
    if lacking := sorted((layer for layer in wanted - held if layer[0] in stacks), key=lambda layer: int(layer[1])):
        first, hint = "".join(lacking[0]), "Correct the number of layers there, or give a whole checkpoint."
        problem = f"The weights hold no layer {first}, which config.json asks for"
        raise InputError(problem, value=first, expected="all layers", hint=hint)


def _check_unplaced(
    stored: Mapping[str, StoredTensor], found: Mapping[str, Place], rows: int, model: PreTrainedModel
) -> None:
    """Refuse leftovers that would keep the old vocabulary; int64 buffers hold positions."""
    for name in sorted(stored.keys() - found.keys()):
        shape = stored[name].shape
        if rows in shape and len(shape) <= 2 and stored[name].dtype != "I64":
            raise InputError(
                f"The stored tensor {name} {shape} has an entry for each of the {rows} tokens, but "
                f"{type(model).__name__} has no such part: transformers leaves it unread, and it would keep the old "
                "vocabulary",
                value=name,
                hint=_way_out(name, stored[name], model),
            )


def _way_out(name: str, tensor: StoredTensor, model: PreTrainedModel) -> str:
    first, _, rest = name.partition(".")
    if rest and places([rest], model):
        return f"Take `{first}.` off the stored names, as by saving the model inside of the wrapper that puts it there."
    if getattr(model.config, "quantization_config", None) is not None or tensor.dtype not in FLOATS:
        return "Give the checkpoint before quantization."
    return (
        "Open the model with transformers and save it again, which leaves it out; or, if the weights are another "
        "class's, name that in `architectures` in config.json."
    )

"""Which tensor of a model a stored tensor becomes when transformers opens the checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key


@dataclass(frozen=True)
class Place:
    """Where a stored tensor goes.

    Attributes:
        name: Of the tensor in the model, or of the first one where it is converted.
        made: Names of all tensors that are made of it by a conversion, out of parts or into parts; empty where it
            goes as it is.
    """

    name: str
    made: tuple[str, ...] = ()


def places(stored: Iterable[str], model: PreTrainedModel) -> dict[str, Place]:
    """Stored name → its place, as `from_pretrained` finds it; what the model has no place for is left out.

    The names are changed by transformers' own mapping of published names, with the base model's prefix added or taken
    away.
    """
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

"""Layers of which each language has its own, and batches whose texts stand in the order of their languages."""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from .configuration_trelm import TreLMConfig
from .layers_trelm import TreLMAttention, TreLMLayer
from .separate_trelm import LanguageModules, check_languages

Spoken = Mapping[str, int]
"""The languages of a batch in the order their texts stand in, and how many each has; of a single one none is counted.
"""


def by_language(spoken: Spoken, run: Callable[..., Tensor], *states: Tensor) -> Tensor:
    """What `run(language, *states)` makes of each language's texts, one language after the other.

    Args:
        spoken: Of the batch.
        run: Keeps the number of texts.
        states: Each `(b, …)`, the texts in the order of `spoken`.

    Returns:
        `(b, …)`. Where all texts are of one language nothing is copied.
    """
    if len(spoken) == 1:
        return run(*spoken, *states)
    parts = zip(*(state.split(list(spoken.values())) for state in states), strict=True)
    return torch.cat([run(language, *part) for language, part in zip(spoken, parts, strict=True)])


def _copies(module: nn.Module, config: TreLMConfig) -> LanguageModules:
    return LanguageModules(config, lambda language: copy.deepcopy(module))


class LanguageAttention(TreLMAttention):
    """Self-attention with projections of each language's own; the texts of all languages are attended to at once."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        for name in ("query", "key", "value", "output"):
            setattr(self, name, _copies(getattr(self, name), config))

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *, spoken: Spoken, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """As `TreLMAttention.forward`, of texts in the order of `spoken`."""

        def projected(name: str, states: Tensor) -> Tensor:
            own = cast(LanguageModules, getattr(self, name))
            return by_language(spoken, lambda language, part: own[language](part), states)

        query, key, value = (projected(name, hidden_states) for name in ("query", "key", "value"))
        mixed, weights = self.mix(query, key, value, attention_mask, **kwargs)
        return projected("output", mixed), weights


class LanguageLayer(TreLMLayer):
    """An encoder layer with all weights of each language's own, which texts of all languages pass together.

    A language that the batch lacks gets no gradients; DDP then needs `find_unused_parameters`, as `Trainer` has it.
    """

    _transforming = ("attention_norm", "intermediate", "output", "output_norm")

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.attention = LanguageAttention(config)
        for name in self._transforming:
            setattr(self, name, _copies(getattr(self, name), config))

    def forward(  # type: ignore[override]
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, *, spoken: Spoken, **kwargs: Any
    ) -> Tensor:
        """As `TreLMLayer.forward`, of texts in the order of `spoken`."""
        attended, _ = self.attention(hidden_states, attention_mask, spoken=spoken, **kwargs)
        own = [cast(LanguageModules, getattr(self, name)) for name in self._transforming]

        def transformed(language: str, states: Tensor, attended: Tensor) -> Tensor:
            return self.transform(states, attended, *(modules[language] for modules in own))

        return by_language(spoken, transformed, hidden_states, attended)


def layer_at(index: int, config: TreLMConfig) -> TreLMLayer:
    """A layer of each language's own or one that all share, as the configuration says."""
    return LanguageLayer(config) if index in config.own_layers else TreLMLayer(config)


def in_language_order(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a model with layers of each language's own see the texts of one language side by side.

    Where a batch mixes languages, every input is put in the order of `lang_ids` once, and every output back into the
    order the texts came in. What each language has of the batch is handed to `forward` as `spoken`. For that the host
    has to know the languages: on an accelerator it waits for them once a forward, and compiled code breaks its graph.
    """
    names = list(inspect.signature(forward).parameters)[1:]

    @wraps(forward)
    def ordered(model: Any, *args: Any, **kwargs: Any) -> Any:
        config = model.config
        if not config.language_specific_layers:
            return forward(model, *args, **kwargs)
        inputs = dict(zip(names, args, strict=False)) | kwargs
        if inputs.get("lang_ids") is None:
            return forward(model, **inputs, spoken={config.default_language: 0})
        languages = _languages_of(inputs["lang_ids"], inputs.get("attention_mask"), config)
        found, sizes = (each.tolist() for each in languages.unique(return_counts=True))
        spoken = {config.languages[number]: size for number, size in zip(found, sizes, strict=True)}
        if (languages[1:] >= languages[:-1]).all():
            return forward(model, **inputs, spoken=spoken)
        order = languages.argsort(stable=True)
        inputs |= {name: _selected(value, order) for name, value in inputs.items() if name in names}
        return _selected(forward(model, **inputs, spoken=spoken), order.argsort())

    return ordered


def _languages_of(lang_ids: Tensor, attention_mask: Tensor | None, config: TreLMConfig) -> Tensor:
    """The language id of each text `(b,)`, on the host; padding does not count.

    Raises:
        ValueError: If the model does not have a language, or a text is of several.
    """
    lang_ids = lang_ids.cpu()
    check_languages(lang_ids, config)
    if lang_ids.ndim == 1:
        return lang_ids
    real = torch.ones_like(lang_ids, dtype=torch.bool)
    if attention_mask is not None and attention_mask.ndim == 2:
        lang_ids, real = torch.broadcast_tensors(lang_ids, attention_mask.cpu().bool())
    first = lang_ids.gather(1, real.to(torch.int64).argmax(1, keepdim=True))
    several = ((lang_ids != first) & real).any(1)
    if several.any():
        raise ValueError(
            f"lang_ids gives text {several.nonzero()[0].item()} several languages; expected one a text, since layers "
            f"{', '.join(map(str, config.own_layers))} are each language's own. "
            "Part the text, or make the model without language_specific_layers."
        )
    return first[:, 0]


def _selected(values: Any, order: Tensor) -> Any:
    """Every tensor with a row a text, its rows in another order; what has one row for all texts stays as it is."""
    if isinstance(values, Tensor):
        return values.index_select(0, order.to(values.device)) if len(values) == len(order) else values
    if isinstance(values, ModelOutput):
        return type(values)(**{name: _selected(value, order) for name, value in values.items()})
    return tuple(_selected(value, order) for value in values) if isinstance(values, tuple) else values


__all__ = ["LanguageAttention", "LanguageLayer", "Spoken", "by_language", "in_language_order", "layer_at"]

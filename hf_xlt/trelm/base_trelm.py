"""What all TreLM models share: how weights start, the default language, and the parts that train or freeze."""

from collections.abc import Iterable

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_trelm import TreLMConfig
from .embeddings_trelm import LanguageEmbedding
from .layers_trelm import TreLMAttention, TreLMLayer, TRILayer


class TreLMPreTrainedModel(PreTrainedModel):
    """Base of all TreLM models.

    Language embeddings start at zero, all other weights as in BERT.
    """

    config: TreLMConfig
    base_model_prefix = "trelm"
    supports_gradient_checkpointing = True
    _no_split_modules = ["TreLMEmbeddings", "TreLMLayer", "TRILayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": TreLMLayer, "attentions": TreLMAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LanguageEmbedding):
            init.zeros_(module.weight)
        elif isinstance(module, TRILayer):
            init.normal_(module.unaligned, std=self.config.initializer_range)

    def set_language(self, language: str) -> None:
        """Make a language the one of inputs that come without `lang_ids`; it is saved with the model.

        Raises:
            ValueError: If the model does not have the language.
        """
        self.config.language_id(language)
        self.config.default_language = language

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter once, by the part it belongs to.

        With a TRILayer the parts are `embeddings`, `lower` (layers below it), `tri_layer`, `upper` (layers above it)
        and `head`; without one `embeddings`, `layers` and `head`. Output weights tied to the word embeddings belong
        to `embeddings`. `head` is empty in a model without one.
        """
        stacks = self.base_model.stacks()  # type: ignore[operator]
        parts = {name: list(modules.parameters()) for name, modules in stacks.items()}
        known = {id(parameter) for parameters in parts.values() for parameter in parameters}
        return parts | {"head": [parameter for parameter in self.parameters() if id(parameter) not in known]}

    def part(self, name: str) -> list[nn.Parameter]:
        """The parameters of one of `parts`.

        Raises:
            ValueError: If there is no such part.
        """
        parts = self.parts()
        if name not in parts:
            hint = "" if "lower" in parts else " Without a TRILayer the layers are one part."
            raise ValueError(f"{name!r} is not a part of this model; expected one of {', '.join(parts)}.{hint}")
        return parts[name]

    def freeze(self, *names: str) -> None:
        """Train these parts no more, and leave the others as they are.

        An optimizer takes only what requires a gradient when it is made: with `Trainer`, a part that is to train
        later has to be frozen after that, in `on_train_begin` of a callback.

        Raises:
            ValueError: If there is no such part.
        """
        for parameter in [parameter for name in names for parameter in self.part(name)]:
            parameter.requires_grad_(False)

    def set_trainable(self, names: Iterable[str]) -> None:
        """Train these parts and no others; see `freeze` for when.

        Raises:
            ValueError: If there is no such part.
        """
        trained = [parameter for name in names for parameter in self.part(name)]
        self.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)


__all__ = ["TreLMPreTrainedModel"]

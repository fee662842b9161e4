"""What all TreLM models share: how weights start, the default language, and the parts that train or freeze."""

from collections.abc import Iterable, Mapping

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_trelm import TreLMConfig
from .embeddings_trelm import LanguageEmbedding
from .layers_trelm import TreLMAttention, TreLMLayer, TRILayer
from .separate_trelm import LanguageModules, SeparateDecoder


class TreLMPreTrainedModel(PreTrainedModel):
    """Base of all TreLM models.

    Language embeddings start at zero, all other weights as in BERT.
    """

    config: TreLMConfig
    base_model_prefix = "trelm"
    supports_gradient_checkpointing = True
    _no_split_modules = ["TreLMEmbeddings", "TreLMLayer", "LanguageLayer", "TRILayer"]
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

        Where languages have their own embeddings, the model's input and output embeddings, `vocab_size` and special
        ids are from then on this language's: a task learned in one language is done in another after this call.

        Raises:
            ValueError: If the model does not have the language.
        """
        self.config.set_language(language)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter once, by the part it belongs to.

        With a TRILayer the parts are `embeddings`, `lower` (layers below it), `tri_layer`, `upper` (layers above it)
        and `head`; without one `embeddings`, `layers` and `head`. Output weights tied to the word embeddings belong
        to `embeddings`. `head` is empty in a model without one.

        Where each language has its own embeddings there is also `embeddings.<language>`: its word embeddings, output
        weights and output bias. Where each has layers of its own there is `layers.<language>`, or `lower.<language>`
        with a TRILayer. `embeddings`, `layers` and `lower` then hold what is left of them, which all languages share.
        """
        parts: dict[str, list[nn.Parameter]] = {}
        for name, stack in self.base_model.stacks().items():  # type: ignore[operator]
            own = self._of_languages(name, stack)
            parts |= {name: _without(stack.parameters(), own)} | own
        return parts | {"head": _without(self.parameters(), parts)}

    def _of_languages(self, name: str, stack: nn.Module) -> dict[str, list[nn.Parameter]]:
        """What each language has for itself of a stack, by its part; of the embeddings, that of the output too."""
        own = [module for module in stack.modules() if isinstance(module, LanguageModules)]
        if name == "embeddings":
            own += [module for module in self.modules() if isinstance(module, SeparateDecoder)]
        if not own:
            return {}
        return {
            f"{name}.{language}": list({weight: None for each in own for weight in each[language].parameters()})
            for language in self.config.languages
        }

    def part(self, name: str) -> list[nn.Parameter]:
        """The parameters of one of `parts`; of `embeddings`, `layers` and `lower` those of every language too.

        Raises:
            ValueError: If there is no such part.
        """
        parts = self.parts()
        if name not in parts:
            hint = "" if "lower" in parts else " Without a TRILayer the layers are one part."
            raise ValueError(f"{name!r} is not a part of this model; expected one of {', '.join(parts)}.{hint}")
        within = [part for part in parts if part == name or part.startswith(f"{name}.")]
        return [parameter for part in within for parameter in parts[part]]

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


def _without(parameters: Iterable[nn.Parameter], parts: Mapping[str, list[nn.Parameter]]) -> list[nn.Parameter]:
    """The parameters that belong to none of the parts."""
    taken = {id(parameter) for part in parts.values() for parameter in part}
    return [parameter for parameter in parameters if id(parameter) not in taken]


__all__ = ["TreLMPreTrainedModel"]

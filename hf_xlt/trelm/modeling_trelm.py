"""TreLM models: BERT-like encoders of several languages, with a TRILayer between their halves.

This file and `configuration_trelm.py` travel with every saved model: the Auto classes open its folder with
`trust_remote_code=True` where hf_xlt is not installed. So they need transformers, torch and each other alone.
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_trelm import TreLMConfig

IGNORED = -100
NEEDS_HF_XLT = "{} needs hf_xlt, which is not installed. Install it with `pip install hf-xlt`."


def own_name(language: str) -> str:
    """The name of a language's own modules; the prefix is there since `to`, Tongan, is the name of a method."""
    return f"lang_{language}"


def name_of(name: str, language: str) -> str:
    """What a tensor is called where each language has one of its own."""
    module, _, tensor = name.rpartition(".")
    return f"{module}.{own_name(language)}.{tensor}"


class LanguageModules(nn.Module):
    """One module a language, under `own_name`."""

    def __init__(self, config: TreLMConfig, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.config = config
        for language, module in modules.items():
            self[language] = module

    def __getitem__(self, language: str) -> nn.Module:
        return cast(nn.Module, getattr(self, own_name(language)))

    def __setitem__(self, language: str, module: nn.Module) -> None:
        setattr(self, own_name(language), module)

    @property
    def default(self) -> nn.Module:
        """The default language's."""
        return self[str(self.config.default_language)]


class SeparateEmbedding(LanguageModules):
    """Word embeddings with a table for each language."""

    def __init__(self, config: TreLMConfig) -> None:
        width = config.embedding_size or config.hidden_size
        own = {language: config.vocabulary(language) for language in config.languages}
        tables = {
            language: nn.Embedding(vocabulary["vocab_size"] or 0, width, padding_idx=vocabulary["pad_token_id"])
            for language, vocabulary in own.items()
        }
        super().__init__(config, tables)

    def forward(self, input_ids: Tensor, lang_ids: Tensor | None = None) -> Tensor:
        """Embeddings `(b, s, embedding_size)` of ids `(b, s)`, whose languages `lang_ids` `(b, 1)` or `(b, s)` tells.

        Every table is looked into for every position, with id 0 for texts of other languages: shapes do not depend
        on who speaks what, so that nothing waits for an accelerator and a compiled model stays one graph.
        """
        check_ids(input_ids, lang_ids, self.config)
        if lang_ids is None:
            return self.default(input_ids)
        chosen = [lang_ids == number for number in range(len(self.config.languages))]
        looked_up = [
            self[language](input_ids.where(which, 0))
            for language, which in zip(self.config.languages, chosen, strict=True)
        ]
        words = looked_up[0]
        for which, of_language in zip(chosen[1:], looked_up[1:], strict=True):
            words = torch.where(which[..., None], of_language, words)
        return words


class SeparateDecoder(LanguageModules):
    """Output layer with weights and a bias for each language."""

    def __init__(self, config: TreLMConfig) -> None:
        width = config.embedding_size or config.hidden_size
        sizes = {language: config.vocabulary(language)["vocab_size"] or 0 for language in config.languages}
        super().__init__(config, {language: nn.Linear(width, size) for language, size in sizes.items()})

    def forward(self, states: Tensor, lang_ids: Tensor | None = None) -> Tensor:
        """Logits of states `(…, embedding_size)` over the vocabulary of each one's own language, `lang_ids` `(…)`.

        With `lang_ids` they are as wide as the largest vocabulary; after the end of a smaller one they are the lowest
        number of their dtype, whose share of a softmax is zero.
        """
        if lang_ids is None:
            return self.default(states)
        chosen = [lang_ids == number for number in range(len(self.config.languages))]
        own = [self[language](states[which]) for language, which in zip(self.config.languages, chosen, strict=True)]
        widest = max(logits.shape[-1] for logits in own)
        logits = own[0].new_full((*lang_ids.shape, widest), torch.finfo(own[0].dtype).min)
        for which, of_language in zip(chosen, own, strict=True):
            logits[..., : of_language.shape[-1]][which] = of_language
        return logits


def check_ids(ids: Tensor, lang_ids: Tensor | None, config: TreLMConfig) -> None:
    """Refuse ids that their language's vocabulary lacks, where looking costs nothing: elsewhere the look-up fails."""
    if not ids.is_cpu or torch.compiler.is_compiling():
        return
    for number, language in enumerate(config.languages):
        size = config.vocabulary(language)["vocab_size"] or 0
        spoken = language == config.default_language if lang_ids is None else lang_ids == number
        beyond = ids[(ids >= size) & spoken]
        if len(beyond):
            raise ValueError(
                f"Token id {beyond[0]} stands in a text of {language!r}, whose vocabulary has {size} rows; expected "
                "ids below. Cut each text with the tokenizer of its own language, and tell the language by lang_ids."
            )


def check_languages(lang_ids: Tensor, config: TreLMConfig) -> None:
    """Refuse ids of languages that the model does not have; on an accelerator, looking would make the host wait."""
    if not lang_ids.is_cpu or torch.compiler.is_compiling():
        return
    known = config.languages
    unknown = lang_ids[(lang_ids < 0) | (lang_ids >= len(known))]
    if len(unknown):
        names = ", ".join(f"{number} ({language})" for number, language in enumerate(known))
        hint = "Take ids from config.language_id, and name every language when the model is made."
        raise ValueError(f"Language id {unknown[0]} is not one of this model's: {names}. {hint}")


def by_position(lang_ids: Tensor) -> Tensor:
    """Language ids of texts `(b,)` as `(b, 1)`; those of tokens `(b, s)` as they are."""
    return lang_ids[:, None] if lang_ids.ndim == 1 else lang_ids


class LanguageEmbedding(nn.Embedding):
    """One row a language. A class of its own, so that the models can start it at zero."""


class TreLMEmbeddings(nn.Module):
    """What goes into the first layer, and what is added to the states before the TRILayer, from the same tables.

    Language rows start at zero: an untrained model with several languages computes what one without them does.
    """

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.config = config
        padding = config.position_offset - 1 if config.position_offset else None
        self.word_embeddings: nn.Embedding | SeparateEmbedding
        if config.separate_embeddings:
            self.word_embeddings = SeparateEmbedding(config)
        else:
            self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width, padding_idx=padding)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.language_embeddings = LanguageEmbedding(len(config.languages), width)
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.projection = nn.Linear(width, config.hidden_size) if width != config.hidden_size else None

    def forward(
        self, words: Tensor, position_ids: Tensor, token_type_ids: Tensor | None = None, lang_ids: Tensor | None = None
    ) -> Tensor:
        """The input `(b, s, hidden_size)` of the first layer, of word embeddings `(b, s, embedding_size)`."""
        types = self.token_type_embeddings(torch.zeros_like(position_ids) if token_type_ids is None else token_type_ids)
        embedded = words + types + self.position_embeddings(position_ids) + self._languages(lang_ids, position_ids)
        embedded = self.dropout(self.norm(embedded))
        return embedded if self.projection is None else self.projection(embedded)

    def words(self, input_ids: Tensor, lang_ids: Tensor | None) -> Tensor:
        """Word embeddings `(b, s, embedding_size)` of ids `(b, s)`, from each language's own table if it has one."""
        if lang_ids is None or not self.config.separate_embeddings:
            return self.word_embeddings(input_ids)
        check_languages(lang_ids, self.config)
        return self.word_embeddings(input_ids, by_position(lang_ids))

    def is_token(self, input_ids: Tensor, lang_ids: Tensor | None) -> Tensor:
        """Bool `(b, s)`, false where an id of `(b, s)` is the padding of its language's vocabulary."""
        is_token = torch.ones_like(input_ids, dtype=torch.bool)
        if lang_ids is None or not self.config.separate_embeddings:
            return is_token if self.config.pad_token_id is None else input_ids != self.config.pad_token_id
        for number, language in enumerate(self.config.languages):
            pad = self.config.vocabulary(language)["pad_token_id"]
            if pad is not None:
                is_token = is_token & ((by_position(lang_ids) != number) | (input_ids != pad))
        return is_token

    def target(self, position_ids: Tensor, lang_ids: Tensor | None) -> Tensor:
        """What is added before the TRILayer: position and language, broadcast to `(b, t, hidden_size)`.

        Where embeddings are projected, so are these, but without the bias: the states have it already.
        """
        embedded = self.position_embeddings(position_ids) + self._languages(lang_ids, position_ids)
        return embedded if self.projection is None else nn.functional.linear(embedded, self.projection.weight)

    def position_ids(self, is_token: Tensor) -> Tensor:
        """Positions, `(b, s)` or `(1, s)`, as the source model counts them; `is_token` `(b, s)` is false at padding."""
        offset, length = self.config.position_offset, is_token.shape[1]
        longest = self.config.max_position_embeddings - offset
        if length > longest:
            raise ValueError(f"The input is {length} tokens long; expected at most {longest}. Truncate it first.")
        if not offset:
            return torch.arange(length, device=is_token.device)[None]
        return is_token.cumsum(1) * is_token + offset - 1

    def _languages(self, lang_ids: Tensor | None, position_ids: Tensor) -> Tensor:
        """`(b, s, embedding_size)`, or with 1 for b or s where languages do not differ along it."""
        if lang_ids is None:
            lang_ids = position_ids.new_full((1,), self.config.language_id(str(self.config.default_language)))
        check_languages(lang_ids, self.config)
        return self.language_embeddings(by_position(lang_ids))


Spoken = Mapping[str, int]  # a batch's languages in the order of its texts, and how many each has if they are several


def by_language(spoken: Spoken | None, run: Callable[..., Tensor], *states: Tensor) -> Tensor:
    """What `run(language, *states)` makes of each language's texts; where they are of one, nothing is copied."""
    if spoken is None or len(spoken) == 1:
        return run(next(iter(spoken or ()), None), *states)
    parts = zip(*(state.split(list(spoken.values())) for state in states), strict=True)
    return torch.cat([run(language, *part) for language, part in zip(spoken, parts, strict=True)])


def own(module: nn.Module, language: str | None) -> nn.Module:
    """A language's own module, or the one that all share."""
    return module if language is None else cast(LanguageModules, module)[language]


class TreLMAttention(nn.Module):
    """Self-attention in both directions, through transformers' attention interface."""

    is_causal = False

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.head_size = width // config.num_attention_heads
        self.scaling = self.head_size**-0.5
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, spoken: Spoken | None = None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """`(b, s, width)`, all languages attended to at once, and the weights `(b, heads, s, s)` if there are any."""

        def projected(linear: nn.Module, states: Tensor) -> Tensor:
            return by_language(spoken, lambda language, part: own(linear, language)(part), states)

        shape = hidden_states.shape[:-1]
        query, key, value = (
            projected(linear, hidden_states).view(*shape, -1, self.head_size).transpose(1, 2)  # (b, heads, s, d)
            for linear in (self.query, self.key, self.value)
        )
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.dropout if self.training else 0.0
        mixed, weights = attention(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        return projected(self.output, mixed.reshape(*shape, -1)), weights


class TreLMLayer(GradientCheckpointingLayer):
    """An encoder layer as BERT's: attention and feed-forward, each added to its input and then normalized."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        self.attention = TreLMAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.output_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, spoken: Spoken | None = None, **kwargs: Any
    ) -> Tensor:
        """`(b, s, width)` to `(b, s, width)`; the mask is one that `create_bidirectional_mask` made."""
        attended, _ = self.attention(hidden_states, attention_mask, spoken, **kwargs)
        return by_language(spoken, self.transform, hidden_states, attended)

    def transform(self, language: str | None, hidden_states: Tensor, attended: Tensor) -> Tensor:
        """What follows attention: texts of one language and what they attended to, `(b, s, width)`, to the same."""
        hidden_states = own(self.attention_norm, language)(hidden_states + self.dropout(attended))
        transformed = own(self.output, language)(self.activation(own(self.intermediate, language)(hidden_states)))
        return own(self.output_norm, language)(hidden_states + self.dropout(transformed))


class TRILayer(nn.Module):
    """The layer between the halves: reorders to the target, tells it its language and positions, and transforms.

    `unaligned` `(width,)` is the learned vector of target positions without a link.
    """

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        self.unaligned = nn.Parameter(torch.empty(config.hidden_size))
        self.layer = TreLMLayer(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        target_embeddings: Tensor,
        alignment: Tensor | None,
        **kwargs: Any,
    ) -> Tensor:
        """Source states `(b, s, width)` to target states `(b, t, width)`, under the target's mask."""
        if alignment is not None:
            hidden_states = reorder(hidden_states, alignment, self.unaligned)
        return self.layer(hidden_states + target_embeddings, attention_mask, **kwargs)


def reorder(hidden_states: Tensor, alignment: Tensor, unaligned: Tensor) -> Tensor:
    """Source states `(b, s, width)` in the order and length of the target, `(b, t, width)`, by one gather.

    `alignment` `(b, t)` is int64: for each target position its source position, or -1 for none, where `unaligned`
    `(width,)` is taken.

    Raises:
        ValueError: If an entry is below -1 or not below s. On an accelerator and in compiled code, such an entry makes
            the gather itself fail: it never reads a neighbor's states.
    """
    batch, length, width = hidden_states.shape
    in_range = (alignment >= 0) & (alignment < length)
    if alignment.is_cpu and not torch.compiler.is_compiling() and not (in_range | (alignment == -1)).all():
        pair, position = (~in_range & (alignment != -1)).nonzero()[0].tolist()
        raise ValueError(
            f"alignment of pair {pair}, target position {position} is {alignment[pair, position]}; expected a source "
            f"position below {length}, or -1 for none. Check that links and tokens come from the same texts."
        )
    rows = alignment + length * torch.arange(batch, device=alignment.device)[:, None]
    nothing = batch * length  # the row after the states'; the one after that does not exist
    rows = torch.where(in_range, rows, torch.where(alignment == -1, nothing, nothing + 1))
    table = torch.cat([hidden_states.reshape(-1, width), unaligned.to(hidden_states.dtype)[None]])
    return table.index_select(0, rows.view(-1)).view(batch, -1, width)


class LanguageLayer(TreLMLayer):
    """An encoder layer with all weights of each language's own, which texts of all languages pass together.

    A language that the batch lacks gets no gradients; DDP then needs `find_unused_parameters`, as `Trainer` has it.
    """

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        transforming = ("attention_norm", "intermediate", "output", "output_norm")
        for whose, names in ((self.attention, ("query", "key", "value", "output")), (self, transforming)):
            for name in names:
                copies = {language: copy.deepcopy(getattr(whose, name)) for language in config.languages}
                setattr(whose, name, LanguageModules(config, copies))


def in_language_order(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a model with layers of each language's own see the texts of one language side by side.

    Where a batch mixes languages, inputs are put in the order of `lang_ids` and outputs back; `spoken` tells `forward`
    how many texts each language has. For that the host waits for the ids, and compiled code breaks its graph.
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
    """The language id of each text `(b,)`, on the host; padding does not count."""
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


class TreLMPreTrainedModel(PreTrainedModel):
    """Base of all TreLM models: language embeddings start at zero, all other weights as in BERT."""

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
        """
        self.config.set_language(language)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Every parameter once, by the part it belongs to.

        With a TRILayer the parts are `embeddings`, `lower` (layers below it), `tri_layer`, `upper` (layers above it)
        and `head`; without one `embeddings`, `layers` and `head`. Tied output weights belong to `embeddings`.

        Where each language has its own embeddings there is also `embeddings.<language>`, with its output weights and
        bias, and where it has layers of its own `layers.<language>`, or `lower.<language>` with a TRILayer. The parts
        without a language then hold what all languages share.
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
        """The parameters of one of `parts`; of `embeddings`, `layers` and `lower` those of every language too."""
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
        """
        for parameter in [parameter for name in names for parameter in self.part(name)]:
            parameter.requires_grad_(False)

    def set_trainable(self, names: Iterable[str]) -> None:
        """Train these parts and no others; see `freeze` for when."""
        trained = [parameter for name in names for parameter in self.part(name)]
        self.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)


def _without(parameters: Iterable[nn.Parameter], parts: Mapping[str, list[nn.Parameter]]) -> list[nn.Parameter]:
    """The parameters that belong to none of the parts."""
    taken = {id(parameter) for part in parts.values() for parameter in part}
    return [parameter for parameter in parameters if id(parameter) not in taken]


class TreLMModel(TreLMPreTrainedModel):
    """The encoder, which returns the states of its last layer.

    `output_hidden_states` also gives the TRILayer's own; from there on, states are in the target's order.
    """

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.embeddings = TreLMEmbeddings(config)
        self.layers = nn.ModuleList(
            LanguageLayer(config) if index in config.own_layers else TreLMLayer(config)
            for index in range(config.num_hidden_layers)
        )
        self.tri_layer = TRILayer(config) if config.tri_layer_index is not None else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings; the default language's where each has its own."""
        words = self.embeddings.word_embeddings
        return words.default if isinstance(words, SeparateEmbedding) else words  # type: ignore[return-value]

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Put other word embeddings in their place."""
        words = self.embeddings.word_embeddings
        if isinstance(words, SeparateEmbedding):
            words[str(self.config.default_language)] = value
        else:
            self.embeddings.word_embeddings = value  # type: ignore[assignment]

    def stacks(self) -> dict[str, nn.Module]:
        """The modules by the part they make up, in the order data flows through them."""
        if self.tri_layer is None:
            return {"embeddings": self.embeddings, "layers": self.layers}
        index = self.config.tri_layer_index
        lower, upper = self.layers[:index], self.layers[index:]
        return {"embeddings": self.embeddings, "lower": lower, "tri_layer": self.tri_layer, "upper": upper}

    @in_language_order
    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        alignment: Tensor | None = None,
        target_lang_ids: Tensor | None = None,
        target_attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Encode texts, and with an alignment turn their states into those of their translations.

        Below the TRILayer, states are the source's and `attention_mask` rules. The TRILayer reorders them, adds the
        target's language and positions, and from it upwards the target's mask rules.

        Args:
            input_ids: int64 `(b, s)`; or give `inputs_embeds`. With separate embeddings, ids of each text's own
                language.
            attention_mask: `(b, s)`, 0 at padding; None for no padding.
            token_type_ids: int64 `(b, s)`; None for all 0.
            position_ids: int64 `(b, s)`; None to count as the source model does.
            inputs_embeds: Word embeddings `(b, s, embedding_size)` in place of `input_ids`.
            lang_ids: int64 `(b,)` or `(b, s)`, language of each text or token; None for the default language. With
                layers of each language's own, every text is of one language.
            alignment: int64 `(b, t)`, for each target position its source position or -1 for none. None: the target
                is the source, nothing moves, and what is not given of the target is as in the source.
            target_lang_ids: int64 `(b,)` or `(b, t)`; needed with `alignment`.
            target_attention_mask: `(b, t)`, 0 at padding. None with `alignment`: no padding.
            kwargs: Options of the outputs, and for the attention implementation.

        Raises:
            ValueError: If inputs contradict each other, are too long, or name what is not there.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Both or none of input_ids and inputs_embeds are given; expected one. Give one alone.")
        self._check_target(alignment, target_lang_ids, target_attention_mask)
        words = self.embeddings.words(input_ids, lang_ids) if inputs_embeds is None else inputs_embeds  # type: ignore[arg-type]
        if position_ids is None:
            bare = torch.ones(words.shape[:2], dtype=torch.bool, device=words.device)  # embeddings do not tell padding
            is_token = bare if input_ids is None else self.embeddings.is_token(input_ids, lang_ids)
            position_ids = self.embeddings.position_ids(is_token)
        states = self.embeddings(words, position_ids, token_type_ids, lang_ids)
        mask = create_bidirectional_mask(self.config, states, attention_mask)
        target_lang_ids = lang_ids if target_lang_ids is None else target_lang_ids
        target_mask = target_attention_mask
        spoken = {"spoken": kwargs.pop("spoken", None)}  # of `in_language_order`
        for index, layer in enumerate(self.layers):
            if index == self.config.tri_layer_index:
                if alignment is not None:
                    target_mask = torch.ones_like(alignment) if target_mask is None else target_mask
                    position_ids = self.embeddings.position_ids(target_mask.bool())
                if target_mask is not None:
                    like = states.new_empty(*target_mask.shape, 1)
                    mask = create_bidirectional_mask(self.config, like, target_mask)
                added = self.embeddings.target(position_ids, target_lang_ids)
                states = self.tri_layer(states, mask, added, alignment, **kwargs)  # type: ignore[misc]
            states = layer(states, mask, **kwargs | (spoken if isinstance(layer, LanguageLayer) else {}))
        return BaseModelOutput(last_hidden_state=states)

    def _check_target(self, alignment: Tensor | None, lang_ids: Tensor | None, attention_mask: Tensor | None) -> None:
        given = {"alignment": alignment, "target_lang_ids": lang_ids, "target_attention_mask": attention_mask}
        names = " and ".join(name for name, value in given.items() if value is not None)
        if names and self.tri_layer is None:
            hint = "Make the model with a tri_layer_index, or leave them out."
            raise ValueError(f"{names} given to a model without a TRILayer; expected none. {hint}")
        if alignment is not None and lang_ids is None:
            raise ValueError(
                "alignment is given without target_lang_ids; expected the language of each target. "
                "Give target_lang_ids, for instance [model.config.language_id('de')] * batch."
            )
        if alignment is not None and attention_mask is not None and alignment.shape != attention_mask.shape:
            raise ValueError(
                f"target_attention_mask is {tuple(attention_mask.shape)} where alignment is {tuple(alignment.shape)}; "
                "expected the same shape. Pad both to the longest target."
            )


class MaskedLMHead(nn.Module):
    """Transform of the states before the output weights: dense, activation, norm."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.dense = nn.Linear(config.hidden_size, width)
        self.activation = ACT2FN[config.head_act]
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        """`(…, hidden_size)` to `(…, embedding_size)`."""
        return self.norm(self.activation(self.dense(states)))


class ClassificationHead(nn.Module):
    """Transform of one state a text: dropout, dense, tanh, dropout."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__()
        self.dropout = task_dropout(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """`(b, hidden_size)` to `(b, hidden_size)`."""
        return self.dropout(torch.tanh(self.dense(self.dropout(states))))


def task_dropout(config: TreLMConfig) -> nn.Dropout:
    """The dropout of task heads: `classifier_dropout`, or else that of the layers."""
    chosen = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if chosen is None else chosen)


def first_token(states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The state of each text's first token `(b, width)`, whichever side `states` `(b, s, width)` is padded on."""
    if attention_mask is None or attention_mask.ndim != 2:
        return states[:, 0]
    first = attention_mask.to(torch.int64).argmax(1)
    return states[torch.arange(len(states), device=states.device), first]


class TreLMForMaskedLM(TreLMPreTrainedModel):
    """The encoder with a masked language modeling head, for CdLM as for MLM."""

    _tied_weights_keys = {"decoder.weight": "trelm.embeddings.word_embeddings.weight"}

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.head = MaskedLMHead(config)
        self.decoder: nn.Linear | SeparateDecoder
        if config.separate_embeddings:
            self.decoder = SeparateDecoder(config)
            self._tied_weights_keys = {
                f"decoder.{name}.weight": f"trelm.embeddings.word_embeddings.{name}.weight"
                for name in map(own_name, config.languages)
            }
        else:
            self.decoder = nn.Linear(config.embedding_size or config.hidden_size, config.vocab_size)
        self.post_init()

    @classmethod
    def from_encoder(
        cls,
        checkpoint: str | PreTrainedModel,
        *,
        languages: list[str],
        tokenizer: PreTrainedTokenizerBase | None = None,
        tokenizers: Sequence[PreTrainedTokenizerBase] | None = None,
        tri_layer_index: int | Literal["middle"] | None = "middle",
        default_language: str | None = None,
        language_specific_layers: int | Sequence[int] = (),
        rows: Callable[[Tensor], Tensor] | None = None,
        source_tokenizer: PreTrainedTokenizerBase | None = None,
        seed: int = 42,
        **kwargs: Any,
    ) -> "TreLMForMaskedLM":
        """Make a TreLM model of a BERT, RoBERTa, XLM-R, CamemBERT or ELECTRA checkpoint.

        Without a TRILayer its logits are the source's. With one, the TRILayer is a copy of the layer that follows.
        A source without a masked LM head (a sentence encoder, an ELECTRA discriminator) gets a random one.

        Args:
            checkpoint: Hub id, folder, or a model that is open.
            languages: Codes of the languages the model is to know.
            tokenizer: The new model's, whose special ids the configuration takes over; None for the source's. Tokens
                spelled as the source's, and special tokens of the same role, keep their row; all others are drawn from
                N(mean, std) of the source's columns, unless `rows` or a callback makes better ones.
            tokenizers: In place of `tokenizer`, one for each of `languages`: the source's own first, which keeps its
                rows and biases. The model then has separate embeddings (RAMEN, Tran 2020, arXiv:2002.07306, §3.3).
            tri_layer_index: Layers below the TRILayer; "middle" for half of them, None for no TRILayer.
            default_language: Of inputs without `lang_ids`; None for the last of `languages`.
            language_specific_layers: How many lowest layers, or which, each language has for itself; each begins with
                the source's.
            rows: Makes the rows for `tokenizer`, or the second of two `tokenizers`: takes the source's table `(n, d)`
                or bias `(n,)` and returns the new one, for instance `transport.apply`.
            source_tokenizer: The source's; None to read it from `checkpoint`.
            seed: Of the draws.
            kwargs: For `from_pretrained` of the source, such as `revision`, `dtype` or `trust_remote_code`.

        Raises:
            ImportError: Where hf_xlt is not installed: what converts a checkpoint does not travel with the model.
            ValueError: If the source, the tokenizers, the layers or the languages do not fit each other.
        """
        try:
            from hf_xlt.trelm.conversion import convert, fill
        except ImportError as error:
            raise ImportError(NEEDS_HF_XLT.format("from_encoder")) from error
        config, weights = convert(
            checkpoint,
            languages,
            tri_layer_index,
            tokenizer=tokenizer,
            tokenizers=tokenizers,
            rows=rows,
            source_tokenizer=source_tokenizer,
            seed=seed,
            given=kwargs,
            default_language=default_language,
            language_specific_layers=language_specific_layers,
        )
        model = cls(config).to(dtype=next(iter(weights.values())).dtype)  # type: ignore[call-arg]
        fill(model, weights)
        return model.eval()

    def export(self, language: str) -> PreTrainedModel:
        """A stock model of one language, such as `BertForMaskedLM`, whose logits are this model's for texts in it.

        The language's embedding, part of every position, goes into the token types. Where a source that counts tokens
        (as RoBERTa) had another padding id, positions move to where the stock model looks for them.

        Raises:
            ImportError: Where hf_xlt is not installed.
            ValueError: If the model does not have the language, or no stock model can compute the same: it has a
                TRILayer, it was not made of an encoder, or its shape is not that of its encoder's family.
        """
        try:
            from hf_xlt.trelm.export import stock_model
        except ImportError as error:
            raise ImportError(NEEDS_HF_XLT.format("export")) from error
        return stock_model(self.config, self.state_dict(), language).to(device=self.device, dtype=self.dtype).eval()  # type: ignore[call-arg]

    def get_output_embeddings(self) -> nn.Linear:
        """The output weights and bias; the default language's where each has its own."""
        decoder = self.decoder
        return decoder.default if isinstance(decoder, SeparateDecoder) else decoder  # type: ignore[return-value]

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Put other output weights in their place."""
        if isinstance(self.decoder, SeparateDecoder):
            self.decoder[str(self.config.default_language)] = new_embeddings
        else:
            self.decoder = new_embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        alignment: Tensor | None = None,
        target_lang_ids: Tensor | None = None,
        target_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_logits: bool | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput:
        """Predict tokens; inputs as in `TreLMModel.forward`.

        `labels` are the target's tokens, int64 `(b, t)`, -100 where none is asked for; without them, or where
        `return_logits` (None for what the configuration says) asks, there are `logits` `(b, t, vocab_size)`.
        With separate embeddings, each prediction is over the vocabulary of its language, `target_lang_ids` or else
        `lang_ids`, see `SeparateDecoder.forward`.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, alignment, target_lang_ids, target_attention_mask, **kwargs)
        states, loss = outputs.last_hidden_state, None
        spoken = lang_ids if target_lang_ids is None else target_lang_ids
        if spoken is not None:  # to the head it matters only where each language has its own output weights
            spoken = by_position(spoken).expand(states.shape[:2]) if self.config.separate_embeddings else None
        if labels is not None and labels.shape != states.shape[:2]:
            raise ValueError(
                f"labels are {tuple(labels.shape)} where the target is {tuple(states.shape[:2])}; "
                "expected one label a target position. Pad labels with -100 to the longest target."
            )
        if labels is not None and self.config.separate_embeddings:
            check_ids(labels, spoken, self.config)
        if return_logits is None:
            return_logits = self.config.return_logits
        if labels is not None and not return_logits:
            labelled = labels != IGNORED
            states, labels = states[labelled], labels[labelled]  # (n, hidden_size), (n,)
            spoken = None if spoken is None else spoken[labelled]
        states = self.head(states)
        logits = self.decoder(states) if spoken is None else self.decoder(states, spoken)
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=logits.shape[-1], **kwargs)
        return MaskedLMOutput(
            loss=loss,
            logits=logits if loss is None or return_logits else None,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class TreLMForSequenceClassification(TreLMPreTrainedModel):
    """The encoder with a label, several labels or a number for a text, from its first token's state."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.pooler = ClassificationHead(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Classify texts; inputs as in `TreLMModel.forward`.

        `labels` are `(b,)`, or `(b, num_labels)` for several labels or numbers; see `config.problem_type`.
        """
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, **kwargs)
        logits = self.classifier(self.pooler(first_token(outputs.last_hidden_state, attention_mask)))
        loss = None
        if labels is not None:
            loss = self.loss_function(labels, logits, self.config, **kwargs)
            items = kwargs.get("num_items_in_batch")
            if items is not None and self.config.problem_type != "single_label_classification":
                loss = loss * labels.numel() / items  # these losses are means whatever they are told
        return SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class TreLMForTokenClassification(TreLMPreTrainedModel):
    """The encoder with a label for each token."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.dropout = task_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput:
        """Label tokens; inputs as in `TreLMModel.forward`, `labels` int64 `(b, s)`, -100 where none is asked for."""
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, **kwargs)
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = None if labels is None else self.loss_function(logits, labels, self.config, **kwargs)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


class TreLMForQuestionAnswering(TreLMPreTrainedModel):
    """The encoder with the start and the end of an answer within the text."""

    def __init__(self, config: TreLMConfig) -> None:
        super().__init__(config)
        self.trelm = TreLMModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        lang_ids: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput:
        """Find answers, whose first and last tokens are `start_positions` and `end_positions`, int64 `(b,)`."""
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, lang_ids)
        outputs = self.trelm(*inputs, **kwargs)
        start_logits, end_logits = self.qa_outputs(outputs.last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start_logits, end_logits, start_positions, end_positions, **kwargs)
        return QuestionAnsweringModelOutput(
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = [
    "TreLMForMaskedLM", "TreLMForQuestionAnswering", "TreLMForSequenceClassification", "TreLMForTokenClassification",
    "TreLMModel", "TreLMPreTrainedModel",
]  # fmt: skip

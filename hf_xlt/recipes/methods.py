"""The contestants of a run: ways to begin, each a name and a function that makes its starting model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint import atomic_folder
from hf_xlt.checkpoint.kind import ModelKind, kind_of
from hf_xlt.data.tokenizer import open_tokenizer, train_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.initializers import Initializer, RandomInitializer, initializer_for
from hf_xlt.recipes.recipe import NewTokenizer, Recipe
from hf_xlt.transport import Transport

RANDOM_ROWS = "random rows"
FROM_SCRATCH = "from scratch"
BASELINES = (RANDOM_ROWS, FROM_SCRATCH)


@dataclass(frozen=True)
class Method:
    """A way to begin.

    Args:
        name: As shown in tables.
        start: Seed → starting model in float32.
        transport: How target rows come about; None for a new model.
    """

    name: str
    start: Callable[[int], PreTrainedModel]
    transport: Transport | None = None


@dataclass(frozen=True)
class Contest:
    """Methods that are trained alike: the first is the recipe's own, the rest is what it is compared with.

    All share the target tokenizer and the architecture of `config`.
    """

    tokenizer: PreTrainedTokenizerBase
    config: PreTrainedConfig
    methods: tuple[Method, ...]

    @property
    def kind(self) -> ModelKind:
        """Encoder, decoder or encoder-decoder."""
        return kind_of(self.config)


def from_scratch(config: PreTrainedConfig) -> Method:
    """A model with random weights throughout."""

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        return kind_of(config).auto_class.from_config(config).float()

    return Method(FROM_SCRATCH, start)


def initialized(name: str, initializer: Initializer) -> Method:
    """The source's body with the rows an initializer makes."""

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        return initializer.build_model(dtype=torch.float32)

    return Method(name, start, initializer.transport())


def transfer_contest(recipe: Recipe, compare: bool) -> Contest:
    """The recipe's initializer; when comparing, its alternatives and the two baselines beside it."""
    asked = [recipe.initializer or {}, *(recipe.alternatives if compare else ())]
    initializers = [initializer_for(options, recipe.source, recipe.helper) for options in asked]
    methods = [initialized(initializer.label, initializer) for initializer in initializers]
    first = initializers[0]
    config = first.target_config()
    if compare:
        methods.append(initialized(RANDOM_ROWS, RandomInitializer(first.source, first.tokenizer)))
        methods.append(from_scratch(config))
    return Contest(first.tokenizer, config, tuple(methods))


def new_model_contest(recipe: Recipe, folder: Path) -> Contest:
    """The recipe's new model and new tokenizer; there is nothing to compare it with.

    The tokenizer is kept in `folder`: training it again, as after a kill, may number its tokens otherwise.
    """
    if not folder.exists():
        new = recipe.tokenizer or NewTokenizer()
        with atomic_folder(folder) as partial:
            train_tokenizer(recipe.data.split().training_lines(), new.vocab_size, new.family).save_pretrained(partial)
    tokenizer = open_tokenizer(str(folder))
    return Contest(tokenizer, config := new_config(recipe, tokenizer), (from_scratch(config),))


def new_config(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The configuration of a recipe's new model, its vocabulary and special ids the tokenizer's.

    Raises:
        InputError: If transformers does not know the model type or refuses a field.
    """
    fields = dict(recipe.model or {})
    model_type = fields.pop("model_type")
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}
    try:
        return AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **ids, **fields)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"Recipe {recipe.name!r}: no {model_type!r} model can be made of it: {reason}") from error

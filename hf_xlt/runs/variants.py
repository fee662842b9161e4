"""The contestants of a run: ways to begin, each a name and a function that makes its starting model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.assemble import assemble
from hf_xlt.checkpoint.kind import ModelKind, kind_of
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.data.token_stream import token_stream
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import check_gensim
from hf_xlt.files.folders import atomic_folder
from hf_xlt.files.tensors import write_tensors
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.initializers import Initializer
from hf_xlt.recipes.recipe import NewTokenizer, Recipe
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.source import source_checkpoint
from hf_xlt.runs.vectors import token_vectors
from hf_xlt.transport import Transport

RANDOM_ROWS = "random rows"
FROM_SCRATCH = "from scratch"
VECTORS_FILE = "vectors.safetensors"
ONE_PHASE = "one phase"
BASELINES = (RANDOM_ROWS, FROM_SCRATCH, ONE_PHASE)


@dataclass(frozen=True)
class Method:
    """A way to begin.

    Args:
        name: As shown in tables.
        start: Seed → starting model in float32.
        transport: How target rows come about; None for a new model.
        stages: What it is trained in, where that is not the recipe's stages.
    """

    name: str
    start: Callable[[int], PreTrainedModel]
    transport: Transport | None = None
    stages: tuple[Stage, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contest:
    """Methods that are trained alike: the first is the recipe's own, the rest is what it is compared with.

    All share the target tokenizer and the architecture of `config`; where the source language has a vocabulary of its
    own beside the target's, `source_tokenizer` is its. `published` makes of a trained model what is kept of it, where
    that is another.
    """

    tokenizer: PreTrainedTokenizerBase
    config: PreTrainedConfig
    methods: tuple[Method, ...]
    source_tokenizer: PreTrainedTokenizerBase | None = None
    published: Callable[[PreTrainedModel], PreTrainedModel] | None = None

    @property
    def kind(self) -> ModelKind:
        """Encoder, decoder or encoder-decoder."""
        return kind_of(self.config)


def from_scratch(config: PreTrainedConfig, vectors: Tensor | None = None) -> Method:
    """A model with random weights throughout, or with static vectors `(V, d)` in its embedding table.

    The vectors are centred and scaled to the average length of the random rows; rows that are zero stay random.
    """

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        model = kind_of(config).auto_class.from_config(config).float()
        if vectors is not None:
            with torch.no_grad():
                table = model.get_input_embeddings().weight
                known = vectors.any(dim=1)
                rows = unit_rows(vectors[known] - vectors[known].mean(dim=0))
                table[known] = rows * torch.linalg.vector_norm(table, dim=1).mean()
        return model

    return Method(FROM_SCRATCH, start)


def initialized(name: str, initializer: Initializer, path: Path) -> Method:
    """The source's body with the rows an initializer makes; they are made once, and then read from `path`.

    A run that goes on has the very rows that it began with: made again, they may differ in their last bits.
    """
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        initializer.transport().save(path)
    transport = Transport.load(path)

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        return assemble(initializer.source, transport, initializer.tokenizer, torch.float32)

    return Method(name, start, transport, notices=initializer.notices)


def new_model_contest(recipe: Recipe, folder: Path) -> Contest:
    """The recipe's new model and new tokenizer; there is nothing to compare it with.

    The tokenizer is kept in `folder`: training it again, as after a kill, may number its tokens otherwise. Its static
    vectors are kept beside it.
    """
    if recipe.vector_epochs:
        check_gensim()
    tokenizer = trained_tokenizer(recipe, recipe.tokenizer or NewTokenizer(), folder)
    config = new_config(recipe, tokenizer)
    vectors = new_vectors(recipe, tokenizer, config, folder.parent / VECTORS_FILE) if recipe.vector_epochs else None
    return Contest(tokenizer, config, (from_scratch(config, vectors),))


def new_vectors(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, path: Path) -> Tensor:
    """Static vectors as wide as a new model's embeddings; trained once, and then read from `path`."""
    with torch.device("meta"):
        width = kind_of(config).auto_class.from_config(config).get_input_embeddings().weight.shape[1]
    return trained_vectors(recipe, tokenizer, width, recipe.vector_epochs, path)


def trained_vectors(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, width: int, epochs: int, path: Path) -> Tensor:
    """Static vectors of a tokenizer's tokens, from the corpus; trained once, and then read from `path`."""
    if not path.exists():
        text = token_stream(recipe.data.split().training_lines(), tokenizer)
        table, _ = token_vectors(text, tokenizer, width, epochs)
        write_tensors(path, {"vectors": table}, {})
    return load_file(path)["vectors"]


def trained_tokenizer(recipe: Recipe, new: NewTokenizer, folder: Path) -> PreTrainedTokenizerBase:
    """A tokenizer of the corpus and the dictionary; trained once, and then read from `folder`."""
    if not folder.exists():
        like = None if recipe.source is None else source_checkpoint(recipe).tokenizer()
        with atomic_folder(folder) as partial:
            new.trained(recipe.data.tokenizer_lines(), like).save_pretrained(partial)
    return open_tokenizer(str(folder))


def new_config(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The configuration of a recipe's new model, its vocabulary and special ids the tokenizer's.

    Raises:
        InputError: If transformers does not know the model type or refuses a field.
    """
    fields = dict(recipe.model or {})
    model_type = fields.pop("model_type")
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}
    try:
        config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **ids, **fields)
        layers = getattr(config, "num_hidden_layers", 1)
        if not isinstance(layers, int) or layers < 1:
            raise ValueError(f"num_hidden_layers is {layers}, expected 1 or more")
        with torch.device("meta"):  # what fits together can be built
            kind_of(config).auto_class.from_config(config)
        return config
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, ArithmeticError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"Recipe {recipe.name!r}: no {model_type!r} model can be made of it: {reason}") from error

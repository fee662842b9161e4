"""What a run trains: variants, each a name and a function that makes its starting model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import ModelKind, kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import assemble
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.initializers import Initializer
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.results import FROM_SCRATCH
from hf_xlt.transport import Transport


@dataclass(frozen=True)
class Variant:
    """A way to begin."""

    name: str  # as shown in tables
    start: Callable[[int], PreTrainedModel]  # seed → starting model in float32
    transport: Transport | None = None  # how target rows come about; None for a new model
    stages: tuple[Stage, ...] = ()  # what it is trained in, where that is not the recipe's stages
    notices: tuple[str, ...] = ()  # what the card says of its rows
    tokenizer: PreTrainedTokenizerBase | None = None  # its own, where it is not that of the comparison
    calibrated: bool = False  # whether its output head is calibrated before training
    extends: bool = False  # whether its tokenizer has the source's tokens at their ids, and so their rows


@dataclass(frozen=True)
class Comparison:
    """Variants that are trained alike: the first is the recipe's own, the rest is what it is compared with.

    All share the architecture of `config` and, but for variants with a tokenizer of their own, the target tokenizer.
    Where the source language has a vocabulary of its own beside the target's, `source_tokenizer` is its. `published`
    makes of a trained model what is kept of it, where that is another.
    """

    tokenizer: PreTrainedTokenizerBase
    config: PreTrainedConfig
    variants: tuple[Variant, ...]
    source_tokenizer: PreTrainedTokenizerBase | None = None
    published: Callable[[PreTrainedModel], PreTrainedModel] | None = None

    @property
    def position_offset(self) -> int:
        """The model's row of the first position, see `TreLMConfig`."""
        return getattr(self.config, "position_offset", 0)

    @property
    def model_kind(self) -> ModelKind:
        return kind_of(self.config)


def seeded(make: Callable[[], PreTrainedModel]) -> Callable[[int], PreTrainedModel]:
    """What makes a model, as a function of the seed of what is drawn in it."""

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        return make()

    return start


def from_scratch(config: PreTrainedConfig, vectors: Tensor | None = None) -> Variant:
    """A model with random weights throughout, or with static vectors `(V, d)` in its embedding table.

    The vectors are centered and scaled to the average length of the random rows; rows that are zero stay random.
    """

    def made() -> PreTrainedModel:
        model = kind_of(config).auto_class.from_config(config).float()
        if vectors is not None:
            with torch.no_grad():
                table = model.get_input_embeddings().weight
                known = vectors.any(dim=1)
                rows = unit_rows(vectors[known] - vectors[known].mean(dim=0))
                table[known] = rows * torch.linalg.vector_norm(table, dim=1).mean()
        return model

    return Variant(FROM_SCRATCH, seeded(made))


def kept_transport(initializer: Callable[[], Initializer], path: Path) -> Transport:
    """The rows of an initializer: they are made once, and then read from `path`.

    A run that goes on has the very rows that it began with: made again, they may differ in their last bits.
    """
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        initializer().transport().save(path)
    return Transport.load(path)


def unchanged(name: str, source: Checkpoint) -> Variant:
    """The source as it is, with its own tokenizer.

    Where only new rows are trained, all of its rows are, as none is new.
    """
    tokenizer, rows = source.known_tokenizer(), torch.arange(source.vocab_size)
    transport = Transport(len(rows), len(rows), rows, rows, rows[:0], None, [""] * len(rows), [""] * len(rows))
    start = seeded(lambda: assemble(source, transport, tokenizer, torch.float32))
    return Variant(name, start, tokenizer=tokenizer)


def initialized(name: str, initializer: Initializer, path: Path, *, calibrated: bool = False) -> Variant:
    """The source's body with the rows of an initializer, which are kept in `path`."""
    transport = kept_transport(lambda: initializer, path)
    start = seeded(lambda: assemble(initializer.source, transport, initializer.tokenizer, torch.float32))
    extends = initializer.target_vocabulary.extends(initializer.source_vocabulary)
    return Variant(name, start, transport, notices=initializer.notices, calibrated=calibrated, extends=extends)

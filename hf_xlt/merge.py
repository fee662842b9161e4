"""Merge an adapted model with the model it comes from: no training, one tensor in memory at a time.

A chat model that learned a language loses some of what it could do. The recipes give it back:

- `elchat`: spherical interpolation of the two lowest and the two highest layers with the original (Yamaguchi et al.
  2024, "ElChat: Adapting Chat Language Models Using Only Target Unlabeled Language Data").
- `chat-vector`: what chat training added to a base model, added to the adapted base model (Huang et al. 2024, "Chat
  Vector: A Simple Approach to Equip LLMs with Instruction Following and Model Alignment in New Languages").
- `linear`: a weighted mean of both models.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hf_xlt.arguments import checked, require_number, require_one_of
from hf_xlt.checkpoint.contents import carried_files
from hf_xlt.checkpoint.kind import auto_class_name, kind_of, skeleton
from hf_xlt.checkpoint.layout import LAYER, places
from hf_xlt.checkpoint.open import Checkpoint, check_body
from hf_xlt.checkpoint.rewrite import target_settings, write_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.files.folders import atomic_folder, check_output, check_space
from hf_xlt.files.text import write_json
from hf_xlt.hub.card import CardFacts, EvidenceFacts, installed_versions, write_card
from hf_xlt.tokenizers.vocabulary import Vocabulary, kept_pairs, match

Model = str | Path | Checkpoint
MergeRecipe = Literal["elchat", "chat-vector", "linear"]

_PARALLEL = 1e-4  # vectors at a smaller angle, in radians, are interpolated linearly


def slerp(adapted: Tensor, original: Tensor, share: float) -> Tensor:
    """Spherical interpolation of two tensors, each taken as one vector; `share` is the original's.

    Example:
        >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5)
        tensor([0.7071, 0.7071])
    """
    lengths = adapted.norm() * original.norm()
    cosine = (adapted.flatten() @ original.flatten() / lengths).clamp(-1, 1) if lengths else torch.ones(())
    angle = cosine.acos()
    if angle < _PARALLEL or torch.pi - angle < _PARALLEL:
        return torch.lerp(adapted, original, share)
    return (((1 - share) * angle).sin() * adapted + (share * angle).sin() * original) / angle.sin()


class _Recipe(NamedTuple):
    """How tensors of the adapted model, the original and, where it `needs_base`, the base become one.

    `shares` maps a layer's number and the number of layers to the original's share, which `weight`, at `most`, scales.
    With `shared_rows` the rows of all tokens of both vocabularies are mixed, else those of special tokens copied.
    """

    blend: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    shares: Callable[[int | None, int], float]
    weight: float = 1.0
    most: float | None = None
    needs_base: bool = False
    shared_rows: bool = False


def _outer_layers(layer: int | None, layers: int) -> float:
    return {layers - 1: 0.3, layers - 2: 0.5, 1: 0.5, 0: 0.3}.get(-1 if layer is None else layer, 0.0)


_RECIPES: Mapping[str, _Recipe] = {
    "elchat": _Recipe(lambda adapted, original, base, share: slerp(adapted, original, share), _outer_layers, most=2.0),
    "chat-vector": _Recipe(
        lambda adapted, original, base, share: adapted + share * (original - base), lambda *layer: 1.0, needs_base=True
    ),
    "linear": _Recipe(
        lambda adapted, original, base, share: torch.lerp(adapted, original, share),
        lambda *layer: 1.0,
        weight=0.5,
        most=1.0,
        shared_rows=True,
    ),
}
MERGE_RECIPES = tuple(_RECIPES)


@checked
def merge_models(
    adapted: Model,
    original: Model,
    output: str | Path,
    *,
    recipe: MergeRecipe = "elchat",
    base: Model | None = None,
    weight: float | None = None,
    overwrite: bool = False,
    chat_template: str | None = None,
    command: str | None = None,
    trust_remote_code: bool = False,
) -> Path:
    """Write a model made of an adapted one and the original that it comes from.

    The output has the adapted model's vocabulary. Special tokens get the original's rows; `linear` mixes the rows of
    all tokens that both have. Settings of generation, such as the tokens to stop at, are the original's, and so is the
    chat template where the adapted model has none.

    Args:
        adapted: The model that learned the language: a Hub id, a folder, or an open checkpoint.
        original: The model to give back: for `chat-vector` the chat model.
        output: The folder to write; it appears when it is complete.
        recipe: `elchat`, `chat-vector` or `linear`.
        base: For `chat-vector`, the model that both come from.
        weight: Scales the original's part: for `linear` its share (0.5 by default), for `elchat` all of its shares (1),
            for `chat-vector` the vector (1).
        overwrite: Whether an existing folder may be replaced.
        chat_template: `tokenizer`, `source` (the original's) or a file.
        command: The command to print on the card.
        trust_remote_code: Run code that the checkpoints bring.

    Raises:
        InputError: If the models are not of one architecture, `base` is missing or has no use, the weight is out of
            range, a body is not finite, or the output cannot be written there.

    Example:
        >>> merge_models("smollm2-german", "HuggingFaceTB/SmolLM2-135M-Instruct", "merged")  # doctest: +SKIP
    """
    require_one_of("recipe", recipe, MERGE_RECIPES)
    chosen = _RECIPES[recipe]
    if chosen.needs_base != (base is not None):
        problem = f"The recipe {recipe} {'needs' if chosen.needs_base else 'has no use for'} a base model"
        expected = "the model that adapted and original come from" if chosen.needs_base else "none"
        raise InputError(problem, value=base, expected=expected)
    weight = chosen.weight if weight is None else weight
    require_number("weight", weight, least=0, most=chosen.most)
    first, second, third = (
        Checkpoint.open(model, trust_remote_code=trust_remote_code)
        for model in (adapted, original, original if base is None else base)
    )
    check_output(output, overwrite=overwrite, sources=[model.folder for model in (first, second, third)])
    return _Merge(first, second, third, chosen, weight).write(Path(output), recipe, overwrite, chat_template, command)


@dataclass(frozen=True)
class _Merge:
    """The models of a merge, opened, and how they become one."""

    adapted: Checkpoint
    original: Checkpoint
    base: Checkpoint
    recipe: _Recipe
    weight: float

    def __post_init__(self) -> None:
        for other in (self.original, self.base):
            differing = sorted(set(self._sizes(self.adapted).items()) ^ set(self._sizes(other).items()))
            if differing:
                problem = f"{other.name} and {self.adapted.name} are not of one architecture: {differing[0][0]} differs"
                expected = "models with tensors of the same names and shapes, but for their vocabularies"
                hint = "Give the model that the adapted one was made from."
                raise InputError(problem, value=other.name, expected=expected, hint=hint)
            check_body(other)
        check_body(self.adapted)

    @staticmethod
    def _sizes(model: Checkpoint) -> dict[str, tuple[int, ...]]:
        """Shapes of the body's tensors by their names in the model."""
        return {
            place: model.weights.tensors[name].shape
            for place, name in _stored(model).items()
            if name not in model.layout.axes
        }

    @cached_property
    def _places(self) -> dict[str, dict[str, str]]:
        """For each model but the adapted, the name in the model → the stored name."""
        return {"original": _stored(self.original), "base": _stored(self.base)}

    @cached_property
    def _layers(self) -> int:
        return 1 + max((layer for name in _stored(self.adapted) if (layer := _layer(name)) is not None), default=-1)

    @cached_property
    def _rows(self) -> tuple[Tensor, Tensor]:
        """Ids of tokens whose rows change: the adapted model's, and the original's of the same tokens."""
        source, target = (Vocabulary.of(model.known_tokenizer()) for model in (self.original, self.adapted))
        if self.recipe.shared_rows:
            shared = match(source, target)
            return torch.from_numpy(shared.target_ids), torch.from_numpy(shared.source_ids)
        special = {*target.special.values(), *target.roles.values()}
        pairs = {id_: theirs for id_, theirs in kept_pairs(source, target).items() if id_ in special}
        return torch.tensor(list(pairs), dtype=torch.int64), torch.tensor(list(pairs.values()), dtype=torch.int64)

    def _share(self, place: str) -> float:
        return self.weight * self.recipe.shares(_layer(place), self._layers)

    def _merged(self, place: str, stored: str) -> Tensor:
        """The tensor of a name, in the adapted model's type."""
        tensor = self.adapted.weights.load(stored)
        if stored not in self.adapted.layout.axes:
            original, base = (
                getattr(self, which).weights.load(names[place]).reshape(tensor.shape).float()
                for which, names in self._places.items()
            )
            return self.recipe.blend(tensor.float(), original, base, self._share(place)).to(tensor.dtype)
        axis = self.adapted.layout.axes[stored]
        rows, (ids, theirs) = tensor.movedim(axis, 0).clone(), self._rows
        original = self._table(place).movedim(axis, 0)[theirs].to(rows)
        rows[ids] = (
            torch.lerp(rows[ids].float(), original.float(), self.weight).to(rows)
            if self.recipe.shared_rows
            else original
        )
        return rows.movedim(0, axis)

    def _table(self, place: str) -> Tensor:
        """The original's tensor of a vocabulary-sized place; a tied head is stored once, as its input rows."""
        stored = self._places["original"].get(place, self.original.layout.input_name)
        return self.original.weights.load(stored)

    def write(self, output: Path, recipe: str, overwrite: bool, chat_template: str | None, command: str | None) -> Path:
        """Write the folder."""
        model, weights = self.adapted, self.adapted.weights
        changed = {
            stored: place
            for place, stored in _stored(model).items()
            if stored in model.layout.axes or self._share(place)
        }
        tokenizer = model.tokenizer()
        settings = target_settings(self.original, model.vocab_size, tokenizer).files
        sources = [each.folder for each in (model, self.original, self.base)]
        check_space(output, sum(shard.path.stat().st_size for shard in weights.shards))
        with atomic_folder(output, overwrite=overwrite, sources=sources) as folder:
            body = folder / model.body.relative_to(model.folder)
            for path in (*carried_files(model.folder), (model.body / "config.json").relative_to(model.folder)):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(model.folder / path, folder / path)
            for shard in weights.shards:
                target = body / shard.path.relative_to(model.body)
                target.parent.mkdir(parents=True, exist_ok=True)
                shapes = {name: tensor.shape for name, tensor in shard.tensors.items() if name in changed}
                shard.rewrite(target, shapes, lambda name: [self._merged(changed[name], name)], lambda written: None)
            if weights.index is not None:
                shutil.copyfile(weights.index, body / weights.index.name)
            write_tokenizer(self.original, tokenizer, body, chat_template)
            if "generation_config.json" in settings:
                write_json(body / "generation_config.json", settings["generation_config.json"])
            Checkpoint.open(folder, trust_remote_code=model.trust_remote_code)  # what appears can be opened
            write_card(folder, self._card(output.name, recipe, command))
        return output

    def _card(self, title: str, recipe: str, command: str | None) -> CardFacts:
        others: Iterable[tuple[str, Checkpoint]] = [("the original", self.original)]
        if self.recipe.needs_base:
            others = [*others, ("the base of both", self.base)]
        return CardFacts(
            title=title,
            base_model=self.adapted.pinned_name,
            method=f"merged by {recipe}",
            kind=kind_of(self.adapted.config).name,
            auto_class=auto_class_name(self.adapted.config),
            evidence=tuple(EvidenceFacts(kind, model.pinned_name) for kind, model in others),
            command=command,
            versions=installed_versions(),
        )


def _stored(model: Checkpoint) -> dict[str, str]:
    """Name in the model → stored name."""
    placed = places(model.weights.tensors, skeleton(model.config, model.trust_remote_code))
    return {place.name: stored for stored, place in placed.items()}


def _layer(name: str) -> int | None:
    found = LAYER.match(name)
    return None if found is None else int(found[2])

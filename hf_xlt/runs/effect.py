"""Which parts of a recipe have an effect beside which others; what has none is refused before work starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter

from hf_xlt.errors import InputError
from hf_xlt.initializers import METHODS
from hf_xlt.initializers.registry import initializer_class, parameters
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import Stage


@dataclass(frozen=True)
class Condition:
    """When a part of a recipe has an effect.

    Args:
        holds: Whether it has one.
        told: The same in words, after "has an effect only".
    """

    holds: Callable[[Recipe], bool]
    told: str


def _a_method_uses(name: str) -> Callable[[Recipe], bool]:
    def used(recipe: Recipe) -> bool:
        if _joint(recipe):  # its rows are made of its two languages' text, and of translation pairs
            return False
        return any(name in parameters(options["method"]) for options in _asked(recipe))

    return used


def _joint(recipe: Recipe) -> bool:
    """Whether it makes a model of two languages with one vocabulary."""
    return recipe.trelm is not None and not recipe.separate


def _asked(recipe: Recipe) -> list[dict]:
    given = [options for options in (recipe.initializer, *recipe.alternatives) if options]
    return [dict(options) for options in given if options.get("method") in METHODS]


def _brings_the_tokenizer(name: str) -> Callable[[Recipe], bool]:
    def used(recipe: Recipe) -> bool:
        brings = recipe.target_tokenizer is None and bool(_asked(recipe)) and not _joint(recipe)
        return brings or _a_method_uses(name)(recipe)

    return used


def _reads_pairs(recipe: Recipe) -> bool:
    trained_on = recipe.distils or any(stage.on_pairs for stage in recipe.stages)
    return trained_on or _joint(recipe) or recipe.multilingual is not None or _a_method_uses("parallel")(recipe)


def _trains_a_tokenizer(recipe: Recipe) -> bool:
    """Whether it makes a tokenizer of its own, which learns the dictionary's words."""
    given = (recipe.target_tokenizer, recipe.helper, recipe.donor)
    return not any(given) and not _joint(recipe) and recipe.multilingual is None


def _replaces_words(recipe: Recipe) -> bool:
    return recipe.multilingual is not None and recipe.multilingual.anchors == "extra"


EFFECT: dict[str, Condition] = {
    "source": Condition(lambda recipe: recipe.initializer is not None or recipe.continues, "with an initializer"),
    "helper": Condition(_brings_the_tokenizer("helper"), "with a method that uses it, such as clp"),
    "donor": Condition(_brings_the_tokenizer("donor"), "with a method that uses it, such as omp"),
    "alternatives": Condition(lambda recipe: recipe.model is None and not _joint(recipe), "without trelm or model"),
    "data.parallel": Condition(_reads_pairs, "with a method or a stage that reads translation pairs"),
    "data.dictionary": Condition(
        lambda recipe: (
            _a_method_uses("dictionary")(recipe) or _trains_a_tokenizer(recipe) or _replaces_words(recipe)
        ),
        "with a method that uses it, such as pooled, with a tokenizer to train, or with extra anchors",
    ),
    "data.vectors": Condition(_a_method_uses("vectors"), "with a method that uses it, such as focus"),
    "data.source_vectors": Condition(
        lambda recipe: _a_method_uses("source_vectors")(recipe) and recipe.data.vectors is not None,
        "with a method that uses it and vectors of the target language (data.vectors, --vectors)",
    ),
    "data.source_corpus": Condition(
        lambda recipe: recipe.trelm is not None or _a_method_uses("source_corpus")(recipe),
        "with trelm or the method adversarial",
    ),
}  # fmt: skip

# Of a stage: the field → whether it has an effect in it, and when.
STAGE_EFFECT: dict[str, tuple[Callable[[Stage], bool], str]] = {
    "lora_rank": (lambda stage: stage.trains == "lora", "where trains is 'lora'"),
    "temperature": (lambda stage: stage.distils, "where the objective is 'distill'"),
}


def check_effect(recipe: Recipe, *, compare: bool) -> None:
    """Refuse what is given for nothing.

    Raises:
        InputError: If a part of the recipe has no effect beside the others, or there is nothing to compare with.
    """
    for options in (recipe.initializer, *recipe.alternatives):
        if options is not None:
            initializer_class(str(options.get("method")))  # refuses one that is unknown
    for name, condition in EFFECT.items():
        if attrgetter(name)(recipe) and not condition.holds(recipe):
            raise InputError(
                f"{name} has an effect only {condition.told}. Leave it out of the recipe {recipe.name!r}.",
                value=attrgetter(name)(recipe),
            )
    for stage in recipe.stages:
        _check_stage(stage)
    if compare and recipe.model is not None and recipe.multilingual is None:
        raise InputError(
            f"The recipe {recipe.name!r} makes a new model, which is compared with nothing. Leave out --compare."
        )


def _check_stage(stage: Stage) -> None:
    defaults = {field.name: field.default for field in fields(Stage)}
    for name, (holds, told) in STAGE_EFFECT.items():
        if getattr(stage, name) != defaults[name] and not holds(stage):
            raise InputError(
                f"stage {stage.name!r}: {name} has an effect only {told}. Leave it out.", value=getattr(stage, name)
            )

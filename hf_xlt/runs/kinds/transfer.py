"""The contest of a transfer to one language: initializers of the same source and the same target tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import check_gensim
from hf_xlt.initializers import Evidence, Initializer, RandomInitializer, check_initializer, initializer_for
from hf_xlt.recipes.recipe import SOURCE_FAMILY, NewTokenizer, Recipe
from hf_xlt.runs.kinds.distillation import write_training_pairs
from hf_xlt.runs.variants import (
    VECTORS_FILE,
    Contest,
    from_scratch,
    initialized,
    trained_tokenizer,
    trained_vectors,
)

# The method that, without a file of vectors, gets those of the target's tokens in the corpus, and how they are trained.
LEARNS_VECTORS = "focus"
PAIRS_FILE = "pairs.tsv"
WIDTH = 100
EPOCHS = 3


def transfer_contest(recipe: Recipe, work: Path, compare: bool) -> Contest:
    """The recipe's initializer; when comparing, its alternatives and the two baselines beside it.

    What is trained on the corpus for them, the target tokenizer and its tokens' vectors, is kept in `work`.

    Raises:
        InputError: If a method, its options or its evidence cannot be used, or methods cannot be told apart.
    """
    asked = [recipe.initializer or {}, *(recipe.alternatives if compare else ())]
    evidence = given_evidence(recipe)
    if recipe.distils:
        evidence = replace(evidence, parallel=write_training_pairs(recipe.data, work / PAIRS_FILE))
    if evidence.vectors is None and any(map(learns_vectors, asked)):
        check_gensim()
    for options in asked:
        check_initializer(options, evidence, to_come=("tokenizer", *(("vectors",) if learns_vectors(options) else ())))
    if not {"tokenizer", "helper", "donor"} & set(evidence.given):
        new = recipe.tokenizer or NewTokenizer(SOURCE_FAMILY)
        evidence = replace(evidence, tokenizer=trained_tokenizer(recipe, new, work / "tokenizer"))
    initializers = [build(options, evidence, recipe, work) for options in asked]
    first = initializers[0]
    if compare:
        initializers.append(RandomInitializer(first.source, first.tokenizer))
    check_contestants(initializers)
    config = first.target_config()
    methods = [
        initialized(initializer.label, initializer, work / "transports" / f"{number}.safetensors")
        for number, initializer in enumerate(initializers)
    ]
    return Contest(first.tokenizer, config, (*methods, *([from_scratch(config)] if compare else ())))


def given_evidence(recipe: Recipe) -> Evidence:
    """What a recipe names; of a target tokenizer that is still to be trained, nothing."""
    data, trust = recipe.data, recipe.trusts_code
    tokenizer = (
        None if recipe.target_tokenizer is None else open_tokenizer(recipe.target_tokenizer, trust_remote_code=trust)
    )
    return Evidence(
        source=recipe.source,
        tokenizer=tokenizer,
        helper=recipe.helper,
        donor=recipe.donor,
        dictionary=data.dictionary,
        parallel=data.parallel,
        vectors=data.vectors,
        source_vectors=data.source_vectors,
        corpus=data.corpus,
        source_corpus=data.source_corpus,
        trust_remote_code=trust,
    )


def learns_vectors(options: Mapping[str, Any]) -> bool:
    """Whether the corpus can take the place of a file of vectors."""
    return bool(options["method"] == LEARNS_VECTORS)


def build(options: Mapping[str, Any], evidence: Evidence, recipe: Recipe, work: Path) -> Initializer:
    """An initializer, with vectors trained on the corpus where it needs them and there are none."""
    if learns_vectors(options) and evidence.vectors is None:
        table = trained_vectors(recipe, evidence.target_tokenizer, WIDTH, EPOCHS, work / VECTORS_FILE)
        evidence = replace(evidence, vectors=table)
    return initializer_for(options, evidence)


def check_contestants(initializers: Sequence[Initializer]) -> None:
    """Refuse methods that go by one name, or that would not be measured on the same tokens."""
    labels = [initializer.label for initializer in initializers]
    if twice := [label for place, label in enumerate(labels) if label in labels[:place]]:
        raise InputError(f"Two methods to compare are both {twice[0]!r}; leave one of them out.")
    first, *others = initializers
    for other in others:
        if other.target_vocabulary.names != first.target_vocabulary.names:
            raise InputError(
                f"{first.label} and {other.label} make models with different tokenizers; expected methods of the same: "
                "name its folder as target_tokenizer, or compare with other alternatives."
            )

"""What a recipe reads from outside: Hub ids with their commits, and the content of everything, to tell when it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hf_xlt import checkpoint
from hf_xlt.data.corpora import Corpus
from hf_xlt.evidence.place import file_of
from hf_xlt.files.content import content_of
from hf_xlt.files.revision import commit_in
from hf_xlt.recipes.recipe import Recipe

CHECKPOINTS = ("source", "helper", "donor", "target_tokenizer")
CORPORA = ("corpus", "source_corpus", "held_out", "corpora", "held_out_corpora")
FILES = ("parallel", "translations", "dictionary", "vectors", "source_vectors")


def with_commits(recipe: Recipe) -> Recipe:
    """The recipe, every Hub id in it with the commit that it stands for now: run again, it reads the same.

    Raises:
        InputError: If a checkpoint or tokenizer is neither here nor on the Hub.
    """
    checkpoints = {name: _each(checkpoint.pinned, getattr(recipe, name)) for name in CHECKPOINTS}
    not_pairs = partial(_pinned_corpus, recipe.data.parallel)
    corpora = {name: _each(not_pairs, getattr(recipe.data, name)) for name in CORPORA}
    return replace(recipe, **checkpoints, data=replace(recipe.data, **corpora))


def contents(recipe: Recipe) -> dict[str, str]:
    """Input → what identifies its content: the commit of what is on the Hub, a digest of what is here.

    Nothing is refused: an input that is not there has an empty content, and whoever reads it says so.

    Args:
        recipe: As `with_commits` gives it.
    """
    given = {name: getattr(recipe, name) for name in CHECKPOINTS}
    given |= {f"data.{name}": getattr(recipe.data, name) for name in (*CORPORA, *FILES)}
    return {where: commit_in(place) or content_of(_here(place)) for where, place in _places(given)}


def _pinned_corpus(pairs: str | None, name: str) -> str:
    """The name of a corpus with its commit; the target side of translation pairs is no corpus of its own."""
    return name if name == pairs or Path(name).expanduser().exists() else Corpus(name).pinned().name


def _here(place: str) -> Path:
    path = Path(place).expanduser()
    return path if path.exists() else file_of(place)


def _each(change: Any, given: Any) -> Any:
    """A name changed; or, of several, each of them."""
    if isinstance(given, Mapping):
        return {key: _each(change, value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(_each(change, value) for value in given)
    return given if given is None else change(given)


def _places(given: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """The names in plain data, and where they stand."""
    if isinstance(given, Mapping | list | tuple):
        items = given.items() if isinstance(given, Mapping) else enumerate(given)
        for key, value in items:
            yield from _places(value, f"{where}.{key}" if where else str(key))
    elif given is not None:
        yield where, str(given)

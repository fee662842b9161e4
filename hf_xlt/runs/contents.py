"""What a recipe reads from outside: Hub ids with their commits, and the content of everything."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hf_xlt.checkpoint.fetch import pinned
from hf_xlt.files.content import content_of
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.place import commit_in, file_of
from hf_xlt.recipes.recipe import Recipe

CHECKPOINTS = ("source", "helper", "donor", "target_tokenizer")
CORPORA = ("corpus", "source_corpus", "held_out", "corpora", "held_out_corpora")
FILES = ("parallel", "translations", "dictionary", "vectors", "source_vectors")


def with_commits(recipe: Recipe) -> Recipe:
    """The recipe, every Hub id in it with the commit that it stands for now: run again, it reads the same."""
    checkpoints = {name: each(pinned, getattr(recipe, name)) for name in CHECKPOINTS}
    corpora = {name: each(pinned_corpus, getattr(recipe.data, name)) for name in CORPORA}
    return recipe.replace(**checkpoints, data=recipe.data.replace(**corpora))


def contents(recipe: Recipe) -> dict[str, str]:
    """What identifies the content of everything that a recipe, as `with_commits` gives it, reads; see `contents_of`."""
    given = {name: getattr(recipe, name) for name in CHECKPOINTS}
    return contents_of(given | {f"data.{name}": getattr(recipe.data, name) for name in (*CORPORA, *FILES)})


def contents_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Input → what identifies its content: the commit of what is on the Hub, a digest of what is here.

    `given` are names of inputs, several in a list or a mapping. Nothing is refused: an input that is not there has an
    empty content, and whoever reads it says so.
    """
    found = {}
    for where, place in flat(given).items():
        if isinstance(place, str | Path):
            path, name = Path(place).expanduser(), str(place)
            found[where] = commit_in(name.partition(":")[0]) or content_of(path if path.exists() else file_of(name))
    return found


def flat(data: Any, where: str = "") -> dict[str, Any]:
    """Plain data as dotted name → value, an empty mapping or list among these."""
    if not isinstance(data, Mapping | list | tuple) or not data:
        return {where: data} if where else {}
    found: dict[str, Any] = {}
    for key, value in data.items() if isinstance(data, Mapping) else enumerate(data):
        found |= flat(value, f"{where}.{key}" if where else str(key))
    return found


def pinned_corpus(name: str) -> str:
    """The name of a corpus, with its commit if it is on the Hub."""
    return name if file_of(name).exists() else Corpus(name).pinned().name


def each(change: Callable[[str], str], given: Any) -> Any:
    """A name changed; or, of several, each of them."""
    if isinstance(given, Mapping):
        return {key: each(change, value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(each(change, value) for value in given)
    return given if given is None else change(given)

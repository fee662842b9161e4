"""Evidence: what initializers are made of besides their options, each kind by one name wherever it is given.

An initializer that has an argument of that name makes use of it, and one without a default needs it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_finite, require_ids
from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.data.token_stream import frequency_order
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import Places, read_dictionary, read_parallel
from hf_xlt.evidence.vectors import TextVectors, read_vectors, vector_count
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.place import file_of, several
from hf_xlt.hub.card import EvidenceFacts

Model = str | Path | Checkpoint
AnyTokenizer = str | Path | PreTrainedTokenizerBase
AnyText = Places | Corpus | Tensor


@dataclass(frozen=True)
class Kind:
    """A kind of evidence."""

    told: str  # what messages call it
    # of what is read from local files: how much there is in one, where that is known
    size: Callable[[str | Path], str | None] | None = None


def _vector_count(path: str | Path) -> str | None:
    count = vector_count(Path(path).expanduser())
    return None if count is None else f"{count:,} vectors"


EVIDENCE = {
    "source": Kind("a source checkpoint"),
    "tokenizer": Kind("a target tokenizer"),
    "helper": Kind("a helper checkpoint"),
    "donor": Kind("a donor checkpoint"),
    "dictionary": Kind("a dictionary", lambda path: f"{len(read_dictionary(path)):,} entries"),
    "parallel": Kind("parallel text", lambda path: f"{len(read_parallel(path)):,} pairs"),
    "vectors": Kind("vectors of the target language", _vector_count),
    "source_vectors": Kind("vectors of the source language", _vector_count),
    "corpus": Kind("text of the target language"),
    "source_corpus": Kind("text of the source language"),
}


def places(given: Mapping[str, Any], names: Collection[str] = tuple(EVIDENCE)) -> Iterator[tuple[str, Any]]:
    """The evidence of some names that is given by its place or as a checkpoint: name and place, each of several."""
    for name in names:
        value = given.get(name)
        if isinstance(value, Checkpoint):
            yield name, value
        elif isinstance(value, str | Path | list | tuple):
            yield from ((name, place) for place in several(value, EVIDENCE[name].told.removeprefix("a ")))


def check_files(given: Mapping[str, Any]) -> None:
    """Refuse evidence whose file is not there, before anything is opened."""
    for name, place in places(given, [name for name, kind in EVIDENCE.items() if kind.size]):
        if not isinstance(place, Checkpoint) and not file_of(place).is_file():
            hint = f"Check the path given as {as_given(name)}."
            raise InputError(f"{place} is not a file", value=name, expected=EVIDENCE[name].told, hint=hint, path=place)


def read_places(given: Mapping[str, Any]) -> tuple[str | Path, ...]:
    """The folders and files that evidence is read from, which no output may touch."""
    tokenizer = given.get("tokenizer")
    read = [
        place.folder if isinstance(place, Checkpoint) else file_of(place) if EVIDENCE[name].size else place
        for name, place in places(given)
    ]
    return (*read, *(folder_of(tokenizer) if isinstance(tokenizer, PreTrainedTokenizerBase) else ()))


def evidence_facts(given: Mapping[str, Any], unused: Collection[str] = ()) -> tuple[EvidenceFacts, ...]:
    """What a card tells of the files and the donor: their names, and how much there is in the files."""
    names = [name for name, kind in EVIDENCE.items() if (kind.size or name == "donor") and name not in unused]
    found = []
    for name, place in places(given, names):
        size, where = EVIDENCE[name].size, place.pinned_name if isinstance(place, Checkpoint) else str(place)
        found.append(EvidenceFacts(EVIDENCE[name].told, where, size(place) if size else None))
    return tuple(found)


def missing(method: str, *names: str) -> InputError:
    """What to raise where evidence is not given, of which a method needs one."""
    needed = EVIDENCE.get(names[0], Kind(names[0])).told if len(names) == 1 else "evidence of translations"
    return InputError(f"{method} needs {needed}", value=names, hint=f"Give it as {' or '.join(map(as_given, names))}.")


def as_given(name: str) -> str:
    """How Python and the command line call a piece of evidence."""
    return f"{name} (--{name.replace('_', '-')})"


def folder_of(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Where a tokenizer was opened; nowhere if it was made in memory."""
    return (tokenizer.name_or_path,) if tokenizer.name_or_path else ()


def target_table(given: str | Path | TextVectors | Tensor, fitted: FittedTokenizer) -> Tensor:
    """Vectors of the target's tokens `(V_t, k)` by the ids of its fitted tokenizer; zero where one has none."""
    if not isinstance(given, Tensor):
        return token_vectors("target", read_vectors(given), fitted.tokenizer)
    return fitted.rows(_checked(given, "vectors", fitted.former_size))


def source_table(given: str | Path | TextVectors | Tensor, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Vectors of the source's tokens `(V_s, k)`, likewise."""
    if not isinstance(given, Tensor):
        return token_vectors("source", read_vectors(given), tokenizer)
    return _checked(given, "source_vectors", max(tokenizer.get_vocab().values()) + 1)


def token_vectors(side: str, vectors: TextVectors, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """The vectors `(V, k)` of a tokenizer's tokens, of which there must be some; `side` is for the message."""
    tokens = vectors.of_tokens(tokenizer)
    if not tokens.any():
        told = f"The {side} vectors have none for any of the {len(tokens)} {side} tokens"
        raise InputError(told, expected="some", hint="Give vectors of the tokenizer's language.")
    return tokens


def check_one_space(source: Tensor, target: Tensor) -> None:
    """Refuse vectors of two languages that cannot be in one space."""
    widths = source.shape[1], target.shape[1]
    if widths[0] != widths[1]:
        told = f"The vectors of source and target are {widths[0]} and {widths[1]} wide"
        hint = "Align them first, or take wechsel, which does."
        raise InputError(told, value=widths, expected="vectors in one space", hint=hint)


def _checked(table: Tensor, name: str, size: int) -> Tensor:
    require_finite(name, table)
    if len(table) < size or not table.any():
        raise InputError(
            f"{name} is a table of shape {tuple(table.shape)}{'' if table.any() else ', all zero'}",
            value=table,
            expected=f"a row for each of the {size} token ids, zero where a token has no vector",
            hint="Train or read vectors for this tokenizer.",
        )
    return table


def frequent_ids(name: str, given: AnyText, tokenizer: PreTrainedTokenizerBase, size: int) -> Tensor:
    """int64, the ids of a text's tokens, most frequent first: counted in the text, or given as such."""
    if not isinstance(given, Tensor):
        given = frequency_order((given if isinstance(given, Corpus) else Corpus.of(given)).lines(), tokenizer)
    require_ids(name, given, size)
    return given

"""Evidence: everything given for a transfer, by the names of the options that give it, opened when it is asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.data.frequency import frequency_order
from hf_xlt.errors import InputError
from hf_xlt.evidence.dictionary import Dictionary, read_dictionaries
from hf_xlt.evidence.parallel import ParallelText, read_parallels
from hf_xlt.evidence.skipped import told
from hf_xlt.evidence.vectors import TextVectors, text_vectors, vector_count
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.place import file_of, several
from hf_xlt.hub.card import EvidenceFacts
from hf_xlt.initializers.base import folder_of, open_checkpoint
from hf_xlt.initializers.subwords import some_tokens

# What messages call each piece of evidence.
KINDS = {
    "source": "a source checkpoint",
    "tokenizer": "a target tokenizer",
    "helper": "a helper checkpoint",
    "donor": "a donor checkpoint",
    "dictionary": "a dictionary",
    "parallel": "parallel text",
    "vectors": "vectors of the target language",
    "source_vectors": "vectors of the source language",
    "corpus": "text of the target language",
    "source_corpus": "text of the source language",
}
FILES = ("dictionary", "parallel", "vectors", "source_vectors")


@checked
@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of the two languages.

    Attributes:
        source: Source checkpoint: Hub id, folder or `Checkpoint`.
        tokenizer: The target tokenizer; without one, the helper's or the donor's.
        helper: Small model of the target language: Hub id, folder or `Checkpoint`.
        donor: Model with the wanted tokenizer: Hub id, folder or `Checkpoint`.
        dictionary: File of source words and their translations, as `read_dictionary` takes it; or several.
        parallel: File of sentences and their translations, source first, as `read_parallel` takes it; or several.
        vectors: File of word vectors of the target language, as `text_vectors` takes it; or a table `(V_t, k)` of the
            vectors of the target tokens.
        source_vectors: File of word vectors of the source language.
        corpus: Text of the target language, a file or a Hub dataset id; or several.
        source_corpus: The same of the source language.
        trust_remote_code: Run code that the checkpoints bring.

    Raises:
        InputError: If a file does not exist. From the properties, if what they open cannot be opened.
    """

    source: str | Path | Checkpoint | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    helper: str | Path | Checkpoint | None = None
    donor: str | Path | Checkpoint | None = None
    dictionary: str | Path | Sequence[str | Path] | None = None
    parallel: str | Path | Sequence[str | Path] | None = None
    vectors: str | Path | Tensor | None = None
    source_vectors: str | Path | None = None
    corpus: str | Path | Sequence[str | Path] | None = None
    source_corpus: str | Path | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name, file in self._places(FILES):
            if isinstance(file, Tensor | Checkpoint):
                continue
            if not (file_of(file) if name in ("dictionary", "parallel") else _path(file)).is_file():
                raise InputError(
                    f"{file} is not a file; expected {KINDS[name]}. Check the path given with {flag(name)}."
                )

    @property
    def given(self) -> tuple[str, ...]:
        """Which of `KINDS` are given."""
        return tuple(name for name in KINDS if getattr(self, name) is not None)

    @property
    def places(self) -> tuple[str | Path, ...]:
        """The folders and files that are read, which no output may touch."""
        read: list[str | Path] = []
        for name, place in self._places([name for name in self.given if name != "tokenizer"]):
            if isinstance(place, Checkpoint):
                read.append(place.folder)
            elif isinstance(place, str | Path):
                read.append(file_of(place) if name in ("dictionary", "parallel") else place)
        return (*read, *([] if self.tokenizer is None else folder_of(self.tokenizer)))

    def facts(self, unused: Collection[str] = ()) -> tuple[EvidenceFacts, ...]:
        """What a card tells of the files and the donor: their names, and how much there is in the files.

        Args:
            unused: Evidence that was given for nothing; names of `KINDS`.

        Raises:
            InputError: If a file cannot be read.
        """
        return tuple(
            EvidenceFacts(KINDS[name], _name_of(place), _size(name, place))
            for name, place in self._places(("donor", *FILES))
            if name not in unused and not isinstance(place, Tensor)
        )

    def _places(self, names: Sequence[str]) -> Iterator[tuple[str, str | Path | Checkpoint | Tensor]]:
        """Everything given under some names, each of several by itself."""
        for name in names:
            given = getattr(self, name)
            if isinstance(given, Checkpoint | Tensor):
                yield name, given
            elif given is not None:
                yield from ((name, place) for place in several(given, KINDS[name].removeprefix("a ")))

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The source, open."""
        if self.source is None:
            raise _missing("source")
        return open_checkpoint(self.source, self.trust_remote_code)

    @cached_property
    def target_tokenizer(self) -> PreTrainedTokenizerBase:
        """The target tokenizer."""
        if self.tokenizer is not None:
            return self.tokenizer
        model = self.donor if self.helper is None else self.helper
        if model is None:
            raise _missing("tokenizer")
        return open_checkpoint(model, self.trust_remote_code).tokenizer()

    @cached_property
    def entries(self) -> Dictionary | None:
        """The dictionary, read."""
        if self.dictionary is None:
            return None
        return told(read_dictionaries(self.dictionary))

    @cached_property
    def sentences(self) -> ParallelText | None:
        """The parallel text, read."""
        if self.parallel is None:
            return None
        return told(read_parallels(self.parallel))

    @cached_property
    def words(self) -> TextVectors:
        """The word vectors of the target language."""
        if self.vectors is None:
            raise _missing("vectors")
        if isinstance(self.vectors, Tensor):
            raise InputError("The vectors are a table of tokens; expected a file of word vectors.")
        return text_vectors(self.vectors)

    @cached_property
    def source_words(self) -> TextVectors:
        """The word vectors of the source language."""
        if self.source_vectors is None:
            raise _missing("source_vectors")
        return text_vectors(self.source_vectors)

    @cached_property
    def table(self) -> Tensor:
        """`(V_t, k)`, the vectors of the target tokens, zero where one has none."""
        if isinstance(self.vectors, Tensor):
            return self.vectors
        return some_tokens("target", self.words, self.target_tokenizer)

    @cached_property
    def source_table(self) -> Tensor:
        """`(V_s, k)`, the vectors of the source tokens, zero where one has none."""
        return some_tokens("source", self.source_words, self.checkpoint.known_tokenizer())

    @cached_property
    def order(self) -> Tensor:
        """The target tokens of the corpus, most frequent first."""
        if self.corpus is None:
            raise _missing("corpus")
        return frequency_order(Corpus.of(self.corpus).lines(), self.target_tokenizer)

    @cached_property
    def source_order(self) -> Tensor:
        """The source tokens of the source corpus, most frequent first."""
        if self.source_corpus is None:
            raise _missing("source_corpus")
        return frequency_order(Corpus(str(self.source_corpus)).lines(), self.checkpoint.known_tokenizer())


def flag(name: str) -> str:
    """The option of the command line that gives a piece of evidence."""
    return "--" + name.replace("_", "-")


def _size(name: str, file: str | Path | Checkpoint) -> str | None:
    """How much there is in a file; of vectors what the first line of a text file says."""
    if name == "dictionary":
        return f"{len(read_dictionaries(_path(file))):,} entries"
    if name == "parallel":
        return f"{len(read_parallels(_path(file))):,} pairs"
    count = None if name == "donor" else vector_count(_path(file))
    return None if count is None else f"{count:,} vectors"


def _path(file: object) -> Path:
    return Path(str(file)).expanduser()


def _missing(name: str) -> InputError:
    return InputError(f"There is no {name}; give {KINDS[name]} with {flag(name)}.")


def _name_of(place: str | Path | Checkpoint) -> str:
    return place.pinned_name if isinstance(place, Checkpoint) else str(place)

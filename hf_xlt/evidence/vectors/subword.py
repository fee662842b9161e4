"""Vectors of the tokens of any tokenizer, made out of word vectors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_one_of
from hf_xlt.errors import InputError
from hf_xlt.evidence.token_ids import flat, token_ids
from hf_xlt.evidence.vectors.fasttext import is_fasttext, known_words
from hf_xlt.evidence.vectors.vectors import Vectors, first_vectors, read_words
from hf_xlt.tokenizers.vocabulary import Vocabulary
from hf_xlt.transport.mixture import SparseMixture

WORD_WEIGHTINGS = ("frequency", "rank", "unweighted")


class TextVectors(ABC):
    """Static vectors as evidence: of words, and of the tokens of any tokenizer, in one space."""

    @abstractmethod
    def of_words(self, words: Sequence[str]) -> Tensor:
        """float32 `(n, d)`; zero rows for words without a vector of their own."""

    @abstractmethod
    def of_tokens(self, tokenizer: PreTrainedTokenizerBase) -> Tensor:
        """float32 `(V, d)`, a row for each id; zero rows for tokens without a vector."""


@dataclass(frozen=True, eq=False)
class WordAverages(TextVectors):
    """Word vectors, and for each token the weighted mean of the words it is part of."""

    vectors: Vectors  # word vectors, the most frequent word first
    weighting: str = "rank"  # one of `WORD_WEIGHTINGS`; see `word_average`
    frequencies: Tensor | None = field(default=None, repr=False)  # `(n,)`, how often each word occurs, for `frequency`

    def __post_init__(self) -> None:
        word_weights(len(self.vectors.words), self.weighting, self.frequencies)

    def of_words(self, words: Sequence[str]) -> Tensor:
        """The vectors of the words that there are."""
        return self.vectors.placed(words)[0]

    def of_tokens(self, tokenizer: PreTrainedTokenizerBase) -> Tensor:
        """As `word_average` makes them."""
        return word_average(self.vectors, tokenizer, self.weighting, self.frequencies)


@dataclass(frozen=True)
class NgramVectors(TextVectors):
    """A fastText model, `.bin`: the vector of a token is that of its text, made of its character n-grams."""

    path: Path  # the model; only the rows that are needed are read

    def of_words(self, words: Sequence[str]) -> Tensor:
        """The vectors of the words in the model's dictionary; n-grams alone make no word."""
        known = known_words(self.path, set(words))
        if not known:
            raise InputError(
                f"{self.path} knows none of the {len(words)} words", hint="Check that they are of its language."
            )
        return read_words(self.path, known).placed(words)[0]

    def of_tokens(self, tokenizer: PreTrainedTokenizerBase) -> Tensor:
        """The vectors of the tokens' texts, special tokens left out."""
        texts = token_texts(tokenizer)
        return read_words(self.path, {text for text in texts if text}).placed(texts)[0]


def read_vectors(path: str | Path | TextVectors, most_words: int = 50_000) -> TextVectors:
    """Open a file of word vectors; vectors that are open already are handed back.

    It is a fastText model, or in another format that `read_words` takes, the most frequent word first: of these, so
    many words are read from the start, and weighted by rank. InputError is raised if the file cannot be read.
    """
    if isinstance(path, TextVectors):
        return path
    path = Path(path).expanduser()
    return NgramVectors(path) if is_fasttext(path) else WordAverages(first_vectors(path, most_words))


def token_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text each id stands for, stripped; empty for special tokens, holes, and what is no whole characters."""
    vocabulary = Vocabulary.of(tokenizer)
    texts = [""] * vocabulary.size
    for id_, form in vocabulary.forms.items():
        with suppress(UnicodeDecodeError):
            texts[id_] = form.text.decode().strip()
    return texts


def word_average(
    vectors: Vectors, tokenizer: PreTrainedTokenizerBase, weighting: str = "rank", frequencies: Tensor | None = None
) -> Tensor:
    """The weighted mean of the vectors of the words that a token is part of.

    A word is tokenized at the start of a text and after a space. Where both ways have a token, the word counts twice
    for it (as in WECHSEL's code); a token that a word has several times counts once. The result is float32 `(V, d)`,
    with zero rows for tokens of no word, special tokens among them.

    Words are weighted by `frequency`, how often they occur, which the `frequencies` `(n,)` say (WECHSEL); by `rank`,
    1/rank, Zipf's estimate of it (RAMEN); or `unweighted` (OFA).
    """
    weights = word_weights(len(vectors.words), weighting, frequencies)
    tokens, words = _parts(vectors.words, tokenizer)
    kept = weights[words] > 0
    tokens, words = tokens[kept], words[kept]
    size = max(tokenizer.get_vocab().values()) + 1
    values = weights[words] / np.bincount(tokens, weights[words], size)[tokens]
    order = tokens.argsort(kind="stable")
    shape = size, len(vectors.words)
    return SparseMixture.of(tokens[order], words[order], values[order], shape).apply(vectors.table)


def word_weights(count: int, weighting: str, frequencies: Tensor | None = None) -> np.ndarray:
    """float64 `(count,)`, the weights of words by falling frequency."""
    require_one_of("weighting", weighting, WORD_WEIGHTINGS)
    if weighting != "frequency":
        return 1 / np.arange(1.0, count + 1) if weighting == "rank" else np.ones(count)
    if frequencies is None:
        raise InputError("Weighting words by frequency needs their frequencies", hint="Give them, or weigh by rank.")
    if frequencies.shape != (count,) or not frequencies.isfinite().all() or (frequencies < 0).any():
        raise InputError(
            f"The frequencies are {frequencies.dtype} {tuple(frequencies.shape)}",
            expected=f"{count} numbers from 0, one a word",
        )
    return frequencies.double().numpy()


def _parts(words: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> tuple[np.ndarray, np.ndarray]:
    """int64 `(p,)` each: a token, and the place of a word that it is part of."""
    pairs = []
    for texts in (list(words), [f" {word}" for word in words]):
        tokens, lengths = flat(token_ids(tokenizer, texts))
        pairs.append(np.unique(tokens * len(words) + np.repeat(np.arange(len(words)), lengths)))
    tokens, places = np.divmod(np.concatenate(pairs), len(words))
    ordinary = ~np.isin(tokens, tokenizer.all_special_ids)
    return tokens[ordinary], places[ordinary]

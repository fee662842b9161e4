"""Words of sentence pairs that translate each other, and where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Regex
from tokenizers.pre_tokenizers import BertPreTokenizer, PreTokenizer, Split, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as Steps

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import WordAligner
from hf_xlt.evidence.alignment.links import numbered

_WORDS = Steps([BertPreTokenizer(), Split(Regex(r"\p{Han}"), "isolated")])  # of plain text; punctuation apart
_TOKENISED = WhitespaceSplit()  # of text that was cut into words before it was aligned


@dataclass(frozen=True, eq=False)
class WordPairs:
    """Words that are linked with one word only, on either side.

    Attributes:
        sentences: int64 `(w,)`, number of the sentence pair.
        spans: For either side int64 `(w, 2)`: first character of the word, and the one after its last.
        forms: int64 `(w, 2)`, ids of the lower-case words.
    """

    sentences: np.ndarray
    spans: tuple[np.ndarray, np.ndarray]
    forms: np.ndarray

    def __len__(self) -> int:
        return len(self.sentences)

    def at(self, which: np.ndarray) -> WordPairs:
        """Those at the positions given."""
        first, second = self.spans
        return WordPairs(self.sentences[which], (first[which], second[which]), self.forms[which])


@dataclass(frozen=True, eq=False)
class _Cut:
    """The words of all sentences of one side, one after the other.

    Attributes:
        words: As they are spelled, but in lower case.
        spans: int64 `(N, 2)`, their places in their sentences.
        lengths: int64 `(n,)`, words of each sentence.
    """

    words: list[str]
    spans: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, sentences: Sequence[str], cutter: PreTokenizer) -> _Cut:
        pieces = [cutter.pre_tokenize_str(sentence) for sentence in sentences]
        words = [word.lower() for of_sentence in pieces for word, _ in of_sentence]
        spans = np.array([span for of_sentence in pieces for _, span in of_sentence], np.int64).reshape(-1, 2)
        return cls(words, spans, np.array([len(of_sentence) for of_sentence in pieces], np.int64))

    @property
    def starts(self) -> np.ndarray:
        """Place of each sentence's first word among all."""
        return self.lengths.cumsum() - self.lengths

    def sentences(self) -> list[list[str]]:
        """The words, sentence by sentence."""
        return [self.words[start : start + length] for start, length in zip(self.starts, self.lengths, strict=True)]

    def forms(self) -> np.ndarray:
        """An id for each distinct word; -1 for punctuation."""
        ids: dict[str, int] = {}
        spelled = (ids.setdefault(w, len(ids)) if any(map(str.isalnum, w)) else -1 for w in self.words)
        return np.fromiter(spelled, np.int64, len(self.words))


def word_pairs(pairs: Sequence[tuple[str, str]], links: Sequence[np.ndarray] | None = None) -> WordPairs:
    """Pair up words of translations; punctuation and words with several links are left out.

    Args:
        pairs: Sentences and their translations, none empty.
        links: For each pair int `(k, 2)`, linked positions of words, as `read_pharaoh` gives them: words are then
            what white space separates. None: words and punctuation are told apart (a Han character is a word), and
            linked by an aligner trained on these very pairs, where both directions agree.

    Raises:
        InputError: If the number of links is not that of pairs, or a link leaves its pair.
    """
    cutter = _WORDS if links is None else _TOKENISED
    sides = [_Cut.of(side, cutter) for side in zip(*pairs, strict=True)]
    if links is None:
        texts = list(zip(*(side.sentences() for side in sides), strict=True))
        links = WordAligner.train(texts).align(texts, "intersection")
    if len(links) != len(pairs):
        raise InputError(f"There are {len(pairs)} pairs and {len(links)} sets of links; expected one set a pair.")
    linked = numbered(links)
    for column, side in enumerate(sides, start=1):
        _check_range(linked[:, 0], linked[:, column], side.lengths)
    places = [side.starts[linked[:, 0]] + linked[:, column] for column, side in enumerate(sides, start=1)]
    forms = np.column_stack([side.forms()[place] for side, place in zip(sides, places, strict=True)])
    usable = (forms >= 0).all(1)
    for place in places:
        usable &= np.bincount(place)[place] == 1
    first, second = (side.spans[place[usable]] for side, place in zip(sides, places, strict=True))
    return WordPairs(linked[usable, 0], (first, second), forms[usable])


def _check_range(numbers: np.ndarray, positions: np.ndarray, lengths: np.ndarray) -> None:
    outside = np.flatnonzero((positions < 0) | (positions >= lengths[numbers]))
    if len(outside):
        number = numbers[outside[0]]
        raise InputError(
            f"Pair {number} has a link to word {positions[outside[0]]}, but {lengths[number]} words between white "
            "space; expected positions from 0. Give the text that was aligned."
        )

"""What two models are compared on: sentence pairs and word pairs, part to learn maps from and part to test them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from tokenizers import Regex
from tokenizers.pre_tokenizers import BertPreTokenizer, PreTokenizer, Split, WhitespaceSplit
from tokenizers.pre_tokenizers import Sequence as Steps
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import WordAligner
from hf_xlt.evidence.alignment.links import numbered
from hf_xlt.files.text import first_numbers

_WORDS = Steps([BertPreTokenizer(), Split(Regex(r"\p{Han}"), "isolated")])  # of plain text; punctuation apart
_TOKENIZED = WhitespaceSplit()  # of text that was cut into words before it was aligned

_FEWEST = 2


@dataclass(frozen=True, eq=False)
class WordPairs:
    """Words that are linked with one word only, on either side."""

    sentences: np.ndarray  # int64 (w,), number of the sentence pair
    spans: tuple[np.ndarray, np.ndarray]  # int64 (w, 2) each: first character of a word, and the one after its last
    forms: np.ndarray  # int64 (w, 2), ids of the lower-case words


@dataclass(frozen=True, eq=False)
class _Cut:
    """The words of all sentences of one side, in lower case."""

    sentences: list[list[str]]
    spans: np.ndarray  # int64 (N, 2), the places of all words, one after the other, in their sentences
    lengths: np.ndarray  # int64 (n,), words of each sentence

    @classmethod
    def of(cls, sentences: Sequence[str], cutter: PreTokenizer) -> "_Cut":
        pieces = [cutter.pre_tokenize_str(sentence) for sentence in sentences]
        words = [[word.lower() for word, _ in of_sentence] for of_sentence in pieces]
        spans = np.array([span for of_sentence in pieces for _, span in of_sentence], np.int64).reshape(-1, 2)
        return cls(words, spans, np.array([len(of_sentence) for of_sentence in pieces], np.int64))

    def forms(self) -> np.ndarray:
        """An id for each distinct word; -1 for punctuation."""
        ids: dict[str, int] = {}
        words = chain.from_iterable(self.sentences)
        spelled = (ids.setdefault(word, len(ids)) if any(map(str.isalnum, word)) else -1 for word in words)
        return np.fromiter(spelled, np.int64, len(self.spans))


def word_pairs(pairs: Sequence[tuple[str, str]], links: Sequence[np.ndarray] | None = None) -> WordPairs:
    """Pair up words of translations; punctuation and words with several links are left out.

    Links are for each pair int `(k, 2)`, linked positions of words, as `read_pharaoh` gives them: words are then what
    white space separates. Without them words and punctuation are told apart (a Han character is a word), and linked by
    an aligner trained on these very pairs, where both directions agree.
    """
    cutter = _WORDS if links is None else _TOKENIZED
    sides = [_Cut.of(side, cutter) for side in zip(*pairs, strict=True)]
    if links is None:
        texts = list(zip(*(side.sentences for side in sides), strict=True))
        links = WordAligner.train(texts).align(texts, "intersection")
    linked = numbered(links)
    places = []
    for positions, side in zip(linked[:, 1:].T, sides, strict=True):
        lengths = side.lengths[linked[:, 0]]
        if len(outside := np.flatnonzero((positions < 0) | (positions >= lengths))):
            raise InputError(
                f"Pair {linked[outside[0], 0]} has a link to word {positions[outside[0]]}, but {lengths[outside[0]]} "
                "words between white space",
                expected="positions from 0",
                hint="Give the text that was aligned.",
            )
        places.append((side.lengths.cumsum() - side.lengths)[linked[:, 0]] + positions)
    forms = np.column_stack([side.forms()[place] for side, place in zip(sides, places, strict=True)])
    usable = (forms >= 0).all(1)
    for place in places:
        usable &= np.bincount(place)[place] == 1
    first, second = (side.spans[place[usable]] for side, place in zip(sides, places, strict=True))
    return WordPairs(linked[usable, 0], (first, second), forms[usable])


@dataclass(frozen=True, eq=False)
class Side:
    """Sentences of one language, none empty, and words in them."""

    sentences: tuple[str, ...]
    words: np.ndarray  # int64 (w, 3): number of the sentence, first character, and the one after the last


@dataclass(frozen=True, eq=False)
class Sample:
    """Sentence pairs and word pairs; no sentence of a test pair is one that maps are learned from."""

    sides: tuple[Side, Side]
    sentence_test: Tensor  # bool (n,): the sentence pair is for testing
    word_test: Tensor  # bool (w,): the word pair is for testing; empty where no words are wanted
    repeated: int = 0  # pairs left out, since a sentence of theirs came before

    @classmethod
    def of(
        cls,
        pairs: Sequence[tuple[str, str]],
        links: Sequence[np.ndarray] | None = None,
        *,
        sentences: int = 10_000,
        words: int = 5_000,
        test_share: float = 0.2,
        seed: int = 0,
    ) -> "Sample":
        """Draw test pairs, and words from both parts, each pair of spellings once in either; see `structure`."""
        if sentences < 1 or words < 0 or not 0 < test_share < 1:
            raise InputError(
                f"sentences={sentences}, words={words}, test_share={test_share}",
                expected="at least 1, 0 or more, and a share between 0 and 1",
            )
        _check_sentences(pairs)
        if links is not None and len(links) != len(pairs):
            raise InputError(f"There are {len(pairs)} pairs and {len(links)} sets of links", expected="one set a pair")
        different = _without_repetitions(pairs)
        draw = np.random.default_rng(seed)
        kept = np.sort(draw.permutation(different)[:sentences])
        used = [pairs[i] for i in kept]
        test = draw.permutation(len(used)) < round(test_share * len(used))
        check_parts(torch.from_numpy(test), "different sentence pairs")
        first, second = zip(*used, strict=True)
        spans, word_test = np.empty((2, 0, 3), np.int64), np.empty(0, bool)
        if words:
            found = word_pairs(used, None if links is None else [links[i] for i in kept])
            chosen = _draw_words(found, test, words, test_share, draw)
            spans = np.stack([np.column_stack([found.sentences, places])[chosen] for places in found.spans])
            word_test = test[found.sentences[chosen]]
            check_parts(torch.from_numpy(word_test), "word pairs", "; or ask for 0 words")
        sides = Side(first, spans[0]), Side(second, spans[1])
        return cls(sides, torch.from_numpy(test), torch.from_numpy(word_test), len(pairs) - len(different))


def check_parts(test: Tensor, what: str, or_else: str = "") -> None:
    """Refuse pairs of which too few are for testing (`test`, bool) or for learning."""
    testing, learning = int(test.sum()), int((~test).sum())
    if min(testing, learning) < _FEWEST:
        raise InputError(
            f"There are {len(test)} {what}: {learning} to learn a map from and {testing} to test it with",
            expected=f"at least {_FEWEST} of either",
            hint=f"Give more sentence pairs, or another test_share{or_else}.",
        )


def _check_sentences(pairs: Sequence[tuple[str, str]]) -> None:
    unpaired = [i for i, pair in enumerate(pairs) if isinstance(pair, str) or len(pair) != 2]
    if unpaired:
        raise InputError(
            f"Of {len(pairs)} pairs, these (from 0) have not two sides: {first_numbers(unpaired)}. Give a sentence and "
            "its translation each."
        )
    empty = [i for i, pair in enumerate(pairs) if not all(map(str.strip, pair))]
    if empty:
        raise InputError(
            f"Of {len(pairs)} pairs, these (from 0) have an empty side: {first_numbers(empty)}. Leave them out; "
            "read_parallel(…) does so."
        )


def _without_repetitions(pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Places of the pairs neither side of which came before: else a translation is not the only right answer."""
    first: tuple[dict[str, int], dict[str, int]] = {}, {}
    for i, pair in enumerate(pairs):
        for at, sentence in zip(first, pair, strict=True):
            at.setdefault(sentence, i)
    return [i for i, (a, b) in enumerate(pairs) if first[0][a] == first[1][b] == i]


def _draw_words(
    found: WordPairs, test: np.ndarray, words: int, test_share: float, draw: np.random.Generator
) -> np.ndarray:
    """Places of so many word pairs, each pair of spellings once in either part."""
    order = draw.permutation(len(found.forms))
    of_test = test[found.sentences]
    _, first = np.unique(np.column_stack([of_test, found.forms])[order], axis=0, return_index=True)
    order = order[np.sort(first)]
    testing = round(test_share * words)
    parts = order[~of_test[order]][: words - testing], order[of_test[order]][:testing]
    return np.sort(np.concatenate(parts))

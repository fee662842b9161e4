"""Attachment scores of dependency trees, as the evaluation of the CoNLL 2018 shared task counts them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import Metric, ratio


class Token(TypedDict):
    """A surface token that stands for several words.

    Attributes:
        first: Its first word, counted from 1.
        last: Its last word.
        form: As it is written.
    """

    first: int
    last: int
    form: str


class Tree(TypedDict):
    """A sentence of `n` words with a head for each.

    Attributes:
        words: Forms.
        heads: Counted from 1, 0 for the root.
        deprels: Relations to the heads; subtypes are not looked at.
        multiwords: Surface tokens of several words, in order; every other word is a token of its own.
    """

    words: Sequence[str]
    heads: Sequence[int]
    deprels: Sequence[str]
    multiwords: Sequence[Token]


class AttachmentScore(Metric):
    """F1 of words with the right head (`uas`), and with the right head and universal relation (`las`).

    All words count, punctuation too. Words are aligned by the characters of the surface tokens, which must be the same
    on both sides, white space apart; where a token stands for several words, by the longest common subsequence of
    their forms. A head is right if it is aligned with the right one.

    Counts of a sentence: right heads, right heads with the right relation, words predicted, words there are; so
    precision is right over predicted, recall right over there.
    """

    def counts(self, predictions: Sequence[Tree], references: Sequence[Tree]) -> np.ndarray:
        """float64 `(n, 4)`: right heads, right heads with the right relation, words predicted, words there are.

        Raises:
            InputError: If a sentence is not written with the same characters on both sides, or a side does not have a
                head and a relation for each word.
        """
        counts = np.zeros((len(references), 4))
        for number, (tree, gold) in enumerate(zip(predictions, references, strict=True), start=1):
            for side in (tree, gold):
                if not len(side["words"]) == len(side["heads"]) == len(side["deprels"]):
                    raise InputError(f"Sentence {number} does not have one head and one relation for each word.")
            aligned = _alignment(tree, gold, number)
            right = [word for word, twin in aligned.items() if _parent(tree, word, aligned) == gold["heads"][twin - 1]]
            labeled = [
                word
                for word in right
                if universal(tree["deprels"][word - 1]) == universal(gold["deprels"][aligned[word] - 1])
            ]
            counts[number - 1] = len(right), len(labeled), len(tree["words"]), len(gold["words"])
        return counts

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`uas` and `las`."""
        heads, labeled, predicted, there = np.moveaxis(totals, -1, 0)
        return {"uas": ratio(2 * heads, predicted + there), "las": ratio(2 * labeled, predicted + there)}


def universal(deprel: str) -> str:
    """A relation without its subtype: `nsubj` of `nsubj:pass`."""
    return deprel.partition(":")[0]


class _Word(NamedTuple):
    """A word, and where the token it belongs to stands among the characters of the sentence."""

    form: str
    start: int
    end: int
    shares: bool  # its token with other words


def _parent(tree: Tree, word: int, aligned: Mapping[int, int]) -> int | None:
    """The reference's number for the head of a predicted word; None where it has none."""
    head = tree["heads"][word - 1]
    return aligned.get(head) if head else 0


def _alignment(tree: Tree, gold: Tree, number: int) -> Mapping[int, int]:
    """Number of a predicted word → that of the word in the reference, for words that have one; both from 1."""
    if tree["words"] == gold["words"] and tree["multiwords"] == gold["multiwords"]:
        return {word: word for word in range(1, len(gold["words"]) + 1)}
    (left, written), (right, expected) = _spans(tree), _spans(gold)
    if written != expected:
        raise InputError(f"Sentence {number} reads {written!r}, the reference {expected!r}; they must be the same.")
    aligned: dict[int, int] = {}
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i].shares or right[j].shares:
            first, second, i, j = _stretch(left, right, i, j)
            aligned |= _common(left, right, range(first, i), range(second, j))
        elif left[i][1:3] == right[j][1:3]:
            i, j = i + 1, j + 1
            aligned[i] = j
        elif right[j].start <= left[i].start:
            j += 1
        else:
            i += 1
    return aligned


def _spans(tree: Tree) -> tuple[list[_Word], str]:
    """The words of a sentence, and its characters without white space."""
    tokens = {token["first"]: token for token in tree["multiwords"]}
    words: list[_Word] = []
    written = ""
    while len(words) < len(tree["words"]):
        number = len(words) + 1
        start = len(written)
        if token := tokens.get(number):
            written += _without_space(token["form"])
            forms = tree["words"][number - 1 : token["last"]]
            words += [_Word(form.lower(), start, len(written), True) for form in forms]
        else:
            form = _without_space(tree["words"][number - 1])
            written += form
            words.append(_Word(form.lower(), start, len(written), False))
    return words, written


def _without_space(form: str) -> str:
    return "".join(character for character in form if unicodedata.category(character) != "Zs")


def _stretch(left: list[_Word], right: list[_Word], i: int, j: int) -> tuple[int, int, int, int]:
    """From which words to before which the sides are compared around a token of several words."""
    opening = right[j] if right[j].shares else left[i]
    i += not left[i].shares and left[i].start < opening.start
    j += not right[j].shares and right[j].start < opening.start
    first, second, end = i, j, opening.end
    while _reaches(left, i, end) or _reaches(right, j, end):
        if j < len(right) and (i == len(left) or right[j].start <= left[i].start):
            word, j = right[j], j + 1
        else:
            word, i = left[i], i + 1
        if word.shares:
            end = max(end, word.end)
    return first, second, i, j


def _reaches(words: list[_Word], i: int, end: int) -> bool:
    """Whether there is a word `i` within the characters before `end`, of which a token of several needs but one."""
    return i < len(words) and (words[i].start < end if words[i].shares else words[i].end <= end)


def _common(left: list[_Word], right: list[_Word], ours: range, theirs: range) -> dict[int, int]:
    """The longest common subsequence of the forms of two stretches, as numbers of words from 1."""
    longest = np.zeros((len(ours) + 1, len(theirs) + 1), dtype=np.int64)
    for a, i in reversed([*enumerate(ours)]):
        for b, j in reversed([*enumerate(theirs)]):
            same = left[i].form == right[j].form
            longest[a, b] = max(longest[a + 1, b + 1] + same, longest[a + 1, b], longest[a, b + 1])
    aligned = {}
    a = b = 0
    while a < len(ours) and b < len(theirs):
        if left[ours[a]].form == right[theirs[b]].form:
            aligned[ours[a] + 1] = theirs[b] + 1
            a, b = a + 1, b + 1
        elif longest[a, b] == longest[a, b + 1]:
            b += 1
        else:
            a += 1
    return aligned

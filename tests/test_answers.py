"""Answers are counted as the official scripts of SQuAD 1.1 and MLQA count them."""

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.evaluation.metrics import AnswerOverlap, answer_words

ASCII_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
PIECES = ["the", "The", "an", "A", "a", "theatre", "dog", "Dog", "1937", "é", "ß", "ｂ", "中", "国", "京",
          "\u4e00", "\u9fa5", "\u9fa6", "〇", "カ", " ", " ", "  ", "\t", "\u3000", "\u00a0",
          *"-_.,$+'’«»。，、《》·%"]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
references = st.lists(texts, min_size=1, max_size=3)


def squad_words(text):
    """SQuAD 1.1: lower case, no ASCII punctuation, English articles blanked out, split at white space."""
    kept = [character for character in text.lower() if character not in ASCII_PUNCTUATION]
    return [word for word in re.split(r"\b(?:a|an|the)\b|\s+", "".join(kept)) if word and not word.isspace()]


def mlqa_words(text):
    """MLQA in Chinese: lower case, no punctuation of any script, Han characters apart, the rest split at spaces."""
    words, word = [], ""
    for character in text.lower() + " ":
        if character in ASCII_PUNCTUATION or unicodedata.category(character)[0] == "P":
            continue
        han = 0x4E00 <= ord(character) <= 0x9FA5
        if (han or character.isspace()) and word:
            words, word = [*words, word], ""
        if han:
            words.append(character)
        elif not character.isspace():
            word += character
    return words


def f1(prediction, right):
    left = list(right)
    for word in prediction:
        if word in left:
            left.remove(word)
    shared = len(right) - len(left)
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(right)
    return 2 * precision * recall / (precision + recall)


@given(texts, st.booleans())
def test_words_are_those_of_the_official_definitions(text, han):
    assert answer_words(text, han) == (mlqa_words if han else squad_words)(text)


@given(st.lists(st.tuples(texts, references, st.booleans()), max_size=5))
def test_counts_are_the_best_over_the_references(questions):
    metric = AnswerOverlap()
    counts = metric.counts([text for text, _, _ in questions], [{"texts": r, "han": han} for _, r, han in questions])
    assert counts.shape == (len(questions), 3)
    for (text, rights, han), (exact, overlap, one) in zip(questions, counts, strict=True):
        words = mlqa_words if han else squad_words
        assert exact == max(words(text) == words(right) for right in rights)
        assert overlap == pytest.approx(max(f1(words(text), words(right)) for right in rights), abs=1e-12)
        assert one == 1


@pytest.mark.parametrize(
    ("text", "right", "han", "exact", "overlap"),
    [
        ("The Panthers.", "panthers", False, 1, 1),
        ("in 1937", "1937", False, 0, 2 / 3),
        ("dog dog", "dog", False, 0, 2 / 3),
        ("the", "a", False, 1, 0),
        ("北京大学", "北京", False, 0, 0),
        ("北京大学", "北京", True, 0, 2 / 3),
        ("《北京》", "北京", True, 1, 1),
        ("the NBA 球员", "nba球员", True, 0, 6 / 7),
    ],
)
def test_known_answers(text, right, han, exact, overlap):
    counts = AnswerOverlap().counts([text], [{"texts": [right], "han": han}])
    assert counts[0] == pytest.approx([exact, overlap, 1])


def test_scores_of_added_counts_are_means_and_zero_without_any():
    scores = AnswerOverlap().of_counts(np.array([[3.0, 3.5, 4.0], [0.0, 0.0, 0.0]]))
    assert scores["exact_match"] == pytest.approx([0.75, 0])
    assert scores["f1"] == pytest.approx([0.875, 0])


def test_it_is_an_evaluate_module_that_loads_from_its_file():
    metric = AnswerOverlap()
    rights = [{"texts": ["dog", "a big dog"], "han": False}, {"texts": ["北京"], "han": True}]
    assert metric.compute(predictions=["The dog", "上海"], references=rights) == {"exact_match": 0.5, "f1": 0.5}

"""Exact match and F1 of answers given as text, as the official scripts of SQuAD 1.1 and MLQA count them."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TypedDict

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as ListOf

from hf_xlt.evaluation.metrics.counted import CountedMetric, ratio

HAN = re.compile(r"([\u4e00-\u9fa5])")  # as MLQA's script delimits them
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Reference(TypedDict):
    """The right answers to a question, any of which will do.

    Attributes:
        texts: One or more.
        han: Whether they are in Chinese, and so are compared by characters.
    """

    texts: list[str]
    han: bool


class AnswerOverlap(CountedMetric):
    """Exact match and F1 over the words of an answer, each the best over a question's references.

    Words are what remains between spaces without case, ASCII punctuation and English articles (SQuAD 1.1; XQuAD is
    scored so in every language). In Chinese every Han character is a word, all Unicode punctuation goes and articles
    stay (MLQA's mixed segmentation). Predictions are texts, references `Reference`.
    """

    def _info(self) -> evaluate.MetricInfo:
        reference = {"texts": ListOf(Value("string")), "han": Value("bool")}
        return evaluate.MetricInfo(
            description="Exact match and F1 of answers (SQuAD 1.1; Chinese as in MLQA).",
            citation="Rajpurkar et al. 2016, arXiv:1606.05250; Lewis et al. 2020, arXiv:1910.07475",
            inputs_description="predictions: texts; references: texts, and whether they are in Chinese",
            features=Features({"predictions": Value("string"), "references": reference}),
        )

    def counts(self, predictions: Sequence[str], references: Sequence[Reference]) -> np.ndarray:
        """float64 `(n, 3)`: exact match, F1, and one for the question."""
        pairs = zip(predictions, references, strict=True)
        return np.array([(*_best(text, reference), 1.0) for text, reference in pairs]).reshape(-1, 3)

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`exact_match` and `f1`."""
        return {"exact_match": ratio(totals[..., 0], totals[..., 2]), "f1": ratio(totals[..., 1], totals[..., 2])}


def answer_words(text: str, han: bool) -> list[str]:
    """The words of an answer that are compared; see `AnswerOverlap`."""
    lower = text.lower()
    if han:
        return HAN.sub(r" \1 ", "".join(c for c in lower if not _is_punctuation(c))).split()
    return _ARTICLES.sub(" ", lower.translate(_NO_PUNCTUATION)).split()


def _best(text: str, reference: Reference) -> tuple[float, float]:
    words = answer_words(text, reference["han"])
    rights = [answer_words(right, reference["han"]) for right in reference["texts"]]
    return float(words in rights), max(_f1(words, right) for right in rights)


def _f1(words: list[str], right: list[str]) -> float:
    """Harmonic mean of precision and recall, counting repeated words; 0 where both are empty, as in SQuAD 1.1."""
    shared = (Counter(words) & Counter(right)).total()
    return 2 * shared / (len(words) + len(right)) if shared else 0.0


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")

"""Metrics of tasks: scores that follow from counts added over test examples, so that resampling them is one product."""

import math
import re
import string
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import numpy as np

from hf_xlt.errors import InputError

_LARGEST_EXPONENT = 700.0  # of what a float64 holds
HAN = re.compile(r"([\u4e00-\u9fa5])")  # as MLQA's script delimits them
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Metric(ABC):
    """A metric whose scores follow from counts that are added over examples.

    So scores of a resampled test set cost one product: weights `(samples, n)` times counts `(n, k)`.
    """

    @abstractmethod
    def counts(self, predictions: Sequence[Any], references: Sequence[Any]) -> np.ndarray:
        """float64 `(n, k)`: what each example adds."""

    @abstractmethod
    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """Scores, each of shape `(…)`, of added counts `(…, k)`; 0 where there is nothing to score."""

    def scores(self, counts: np.ndarray) -> dict[str, float]:
        """Scores of the counts `(n, k)` of examples."""
        return {name: float(score) for name, score in self.of_counts(counts.sum(axis=0)).items()}

    def compute(self, predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        """Scores of predictions, one for one with their references."""
        return self.scores(self.counts(predictions, references))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=np.asarray(whole) != 0)


class TagAccuracy(Metric):
    """The share of words with the right tag, over all sentences."""

    def counts(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> np.ndarray:
        """float64 `(n, 2)`: right words, words."""
        counts = np.zeros((len(references), 2))
        for row, tags, gold in zip(counts, predictions, references, strict=True):
            row[:] = sum(tag == right for tag, right in zip(tags, gold, strict=True)), len(gold)
        return counts

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`accuracy`."""
        return {"accuracy": ratio(totals[..., 0], totals[..., 1])}


class ClassScores(Metric):
    """Accuracy, and the mean F1 of the classes that are there or predicted."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    def counts(self, predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """float64 `(n, 3 classes)`, one-hot: the class if it is right, the one predicted, the one it is."""
        one_hot = dict(zip(self.labels, np.eye(len(self.labels)), strict=True))
        shape = len(references), len(self.labels)
        predicted, gold = (
            np.reshape([one_hot[label] for label in labels], shape) for labels in (predictions, references)
        )
        return np.concatenate([predicted * gold, predicted, gold], axis=1)

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`accuracy` and `macro_f1`."""
        right, predicted, gold = np.split(totals, 3, axis=-1)
        f1 = ratio(2 * right, predicted + gold)
        return {
            "accuracy": ratio(right.sum(-1), gold.sum(-1)),
            "macro_f1": ratio(f1.sum(-1), (predicted + gold > 0).sum(-1)),
        }


class EntityF1(Metric):
    """F1, precision and recall of entities; an `I-X` that continues no `X` begins one, as in conlleval."""

    def counts(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> np.ndarray:
        """float64 `(n, 3)`: entities that are right, those predicted, those there are."""
        counts = np.zeros((len(references), 3))
        for i, (tags, gold) in enumerate(zip(predictions, references, strict=True)):
            if len(tags) != len(gold):
                raise ValueError(f"Sentence {i} has {len(gold)} words, {len(tags)} tags are predicted.")
            found, there = entities(tags), entities(gold)
            counts[i] = len(found & there), len(found), len(there)
        return counts

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`f1`, `precision` and `recall`."""
        right, predicted, gold = np.moveaxis(totals, -1, 0)
        return {
            "f1": ratio(2 * right, predicted + gold),
            "precision": ratio(right, predicted),
            "recall": ratio(right, gold),
        }


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The type, first word and last word of each entity in the IOB tags of a sentence."""
    found = set()
    kind, first = "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, named = tag.partition("-")
        if prefix == "I" and named == kind:
            continue
        if kind:
            found.add((kind, first, place - 1))
        kind, first = named, place
    return found


class Tree(NamedTuple):
    """The heads of a sentence's words, counted from 1, 0 for the root, and the relations to them."""

    heads: Sequence[int]
    deprels: Sequence[str]


class AttachmentScore(Metric):
    """F1 of words with the right head (`uas`), and with the right head and universal relation (`las`).

    As the CoNLL 2018 shared task counts them where both sides have the treebank's words: all count, punctuation too;
    subtypes of relations do not.
    """

    def counts(self, predictions: Sequence[Tree], references: Sequence[Tree]) -> np.ndarray:
        """float64 `(n, 4)`: right heads, right heads with the right relation, words predicted, words there are."""
        counts = np.zeros((len(references), 4))
        for number, (tree, gold) in enumerate(zip(predictions, references, strict=True)):
            if not len(tree.heads) == len(tree.deprels) == len(gold.heads) == len(gold.deprels):
                raise InputError(f"Sentence {number + 1} does not have one head and one relation for each word.")
            right = [head == wanted for head, wanted in zip(tree.heads, gold.heads, strict=True)]
            relations = zip(right, tree.deprels, gold.deprels, strict=True)
            labeled = sum(hit and universal(one) == universal(other) for hit, one, other in relations)
            counts[number] = sum(right), labeled, len(right), len(right)
        return counts

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`uas` and `las`."""
        heads, labeled, predicted, there = np.moveaxis(totals, -1, 0)
        return {"uas": ratio(2 * heads, predicted + there), "las": ratio(2 * labeled, predicted + there)}


def universal(deprel: str) -> str:
    """A relation without its subtype: `nsubj` of `nsubj:pass`."""
    return deprel.partition(":")[0]


class Perplexity(Metric):
    """Loss in nats a predicted token, its exponential, and bits a byte of the text that was predicted.

    Unlike the others, bits per byte does not depend on how a tokenizer cuts the text.
    """

    def counts(self, predictions: Sequence[float], references: Sequence[Sequence[float]]) -> np.ndarray:
        """float64 `(n, 3)`: negative log-likelihood in nats, predicted tokens, bytes of UTF-8 that these stand for."""
        sizes = np.asarray(references, dtype=np.float64).reshape(len(references), 2)
        return np.column_stack([np.asarray(predictions, dtype=np.float64), sizes])

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`bits_per_byte`, `perplexity` and `loss`; the lower the better, from 0 on."""
        nll, tokens, text_bytes = np.moveaxis(totals, -1, 0)
        loss = ratio(nll, tokens)
        return {
            "bits_per_byte": ratio(nll, math.log(2) * text_bytes),
            "perplexity": np.exp(np.minimum(loss, _LARGEST_EXPONENT)),
            "loss": loss,
        }


class PrecisionAt1(Metric):
    """Share of queries for which one of their right answers was found.

    Each query is answered in several ways (two directions, two measures of nearness); each score, by its name, is the
    mean over some of them.
    """

    def __init__(self, scores: Mapping[str, Sequence[int]]) -> None:
        self.ways = {name: list(ways) for name, ways in scores.items()}

    def counts(self, predictions: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> np.ndarray:
        """float64 `(n, 1 + ways)`: 1, and whether the answer of each way is right."""
        right = [[answer in gold for answer in found] for found, gold in zip(predictions, references, strict=True)]
        return np.column_stack([np.ones(len(right)), np.asarray(right, dtype=np.float64)])

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """The scores that were named."""
        shares = ratio(totals[..., 1:], totals[..., :1])
        return {name: shares[..., ways].mean(-1) for name, ways in self.ways.items()}


class Reference(TypedDict):
    """The right answers to a question, any of which will do."""

    texts: list[str]
    han: bool


class AnswerOverlap(Metric):
    """Exact match and F1 over the words of an answer, each the best over a question's references.

    Words are what remains between spaces without case, ASCII punctuation and English articles (SQuAD 1.1; XQuAD is
    scored so in every language). In Chinese every Han character is a word, all Unicode punctuation goes and articles
    stay (MLQA's mixed segmentation). Predictions are texts, references `Reference`.
    """

    def counts(self, predictions: Sequence[str], references: Sequence[Reference]) -> np.ndarray:
        """float64 `(n, 3)`: exact match, F1, and one for the question."""
        counts = np.ones((len(references), 3))
        for row, text, reference in zip(counts, predictions, references, strict=True):
            words = answer_words(text, reference["han"])
            rights = [answer_words(right, reference["han"]) for right in reference["texts"]]
            row[:2] = words in rights, max(_f1(words, right) for right in rights)
        return counts

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`exact_match` and `f1`."""
        return {"exact_match": ratio(totals[..., 0], totals[..., 2]), "f1": ratio(totals[..., 1], totals[..., 2])}


def answer_words(text: str, han: bool) -> list[str]:
    """The words of an answer that are compared; see `AnswerOverlap`."""
    lower = text.lower()
    if han:
        plain = (c for c in lower if c not in string.punctuation and not unicodedata.category(c).startswith("P"))
        return HAN.sub(r" \1 ", "".join(plain)).split()
    return _ARTICLES.sub(" ", lower.translate(_NO_PUNCTUATION)).split()


def _f1(words: list[str], right: list[str]) -> float:
    """Harmonic mean of precision and recall, counting repeated words; 0 where both are empty, as in SQuAD 1.1."""
    shared = (Counter(words) & Counter(right)).total()
    return 2 * shared / (len(words) + len(right)) if shared else 0.0

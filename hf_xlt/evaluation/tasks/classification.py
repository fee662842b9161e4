"""Classification of texts and of the words in them: a class is told from states by a linear map."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import ClassScores, EntityF1, Metric, TagAccuracy
from hf_xlt.evaluation.retrieval import mean_pooled
from hf_xlt.evaluation.tasks.data import Records, text_rows
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, SupervisedTask, TaskHead, encode_words, text_windows
from hf_xlt.files.conll import TaggedSentence, read_conll, read_conllu
from hf_xlt.files.text import fault

DROPOUT = 0.1

# The universal parts of speech (https://universaldependencies.org/u/pos).
_OPEN = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")
_CLOSED = ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ")
UPOS = tuple(sorted((*_OPEN, *_CLOSED, "PUNCT", "SYM", "X")))

_IOB = re.compile(r"O|[BI]-.+")

E = TypeVar("E")


@dataclass(frozen=True)
class ClassifiedText:
    """A text and its class, on a line of a file, counted from 1."""

    text: str
    label: str
    line: int


class LinearHead(TaskHead):
    """Dropout, and a linear map of each state picked."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.scores = nn.Linear(width, labels)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Logits `(b, …, labels)`."""
        return self.scores(self.dropout(states))


class MeanHead(LinearHead):
    """A linear map of the mean of the states picked."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Logits `(b, labels)`."""
        return super().forward(mean_pooled(states, mask), mask)

    def loss(self, scores: Tensor, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Cross entropy of `gold["label"]`, `(b,)`."""
        return nn.functional.cross_entropy(scores, gold["label"])

    def decode(self, scores: Tensor, mask: Tensor) -> list[int]:
        """The index of the best class of each text."""
        return scores.argmax(-1).tolist()


class Classification(SupervisedTask[ClassifiedText]):
    """The class of a text: a topic, a sentiment. Any table that has a column of texts and one of classes."""

    name = "classification"
    headline = "accuracy"
    summary = "Classes of texts, topics or sentiments: accuracy and macro F1 (PATH:text,label@column=value or PATH)."

    def read(self, place: str) -> list[ClassifiedText]:
        """Texts and classes: the columns named, or the first two."""
        texts = []
        for line, (text, label) in text_rows(place, "text", "label"):
            if not text.strip() or not label.strip():
                missing = "class" if text.strip() else "text"
                raise InputError(f"{place}, line {line}: an empty {missing}", expected="both", path=place, line=line)
            texts.append(ClassifiedText(text.strip(), label.strip(), line))
        if not texts:
            raise InputError(f"{place} has no row", expected="a text, a tab and its class on each line", path=place)
        return texts

    def labels(
        self, train: Sequence[ClassifiedText], others: Mapping[str, Sequence[ClassifiedText]]
    ) -> tuple[str, ...]:
        return trained_labels(train, others, lambda example: [(example.label, example.line)])

    def encode(
        self,
        examples: Sequence[ClassifiedText],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> list[Encoded]:
        """Every position of every window is picked, special tokens too, as sentence-transformers pools."""
        texts = [example.text for example in examples]
        tokens = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        index = {label: i for i, label in enumerate(labels)}
        encoded, frame = [], Frame.of(tokenizer)
        for example, ids in zip(examples, tokens, strict=True):
            windows, _ = text_windows(ids, frame, max_length)
            picks = tuple(np.arange(len(window)) for window in windows)
            encoded.append(Encoded(windows, picks, {"label": np.array(index[example.label])}))
        return encoded

    def head(self, width: int, labels: Sequence[str]) -> MeanHead:
        return MeanHead(width, len(labels))

    def cached(self, states: Tensor) -> Tensor:
        """Their mean, `(1, d)`."""
        return states.mean(0, keepdim=True)

    def metric(self, labels: Sequence[str] = ()) -> ClassScores:
        return ClassScores(labels)

    def prediction(self, example: ClassifiedText, encoded: Encoded, answer: int, labels: Sequence[str]) -> str:
        return labels[answer]

    def reference(self, example: ClassifiedText) -> str:
        return example.label


class TaggingHead(LinearHead):
    """A linear map of the state of each word's first piece."""

    def loss(self, scores: Tensor, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Cross entropy of `gold["tags"]`, `(b, n)`, mean over words."""
        return nn.functional.cross_entropy(scores.flatten(0, 1), gold["tags"].flatten(), ignore_index=IGNORED)

    def decode(self, scores: Tensor, mask: Tensor) -> list[np.ndarray]:
        """The index of the best tag of each word: int64 `(n,)` a sentence."""
        best, lengths = scores.argmax(-1).cpu().numpy(), mask.sum(-1).tolist()
        return [tags[:length] for tags, length in zip(best, lengths, strict=True)]


class Tagging(SupervisedTask[TaggedSentence]):
    """What tasks that tag words have in common."""

    headline = "accuracy"

    def read(self, place: str) -> list[TaggedSentence]:
        """Sentences of a CoNLL file, or of rows with the columns `tokens` and `tags`, which are lists."""
        if (records := Records.at(place)) is None:
            return read_conll(place)
        sentences = []
        for number, (words, tags) in records.rows("tokens", "tags"):
            texts = all(
                isinstance(cells, list) and all(isinstance(c, str) and c for c in cells) for cells in (words, tags)
            )
            if not (texts and len(words) == len(tags) > 0):
                what, wanted = f"has words {words!r:.80} and tags {tags!r:.80}", "two lists of texts of one length"
                raise fault(place, number, what, unit="row", value=(words, tags), expected=wanted)
            sentences.append(TaggedSentence(tuple(words), tuple(tags), number, one_line=True))
        if not sentences:
            raise InputError(f"{place} holds no sentence", value=place, expected="rows with tokens and tags")
        return sentences

    def labels(
        self, train: Sequence[TaggedSentence], others: Mapping[str, Sequence[TaggedSentence]]
    ) -> tuple[str, ...]:
        return trained_labels(
            train, others, lambda sentence: ((tag, sentence.line_of(i)) for i, tag in enumerate(sentence.tags))
        )

    def encode(
        self,
        examples: Sequence[TaggedSentence],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> list[Encoded]:
        """The first piece of each word is picked."""
        index = {label: i for i, label in enumerate(labels)}
        read = encode_words([sentence.words for sentence in examples], tokenizer, max_length)
        return [
            Encoded(windows, picks, {"tags": np.array([index[tag] for tag in sentence.tags])})
            for (windows, picks), sentence in zip(read, examples, strict=True)
        ]

    def head(self, width: int, labels: Sequence[str]) -> TaggingHead:
        return TaggingHead(width, len(labels))

    def metric(self, labels: Sequence[str] = ()) -> Metric:
        return TagAccuracy()

    def prediction(
        self, example: TaggedSentence, encoded: Encoded, answer: np.ndarray, labels: Sequence[str]
    ) -> list[str]:
        return [labels[tag] for tag in answer]

    def reference(self, example: TaggedSentence) -> list[str]:
        return list(example.tags)


class UPOSTagging(Tagging):
    """The universal parts of speech of a treebank."""

    name = "upos"
    summary = "Universal parts of speech of a treebank: accuracy by words (a CoNLL-U file)."

    def read(self, place: str) -> list[TaggedSentence]:
        if Records.at(place):
            sentences = super().read(place)
        else:
            sentences = [TaggedSentence(found.words, found.upos, found.line) for found in read_conllu(place)]
        for sentence in sentences:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                if tag not in UPOS:
                    what = f"has the word {word!r} with the tag {tag!r} in the sentence"
                    raise fault(place, sentence.line, what, value=tag, expected=f"one of {', '.join(UPOS)}")
        return sentences

    def labels(
        self, train: Sequence[TaggedSentence], others: Mapping[str, Sequence[TaggedSentence]]
    ) -> tuple[str, ...]:
        """All 17: few treebanks have each of them in every part."""
        return UPOS


class POS(Tagging):
    """Parts of speech of a CoNLL file, whatever its tags are."""

    name = "pos"
    summary = "Parts of speech by any set of tags: accuracy by words (a CoNLL file)."


class NER(Tagging):
    """Named entities of a CoNLL file, as tags that begin (B), go on (I) or are outside of (O) one."""

    name = "ner"
    headline = "f1"
    summary = "Named entities: F1 as conlleval counts (a CoNLL file with IOB tags)."

    def read(self, place: str) -> list[TaggedSentence]:
        sentences = super().read(place)
        for sentence in sentences:
            for number, tag in enumerate(sentence.tags):
                if not _IOB.fullmatch(tag):
                    what, line = f"has the tag {tag!r}", sentence.line_of(number)
                    raise fault(place, line, what, value=tag, expected="O, B-TYPE or I-TYPE")
        return sentences

    def metric(self, labels: Sequence[str] = ()) -> EntityF1:
        return EntityF1()


def trained_labels(
    train: Sequence[E], others: Mapping[str, Sequence[E]], labels_of: Callable[[E], Iterable[tuple[str, int]]]
) -> tuple[str, ...]:
    """The labels of training examples, sorted; others may have no more. `labels_of` gives each with its line.

    Fewer than two labels, and a label of the others that training examples never have, raise InputError.
    """
    known = tuple(sorted({label for example in train for label, _ in labels_of(example)}))
    for role, examples in others.items():
        for label, line in (pair for example in examples for pair in labels_of(example)):
            if label not in known:
                raise InputError(
                    f"The {role} examples have the label {label!r} (line {line}), but no training example has it",
                    value=label,
                    expected=f"one of {', '.join(known)}",
                    hint="Give files with the same labels.",
                    line=line,
                )
    if len(known) < 2:
        raise InputError(
            f"All training examples have the label {known[0]!r}, so there is nothing to tell apart",
            value=known,
            expected="examples of two labels or more",
        )
    return known

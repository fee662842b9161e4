"""Token classification: a tag of each word, told from the state of its first piece."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import EntityF1, Metric, TagAccuracy
from hf_xlt.evaluation.tasks.classification import DROPOUT, trained_labels
from hf_xlt.evaluation.tasks.data import Records
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, SupervisedTask, TaskHead
from hf_xlt.evaluation.tasks.windows import encode_words
from hf_xlt.files.conll import TaggedSentence, read_conll, read_conllu

# The universal parts of speech (https://universaldependencies.org/u/pos).
_OPEN = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")
_CLOSED = ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ")
UPOS = tuple(sorted((*_OPEN, *_CLOSED, "PUNCT", "SYM", "X")))

_IOB = re.compile(r"O|[BI]-.+")


class TaggingHead(TaskHead):
    """A linear map of each state picked."""

    def __init__(self, width: int, tags: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.scores = nn.Linear(width, tags)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Logits `(b, n, tags)`."""
        return self.scores(self.dropout(states))

    def loss(self, scores: Tensor, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Cross entropy of `gold["tags"]`, `(b, n)`, mean over words."""
        return nn.functional.cross_entropy(scores.flatten(0, 1), gold["tags"].flatten(), ignore_index=IGNORED)

    def decode(self, scores: Tensor, mask: Tensor) -> list[np.ndarray]:
        """The index of the best tag of each word: int64 `(n,)` a sentence."""
        best, lengths = scores.argmax(-1).cpu().numpy(), mask.sum(-1).tolist()
        return [tags[:length] for tags, length in zip(best, lengths, strict=True)]


class Tagging(SupervisedTask[TaggedSentence]):
    """What tasks that tag words have in common."""

    def labels(
        self, train: Sequence[TaggedSentence], others: Mapping[str, Sequence[TaggedSentence]]
    ) -> tuple[str, ...]:
        """The tags of the training sentences, sorted."""
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
        """Dropout, linear."""
        return TaggingHead(width, len(labels))

    def metric(self, labels: Sequence[str] = ()) -> Metric:
        """Accuracy, by words."""
        return TagAccuracy()

    def prediction(
        self, example: TaggedSentence, encoded: Encoded, answer: np.ndarray, labels: Sequence[str]
    ) -> list[str]:
        """The tags of the sentence."""
        return [labels[tag] for tag in answer]

    def reference(self, example: TaggedSentence) -> list[str]:
        """Likewise."""
        return list(example.tags)


class UPOSTagging(Tagging):
    """The universal parts of speech of a treebank."""

    name = "upos"
    headline = "accuracy"
    summary = "Universal parts of speech of a treebank: accuracy by words (a CoNLL-U file)."

    def read(self, place: str) -> list[TaggedSentence]:
        """Sentences of a CoNLL-U file."""
        if Records.at(place):
            sentences = read_tagged(place)
        else:
            sentences = [TaggedSentence(found.words, found.upos, found.line) for found in read_conllu(place)]
        for sentence in sentences:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                if tag not in UPOS:
                    raise InputError(
                        f"{place}: in the sentence that begins on line {sentence.line} the word {word!r} has the tag "
                        f"{tag!r}",
                        value=tag,
                        expected=f"one of {', '.join(UPOS)}",
                        path=place,
                        line=sentence.line,
                    )
        return sentences

    def labels(
        self, train: Sequence[TaggedSentence], others: Mapping[str, Sequence[TaggedSentence]]
    ) -> tuple[str, ...]:
        """All 17: few treebanks have each of them in every part."""
        return UPOS


class POS(Tagging):
    """Parts of speech of a CoNLL file, whatever its tags are."""

    name = "pos"
    headline = "accuracy"
    summary = "Parts of speech by any set of tags: accuracy by words (a CoNLL file)."

    def read(self, place: str) -> list[TaggedSentence]:
        """Sentences of a CoNLL file."""
        return read_tagged(place)


class NER(Tagging):
    """Named entities of a CoNLL file, as tags that begin (B), go on (I) or are outside of (O) one."""

    name = "ner"
    headline = "f1"
    summary = "Named entities: F1 as conlleval counts (a CoNLL file with IOB tags)."

    def read(self, place: str) -> list[TaggedSentence]:
        """Sentences of a CoNLL file."""
        sentences = read_tagged(place)
        for sentence in sentences:
            for number, tag in enumerate(sentence.tags):
                if not _IOB.fullmatch(tag):
                    line = sentence.line_of(number)
                    raise InputError(
                        f"{place}, line {line}: {tag!r} is no entity tag",
                        value=tag,
                        expected="O, B-TYPE or I-TYPE",
                        path=place,
                        line=line,
                    )
        return sentences

    def metric(self, labels: Sequence[str] = ()) -> EntityF1:
        """F1, precision and recall of entities."""
        return EntityF1()


def read_tagged(place: str) -> list[TaggedSentence]:
    """Sentences of a CoNLL file, or of rows with the columns `tokens` and `tags`, which are lists."""
    if (records := Records.at(place)) is None:
        return read_conll(place)
    sentences = []
    for number, (words, tags) in records.rows("tokens", "tags"):
        texts = all(isinstance(cells, list) and all(isinstance(c, str) and c for c in cells) for cells in (words, tags))
        if not (texts and len(words) == len(tags) > 0):
            raise InputError(
                f"{place}, row {number}: words {words!r:.80} and tags {tags!r:.80}",
                value=(words, tags),
                expected="two lists of texts of one length",
                line=number,
            )
        sentences.append(TaggedSentence(tuple(words), tuple(tags), number, one_line=True))
    if not sentences:
        raise InputError(f"{place} holds no sentence", value=place, expected="rows with tokens and tags")
    return sentences

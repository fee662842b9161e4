"""Token classification: a tag of each word, told from the state of its first piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics.accuracy import TagAccuracy
from hf_xlt.evaluation.metrics.counted import CountedMetric
from hf_xlt.evaluation.tasks.classification import DROPOUT, require_several, require_trained
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, Task, TaskHead
from hf_xlt.evaluation.tasks.words import encode_words
from hf_xlt.files.conll import TaggedSentence, read_conll
from hf_xlt.files.conllu import read_conllu

# The universal parts of speech (https://universaldependencies.org/u/pos).
_OPEN = ("ADJ", "ADV", "INTJ", "NOUN", "PROPN", "VERB")
_CLOSED = ("ADP", "AUX", "CCONJ", "DET", "NUM", "PART", "PRON", "SCONJ")
_OTHER = ("PUNCT", "SYM", "X")
UPOS = tuple(sorted(_OPEN + _CLOSED + _OTHER))


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


class Tagging(Task[TaggedSentence]):
    """What tasks that tag words have in common."""

    def labels(
        self, train: Sequence[TaggedSentence], others: Mapping[str, Sequence[TaggedSentence]]
    ) -> tuple[str, ...]:
        """The tags of the training sentences, sorted."""
        tags = tuple(sorted({tag for sentence in train for tag in sentence.tags}))
        for role, sentences in others.items():
            for sentence in sentences:
                for line, tag in enumerate(sentence.tags, start=sentence.line):
                    require_trained(tag, tags, role, line)
        return require_several(tags)

    def encode(
        self,
        examples: Sequence[TaggedSentence],
        labels: Sequence[str],
        tokenizer: PreTrainedTokenizerBase,
        longest: int,
    ) -> list[Encoded]:
        """The first piece of each word is picked."""
        index = {label: i for i, label in enumerate(labels)}
        read = encode_words([sentence.words for sentence in examples], tokenizer, longest)
        return [
            Encoded(windows, picks, {"tags": np.array([index[tag] for tag in sentence.tags])})
            for (windows, picks), sentence in zip(read, examples, strict=True)
        ]

    def head(self, width: int, labels: Sequence[str]) -> TaggingHead:
        """Dropout, linear."""
        return TaggingHead(width, len(labels))

    def metric(self, labels: Sequence[str]) -> CountedMetric:
        """Accuracy, by words."""
        return TagAccuracy()

    def compared(
        self,
        examples: Sequence[TaggedSentence],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        labels: Sequence[str],
    ) -> tuple[list[list[str]], list[list[str]]]:
        """The tags of each sentence."""
        predictions = [[labels[tag] for tag in tags] for tags in answers]
        return predictions, [list(sentence.tags) for sentence in examples]


class UPOSTagging(Tagging):
    """The universal parts of speech of a treebank."""

    name = "upos"
    headline = "accuracy"
    summary = "Universal parts of speech of a treebank: accuracy by words (a CoNLL-U file)."

    def read(self, place: str) -> list[TaggedSentence]:
        """Sentences of a CoNLL-U file.

        Raises:
            InputError: Also at the first word without one of the 17 tags.
        """
        sentences = read_conllu(place)
        for sentence in sentences:
            for word, tag in zip(sentence.words, sentence.upos, strict=True):
                if tag not in UPOS:
                    raise InputError(
                        f"{place}: in the sentence that begins on line {sentence.line} the word {word!r} has the tag "
                        f"{tag!r}; expected one of {', '.join(UPOS)}."
                    )
        return [TaggedSentence(sentence.words, sentence.upos, sentence.line) for sentence in sentences]

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
        return read_conll(place)

"""Dependency parsing of Universal Dependencies treebanks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics.attachment import AttachmentScore, Tree, universal
from hf_xlt.evaluation.metrics.counted import CountedMetric
from hf_xlt.evaluation.tasks.parsing.biaffine import BiaffineHead
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, Task
from hf_xlt.evaluation.tasks.words import encode_words
from hf_xlt.files.conllu import Sentence, read_conllu

MOST_UNSEEN = 0.05


class Parsing(Task[Sentence]):
    """The tree of a sentence: of each word the head, and the relation to it.

    Words are the treebank's, and the state of one is that of its first piece. Relations are universal, without
    subtypes, as the scorer counts them.
    """

    name: ClassVar[str] = "parsing"
    headline: ClassVar[str] = "las"
    summary: ClassVar[str] = "Dependency trees of a CoNLL-U treebank, by biaffine attention; UAS and LAS of CoNLL 2018"

    def read(self, place: str) -> list[Sentence]:
        """Sentences of a CoNLL-U file.

        Raises:
            InputError: Where `read_conllu` refuses the file, and at a sentence without heads.
        """
        sentences = read_conllu(place)
        for sentence in sentences:
            if not sentence.heads:
                raise InputError(f"{place}, line {sentence.line}: a sentence without heads; expected a treebank.")
        return sentences

    def labels(self, train: Sequence[Sentence], others: Mapping[str, Sequence[Sentence]]) -> tuple[str, ...]:
        """The universal relations of the training trees, sorted.

        Treebanks of one scheme differ in rare relations: English has no `clf`, Indonesian no `expl` (0 to 2 % of the
        words, in the treebanks looked at). A relation that training lacks is never predicted and so counts as wrong.

        Raises:
            InputError: If there is no training sentence, or more than 5 % of another file's words have relations that
                training lacks, as between versions 1 and 2 of Universal Dependencies (7 to 27 %).
        """
        if not train:
            raise InputError("There is no sentence to train a parser on; expected a treebank.")
        relations = {relation for sentence in train for relation in _relations(sentence)}
        for role, sentences in others.items():
            there = [relation for sentence in sentences for relation in _relations(sentence)]
            unseen = [relation for relation in there if relation not in relations]
            if len(unseen) > MOST_UNSEEN * len(there):
                raise InputError(
                    f"{len(unseen) / len(there):.0%} of the words in {role} have relations that training lacks "
                    f"({', '.join(sorted(set(unseen)))}); expected treebanks of one version of Universal Dependencies."
                )
        return tuple(sorted(relations))

    def encode(
        self, examples: Sequence[Sentence], labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, longest: int
    ) -> list[Encoded]:
        """Words' first pieces are picked; gold `heads` and `relations`, `(n,)`, an unseen relation being `IGNORED`."""
        index = {label: i for i, label in enumerate(labels)}
        read = encode_words([sentence.words for sentence in examples], tokenizer, longest)
        return [
            Encoded(
                windows,
                picks,
                {
                    "heads": np.array(sentence.heads, dtype=np.int64),
                    "relations": np.array([index.get(relation, IGNORED) for relation in _relations(sentence)]),
                },
            )
            for (windows, picks), sentence in zip(read, examples, strict=True)
        ]

    def head(self, width: int, labels: Sequence[str]) -> BiaffineHead:
        """Biaffine attention."""
        return BiaffineHead(width, len(labels))

    def metric(self, labels: Sequence[str]) -> CountedMetric:
        """UAS and LAS."""
        return AttachmentScore()

    def compared(
        self,
        examples: Sequence[Sentence],
        encoded: Sequence[Encoded],
        answers: Sequence[np.ndarray],
        labels: Sequence[str],
    ) -> tuple[list[Tree], list[Tree]]:
        """Trees over the treebank's words.

        Args:
            examples: As read.
            encoded: As encoded.
            answers: Heads and relations, int64 `(2, n)` each.
            labels: Of `labels`.
        """
        predictions = [
            _tree(sentence, heads.tolist(), [labels[relation] for relation in relations])
            for sentence, (heads, relations) in zip(examples, answers, strict=True)
        ]
        return predictions, [_tree(sentence, sentence.heads, sentence.deprels) for sentence in examples]


def _relations(sentence: Sentence) -> list[str]:
    return [universal(deprel) for deprel in sentence.deprels]


def _tree(sentence: Sentence, heads: Sequence[int], deprels: Sequence[str]) -> Tree:
    tokens = [token._asdict() for token in sentence.multiwords]
    return {"words": sentence.words, "heads": heads, "deprels": deprels, "multiwords": tokens}  # type: ignore[typeddict-item]

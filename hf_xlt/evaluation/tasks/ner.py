"""Named entity recognition: the names in a sentence and what they are of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics.entities import EntityF1
from hf_xlt.evaluation.tasks.tagging import Tagging
from hf_xlt.files.conll import TaggedSentence, read_conll

_IOB = re.compile(r"O|[BI]-.+")


class NER(Tagging):
    """Named entities of a CoNLL file, as tags that begin (B), go on (I) or are outside of (O) one."""

    name = "ner"
    headline = "f1"
    summary = "Named entities: F1 as conlleval counts (a CoNLL file with IOB tags)."

    def read(self, place: str) -> list[TaggedSentence]:
        """Sentences of a CoNLL file.

        Raises:
            InputError: Also at the first tag that is none of these.
        """
        sentences = read_conll(place)
        for sentence in sentences:
            for line, tag in enumerate(sentence.tags, start=sentence.line):
                if not _IOB.fullmatch(tag):
                    raise InputError(f"{place}, line {line}: {tag!r} is no entity tag; expected O, B-TYPE or I-TYPE.")
        return sentences

    def metric(self, labels: Sequence[str]) -> EntityF1:
        """F1, precision and recall of entities."""
        return EntityF1()

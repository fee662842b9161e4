"""Which of two languages a text is in, by its character trigrams: learned from text of both, without any model."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Self
from unicodedata import category, normalize

from hf_xlt.errors import InputError

MOST_CHARACTERS = 1_000_000  # of each language; more tells no more
LEAST_ACCURACY = 0.75  # on lines that were not learned from; a coin has 0.5


@dataclass(frozen=True, eq=False)
class TwoLanguages:
    """Tells a target language from a source language (Dunning 1994, "Statistical Identification of Language").

    With counts c and totals N of the trigrams of either language's text, and V - 1 different trigrams in both, a
    trigram g weighs `ln (c_t(g) + 1) / (N_t + V) - ln (c_s(g) + 1) / (N_s + V)`, and one of neither nothing. A text is
    in the target language if the weights of its trigrams add up to more than zero. Letters count, without case; all
    else is as a space. A third language is taken for the one of the two that it is more like.

    Example:
        >>> languages = TwoLanguages.learn(["der Hund und das Haus", "die Katze"], ["the dog and the house", "a cat"])
        >>> languages.is_target("das und der"), languages.is_target("the and a"), languages.is_target("1, 2, 3!")
        (True, False, False)
    """

    weights: Mapping[str, float] = field(repr=False)  # by trigram; of others they are zero

    @classmethod
    def learn(cls, target: Sequence[str], source: Sequence[str]) -> Self:
        """Learn from lines of either language, of each so much that both count alike."""
        size = min(MOST_CHARACTERS, *(sum(map(len, map(_letters, lines))) for lines in (target, source)))
        ours, theirs = (
            Counter(gram for line in _first(lines, size) for gram in trigrams(line)) for lines in (target, source)
        )
        grams = ours.keys() | theirs.keys()
        totals = [math.log(counts.total() + len(grams) + 1) for counts in (ours, theirs)]
        scale = totals[1] - totals[0]
        return cls({gram: math.log((ours[gram] + 1) / (theirs[gram] + 1)) + scale for gram in grams})

    def is_target(self, text: str) -> bool:
        """Whether a text is in the target language rather than in the source's; one without letters is not."""
        return sum(self.weights.get(gram, 0.0) for gram in trigrams(text)) > 0


def learned(target: Sequence[str], source: Sequence[str]) -> tuple[TwoLanguages, float]:
    """What tells the languages of two texts apart, and how well.

    That is its accuracy where each half of the lines is judged by the other half, the mean over both languages.
    InputError is raised where there are fewer than two lines of either, or it is no better than `LEAST_ACCURACY`.
    """
    for name, lines in (("target", target), ("source", source)):
        if len(lines) < 2:
            problem = f"There are {len(lines)} lines of the {name} language"
            raise InputError(problem, value=len(lines), expected="two or more, to tell languages by")
    accuracy = fmean(_accuracy(half, target, source) for half in (0, 1))
    if accuracy < LEAST_ACCURACY:
        problem = f"Only {accuracy:.0%} of the lines are told to be in their language by the others"
        expected = f"text of two languages, of which {LEAST_ACCURACY:.0%} can be"
        raise InputError(problem, value=accuracy, expected=expected, hint="Give other or longer texts.")
    return TwoLanguages.learn(target, source), accuracy


def _accuracy(half: int, target: Sequence[str], source: Sequence[str]) -> float:
    """The share of right answers on every second line, by the other lines, the mean over both languages."""
    languages = TwoLanguages.learn(target[1 - half :: 2], source[1 - half :: 2])
    judged = [fmean(languages.is_target(line) for line in lines[half::2]) for lines in (target, source)]
    return (judged[0] + 1 - judged[1]) / 2


def trigrams(text: str) -> Iterator[str]:
    """The trigrams of a text's words, with a space around each.

    Example:
        >>> list(trigrams("Ab, 1!"))
        [' ab', 'ab ']
    """
    letters = _letters(text)
    return (letters[i : i + 3] for i in range(len(letters) - 2))


def _letters(text: str) -> str:
    """Words without case, one space around each; letters with their marks make a word."""
    lower = normalize("NFC", text.lower())
    words = "".join(each if category(each)[0] in "LM" else " " for each in lower).split()
    return f" {' '.join(words)} " if words else ""


def _first(lines: Iterable[str], size: int) -> Iterator[str]:
    """The first lines that have so many letters together, or a line more."""
    seen = 0
    for line in lines:
        if seen >= size:
            return
        seen += len(_letters(line))
        yield line

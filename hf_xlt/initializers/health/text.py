"""What two tokenizers make of a text: tokens a word, unknown tokens, text lost, how often tokens and words occur."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from unicodedata import category, normalize

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.token_ids import flat, token_ids
from hf_xlt.files.corpora import Corpus
from hf_xlt.hub.card import public_name
from hf_xlt.tokenizers.normalization import JOINERS
from hf_xlt.tokenizers.vocabulary import Form, Vocabulary

# How much of a text is looked at: its beginning, which takes a tokenizer a second or two.
CHARACTERS = 2_000_000

_BATCH = 1000
_COMMON_WORDS = 5000
_EXAMPLES = 10


@dataclass(frozen=True)
class Fertility:
    """How a tokenizer cuts a text."""

    tokens_per_word: float  # tokens for each stretch of text between spaces
    unknown: float  # share of the tokens that stand for text the tokenizer does not know
    # share of the visible characters that are unknown or dropped, whatever their case and compatible form
    lost: float | None = None
    accents_lost: float | None = None  # the same share, of accents and vowel signs alone
    examples: tuple[str, ...] = ()  # the characters most often lost


@dataclass(frozen=True)
class TextFacts:
    """The text that tokens were counted in: its name, and how many lines and words, from the first on."""

    name: str
    lines: int
    words: int


@dataclass(frozen=True, eq=False)
class TokenizedText:
    """A text as the tokens of one tokenizer."""

    counts: np.ndarray  # int64 `(size,)`, how often each token occurs, by its id
    fertility: Fertility

    def share(self, rows: np.ndarray) -> float:
        """Share of the text's tokens that are among some rows, bool `(size,)`."""
        return float(self.counts[rows[: len(self.counts)]].sum() / self.counts.sum())


@dataclass(frozen=True, eq=False)
class CountedText:
    """A text, counted by the tokens of a source and of a target tokenizer."""

    facts: TextFacts
    common: tuple[str, ...]  # words of letters alone by falling frequency, the most frequent ones
    source: TokenizedText
    target: TokenizedText


def count_text(corpus: Corpus, source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase) -> CountedText:
    """Count the first `CHARACTERS` of a text, whole lines, in batches."""
    tokenizers = source, target
    counts = [np.zeros(max(tokenizer.get_vocab().values()) + 1, np.int64) for tokenizer in tokenizers]
    forms = [Vocabulary.of(tokenizer).forms for tokenizer in tokenizers]
    lost: list[Counter[str]] = [Counter(), Counter()]
    words: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    read = 0
    beginning = first_lines(corpus.lines(), CHARACTERS)
    while batch := list(islice(beginning, _BATCH)):
        read += len(batch)
        words.update(word for line in batch for word in line.split())
        visible = [_visible(line) for line in batch]
        for of_line in visible:
            characters.update(of_line)
        for total, tokenizer, of_ids, gone in zip(counts, tokenizers, forms, lost, strict=True):
            rows = token_ids(tokenizer, batch)
            ids, _ = flat(rows)
            total += np.bincount(ids, minlength=len(total))
            for row, of_line in zip(rows, visible, strict=True):
                gone.update(of_line - _visible(_spelled(row, of_ids)))
    if not all(total.any() for total in counts):
        raise InputError(f"{corpus.name} has no word to count", expected="text of the target language")
    source_text, target_text = (
        TokenizedText(total, _fertility(total, words.total(), tokenizer.unk_token_id, characters, gone))
        for total, tokenizer, gone in zip(counts, tokenizers, lost, strict=True)
    )
    common = tuple(islice((word for word, _ in words.most_common() if is_letters(word)), _COMMON_WORDS))
    name = ", ".join(public_name(part.name) for part in corpus.parts)
    return CountedText(TextFacts(name, read, words.total()), common, source_text, target_text)


def _fertility(
    counts: np.ndarray, words: int, unknown_id: int | None, characters: Counter[str], lost: Counter[str]
) -> Fertility:
    """What a text of so many words is cut into, of whose visible characters some do not come back."""
    marks = sum(times for character, times in lost.items() if category(character)[0] == "M")
    return Fertility(
        tokens_per_word=int(counts.sum()) / words,
        unknown=0.0 if unknown_id is None else float(counts[unknown_id] / counts.sum()),
        lost=lost.total() / max(1, characters.total()),
        accents_lost=marks / max(1, characters.total()),
        examples=tuple(character for character, _ in lost.most_common(_EXAMPLES)),
    )


def _visible(text: str) -> Counter[str]:
    """The characters of a text whatever their case and compatible form, marks apart; no spaces, no controls."""
    apart = normalize("NFKD", normalize("NFKD", text).casefold())
    return Counter(character for character in apart if category(character)[0] not in "ZC" or character in JOINERS)


def _spelled(ids: Sequence[int], forms: Mapping[int, Form]) -> str:
    """The text that tokens give back; special ones, and the unknown one, give none."""
    return b"".join(forms[id_].text for id_ in ids if id_ in forms).decode("utf-8", "ignore")


def is_letters(word: str) -> bool:
    """Whether a word is letters alone, with the marks that some scripts write vowels by."""
    return all(category(character)[0] in "LM" for character in word)


def first_lines(lines: Iterable[str], characters: int) -> Iterator[str]:
    """Whole lines from the first on, until there are so many characters."""
    for line in lines:
        if characters <= 0:
            return
        characters -= len(line)
        yield line


def whole_words(words: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids of those words that are one known token inside a sentence, each once, in order."""
    first, *rest = token_ids(tokenizer, ["a", *(f"a {word}" for word in words)])
    whole = dict.fromkeys(ids[-1] for ids in rest if len(ids) == len(first) + 1)
    return [id_ for id_ in whole if id_ != tokenizer.unk_token_id]

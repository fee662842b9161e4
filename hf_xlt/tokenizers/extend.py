"""Extend a tokenizer: keep its tokens, ids included, and add those that another language needs.

Byte-pair encoding is continued where the source stopped, on target text as the source cuts it (Purason et al. 2025,
arXiv:2512.03989). Tokens of a tokenizer trained apart may never come up once they are added; those learned this way do.
"""

import copy
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, islice
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import MOST, checked, require_whole
from hf_xlt.errors import InputError
from hf_xlt.tokenizers.pipeline import LONGEST_LINE, LONGEST_WORD, in_parts, tokens_of
from hf_xlt.tokenizers.renumber import whole_model
from hf_xlt.tokenizers.vocabulary import Form, Spelling, Vocabulary, split

Model = dict[str, Any]

KINDS = ("WordPiece", "BPE", "Unigram")


class Merge(NamedTuple):
    """Two tokens side by side, and the token that they become."""

    left: str
    right: str
    result: str


def check_extendable(model: Model) -> None:
    """Refuse a model that new tokens cannot be added to."""
    hint = "Train a new one."
    if model["type"] not in KINDS:
        told = f"A {model['type']} tokenizer cannot be extended"
        raise InputError(told, value=model["type"], expected=", ".join(KINDS), hint=hint)
    if model["type"] == "BPE" and (model["continuing_subword_prefix"] or model["end_of_word_suffix"]):
        told = "A BPE tokenizer whose tokens mark the inside or the end of words cannot be extended"
        raise InputError(told, expected="one that marks spaces", hint=hint)


def spellings(model: Model) -> list[str]:
    """The tokens of a whole model by id, empty where there is none."""
    vocab = model["vocab"]
    if isinstance(vocab, list):
        return [token for token, _ in vocab]
    found = [""] * (max(vocab.values()) + 1)
    for token, id_ in vocab.items():
        found[id_] = token
    return found


def grown(model: Model, new: Sequence[str], merges: Sequence[Merge]) -> Model:
    """A whole model with new tokens after the last; made by merges, of which it takes those it has use for."""
    if model["type"] == "Unigram":
        lowest, scores = min(score for _, score in model["vocab"]), dict(model["vocab"])
        for left, right, result in merges:
            scores.setdefault(result, min(scores.get(left, lowest), scores.get(right, lowest)))
        return model | {"vocab": [*model["vocab"], *([token, scores.get(token, lowest)] for token in new)]}
    first, wanted = max(model["vocab"].values()) + 1, set(new)
    vocab = model["vocab"] | {token: first + place for place, token in enumerate(new)}
    if model["type"] == "WordPiece":
        return model | {"vocab": vocab}
    rules = [[left, right] for left, right, result in merges if result in wanted and left in vocab and right in vocab]
    return model | {"vocab": vocab, "merges": [*model["merges"], *rules]}


# Token n is written as character _FIRST + n: from there on are neither surrogates nor white space.
_FIRST = 0x10000

Ids = tuple[int, ...]


def learn_merges(
    ids: np.ndarray, lengths: np.ndarray, times: Sequence[int], joined: np.ndarray, size: int
) -> list[tuple[Ids, Ids]]:
    """Learn merges within words, so many different results; fewer where no pair occurs twice.

    The `ids (n,)` are those of all words, one word after the other, with so many tokens `(words,)`, which occur so many
    times; `joined (V,)` are the tokens that may be merged with their neighbors. Merges come in the order in which they
    apply, left and right part as the tokens that they are made of.
    """
    text = np.where(joined[ids], ids + _FIRST, ord(" ")).astype("<u4").tobytes().decode("utf-32-le")
    words = (text[end - length : end] for end, length in zip(lengths.cumsum(), lengths, strict=True))
    alphabet = sorted({*text} - {" "})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + size, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator((f"{word} " * count for word, count in zip(words, times, strict=True)), trainer)
    return [(_ids(left), _ids(right)) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _ids(text: str) -> Ids:
    return tuple(ord(character) - _FIRST for character in text)


COVERAGE = 0.9995  # share of the text's letters that can be spelled, as in SentencePiece


@checked
def extend_tokenizer(tokenizer: PreTrainedTokenizerBase, lines: Iterable[str], added: int) -> PreTrainedTokenizerBase:
    """Add tokens learned from text to a tokenizer that stays the same otherwise.

    The source's tokens keep their ids, and new ones come after the last. These are words and parts of words: first the
    letters that the source cannot spell, until 99.95 % of the text's letters can be spelled; then merges of tokens, the
    most frequent first. Digits, punctuation and spaces stay as the source cuts them.

    Every new token comes up. In BPE its own spelling becomes it; in WordPiece and Unigram the text is cut into it,
    unless it is a single letter, which other text may need. A text that gets no new token is cut as before. In BPE a
    text that the source can spell is cut only where the source cuts it too, so that it never gets longer.

    In Unigram a merged token is as likely as the less likely of its parts, so that it is preferred to both.

    InputError is raised if the source's tokenizer is not WordPiece, BPE or Unigram, or the text of the target language
    has fewer than `added` new tokens that occur twice.
    """
    require_whole("added", added, least=1, most=MOST)
    known = frozenset(Vocabulary.of(tokenizer).forms.values())
    backend: Tokenizer = tokenizer.backend_tokenizer
    settings, vocab = json.loads(backend.to_str()), tokenizer.get_vocab()
    check_extendable(settings["model"])
    model = whole_model(settings["model"], vocab)
    spelling = Spelling.of(backend, vocab)
    words = Counter(in_parts(_words(backend, spelling, in_parts(lines, LONGEST_LINE)), LONGEST_WORD))
    source = _Source(model, spelling, known, frozenset(tokenizer.all_special_ids), words)
    settings["model"] = source.extended(added)
    extended = copy.deepcopy(tokenizer)
    extended._tokenizer = Tokenizer.from_str(json.dumps(settings))
    return extended


@dataclass(frozen=True)
class _Source:
    """The model to extend, and the words of the text."""

    model: Model  # the model, all tokens in it
    spelling: Spelling
    known: frozenset[Form]  # what the tokens stand for
    special_ids: frozenset[int]  # ids of special tokens
    words: Mapping[str, int]  # the words of the text, as the model gets them, and how often each occurs

    def extended(self, added: int) -> Model:
        """The model with so many new tokens."""
        letters, size = self._letters()[:added], 2 * added
        while True:
            merges = self._merges(letters, size)
            chosen = self._chosen(letters, merges, added)
            if len(chosen) == added:
                return grown(self.model, chosen, merges)
            if len({merge.result for merge in merges}) < size:
                told = f"The text has {len(chosen)} new tokens that occur twice and come up"
                raise InputError(told, expected=f"{added}", hint="Give more text, or add fewer.")
            size *= 2

    def _letters(self) -> list[str]:
        """The letters without a token, the most frequent first, until the text is covered."""
        letters: Counter[str] = Counter()
        for word, times in self.words.items():
            for place, character in enumerate(word):
                if _are_letters(character):
                    letters[self.spelling.prefix * (place > 0) + character] += times
        missing = [(letter, times) for letter, times in letters.most_common() if self._is_new(letter)]
        uncovered = accumulate(times for _, times in reversed(missing))
        rare = sum(times <= (1 - COVERAGE) * letters.total() for times in uncovered)
        return [letter for letter, _ in missing[: len(missing) - rare]]

    def _merges(self, letters: list[str], size: int) -> list[Merge]:
        """Merges of the tokens of words, the most frequent first."""
        base = grown(self.model, letters, [])
        tokens = spellings(base)
        joined = np.array([self._is_joined(id_, token) for id_, token in enumerate(tokens)])
        found = learn_merges(*tokens_of(base, list(self.words)), list(self.words.values()), joined, size)

        def spelled(ids: tuple[int, ...]) -> str:
            first, *others = (tokens[id_] for id_ in ids)
            return "".join([first, *(token.removeprefix(self.spelling.prefix) for token in others)])

        return [Merge(spelled(left), spelled(right), spelled(left + right)) for left, right in found]

    def _is_joined(self, id_: int, token: str) -> bool:
        """Whether a token is letters, or the beginning of a word, and may be merged."""
        if not token or id_ in self.special_ids or self.spelling.is_byte(token):
            return False
        return _are_letters(self.spelling.form(token).text.decode(errors="ignore"))

    @cached_property
    def _tokens(self) -> frozenset[str]:
        return frozenset(spellings(self.model))

    def _is_new(self, token: str) -> bool:
        return token not in self._tokens and self.spelling.form(token) not in self.known

    def _chosen(self, letters: list[str], merges: list[Merge], added: int) -> list[str]:
        """The letters, and the first results of merges that come up."""
        results = (result for result in dict.fromkeys(merge.result for merge in merges) if self._is_new(result))
        chosen = letters
        while more := list(islice(results, added - len(chosen))):
            coming_up = self._coming_up([*chosen, *more], merges).union(letters)
            chosen = [token for token in [*chosen, *more] if token in coming_up]
        return chosen

    def _coming_up(self, new: list[str], merges: list[Merge]) -> set[str]:
        """Those of some new tokens that text is cut into."""
        model = grown(self.model, new, merges)
        # In BPE a token that some text is cut into is what its own spelling is cut into.
        ids, _ = tokens_of(model, new if model["type"] == "BPE" else list(self.words))
        tokens = spellings(model)
        return {tokens[id_] for id_ in np.unique(ids)}.intersection(new)


def _words(backend: Tokenizer, spelling: Spelling, lines: Iterable[str]) -> Iterator[str]:
    """The words of a text as the model gets them; cut at spaces even where the tokenizer leaves that to the model."""
    beside = [token.content for token in backend.get_added_tokens_decoder().values() if not token.special]
    cut_out = re.compile("|".join(map(re.escape, sorted(beside, key=len, reverse=True))) or "(?!)")
    for line in tqdm(lines, desc="reading", unit=" lines", disable=None):
        for piece in (piece for part in cut_out.split(line) for piece in split(backend, part)):
            runs_on = spelling.space and spelling.space in piece[1:]
            yield from piece.replace(spelling.space, f"\n{spelling.space}").split("\n") if runs_on else [piece]


@cache
def _are_letters(text: str) -> bool:
    """Whether a text is letters, accents and joiners and nothing else, or nothing at all."""
    return all((category := unicodedata.category(c))[0] in "LM" or category == "Cf" for c in text)

"""Learn the tokens that another language needs beside a tokenizer's own, and add them.

Byte-pair encoding is continued where the source stopped, on target text as the source cuts it (Purason, Chizhov,
Yamshchikov & Fishel 2025, "Teaching Old Tokenizers New Words: Efficient Tokenizer Adaptation for Pre-trained Models",
arXiv:2512.03989). Tokens of a tokenizer trained apart may never come up once they are added; those learned this way do.
WordPiece and Unigram get their new tokens from the same merges.
"""

from __future__ import annotations

import copy
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, islice

import numpy as np
from tokenizers import Tokenizer
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import MOST, checked, require_whole
from hf_xlt.errors import InputError
from hf_xlt.tokenizers.extension.kinds import Kind, Merge, Model, kind_of, spellings, tokens_of
from hf_xlt.tokenizers.extension.merges import learn_merges
from hf_xlt.tokenizers.long_words import short_lines, short_words
from hf_xlt.tokenizers.vocabulary import Form, Spelling, Vocabulary, split

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

    Args:
        tokenizer: The source's tokenizer: WordPiece, BPE or Unigram.
        lines: Text of the target language.
        added: Number of new tokens.

    Raises:
        InputError: If the tokenizer cannot be extended, `added` is not positive, or the text has fewer new tokens that
            occur twice.
    """
    require_whole("added", added, least=1, most=MOST)
    known = frozenset(Vocabulary.of(tokenizer).forms.values())
    backend: Tokenizer = tokenizer.backend_tokenizer
    settings, vocab = json.loads(backend.to_str()), tokenizer.get_vocab()
    kind = kind_of(settings["model"])
    model = kind.whole(settings["model"], vocab)
    spelling = Spelling.of(backend, vocab)
    words = Counter(short_words(_words(backend, spelling, short_lines(lines))))
    source = _Source(kind, model, spelling, known, frozenset(tokenizer.all_special_ids), words)
    settings["model"] = source.extended(added)
    extended = copy.deepcopy(tokenizer)
    extended._tokenizer = Tokenizer.from_str(json.dumps(settings))
    return extended


@dataclass(frozen=True)
class _Source:
    """The model to extend, and the words of the text.

    Attributes:
        kind: The model's kind.
        model: The model, all tokens in it.
        spelling: How tokens are spelled.
        known: What the tokens stand for.
        special_ids: Ids of special tokens.
        words: The words of the text, as the model gets them, and how often each occurs.
    """

    kind: Kind
    model: Model
    spelling: Spelling
    known: frozenset[Form]
    special_ids: frozenset[int]
    words: Mapping[str, int]

    def extended(self, added: int) -> Model:
        """The model with so many new tokens."""
        letters, size = self._letters()[:added], 2 * added
        while True:
            merges = self._merges(letters, size)
            chosen = self._chosen(letters, merges, added)
            if len(chosen) == added:
                return self.kind.grown(self.model, chosen, merges)
            if len({merge.result for merge in merges}) < size:
                raise InputError(
                    f"The text has {len(chosen)} new tokens that occur twice and come up; expected {added}. Give more "
                    "text, or add fewer."
                )
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
        base = self.kind.grown(self.model, letters, [])
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
        grown = self.kind.grown(self.model, new, merges)
        ids, _ = tokens_of(grown, new if self.kind.own_spelling else list(self.words))
        tokens = spellings(grown)
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

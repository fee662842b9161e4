"""A tokenizer without its vocabulary, and the vocabulary that it learns from text.

Entries are words or parts of words, also where nothing cuts the text at words: then it is cut for training alone. A
model that learned no entry across a cut makes none there later.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, pre_tokenizers, trainers
from tqdm.auto import tqdm

from hf_xlt.errors import InputError
from hf_xlt.tokenizers.normalization import bare
from hf_xlt.tokenizers.renumber import renumbered
from hf_xlt.tokenizers.vocabulary import Spelling, split

logger = logging.getLogger(__name__)

Settings = dict[str, Any]

# Unigram's trainer begins with what different letters follow; so that whole words are among it, each has a twin, seen
# once, that has one letter more.
_TWIN = "\uffff"
_BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_VISIBLE_ASCII = tuple(map(chr, range(0x21, 0x7F)))
# A word with its marks and joiners, one digit, other visible characters; with the space before them, but for further
# spaces, and other white space.
_WORDS = (
    r"{0}?[\p{{L}}\p{{M}}\x{{200C}}\x{{200D}}]+|{0}?\p{{N}}|{0}?[^\s{0}\p{{L}}\p{{M}}\p{{N}}]+|{0}+(?={0})|{0}+|\s+"
)
_SPACED = r"{0}?[^{0}]+|{0}+(?={0})|{0}+"


# The cost of byte-pair encoding grows with the length of words; parts of so much hold entries of any useful length.
LONGEST_WORD = 64
LONGEST_LINE = 10_000
_BATCH = 10_000


@dataclass(frozen=True)
class Pipeline:
    """A tokenizer without its vocabulary."""

    settings: Mapping[str, Any]  # as tokenizer.json writes them; entries of the model do not matter, nor do ids
    # added tokens, in the order of their new ids; those that the post-processor adds among them
    tokens: tuple[AddedToken, ...]
    unknown: str | None  # the token for what the model does not know, if there is one

    def trained(self, texts: Iterable[str], vocab_size: int, min_frequency: int) -> Tokenizer:
        """A tokenizer with at most so many entries, learned from text, which is streamed once.

        Only what the text has `min_frequency` times becomes an entry, letters apart.
        """
        blank = self._blank()
        reserved, alphabet = self._reserved(), self._alphabet(blank)
        room = vocab_size - len(reserved)
        places = 2 if self._marks else 1  # of a letter: where a word starts, and inside one
        letters = len(alphabet) + max(0, room - places * len(alphabet)) // (2 * places)
        if room <= len(alphabet):
            raise InputError(
                f"vocab_size is {vocab_size}",
                value=vocab_size,
                expected=f"at least {len(reserved) + len(alphabet) + 1}, as {len(reserved)} special tokens and bytes "
                f"and {len(alphabet)} letters come first",
            )
        blank.pre_tokenizer = _for_training(blank, self._type)
        lines = tqdm(in_parts(texts, LONGEST_LINE), desc="training tokenizer", unit=" lines", disable=None)
        unigram = self._type == "Unigram"
        words: dict[str, int] = {}
        if unigram:
            words, alphabet = _words_and_letters(blank, lines, letters, alphabet)
            blank.normalizer = blank.pre_tokenizer = None
            text = chain.from_iterable(repeat(word, times) for word, times in words.items())
            lines = chain(text, (f"{word}{_TWIN}" for word in words))
        blank.train_from_iterator(lines, self._trainer(reserved, alphabet, letters, vocab_size, min_frequency))
        model: Settings = json.loads(blank.model.__getstate__())
        if unigram:
            model["vocab"] = _frequent(model, words, min_frequency, reserved)
        trained = self._filled(model, vocab_size)
        if (size := trained.get_vocab_size()) < vocab_size:
            logger.warning(
                f"The tokenizer has {size:,} entries, {vocab_size:,} were asked for: the text has no more that occur "
                f"at least {max(1, min_frequency)} times. Give more text, or a smaller min_frequency."
            )
        return trained

    @property
    def _type(self) -> str:
        return str(self.settings["model"]["type"])

    @property
    def _marks(self) -> dict[str, str]:
        """What the model writes before parts inside words and after those that end them."""
        names = "continuing_subword_prefix", "end_of_word_suffix"
        return {name: mark for name in names if (mark := self.settings["model"].get(name))}

    def _blank(self) -> Tokenizer:
        """The tokenizer before training."""
        empty: Settings = {"vocab": {}}
        if self._type == "BPE":
            empty = {"vocab": {}, "merges": []}
        elif self._type == "Unigram":
            empty = {"vocab": [[self.unknown, 0.0]], "unk_id": 0}
        nothing: Settings = {"added_tokens": [], "post_processor": None, "padding": None, "truncation": None}
        model = {**self.settings["model"], **empty}
        return Tokenizer.from_str(json.dumps({**self.settings, **nothing, "model": model}))

    def _reserved(self) -> list[str]:
        """The entries that come first."""
        unknown = [] if self.unknown is None else [self.unknown]
        fallback = _BYTES if self.settings["model"].get("byte_fallback") else ()
        return list(dict.fromkeys([*(token.content for token in self.tokens), *unknown, *fallback]))

    def _alphabet(self, blank: Tokenizer) -> list[str]:
        """The letters that are entries whether the text has them or not."""
        if Spelling.of(blank, ()).byte_level:
            return sorted(pre_tokenizers.ByteLevel.alphabet())
        if self._type == "WordLevel":
            return []
        if self.settings["model"].get("byte_fallback"):
            # Where Unigram can spell `<0x41>` in a text by letters, it does not take it for the byte.
            return sorted(set("".join(_BYTES))) if self._type == "Unigram" else []
        return sorted({*"".join(split(blank, " ".join(_VISIBLE_ASCII)))}.intersection(_VISIBLE_ASCII))

    def _trainer(
        self, reserved: list[str], alphabet: list[str], letters: int, vocab_size: int, min_frequency: int
    ) -> trainers.Trainer:
        common: Settings = {"vocab_size": vocab_size, "special_tokens": reserved, "show_progress": False}
        if self._type == "Unigram":
            common["vocab_size"] += 1  # for the twins' letter
            return trainers.UnigramTrainer(**common, initial_alphabet=alphabet, unk_token=self.unknown)
        common |= {"min_frequency": min_frequency}
        if self._type == "WordLevel":
            return trainers.WordLevelTrainer(**common)
        kind = trainers.BpeTrainer if self._type == "BPE" else trainers.WordPieceTrainer
        return kind(**common | self._marks, initial_alphabet=alphabet, limit_alphabet=letters)

    def _filled(self, model: Settings, vocab_size: int) -> Tokenizer:
        """The tokenizer with the entries of a trained model, and their ids wherever they are written."""
        learned: Settings = {name: model[name] for name in ("vocab", "merges", "unk_id") if name in model}
        if self._marks:
            learned |= self._with_all_letters(learned, vocab_size)
        vocab = learned["vocab"]
        if self._type == "Unigram":  # a byte is never likelier than its six letters
            lowest, fallback = min(score for _, score in vocab), set(_BYTES)
            vocab = [[entry, 7 * lowest if entry in fallback else score] for entry, score in vocab]
            learned["vocab"] = vocab
        ids = {entry[0]: id_ for id_, entry in enumerate(vocab)} if isinstance(vocab, list) else vocab
        padding = self.settings["padding"]
        settings = {
            **self.settings,
            "model": {**self.settings["model"], **learned},
            "added_tokens": [{"id": ids[token.content], **token.__getstate__()} for token in self.tokens],
            "post_processor": renumbered(self.settings["post_processor"], ids),
            "padding": padding and {**padding, "pad_id": ids.get(padding["pad_token"], 0)},
        }
        return Tokenizer.from_str(json.dumps(settings))

    def _with_all_letters(self, learned: Settings, vocab_size: int) -> Settings:
        """Entries with every letter in every place of a word, for which the last ones learned make room."""
        prefix, suffix = (self._marks.get(name, "") for name in ("continuing_subword_prefix", "end_of_word_suffix"))
        entries = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
        alone = Spelling.of(self._blank(), entries).standalone
        alone = alone if prefix else frozenset()  # which are never inside a word, but may end one
        placed = [f"{prefix}{entry}{suffix}" for entry in entries if len(entry) == 1 and entry not in alone]
        missing = [entry for entry in placed if entry not in learned["vocab"]]
        vocab = {entry: id_ for id_, entry in enumerate([*entries[: vocab_size - len(missing)], *missing])}
        merges = [
            (left, right)
            for left, right in learned.get("merges", ())
            if {left, right, left + right.removeprefix(prefix)} <= vocab.keys()
        ]
        return {"vocab": vocab} | ({"merges": merges} if self._type == "BPE" else {})


def _for_training(blank: Tokenizer, type_: str) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer, which cuts at words too where entries are parts of words, and cuts endless words."""
    steps = [] if blank.pre_tokenizer is None else [blank.pre_tokenizer]
    if type_ == "WordLevel":
        return pre_tokenizers.Sequence(steps)
    if any("b" in piece and ("a" in piece or "," in piece) for piece in split(blank, "a b, c")):
        spelling = Spelling.of(blank, ())
        pattern = _SPACED if spelling.byte_level else _WORDS
        steps.append(pre_tokenizers.Split(Regex(pattern.format(re.escape(spelling.space or " "))), "isolated"))
    return pre_tokenizers.Sequence([*steps, pre_tokenizers.FixedLength(LONGEST_WORD)])


def _words_and_letters(
    blank: Tokenizer, lines: Iterable[str], letters: int, alphabet: list[str]
) -> tuple[dict[str, int], list[str]]:
    """The words of a text and how often each occurs, and their letters: so many at most, of which words are made."""
    words = Counter(piece for line in lines for piece in split(blank, line))
    seen = Counter(dict.fromkeys(alphabet, words.total()))
    for word, times in words.items():
        for letter in word:
            seen[letter] += times
    ranked = [letter for letter, _ in seen.most_common()]
    rare = str.maketrans(dict.fromkeys(ranked[letters:], " "))
    known: Counter[str] = Counter()
    for word, times in words.items():
        for part in word.translate(rare).split(" "):
            known[part] += times
    return {word: times for word, times in known.items() if word}, ranked[:letters]


def _frequent(model: Settings, words: Mapping[str, int], min_frequency: int, reserved: list[str]) -> list[list[Any]]:
    """Unigram's entries without those that words are cut into too seldom, letters and reserved ones apart.

    Entries that the words are never cut into are kept where none is too seldom.
    """
    ids, lengths = tokens_of(model, list(words))
    times = np.bincount(ids, np.repeat(list(words.values()), lengths), minlength=len(model["vocab"]))
    kept = set(reserved)
    return [
        entry
        for entry, seen in zip(model["vocab"], times.tolist(), strict=True)
        if entry[0] != _TWIN and (seen >= min_frequency or min_frequency < 2 or len(entry[0]) == 1 or entry[0] in kept)
    ]


def tokens_of(model: Settings, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What a model alone makes of texts: int64 `(n,)`, the ids, one text after the other; and their numbers of ids."""
    alone = bare(model | {"dropout": None} if model["type"] == "BPE" else model)
    batches = (texts[start : start + _BATCH] for start in range(0, len(texts), _BATCH))
    ids = [each.ids for batch in batches for each in alone.encode_batch_fast(batch, add_special_tokens=False)]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    return np.fromiter(chain.from_iterable(ids), np.int64, int(lengths.sum())), lengths


def in_parts(texts: Iterable[str], longest: int) -> Iterator[str]:
    """Texts, and the parts of those that are longer than so many characters."""
    return (text[start : start + longest] for text in texts for start in range(0, len(text), longest))

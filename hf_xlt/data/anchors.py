"""Anchors: token ids that languages share, kept apart, left as found, or multiplied with a dictionary.

The three settings of "Emerging cross-lingual structure in pretrained language models" (Conneau et al. 2020).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from tokenizers.pre_tokenizers import BertPreTokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_one_of, require_share
from hf_xlt.data.objectives import Example, Objective, special_ids
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import Dictionary
from hf_xlt.files.corpora import Split

ANCHORS = ("none", "default", "extra")
WORDS = BertPreTokenizer()


@dataclass(frozen=True)
class TokenIds:
    """The ids of a joint tokenizer of so many tokens as they are: a token is the same in every language."""

    tokens: int

    @property
    def vocab_size(self) -> int:
        """Rows that the model needs."""
        return self.tokens

    def of_languages(self, ids: Tensor, lang_ids: Tensor) -> Tensor:
        """The ids themselves; see `SeparateIds`."""
        return ids


@dataclass(frozen=True)
class SeparateIds(TokenIds):
    """A copy of a joint tokenizer's ids for each language: language l has `l · tokens + id`, special tokens have `id`.

    Only special tokens are the same in two languages. The rows of their copies are never used.
    """

    special: tuple[int, ...]
    languages: int

    @property
    def vocab_size(self) -> int:
        """Rows that the model needs."""
        return self.tokens * self.languages

    def of_languages(self, ids: Tensor, lang_ids: Tensor) -> Tensor:
        """The ids `(b, n)` that tokens have in their languages.

        Args:
            ids: Joint ids `(b, n)`; negative ones, which labels have where nothing is predicted, stay.
            lang_ids: Languages of the rows `(b,)` or of the tokens `(b, n)`.
        """
        _require_below("Token id", ids, self.tokens, "the joint tokenizer's")
        _require_below("Language id", lang_ids, self.languages, "the languages'")
        shared = torch.isin(ids, torch.tensor(self.special, device=ids.device)) | (ids < 0)
        languages = lang_ids[:, None] if lang_ids.ndim == 1 else lang_ids
        return torch.where(shared, ids, ids + self.tokens * languages.to(ids.dtype))


def _require_below(name: str, ids: Tensor, end: int, whose: str) -> None:
    if ids.numel() and (largest := int(ids.max())) >= end:
        raise InputError(f"{name} {largest} is not one of {whose}, 0 to {end - 1}. Give ids that are not mapped yet.")


def token_ids(anchors: str, tokenizer: PreTrainedTokenizerBase, languages: Sequence[str]) -> TokenIds:
    """The ids that a model of several languages reads and writes, for one of `ANCHORS`.

    `extra` differs from `default` in the text alone, see `ExtraAnchors`.
    """
    require_one_of("anchors", anchors, ANCHORS)
    tokens = max(tokenizer.get_vocab().values()) + 1
    if anchors == "none":
        return SeparateIds(tokens, tuple(special_ids(tokenizer).tolist()), len(languages))
    return TokenIds(tokens)


@dataclass(frozen=True)
class DataCollatorForTokenIds(Objective):
    """The batch of an `objective` that tells languages, such as masked language modeling, in the ids of these.

    Text stays packed in joint ids, whatever the anchors; random replacements of masked language modeling are of the
    text's own language.
    """

    objective: Objective
    ids: TokenIds

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate as `objective` does; `input_ids` and `labels` are mapped."""
        batch = self.objective(examples)
        if "lang_ids" not in batch:
            raise InputError("The examples have no lang_ids; add a column with the language of each.")
        return batch | {name: self.ids.of_languages(batch[name], batch["lang_ids"]) for name in ("input_ids", "labels")}


class Word(NamedTuple):
    """A word of a text, case folded, and where it stands."""

    folded: str
    start: int
    stop: int


@dataclass(frozen=True)
class ExtraAnchors:
    """Replaces words by their translations, each occurrence with some probability.

    Words are what white space and punctuation bound; of several entries that begin at a word the longest counts. Case
    is ignored, but entries spelled as in the text come first, and a translation is capitalised if its word is and its
    entry is not. Of several translations one is drawn; `seed` and the number of a line decide all that is drawn in it.
    """

    dictionary: Dictionary
    probability: float
    seed: int = 0

    def __post_init__(self) -> None:
        require_share("The probability of extra anchors", self.probability)

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """All lines of a text, replaced."""
        return (self.line(line, number) for number, line in enumerate(lines))

    def line(self, text: str, number: int) -> str:
        """One line, replaced; the same whenever the line has the same number."""
        generator = np.random.default_rng((self.seed, number))
        words = _words(text)
        parts, end, place = [], 0, 0
        while place < len(words):
            after, entries = self._longest(words, place)
            if entries and generator.random() < self.probability:
                start, stop = words[place].start, words[after - 1].stop
                original = text[start:stop]
                choice = [entry for entry in entries if entry[0] == original] or entries
                parts += [text[end:start], _like(original, *choice[generator.integers(len(choice))])]
                end = stop
            place = after
        return "".join([*parts, text[end:]])

    def _longest(self, words: Sequence[Word], place: int) -> tuple[int, list[tuple[str, str]]]:
        """Where the longest entry that begins at a place ends, and all entries of these words."""
        end, entries = place + 1, []
        for after in range(place + 1, len(words) + 1):
            found = self._entries.get(tuple(word.folded for word in words[place:after]))
            if found is None:
                break
            if found:
                end, entries = after, found
        return end, entries

    @cached_property
    def _entries(self) -> dict[tuple[str, ...], list[tuple[str, str]]]:
        """Words → the entries of them; and the beginnings of entries, of which there may be none."""
        entries: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        for source, target in self.dictionary.pairs:
            words = tuple(word.folded for word in _words(source))
            for length in range(1, len(words) + 1):
                entries.setdefault(words[:length], [])
            entries[words].append((source, target))
        return entries


def _words(text: str) -> list[Word]:
    return [Word(word.casefold(), *place) for word, place in WORDS.pre_tokenize_str(text)]


def _like(original: str, source: str, target: str) -> str:
    capitalised = original[0].isupper() and not source[0].isupper()
    return target[:1].upper() + target[1:] if capitalised else target


@dataclass(frozen=True, kw_only=True)
class AnchoredSplit(Split):
    """A split whose training lines have extra anchors; held-out lines stay as they are."""

    anchors: ExtraAnchors

    @classmethod
    def of(cls, split: Split, anchors: ExtraAnchors) -> Self:
        """The split of the same lines."""
        return cls(**{field.name: getattr(split, field.name) for field in fields(Split)}, anchors=anchors)

    def training_lines(self) -> Iterator[str]:
        """The lines to train on, replaced."""
        return self.anchors.lines(super().training_lines())

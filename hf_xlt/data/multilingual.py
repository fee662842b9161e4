"""The text of a model of many languages: one corpus a language, and parallel text of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_one_of, require_share
from hf_xlt.data.joint_tokenizer import smoothed_lines
from hf_xlt.data.packing import pack
from hf_xlt.data.pairs import aligned_pairs, tokenized_pairs
from hf_xlt.data.sampling import MixedStream, language_probabilities
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.files.corpora import Split

LanguagePair = tuple[str, str]


@dataclass(frozen=True)
class PackedLanguages:
    """The text of several languages as sequences to train on; `alpha` and `pair_share` as in `MultilingualText`."""

    corpora: Mapping[str, Dataset]
    pairs: Mapping[LanguagePair, Dataset]
    alpha: float
    pair_share: float

    def stream(self, positions: int, seed: int, languages: Sequence[str] = ()) -> MixedStream:
        """What a stage of training reads, in this order; `DataCollatorForMultilingualMLM` collates it.

        Args:
            positions: Number of examples.
            seed: Decides order and masking.
            languages: Those to train on; all, if none is named. Pairs of others are left out.
        """
        for language in languages:
            require_one_of("The language to train on", language, self.corpora)
        chosen = set(languages or self.corpora)
        corpora = {language: packed for language, packed in self.corpora.items() if language in chosen}
        pairs = {" and ".join(pair): packed for pair, packed in self.pairs.items() if chosen.issuperset(pair)}
        share = self.pair_share if pairs else 0.0
        probabilities = [*self._shares(corpora, 1 - share), *self._shares(pairs, share)]
        return MixedStream([*corpora.values(), *pairs.values()], probabilities, positions, seed)

    def _shares(self, parts: Mapping[str, Dataset], whole: float) -> list[float]:
        sizes = {name: len(part) for name, part in parts.items()}
        return [whole * probability for probability in language_probabilities(sizes, self.alpha).values()]


@dataclass(frozen=True)
class MultilingualText:
    """One corpus a language, and parallel text of some of them.

    Args:
        splits: Language → which lines of its corpus to train on; a language's id is its place here.
        parallel: Two languages → sentences of the first and their translations into the second.
        alpha: How far sampling follows the languages' sizes: 1 wholly, 0 not at all.
        pair_share: Part of the examples that are translation pairs, where there are any.
    """

    splits: Mapping[str, Split]
    parallel: Mapping[LanguagePair, ParallelText] = field(default_factory=dict)
    alpha: float = 0.7
    pair_share: float = 0.5

    def __post_init__(self) -> None:
        if not self.splits:
            raise InputError("There is no language; name one or more, with a corpus each.")
        for pair in self.parallel:
            for language in pair:
                require_one_of("A language of parallel text", language, self.splits)
            if pair[0] == pair[1]:
                raise InputError(f"Parallel text is of {pair[0]!r} and itself; expected two different languages.")
        require_share("alpha", self.alpha)
        require_share("pair_share", self.pair_share)

    def smoothed_lines(self) -> Iterator[str]:
        """What a joint tokenizer is trained on: text that is sampled with the same α."""
        return smoothed_lines(self.splits, self.alpha)

    def packed(self, tokenizer: PreTrainedTokenizerBase, length: int, limit: int, cache: Path) -> PackedLanguages:
        """All text as memory-mapped sequences of `length` ids, a side of a pair of half, at most `limit` a language."""
        corpora = {
            language: pack(split, tokenizer, length, limit, cache, lang_id=number)
            for number, (language, split) in enumerate(self.splits.items())
        }
        pairs = {pair: self._pairs(pair, tokenizer, length // 2, cache) for pair in self.parallel}
        return PackedLanguages(corpora, pairs, self.alpha, self.pair_share)

    def _pairs(self, pair: LanguagePair, tokenizer: PreTrainedTokenizerBase, length: int, cache: Path) -> Dataset:
        both = tokenized_pairs(self.parallel[pair].pairs, tokenizer, length)
        numbers = list(self.splits).index(pair[0]), list(self.splits).index(pair[1])
        return aligned_pairs(both, [np.empty((0, 2))] * len(both), tokenizer, numbers, cache)

"""The text of a model of many languages: one corpus a language, and parallel text of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_share
from hf_xlt.data.joint_tokenizer import smoothed_lines
from hf_xlt.data.packing import pack
from hf_xlt.data.pairs import aligned_pairs, tokenized
from hf_xlt.data.sampling import MixedStream, language_probabilities
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.files.corpora import Split

LanguagePair = tuple[str, str]


@dataclass(frozen=True)
class PackedLanguages:
    """The text of several languages as sequences to train on.

    Args:
        corpora: Language → packed sequences with their `lang_ids`.
        pairs: Two languages → translation pairs, as `aligned_pairs` makes them.
        alpha: How far sampling follows the number of sequences, or of pairs: 1 wholly, 0 not at all.
        pair_share: Part of the examples that are translation pairs, where there are any.
    """

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

        Raises:
            InputError: If there is no such language.
        """
        for language in languages:
            _require_known(language, tuple(self.corpora), "The language to train on")
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
        languages: Codes, each once; a language's id is its place here.
        splits: For each language, which lines of its corpus to train on.
        parallel: Two languages → sentences of the first and their translations into the second.
        alpha: How far sampling follows the languages' sizes: 1 wholly, 0 not at all.
        pair_share: Part of the examples that are translation pairs, where there are any.

    Raises:
        InputError: If a language comes twice, has no corpus or is none of `languages`, parallel text is of one
            language, or a share is not from 0 to 1.
    """

    languages: tuple[str, ...]
    splits: tuple[Split, ...]
    parallel: Mapping[LanguagePair, ParallelText] = field(default_factory=dict)
    alpha: float = 0.7
    pair_share: float = 0.5

    def __post_init__(self) -> None:
        self._check_languages()
        for pair in self.parallel:
            for language in pair:
                _require_known(language, self.languages, "A language of parallel text")
            if pair[0] == pair[1]:
                raise InputError(f"Parallel text is of {pair[0]!r} and itself; expected two different languages.")
        require_share("alpha", self.alpha)
        require_share("pair_share", self.pair_share)

    def _check_languages(self) -> None:
        if not self.languages:
            raise InputError("There is no language; name one or more, with a corpus each.")
        for place, language in enumerate(self.languages):
            if language in self.languages[:place]:
                raise InputError(f"Language {language!r} is repeated; expected each once, with one corpus.")
        if len(self.splits) < len(self.languages):
            raise InputError(f"Language {self.languages[len(self.splits)]!r} has no data; give it a corpus.")
        if len(self.splits) > len(self.languages):
            raise InputError(
                f"There are {len(self.splits)} corpora for {len(self.languages)} languages; expected one each."
            )

    def smoothed_lines(self) -> Iterator[str]:
        """What a joint tokenizer is trained on: text that is sampled with the same α."""
        return smoothed_lines(dict(zip(self.languages, self.splits, strict=True)), self.alpha)

    def packed(self, tokenizer: PreTrainedTokenizerBase, length: int, limit: int, cache: Path) -> PackedLanguages:
        """All text as memory-mapped sequences.

        Args:
            tokenizer: The joint one.
            length: Ids a packed sequence. A side of a translation pair is cut to half of it.
            limit: Most sequences of a language to pack.
            cache: Folder for the Arrow files.

        Raises:
            InputError: If a corpus cannot be read or does not fill one sequence.
        """
        corpora = {}
        for number, (language, split) in enumerate(zip(self.languages, self.splits, strict=True)):
            sequences = pack(split, tokenizer, length, limit, cache)
            corpora[language] = sequences.add_column("lang_ids", [number] * len(sequences))
        pairs = {pair: self._pairs(pair, tokenizer, length // 2, cache) for pair in self.parallel}
        return PackedLanguages(corpora, pairs, self.alpha, self.pair_share)

    def _pairs(self, pair: LanguagePair, tokenizer: PreTrainedTokenizerBase, length: int, cache: Path) -> Dataset:
        sides = (tokenized(side, tokenizer, length) for side in zip(*self.parallel[pair].pairs, strict=True))
        both = [ids for ids in zip(*sides, strict=True) if all(map(len, ids))]
        numbers = self.languages.index(pair[0]), self.languages.index(pair[1])
        return aligned_pairs(both, [np.empty((0, 2))] * len(both), tokenizer, numbers, cache)


def _require_known(language: str, known: Sequence[str], what: str) -> None:
    if language not in known:
        raise InputError(f"{what} is {language!r}; expected one of {', '.join(known)}.")

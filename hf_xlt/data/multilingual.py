"""The text of a model of many languages, one corpus a language and parallel text of some, and their joint tokenizer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path

import numpy as np
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hf_xlt.arguments import checked, require_one_of, require_share
from hf_xlt.data.packing import pack
from hf_xlt.data.pairs import aligned_pairs, tokenized_pairs
from hf_xlt.data.sampling import MixedStream, language_probabilities
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import ParallelText
from hf_xlt.files.corpora import Split
from hf_xlt.tokenizers.train import train_tokenizer

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
    """One corpus a language, and parallel text of some of them."""

    splits: Mapping[str, Split]  # language → which lines of its corpus to train on; its id is its place here
    parallel: Mapping[LanguagePair, ParallelText] = field(default_factory=dict)  # of a first and a second language
    alpha: float = 0.7  # exponent of the sizes by which languages are sampled: 1 by size, 0 all alike
    pair_share: float = 0.5  # part of the examples that are translation pairs, where there are any

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


@checked
def train_joint_tokenizer(
    splits: Mapping[str, Split], alpha: float, vocab_size: int, family: str
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the training lines of one corpus a language, see `smoothed_lines`.

    Args:
        splits: Language → which lines to train on.
        alpha: Exponent of the sizes of the corpora: 1 samples by size, 0 all alike.
        vocab_size: Number of entries wanted.
        family: As for `train_tokenizer`.
    """
    return train_tokenizer(smoothed_lines(splits, alpha), vocab_size, family)


def smoothed_lines(splits: Mapping[str, Split], alpha: float) -> Iterator[str]:
    """The training lines of all languages, sampled by `language_probabilities` of their numbers of characters.

    There are as many characters in all as the corpora have. The lines of a language are left out or repeated evenly:
    of any run of them, each comes as often as the language's rate says, rounded up or down. So nothing is drawn, and
    a language's share of the lines read is exact to one line. The corpora are streamed, twice: once to be counted.
    """
    require_share("alpha", alpha)
    sizes = {}
    for language, split in splits.items():
        lines = tqdm(split.training_lines(), desc=f"counting {language}", unit=" lines", disable=None)
        sizes[language] = sum(map(len, lines))
    total = sum(sizes.values())
    rates = {
        language: probability * total / sizes[language]
        for language, probability in language_probabilities(sizes, alpha).items()
    }
    return chain.from_iterable(_at_rate(split.training_lines(), rates[language]) for language, split in splits.items())


def _at_rate(lines: Iterable[str], rate: float) -> Iterator[str]:
    given = 0
    for number, line in enumerate(lines, start=1):
        due = round(rate * number)
        yield from repeat(line, due - given)
        given = due

"""One tokenizer of several languages, trained on text that is sampled by the languages' smoothed size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, repeat

from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast

from hf_xlt.arguments import checked, require_share
from hf_xlt.data.sampling import language_probabilities
from hf_xlt.files.corpora import Split
from hf_xlt.tokenizers.train import train_tokenizer


@checked
def train_joint_tokenizer(
    splits: Mapping[str, Split], alpha: float, vocab_size: int, family: str
) -> PreTrainedTokenizerFast:
    """Train a tokenizer on the training lines of one corpus a language, see `smoothed_lines`.

    Args:
        splits: Language → which lines to train on.
        alpha: How far sampling follows the sizes of the corpora: 1 wholly, 0 not at all.
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
    sizes = {language: _characters(split, language) for language, split in splits.items()}
    total = sum(sizes.values())
    rates = {
        language: probability * total / sizes[language]
        for language, probability in language_probabilities(sizes, alpha).items()
    }
    return chain.from_iterable(_at_rate(split.training_lines(), rates[language]) for language, split in splits.items())


def _characters(split: Split, language: str) -> int:
    return sum(map(len, tqdm(split.training_lines(), desc=f"counting {language}", unit=" lines", disable=None)))


def _at_rate(lines: Iterable[str], rate: float) -> Iterator[str]:
    given = 0
    for number, line in enumerate(lines, start=1):
        due = round(rate * number)
        yield from repeat(line, due - given)
        given = due

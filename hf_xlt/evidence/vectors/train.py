"""Train static vectors on tokenized text: skip-gram with negative sampling, by gensim."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors.vectors import Vectors

_LONGEST = 10_000  # gensim silently drops what follows in a sequence
_BUCKETS = 200_000


def train_vectors(
    sequences: Iterable[Sequence[str]],
    width: int = 100,
    *,
    epochs: int = 5,
    window: int = 5,
    negatives: int = 5,
    least_count: int = 5,
    ngrams: tuple[int, int] | None = None,
    threads: int = 1,
    seed: int = 0,
) -> Vectors:
    """Train a vector for each token of a text (FastText; without n-grams word2vec).

    The token sequences are read `epochs + 1` times: a list, a dataset's column, no iterator. The `window` is of tokens
    on either side, and there are so many `negatives` for each; tokens that occur less often than `least_count` get no
    vector. The `ngrams` are the shortest and the longest, in characters, that a token's vector is made of, such as
    `(3, 6)`. With more than one of the `threads`, the result is no longer the same in each run.
    """
    if isinstance(sequences, Iterator):
        raise InputError("The sequences are an iterator, which can be read only once", expected="a list or a column")
    if width < 1 or epochs < 1:
        raise InputError(f"width={width}, epochs={epochs}", expected="at least 1 of both, such as 100 and 5")
    if ngrams is not None and not 1 <= ngrams[0] <= ngrams[1]:
        raise InputError(f"ngrams={ngrams}", expected="the shortest and the longest length, such as (3, 6), or None")
    check_gensim()
    from gensim.models import FastText, Word2Vec

    settings = {
        "vector_size": width, "window": window, "negative": negatives, "min_count": least_count, "epochs": epochs,
        "workers": threads, "seed": seed, "sg": 1, "sample": 1e-4, "alpha": 0.05,
    }  # fmt: skip
    if ngrams is None:
        model = Word2Vec(**settings)
    else:
        model = FastText(min_n=ngrams[0], max_n=ngrams[1], bucket=_BUCKETS, **settings)
    model.build_vocab(_Passes(sequences, "counting"))
    if not len(model.wv):
        raise InputError(f"No token occurs {least_count} times", expected="a longer text, or a smaller least_count")
    model.train(_Passes(sequences, "vectors"), total_examples=model.corpus_count, epochs=epochs)
    return Vectors(tuple(model.wv.index_to_key), torch.tensor(model.wv.vectors))


def check_gensim() -> None:
    """Refuse to begin what will train vectors where gensim is not installed."""
    try:
        import gensim.models  # noqa: F401
    except ImportError as error:
        raise InputError('Training vectors needs gensim: install it with `pip install "hf-xlt[vectors]"`.') from error


@dataclass(frozen=True)
class _Passes:
    """The sequences in pieces short enough for gensim, with a progress bar for each pass."""

    sequences: Iterable[Sequence[str]]
    name: str

    def __iter__(self) -> Iterator[list[str]]:
        for sequence in tqdm(self.sequences, desc=self.name, unit="line", disable=None):
            for start in range(0, len(sequence), _LONGEST):
                yield list(sequence[start : start + _LONGEST])

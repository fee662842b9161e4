"""Expectation maximization of both directions of a model, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.evidence.alignment.bitext import Batch, Bitext
from hf_xlt.evidence.alignment.distortion import Diagonal, Distortion, Jumps, Posteriors
from hf_xlt.evidence.alignment.lexicon import Counts, Lexicon, WordPairs

Both = tuple[Posteriors, Posteriors]


@dataclass(frozen=True, eq=False)
class Model:
    """A model of both directions."""

    lexicons: tuple[Lexicon, Lexicon]  # of target words given source words, and of source words given target words
    distortions: tuple[Distortion, Distortion]

    @torch.no_grad()
    def posteriors(self, batch: Batch, cells: Tensor) -> Both:
        """Posteriors of a batch; those of the second direction are laid out `(m, b, n)`."""
        return (
            self.distortions[0].posteriors(batch, cells, self.lexicons[0]),
            self.distortions[1].posteriors(batch.reverse, backwards(cells), self.lexicons[1]),
        )


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentence pairs made ready for training; four bytes for every source and target word of a sentence pair."""

    bitext: Bitext
    pairs: WordPairs  # those in the batches
    batches: Sequence[Batch]
    cells: Sequence[Tensor]  # the word pairs of each batch, by their place in `pairs`

    @classmethod
    def of(cls, bitext: Bitext) -> Corpus:
        """Batches of the sentence pairs and the word pairs in them."""
        batches = list(bitext.batches())
        pairs, cells = WordPairs.collect(batches, bitext.source.vocabulary, bitext.target.vocabulary)
        return cls(bitext, pairs, batches, cells)


@dataclass(frozen=True, eq=False)
class Expectation:
    """What an E-step over all pairs gives, for each direction."""

    counts: tuple[Counts, Counts]
    statistics: tuple[Tensor, Tensor]  # what the distortions are estimated from
    log_likelihoods: tuple[Tensor, Tensor]


def apart(forward: Posteriors, backward: Posteriors) -> Both:
    """Let each direction learn from its own posteriors."""
    return forward, backward


def agreed(forward: Posteriors, backward: Posteriors) -> Both:
    """Let both learn from the product of their posteriors (alignment by agreement; Liang, Taskar and Klein, 2006).

    The probability that the directions do not agree on goes to NULL.
    """
    links = forward.links * backwards(backward.links)
    return _with_links(forward, links), _with_links(backward, backwards(links))


def _with_links(posteriors: Posteriors, links: Tensor) -> Posteriors:
    return replace(posteriors, links=links, null=(1 - links.sum(2)).clamp_(min=0))


def expectation(corpus: Corpus, model: Model, learn_from: Callable[..., Both], bar: tqdm) -> Expectation:
    """The E-step of both directions."""
    counts = Counts.like(model.lexicons[0]), Counts.like(model.lexicons[1])
    sums: list[list[Tensor]] = []
    for batch, cells in zip(corpus.batches, corpus.cells, strict=True):
        forward, backward = learn_from(*model.posteriors(batch, cells))
        counts[0].add(cells, forward.links, batch.targets.T, forward.null)
        counts[1].add(backwards(cells), backward.links, batch.sources.T, backward.null)
        both = forward, backward
        sums.append([p.statistics for p in both] + [p.log_likelihood for p in both])
        bar.update()
    first, second, *likelihoods = (torch.stack(values).sum(0) for values in zip(*sums, strict=True))
    return Expectation(counts, (first, second), (likelihoods[0], likelihoods[1]))


def lexicons_from(corpus: Corpus, expected: Expectation, alpha: float) -> tuple[Lexicon, Lexicon]:
    """The M-step of the translation tables."""
    pairs, (forward, backward) = corpus.pairs, expected.counts
    return (
        Lexicon.estimate(forward, pairs.source, pairs.source_size, alpha),
        Lexicon.estimate(backward, pairs.target, pairs.target_size, alpha),
    )


def distortions_from(corpus: Corpus, expected: Expectation, model: Model) -> tuple[Distortion, Distortion]:
    """The M-step of the distortions."""
    shapes = corpus.bitext.shapes
    return (
        model.distortions[0].estimate(expected.statistics[0], shapes),
        model.distortions[1].estimate(expected.statistics[1], shapes[:, [1, 0, 2]]),
    )


def maximize(
    corpus: Corpus, model: Model, learn_from: Callable[..., Both], iterations: int, alpha: float, name: str
) -> Model:
    """Iterations of EM from a given model."""
    total, desc = iterations * len(corpus.batches), f"word alignment, {name}"
    with tqdm(total=total, desc=desc, unit="batch", disable=None) as bar:
        for _ in range(iterations):
            expected = expectation(corpus, model, learn_from, bar)
            model = Model(lexicons_from(corpus, expected, alpha), distortions_from(corpus, expected, model))
    return model


def train_ibm2(corpus: Corpus, iterations: int, alpha: float) -> Model:
    """The model of fast_align with its defaults."""
    pairs = corpus.pairs
    lexicons = Lexicon.uniform(len(pairs), pairs.target_size), Lexicon.uniform(len(pairs), pairs.source_size)
    return maximize(corpus, Model(lexicons, (Diagonal(), Diagonal())), apart, iterations, alpha, "IBM-2")


def train_hmm(corpus: Corpus, iterations: int, alpha: float) -> Model:
    """Hidden Markov models of both directions, trained to agree, from the translation tables of IBM-2."""
    start = replace(train_ibm2(corpus, iterations, alpha), distortions=(Jumps.start(), Jumps.start()))
    return maximize(corpus, start, agreed, iterations, alpha, "HMM")


MODELS: dict[str, Callable[[Corpus, int, float], Model]] = {"hmm": train_hmm, "ibm2": train_ibm2}


def backwards(cells: Tensor) -> Tensor:
    """What is laid out `(n, b, m)` for one direction as the other has it, `(m, b, n)`."""
    return cells.permute(2, 1, 0).contiguous()

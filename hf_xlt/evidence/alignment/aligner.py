"""Word alignment of parallel text."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.arguments import MOST, checked, require_number, require_one_of, require_whole
from hf_xlt.evidence.alignment.bitext import Batch, Bitext, Sentence, Vocabulary
from hf_xlt.evidence.alignment.distortion import Diagonal, Distortion, Jumps, Posteriors
from hf_xlt.evidence.alignment.lexicon import Lexicon, WordPairs
from hf_xlt.evidence.alignment.links import SYMMETRIZATIONS, split, symmetrized
from hf_xlt.files.tensors import dataclass_of, from_bytes, read_tensors, tensors_of, to_bytes, write_tensors


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit torch to one thread: on busy cores several threads wait for each other (266 s against 16 s)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_NOTHING = torch.zeros((), dtype=torch.float64)
_FORMAT = "hf_xlt word aligner 1"
_DIRECTIONS = ("forward", "backward")
_DISTORTIONS: dict[str, type[Distortion]] = {"diagonal": Diagonal, "jumps": Jumps}

SentencePair = tuple[Sentence, Sentence]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentence pairs made ready for training; four bytes for every source and target word of a sentence pair."""

    bitext: Bitext
    pairs: WordPairs  # those in the batches
    batches: Sequence[Batch]
    cells: Sequence[Tensor]  # the word pairs of each batch, by their place in `pairs`

    @classmethod
    def of(cls, bitext: Bitext) -> "Corpus":
        """Batches of the sentence pairs and the word pairs in them."""
        batches = list(bitext.batches())
        pairs, cells = WordPairs.collect(batches, bitext.source.vocabulary, bitext.target.vocabulary)
        return cls(bitext, pairs, batches, cells)


@dataclass(frozen=True, eq=False)
class Direction:
    """A model of one direction: of target words given source words, or of source words given target words."""

    lexicon: Lexicon
    distortion: Distortion


Model = Sequence[Direction]
"""Both directions, that from source to target words first."""


@dataclass(eq=False)
class Expected:
    """What an E-step gives for one direction, in float64; counts are laid out as the lexicon's values."""

    pairs: Tensor
    null: Tensor
    statistics: Tensor = _NOTHING  # what the distortion is estimated from
    log_likelihood: Tensor = _NOTHING

    def add(self, found: Posteriors, batch: Batch, cells: Tensor) -> None:
        """Add the posteriors of a batch, whose word pairs are `cells`."""
        self.pairs.index_add_(0, cells.flatten(), found.links.flatten().double())
        self.null.index_add_(0, batch.targets.T.flatten(), found.null.flatten().double())
        self.statistics = self.statistics + found.statistics
        self.log_likelihood = self.log_likelihood + found.log_likelihood


def both_ways(batch: Batch, cells: Tensor) -> Sequence[tuple[Batch, Tensor]]:
    """A batch and its word pairs, as either direction has them."""
    return (batch, cells), (batch.reverse, backwards(cells))


def backwards(cells: Tensor) -> Tensor:
    """What is laid out `(n, b, m)` for one direction as the other has it, `(m, b, n)`."""
    return cells.permute(2, 1, 0).contiguous()


@torch.no_grad()
def posteriors_of(model: Model, batch: Batch, cells: Tensor) -> list[Posteriors]:
    """Posteriors of a batch; those of the second direction are laid out `(m, b, n)`."""
    seen = zip(model, both_ways(batch, cells), strict=True)
    return [direction.distortion.posteriors(*of_direction, direction.lexicon) for direction, of_direction in seen]


def agreed(forward: Posteriors, backward: Posteriors) -> list[Posteriors]:
    """Let both directions learn from the product of their posteriors (Liang, Taskar and Klein, 2006).

    The probability that the directions do not agree on goes to NULL.
    """
    links = forward.links * backwards(backward.links)
    both = (forward, links), (backward, backwards(links))
    return [replace(found, links=links, null=(1 - links.sum(2)).clamp_(min=0)) for found, links in both]


def expectation(corpus: Corpus, model: Model, agree: bool, bar: tqdm) -> list[Expected]:
    """The E-step of both directions, which learn from what they agree on, or each from its own posteriors."""
    sizes = ((len(direction.lexicon.values), len(direction.lexicon.null)) for direction in model)
    every = [Expected(*(torch.zeros(size, dtype=torch.float64) for size in of_direction)) for of_direction in sizes]
    for batch, cells in zip(corpus.batches, corpus.cells, strict=True):
        found = posteriors_of(model, batch, cells)
        learned = agreed(*found) if agree else found
        for expected, posteriors, seen in zip(every, learned, both_ways(batch, cells), strict=True):
            expected.add(posteriors, *seen)
        bar.update()
    return every


def maximization(corpus: Corpus, model: Model, expected: Sequence[Expected], alpha: float) -> Model:
    """The M-step of both directions."""
    pairs, shapes = corpus.pairs, corpus.bitext.shapes
    sides = (pairs.source, pairs.source_size, shapes), (pairs.target, pairs.target_size, shapes[:, [1, 0, 2]])
    return [
        Direction(
            Lexicon.estimate(counts.pairs, counts.null, words, size, alpha),
            direction.distortion.estimate(counts.statistics, lengths),
        )
        for direction, counts, (words, size, lengths) in zip(model, expected, sides, strict=True)
    ]


def maximize(corpus: Corpus, model: Model, agree: bool, iterations: int, alpha: float, name: str) -> Model:
    """Iterations of EM from a given model."""
    total, desc = iterations * len(corpus.batches), f"word alignment, {name}"
    with tqdm(total=total, desc=desc, unit="batch", disable=None) as bar:
        for _ in range(iterations):
            model = maximization(corpus, model, expectation(corpus, model, agree, bar), alpha)
    return model


def train_ibm2(corpus: Corpus, iterations: int, alpha: float) -> Model:
    """The model of fast_align with its defaults."""
    sizes = corpus.pairs.target_size, corpus.pairs.source_size
    start = [Direction(Lexicon.uniform(len(corpus.pairs), size), Diagonal()) for size in sizes]
    return maximize(corpus, start, False, iterations, alpha, "IBM-2")


def train_hmm(corpus: Corpus, iterations: int, alpha: float) -> Model:
    """Hidden Markov models of both directions, trained to agree, from the translation tables of IBM-2."""
    start = [replace(direction, distortion=Jumps.start()) for direction in train_ibm2(corpus, iterations, alpha)]
    return maximize(corpus, start, True, iterations, alpha, "HMM")


MODELS: dict[str, Callable[[Corpus, int, float], Model]] = {"hmm": train_hmm, "ibm2": train_ibm2}


@dataclass(frozen=True, eq=False)
class WordAligner:
    """A trained aligner of two languages, in both directions."""

    source: Vocabulary
    target: Vocabulary
    pairs: WordPairs  # those seen together
    model: Model

    def __repr__(self) -> str:
        sizes = f"{len(self.source):,} source and {len(self.target):,} target words, {len(self.pairs):,} pairs"
        return f"WordAligner({self._distortion}: {sizes})"

    @property
    def _distortion(self) -> str:
        return type(self.model[0].distortion).__name__.lower()

    @classmethod
    @one_thread()
    def train(
        cls, pairs: Sequence[SentencePair], model: str = "hmm", iterations: int = 5, alpha: float = 0.01
    ) -> "WordAligner":
        """Learn from sentence pairs which words translate each other.

        Args:
            pairs: Source and target sentence of each pair: lists of words or subwords, or arrays of their ids.
            model: `ibm2`, what fast_align does; or `hmm`, hidden Markov models of both directions trained to agree,
                which start from it: slower and better.
            iterations: Of expectation maximization; with `hmm`, so many of each model.
            alpha: Parameter of the Dirichlet prior of translation probabilities; 0 for maximum likelihood.

        Raises:
            InputError: If there is no pair, or a side of one is empty or a string.
        """
        require_one_of("model", model, MODELS)
        require_whole("iterations", iterations, least=1, most=MOST)
        require_number("alpha", alpha, least=0)
        corpus = Corpus.of(Bitext.encode(pairs))
        trained = MODELS[model](corpus, iterations, alpha)
        return cls(corpus.bitext.source.vocabulary, corpus.bitext.target.vocabulary, corpus.pairs, trained)

    @one_thread()
    def align(self, pairs: Sequence[SentencePair], symmetrization: str = "grow-diag-final-and") -> list[np.ndarray]:
        """Link the words of sentence pairs, those trained on or others.

        In each direction a word is linked with the likeliest of the other side's words, or with none where that is
        likelier. Words never seen have all translations with the same tiny probability: their place decides. The two
        directions become one set of links by one of `SYMMETRIZATIONS`: for each pair int64 `(k, 2)`, source and target
        positions from 0, in ascending order.
        """
        require_one_of("symmetrization", symmetrization, SYMMETRIZATIONS)
        if not len(pairs):
            return []
        batches = list(Bitext.encode(pairs, self.source, self.target).batches())
        forward, backward = [], []
        for batch in tqdm(batches, desc="word alignment, links", unit="batch", disable=None):
            posteriors = posteriors_of(self.model, batch, self.pairs.find(batch))
            forward.append(_best_links(batch, posteriors[0]))
            backward.append(_best_links(batch, posteriors[1])[:, [0, 2, 1]])
        links = symmetrized(torch.cat(forward).numpy(), torch.cat(backward).numpy(), symmetrization)
        return split(links, len(pairs))

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the aligner to one `.safetensors` file, which appears whole or not at all.

        InputError is raised if the file exists and `overwrite` is not set, or its folder does not exist.
        """
        tensors = {"pairs.source": self.pairs.source.int(), "pairs.target": self.pairs.target.int()}
        tensors |= {"source.tokens": to_bytes(self.source), "target.tokens": to_bytes(self.target)}
        for name, direction in zip(_DIRECTIONS, self.model, strict=True):
            tensors |= tensors_of(direction.lexicon, f"{name}.lexicon.")
            tensors |= tensors_of(direction.distortion, f"{name}.distortion.")
        return write_tensors(path, tensors, {"format": _FORMAT, "distortion": self._distortion}, overwrite=overwrite)

    @classmethod
    @checked
    def load(cls, path: str | Path) -> "WordAligner":
        """Read what `save` wrote, equal to the bit; InputError if the file is missing, unreadable, or no aligner."""
        tensors, metadata = read_tensors(path, "word aligner", _FORMAT, "WordAligner.save")
        source, target = (from_bytes(tensors[f"{side}.tokens"]) for side in ("source", "target"))
        pairs = WordPairs(tensors["pairs.source"].long(), tensors["pairs.target"].long(), len(source), len(target))
        kind = _DISTORTIONS[metadata["distortion"]]
        lexicons = [dataclass_of(Lexicon, tensors, f"{name}.lexicon.") for name in _DIRECTIONS]
        distortions = [dataclass_of(kind, tensors, f"{name}.distortion.") for name in _DIRECTIONS]
        return cls(source, target, pairs, list(map(Direction, lexicons, distortions)))


def _best_links(batch: Batch, posteriors: Posteriors) -> Tensor:
    """Each generated word's likeliest link, unless NULL is likelier: `(k, 3)`, pair, generating, generated position."""
    likeliest, sources = posteriors.links.max(2)
    targets, rows = (likeliest > posteriors.null).nonzero(as_tuple=True)
    return torch.stack([batch.pairs[rows], sources[targets, rows], targets], dim=1)

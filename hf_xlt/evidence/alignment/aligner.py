"""Word alignment of parallel text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hf_xlt.arguments import MOST, checked, require_number, require_one_of, require_whole
from hf_xlt.evidence.alignment.bitext import Batch, Bitext, Sentence, Vocabulary
from hf_xlt.evidence.alignment.distortion import Diagonal, Distortion, Jumps, Posteriors
from hf_xlt.evidence.alignment.lexicon import Lexicon, WordPairs
from hf_xlt.evidence.alignment.links import SYMMETRIZATIONS, split, symmetrized
from hf_xlt.evidence.alignment.training import MODELS, Corpus, Model
from hf_xlt.files.tensors import from_bytes, read_tensors, to_bytes, write_tensors


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread meanwhile: on busy cores more of them wait for each other (266 s for 16 s)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_FORMAT = "hf_xlt word aligner 1"
_DIRECTIONS = ("forward", "backward")
_DISTORTIONS: dict[str, type[Distortion]] = {"diagonal": Diagonal, "jumps": Jumps}

SentencePair = tuple[Sentence, Sentence]


def _tensors(prefix: str, part: Any) -> dict[str, Tensor]:
    """The fields of a dataclass, numbers as float64 scalars."""
    values = {f"{prefix}.{field.name}": getattr(part, field.name) for field in fields(part)}
    return {name: v if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float64) for name, v in values.items()}


def _fields(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The inverse of `_tensors`."""
    own = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
    return {name: t if t.ndim else t.item() for name, t in own.items()}


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
        return type(self.model.distortions[0]).__name__.lower()

    @classmethod
    @one_thread()
    def train(
        cls, pairs: Sequence[SentencePair], model: str = "hmm", iterations: int = 5, alpha: float = 0.01
    ) -> WordAligner:
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
            posteriors = self.model.posteriors(batch, self.pairs.find(batch))
            forward.append(_best_links(batch, posteriors[0]))
            backward.append(_best_links(batch, posteriors[1])[:, [0, 2, 1]])
        links = symmetrized(torch.cat(forward).numpy(), torch.cat(backward).numpy(), symmetrization)
        return split(links, len(pairs))

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the aligner to one `.safetensors` file, which appears whole or not at all.

        InputError is raised if the file exists and `overwrite` is not set, or its folder does not exist.
        """
        model, pairs = self.model, self.pairs
        tensors = {"pairs.source": pairs.source.int(), "pairs.target": pairs.target.int()}
        tensors |= {"source.tokens": to_bytes(self.source.tokens), "target.tokens": to_bytes(self.target.tokens)}
        for direction, lexicon, distortion in zip(_DIRECTIONS, model.lexicons, model.distortions, strict=True):
            tensors |= _tensors(f"{direction}.lexicon", lexicon) | _tensors(f"{direction}.distortion", distortion)
        return write_tensors(path, tensors, {"format": _FORMAT, "distortion": self._distortion}, overwrite=overwrite)

    @classmethod
    @checked
    def load(cls, path: str | Path) -> WordAligner:
        """Read what `save` wrote, equal to the bit; InputError if the file is missing, unreadable, or no aligner."""
        tensors, metadata = read_tensors(path, "word aligner", _FORMAT, "WordAligner.save")
        source, target = (Vocabulary(from_bytes(tensors[f"{side}.tokens"])) for side in ("source", "target"))
        pairs = WordPairs(tensors["pairs.source"].long(), tensors["pairs.target"].long(), len(source), len(target))
        kind = _DISTORTIONS[metadata["distortion"]]
        forward, backward = (Lexicon(**_fields(f"{direction}.lexicon", tensors)) for direction in _DIRECTIONS)
        first, second = (kind(**_fields(f"{direction}.distortion", tensors)) for direction in _DIRECTIONS)
        return cls(source, target, pairs, Model((forward, backward), (first, second)))


def _best_links(batch: Batch, posteriors: Posteriors) -> Tensor:
    """Each generated word's likeliest link, unless NULL is likelier: `(k, 3)`, pair, generating, generated position."""
    likeliest, sources = posteriors.links.max(2)
    targets, rows = (likeliest > posteriors.null).nonzero(as_tuple=True)
    return torch.stack([batch.pairs[rows], sources[targets, rows], targets], dim=1)

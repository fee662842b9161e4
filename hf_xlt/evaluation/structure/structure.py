"""Emerging cross-lingual structure: how alike two models' states are, and how well a linear map joins them.

After Conneau et al. (2020), "Emerging cross-lingual structure in pretrained language models": CKA of every layer with
every other, and retrieval of translations before and after alignment, of whole sentences and of words in them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor
from tqdm.auto import tqdm

from hf_xlt.arguments import checked, require_seed
from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import Retrieval, retrieval
from hf_xlt.evaluation.structure.cka import cka_map
from hf_xlt.evaluation.structure.sample import Sample, check_parts
from hf_xlt.evaluation.structure.states import LayerEncoder, States
from hf_xlt.evidence.translations import ParallelText, read_parallel
from hf_xlt.files.folders import check_file, write_whole
from hf_xlt.files.place import file_of
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.geometry.space import procrustes
from hf_xlt.hub.card import CardTable

UNALIGNED = "unaligned"

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Precision:
    """P@1: the share of rows whose translation is their nearest neighbor, in either direction."""

    cosine: Retrieval
    csls: Retrieval  # nearest by CSLS, which takes hubs back (Conneau et al., 2018)


def precision(queries: Tensor, keys: Tensor) -> Precision:
    """P@1 of rows `(n, d)` and their translations `(n, d)`, in the same order, among all given."""
    found = matches(unit_rows(queries), unit_rows(keys))
    return Precision(retrieval(queries, keys), Retrieval.of(found.forward, found.backward))


def least_squares(rows: Tensor, images: Tensor) -> Tensor:
    """The map `W` `(k, d)` that minimizes `‖rows W − images‖_F`; the one of smallest norm where there are several.

    It fits what it learns from the better the fewer pairs there are, and is worst on others where there are about as
    many pairs as the rows are wide: give several times as many. It is computed in float64.
    """
    if len(rows) != len(images) or not len(rows):
        raise InputError(
            f"Cannot map rows {tuple(rows.shape)} to {tuple(images.shape)}",
            expected="as many of one as of the other, and at least one pair",
        )
    both = (side.to("cpu", torch.float64) for side in (rows, images))
    # Not the default, gelsy: torch 2.13 returned wrong ranks of singular matrices with it, now and then.
    return torch.linalg.lstsq(*both, driver="gelsd").solution.to(images)


MAPS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"orthogonal": procrustes, "least_squares": least_squares}


def aligned_precision(a: Tensor, b: Tensor, test: Tensor) -> dict[str, Precision]:
    """P@1 of one layer's test pairs as they are, and after each map that the other pairs teach.

    States are `(n, d1)`, which are mapped, and `(n, d2)`; `test` is bool `(n,)`. There is `unaligned`, where both are
    of one width, then each of `MAPS`. Between different widths the orthogonal map has orthonormal rows or columns.
    """
    if not len(a) == len(b) == len(test):
        raise InputError(f"{len(a)} and {len(b)} states with {len(test)} marks of test pairs", expected="one a pair")
    queries, keys = a[test], b[test]
    found = {UNALIGNED: precision(queries, keys)} if a.shape[1] == b.shape[1] else {}
    for name, learn in MAPS.items():
        found[name] = precision(queries @ learn(a[~test], b[~test]).to(queries), keys)
    return found


@dataclass(frozen=True)
class Level:
    """What was measured on one kind of pairs: sentences, or words."""

    learned: int  # pairs that maps were learned from
    tested: int  # other pairs, among which translations were looked for
    cka: Grid  # CKA of each layer of the first model (rows) with each of the second (columns), on all pairs
    debiased_cka: Grid  # the same of unbiased estimates
    # `unaligned` (where both models are of one width), `orthogonal` and `least_squares` → P@1 of each pair of layers
    # that `Structure.layers` names
    precision: Mapping[str, tuple[Precision, ...]]

    def __repr__(self) -> str:
        return f"Level({self.learned:,} pairs learned from, {self.tested:,} tested, {', '.join(self.precision)})"

    def table(self, structure: "Structure", kind: str) -> CardTable:
        """A line for each pair of layers."""
        maps = [name for name in (UNALIGNED, *MAPS) if name in self.precision]
        lines = []
        for at, (i, j) in enumerate(structure.layers):
            found = [way for name in maps for way in (self.precision[name][at].cosine, self.precision[name][at].csls)]
            layer = ("embeddings" if i == 0 else str(i)) if i == j else f"{i} / {j}"
            ckas = (f"{grid[i][j]:.3f}" for grid in (self.cka, self.debiased_cka))
            lines.append((layer, *ckas, *(f"{way.mean:.1%}" for way in found)))
        precisions = [f"P@1 {name.replace('_', ' ')}, {by}" for name in maps for by in ("cosine", "CSLS")]
        caption = (
            f"{structure.model_a} against {structure.model_b}, {kind} pairs: CKA of all "
            f"{self.learned + self.tested:,}; P@1 (mean of both directions) among {self.tested:,}, with maps learned "
            f"from {self.learned:,} others; by chance {1 / self.tested:.1%}"
        )
        return CardTable(caption, ("layer", "CKA", "CKA, debiased", *precisions), tuple(lines))

    @classmethod
    def of(cls, a: Tensor, b: Tensor, test: Tensor) -> Self:
        """Compare states of every layer of either model, `(L1, n, d1)` and `(L2, n, d2)`; bool `test` is `(n,)`."""
        check_parts(test, "pairs")
        cka, debiased = (tuple(map(tuple, values.tolist())) for values in cka_map(a, b))
        bar = tqdm(paired_layers(len(a), len(b)), desc="alignment", unit="layer", disable=None, leave=False)
        of_layers = [aligned_precision(a[i], b[j], test) for i, j in bar]
        precisions = {name: tuple(of_layer[name] for of_layer in of_layers) for name in of_layers[0]}
        return cls(int((~test).sum()), int(test.sum()), cka, debiased, precisions)


@dataclass(frozen=True)
class Structure:
    """Two models side by side; layer 0 is the embeddings."""

    model_a: str  # whose states are mapped
    model_b: str
    # layers of the first and of the second that retrieval compares: those of equal relative depth
    layers: tuple[tuple[int, int], ...]
    sentences: Level  # on sentence pairs, by pooled states
    words: Level | None = None  # on word pairs, by states of words in their sentences; None where none were asked for
    repeated: int = 0  # sentence pairs left out, since a sentence of theirs came before
    # how either model pools a sentence's states: by the mean, or as a sentence-transformers folder says
    pooling: tuple[str, str] = ("mean", "mean")

    def __repr__(self) -> str:
        on = f"{self.sentences.learned + self.sentences.tested:,} sentence pairs"
        return f"Structure({self.model_a!r}, {self.model_b!r}, {len(self.layers)} layers, {on})"

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables())

    def tables(self) -> list[CardTable]:
        """For sentences, and where there are any for words: CKA and P@1, a line for each pair of layers."""
        levels = {"sentence": self.sentences, "word": self.words}
        return [level.table(self, kind) for kind, level in levels.items() if level is not None]

    @classmethod
    def of(
        cls, names: tuple[str, str], a: States, b: States, sample: Sample, pooling: tuple[str, str] = ("mean", "mean")
    ) -> Self:
        """Compare what two models made of a sample."""
        words = None
        if len(sample.word_test):
            found = a.found & b.found
            check_parts(sample.word_test[found], "word pairs within the models' lengths", "; or ask for 0 words")
            whole = bool(found.all())  # else the words that a model did not reach are left out
            of_a, of_b = (states.words if whole else states.words[:, found] for states in (a, b))
            words = Level.of(of_a, of_b, sample.word_test[found])
        layers = paired_layers(len(a.sentences), len(b.sentences))
        sentences = Level.of(a.sentences, b.sentences, sample.sentence_test)
        return cls(*names, layers, sentences, words, sample.repeated, pooling)

    def to_json(self) -> str:
        """All of it as JSON, which `from_json` reads."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return TypeAdapter(cls).validate_json(text)

    @classmethod
    def is_file(cls, path: Path) -> bool:
        """Whether a file holds what `to_json` wrote."""
        try:
            cls.from_json(path.read_text(encoding="utf-8"))
        except ValueError:
            return False
        return True


@checked
def structure(
    model_a: str | Path,
    model_b: str | Path,
    parallel: str | Path | ParallelText | Sequence[tuple[str, str]],
    *,
    links: Sequence[np.ndarray] | None = None,
    languages: tuple[str | None, str | None] = (None, None),
    sentences: int = 10_000,
    words: int = 5_000,
    test_share: float = 0.2,
    seed: int = 0,
    output: str | Path | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Structure:
    """Compare two models, or one model with itself, on translations; one model at a time is in memory.

    Args:
        model_a: Reads the first sentence of each pair: a Hub id or a folder.
        model_b: Reads the second.
        parallel: Sentences and their translations, or the file of them, as for `read_parallel`; pairs with a sentence
            that came before are left out.
        links: For each pair int `(k, 2)`, linked words, positions counted between white space, such as `read_pharaoh`
            gives. None: they are found by a `WordAligner` trained on the pairs.
        languages: For TreLM models, which of their languages each side is in.
        sentences: The most sentence pairs to compare, drawn from all; states of every layer take 4 bytes times
            layers, width and pairs.
        words: The most word pairs in them; 0 for sentences alone.
        test_share: Share of the pairs to test maps with.
        seed: Of the draw of test pairs and words.
        output: JSON file for the figures; None for none.
        overwrite: Replace the file if it exists.
        trust_remote_code: Run code that the checkpoints bring.

    Raises:
        InputError: If a checkpoint cannot be opened or a language is not its own, a sentence is empty, links do not
            fit, there are too few pairs to learn from or to test with, or the output cannot be written.
    """
    require_seed("seed", seed)
    names = str(model_a), str(model_b)
    if output is not None:
        read = (*names, file_of(parallel)) if isinstance(parallel, str | Path) else names
        check_file(output, overwrite=overwrite, ours=Structure.is_file, sources=read)
    if isinstance(parallel, str | Path):
        parallel = read_parallel(parallel)
    pairs = parallel.pairs if isinstance(parallel, ParallelText) else parallel
    sides = zip(names, languages, strict=True)
    encoders = [LayerEncoder.open(name, of, trust_remote_code=trust_remote_code) for name, of in sides]
    sample = Sample.of(pairs, links, sentences=sentences, words=words, test_share=test_share, seed=seed)
    a, b = (encoder.encode(side) for encoder, side in zip(encoders, sample.sides, strict=True))
    first, second = (" and ".join(encoder.pooling.modes) for encoder in encoders)
    found = Structure.of(names, a, b, sample, (first, second))
    if output is not None:
        write_whole(Path(output), found.to_json())
    return found


def paired_layers(first: int, second: int) -> tuple[tuple[int, int], ...]:
    """Each of `first` layers with the one of `second` at the same relative depth."""
    deepest, other = max(first - 1, 1), second - 1
    return tuple((i, (2 * i * other + deepest) // (2 * deepest)) for i in range(first))

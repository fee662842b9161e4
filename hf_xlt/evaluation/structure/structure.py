"""Emerging cross-lingual structure: how alike two models' states are, and how well a linear map joins them.

After Conneau et al. (2020), "Emerging cross-lingual structure in pretrained language models": CKA of every layer with
every other, and retrieval of translations before and after alignment, of whole sentences and of words in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from hf_xlt.arguments import checked, require_seed
from hf_xlt.evaluation.retrieval import Retrieval
from hf_xlt.evaluation.structure.alignment import Precision, layer_precisions
from hf_xlt.evaluation.structure.cka import cka_map
from hf_xlt.evaluation.structure.reader import Reader
from hf_xlt.evaluation.structure.sample import Sample, check_parts
from hf_xlt.evaluation.structure.states import States

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Level:
    """What was measured on one kind of pairs: sentences, or words.

    Attributes:
        learned: Pairs that maps were learned from.
        tested: Other pairs, among which translations were looked for.
        cka: CKA of each layer of the first model (rows) with each of the second (columns), on all pairs.
        debiased_cka: The same of unbiased estimates.
        precision: `unaligned` (where both models are of one width), `orthogonal` and `least_squares` → P@1 of each
            pair of layers that `Structure.layers` names.
    """

    learned: int
    tested: int
    cka: Grid
    debiased_cka: Grid
    precision: Mapping[str, tuple[Precision, ...]]

    @classmethod
    def of(cls, a: Tensor, b: Tensor, test: Tensor) -> Self:
        """Compare the states of pairs.

        Args:
            a: Of every layer of the first model, `(L1, n, d1)`.
            b: Of every layer of the second, `(L2, n, d2)`, of the translations in the same order.
            test: Bool `(n,)`: the pair is for testing; the others are learned from.

        Raises:
            InputError: If the numbers of pairs differ, there are too few of either part, or the states of a layer are
                all alike or not finite.
        """
        check_parts(test, "pairs")
        found = cka_map(a, b)
        return cls(
            learned=int((~test).sum()),
            tested=int(test.sum()),
            cka=_grid(found.plain),
            debiased_cka=_grid(found.debiased),
            precision=layer_precisions(a, b, paired_layers(len(a), len(b)), test),
        )


@dataclass(frozen=True)
class Structure:
    """Two models side by side; layer 0 is the embeddings.

    Attributes:
        model_a: Name of the first, whose states are mapped.
        model_b: Name of the second.
        layers: Layers of the first and of the second that retrieval compares: those of equal relative depth.
        sentences: On sentence pairs, by pooled states.
        words: On word pairs, by states of words in their sentences; None where none were asked for.
        repeated: Sentence pairs left out, since a sentence of theirs came before.
        pooling: How either model pools a sentence's states: by the mean, or as a sentence-transformers folder says.
    """

    model_a: str
    model_b: str
    layers: tuple[tuple[int, int], ...]
    sentences: Level
    words: Level | None = None
    repeated: int = 0
    pooling: tuple[str, str] = ("mean", "mean")

    @classmethod
    def of(
        cls, names: tuple[str, str], a: States, b: States, sample: Sample, pooling: tuple[str, str] = ("mean", "mean")
    ) -> Self:
        """Compare what two models made of a sample.

        Args:
            names: Of the models.
            a: States of the first side of the sample.
            b: States of the second side.
            sample: What both have read.
            pooling: How either has pooled it.

        Raises:
            InputError: As for `Level.of`.
        """
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
        data = json.loads(text)
        data["layers"] = tuple(map(tuple, data["layers"]))
        data["pooling"] = tuple(data.get("pooling", ("mean", "mean")))
        levels = {name: None if data[name] is None else _level(data[name]) for name in ("sentences", "words")}
        return cls(**data | levels)

    @classmethod
    def is_file(cls, path: Path) -> bool:
        """Whether a file holds what `to_json` wrote."""
        try:
            cls.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False
        return True


@checked
def structure(
    model_a: str,
    model_b: str,
    pairs: Sequence[tuple[str, str]],
    *,
    links: Sequence[np.ndarray] | None = None,
    languages: tuple[str | None, str | None] = (None, None),
    sentences: int = 10_000,
    words: int = 5_000,
    test_share: float = 0.2,
    seed: int = 0,
    trust_remote_code: bool = False,
) -> Structure:
    """Compare two models, or one model with itself, on translations; one model at a time is in memory.

    Args:
        model_a: Reads the first sentence of each pair: a Hub id or a folder.
        model_b: Reads the second.
        pairs: Sentences and their translations; pairs with a sentence that came before are left out.
        links: For each pair int `(k, 2)`, linked words, positions counted between white space, such as `read_pharaoh`
            gives. None: they are found by a `WordAligner` trained on the pairs.
        languages: For TreLM models, which of their languages each side is in.
        sentences: The most sentence pairs to compare, drawn from all; states of every layer take 4 bytes times
            layers, width and pairs.
        words: The most word pairs in them; 0 for sentences alone.
        test_share: Share of the pairs to test maps with.
        seed: Of the draw of test pairs and words.
        trust_remote_code: Run code that the checkpoints bring.

    Raises:
        InputError: If a checkpoint cannot be opened or a language is not its own, a sentence is empty, links do not
            fit, or there are too few pairs to learn from or to test with.
    """
    require_seed("seed", seed)
    names = model_a, model_b
    readers = [
        Reader.open(name, language, trust_remote_code=trust_remote_code)
        for name, language in zip(names, languages, strict=True)
    ]
    sample = Sample.of(pairs, links, sentences=sentences, words=words, test_share=test_share, seed=seed)
    a, b = (reader.read(side) for reader, side in zip(readers, sample.sides, strict=True))
    return Structure.of(names, a, b, sample, (readers[0].pooling.label, readers[1].pooling.label))


def paired_layers(first: int, second: int) -> tuple[tuple[int, int], ...]:
    """Each of `first` layers with the one of `second` at the same relative depth."""
    deepest, other = max(first - 1, 1), second - 1
    return tuple((i, (2 * i * other + deepest) // (2 * deepest)) for i in range(first))


def _grid(values: Tensor) -> Grid:
    return tuple(map(tuple, values.tolist()))


def _level(data: dict[str, Any]) -> Level:
    precision = {
        name: tuple(Precision(**{kind: Retrieval(**found) for kind, found in layer.items()}) for layer in layers)
        for name, layers in data.pop("precision").items()
    }
    cka, debiased = (tuple(map(tuple, data.pop(name))) for name in ("cka", "debiased_cka"))
    return Level(**data, cka=cka, debiased_cka=debiased, precision=precision)

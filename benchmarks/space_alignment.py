r"""Alignment of embedding spaces: what is recovered without a dictionary, in one run.

    python benchmarks/space_alignment.py --corpus-en en.txt.gz --corpus-de de.txt.gz --dictionary en-de.tsv.gz \
        --vectors FOLDER --json space_alignment.json

(a) a rotated and noised copy of a real space, the noise as long as the given share of each row; (b) two spaces trained
on disjoint halves of the English text (every other line), one rotated at random, the pure game starting from the
identity; (c) an English and a German space, scored with the `test` entries of a dictionary (tab-separated: English,
German, split), beside supervised Procrustes on its `train` entries. P@1 is that of CSLS among all words, in (c) among
the 20,000 most frequent. Training the vectors is not part of the times; they are kept in FOLDER.
"""

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import Vectors, train_vectors
from hf_xlt.files.corpora import Corpus
from hf_xlt.geometry.adversarial import GameSettings
from hf_xlt.geometry.align import align_spaces
from hf_xlt.geometry.csls import matches, precision_at_1
from hf_xlt.geometry.space import Alignment

WORD = re.compile(r"\w+|[^\w\s]")
COMMON = 1500
CANDIDATES = 20_000
NOISES = (0.1, 0.3, 0.5, 1.0)


def tokenised(corpus: Path, keep: Callable[[int], bool]) -> list[list[str]]:
    return [WORD.findall(line.lower()) for i, line in enumerate(Corpus(str(corpus)).lines()) if keep(i)]


def space(folder: Path, name: str, text: Callable[[], list[list[str]]], **settings: Any) -> Vectors:
    """Vectors from the folder, or trained and put there."""
    path = folder / f"{name}.npz"
    if not path.exists():
        vectors = train_vectors(text(), **settings)
        np.savez(path, words=np.array(vectors.words), table=vectors.table.numpy())
    with np.load(path) as stored:
        return Vectors(tuple(stored["words"].tolist()), torch.from_numpy(stored["table"]))


def rotation(width: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(torch.randn(width, width, generator=torch.Generator().manual_seed(seed)))[0]


def attempt(source: Tensor, target: Tensor, **options: Any) -> tuple[Alignment | None, dict[str, Any]]:
    """The alignment, and its figures; None where it was refused. Rows are in order of frequency."""
    orders = {"source_order": torch.arange(len(source)), "target_order": torch.arange(len(target))}
    start = time.perf_counter()
    try:
        found = align_spaces(source, target, **orders, **options)
    except InputError as error:
        return None, {"seconds": time.perf_counter() - start, "refused": str(error)}
    seconds = time.perf_counter() - start
    return found, {"seconds": seconds, "criterion": found.criterion, "chance": found.chance}


def rotated_copy(vectors: Vectors, noise: float, words: int = 10_000) -> dict[str, Any]:
    rows = vectors.table[:words]
    disturbance = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))
    lengths = noise * rows.norm(dim=1, keepdim=True) / rows.shape[1] ** 0.5
    found, figures = attempt(rows, (rows + lengths * disturbance) @ rotation(rows.shape[1]))
    if found is not None:
        forward = matches(found.mapped(), found.source.rows).forward
        figures["P@1"] = float((forward == torch.arange(words)).float().mean())
    return figures


def common_words(source: Vectors, target: Vectors) -> Tensor:
    """Target and source ids of the words both have, the target's most frequent first."""
    ids = {word: i for i, word in enumerate(source.words)}
    pairs = [(i, ids[word]) for i, word in enumerate(target.words) if word in ids]
    return torch.tensor(pairs)[:COMMON]


def copies(vectors: Vectors) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((str(noise), rotated_copy(vectors, noise)) for noise in NOISES)


def halves(source: Vectors, target: Vectors) -> Iterator[tuple[str, dict[str, Any]]]:
    pairs, turned = common_words(source, target), target.table @ rotation(target.table.shape[1])
    ways: dict[str, dict[str, Any]] = {
        "similarity start": {},
        "Procrustes on these very words": {"dictionary": pairs, "refinements": 0},
        "axes start": {"start": "axes"},
        "pure game": {"start": "identity", "game": GameSettings()},
    }
    for name, options in ways.items():
        found, figures = attempt(source.table, turned, **options)
        if found is not None:
            figures["P@1"] = precision_at_1(matches(found.mapped(), found.source.rows).forward, pairs)
        yield name, figures


def entries(path: Path, split: str, english: Vectors, german: Vectors) -> Tensor:
    """English and German ids of the entries of a split whose words are among the candidates."""
    ids = [{word: i for i, word in enumerate(vectors.words[:CANDIDATES])} for vectors in (english, german)]
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return torch.tensor(
        [[ids[0][en], ids[1][de]] for en, de, of in rows if of == split and en in ids[0] and de in ids[1]]
    )


def languages(path: Path, english: Vectors, german: Vectors) -> Iterator[tuple[str, dict[str, Any]]]:
    """P@1 of English words in German, of test words that have a vector and a translation that has one."""
    test, train = (entries(path, split, english, german) for split in ("test", "train"))
    ways: dict[str, dict[str, Any]] = {
        "supervised, no refinement": {"dictionary": train.flip(1), "refinements": 0},
        "supervised": {"dictionary": train.flip(1)},
        "words spelled alike": {"dictionary": alike(english, german)},
        "similarity start": {},
    }
    yield "words", {"test": len(test[:, 0].unique()), "train": len(train[:, 0].unique())}
    for name, options in ways.items():
        found, figures = attempt(english.table, german.table, **options)
        if found is not None:
            queries, keys = found.source.rows[:CANDIDATES], found.mapped()[:CANDIDATES]
            figures["P@1"] = precision_at_1(matches(queries, keys).forward, test)
        yield name, figures


def alike(english: Vectors, german: Vectors) -> Tensor:
    """German and English ids of the candidates that both have: names, numbers, punctuation, and false friends."""
    ids = {word: i for i, word in enumerate(english.words[:CANDIDATES])}
    return torch.tensor([[i, ids[word]] for i, word in enumerate(german.words[:CANDIDATES]) if word in ids])


def show(title: str, figures: dict[str, Any]) -> None:
    shown = {name: f"{value:.3f}" if isinstance(value, float) else value for name, value in figures.items()}
    print(f"{title:45}", ", ".join(f"{name} {value}" for name, value in shown.items()), flush=True)


def main(
    corpus_en: Annotated[Path, typer.Option(help="English text.")],
    corpus_de: Annotated[Path, typer.Option(help="German text.")],
    dictionary: Annotated[Path, typer.Option(help="Entries of English, German and split, tab-separated, gzipped.")],
    vectors: Annotated[Path, typer.Option(help="Folder the trained vectors are kept in.")],
    threads: int = 2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    vectors.mkdir(parents=True, exist_ok=True)
    subwords = {"ngrams": (3, 6)}
    wide = space(vectors, "en-0-128", lambda: tokenised(corpus_en, lambda i: i % 2 == 0), width=128, **subwords)
    first = space(vectors, "en-0", lambda: tokenised(corpus_en, lambda i: i % 2 == 0), **subwords)
    second = space(vectors, "en-1", lambda: tokenised(corpus_en, lambda i: i % 2 == 1), **subwords)
    german = space(vectors, "de", lambda: tokenised(corpus_de, lambda _: True), **subwords)
    english_words = space(vectors, "en-words", lambda: tokenised(corpus_en, lambda _: True))
    german_words = space(vectors, "de-words", lambda: tokenised(corpus_de, lambda _: True))
    parts: dict[str, Callable[[], Iterator[tuple[str, dict[str, Any]]]]] = {
        "(a) noise": lambda: copies(wide),
        "(b) halves": lambda: halves(first, second),
        "(c) FastText, half of en": lambda: languages(dictionary, first, german),
        "(c) word2vec": lambda: languages(dictionary, english_words, german_words),
    }
    figures: dict[str, dict[str, Any]] = {}
    for part, measure in parts.items():
        for name, values in measure():
            show(f"{part}, {name}", values)
            figures.setdefault(part, {})[name] = values
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

r"""Alignment error rates and seconds of the word aligner on English and German, beside those of fast_align.

    python benchmarks/word_alignment.py --data FOLDER --json word_alignment.json

Trained on Multi30k, NTREX-128 and PUD, lower-cased, words being `\w+` or single punctuation, with 100 hand-aligned
pairs of Europarl appended, on which it is scored (all their links are sure, so that the error rate is 1 − F1). Seconds
are those of training and of linking all pairs with grow-diag-final-and on one thread, without reading the text.

fast_align's figures were measured once on the same kind of data (35,188 pairs, 5 iterations, `-d -o -v`, both
directions and atools, 2 cores); they are not measured here.
"""

import gzip
import json
import re
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hf_xlt.evidence.alignment import MODELS, SYMMETRIZATIONS, WordAligner
from hf_xlt.evidence.translations import read_parallel

TEXTS = ("terms_unstated/multi30k.en-de.tsv.gz", "parallel/ntrex128.tsv.gz", "parallel/pud_parallel.tsv.gz")
GOLD = "align/europarl100.en-de.jsonl.gz"
WORD = re.compile(r"\w+|[^\w\s]")
FAST_ALIGN = {"forward": 35.4, "backward": 33.4, "grow-diag-final-and": 34.0, "intersection": 30.1}
FAST_ALIGN_SECONDS = 10.9
DEFAULT = "grow-diag-final-and"

Pair = tuple[list[str], list[str]]


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def training_pairs(data: Path) -> list[Pair]:
    texts = [read_parallel(f"{data / name}:en,de") for name in TEXTS]
    return [(words(source), words(target)) for text in texts for source, target in text.pairs]


def gold(data: Path) -> tuple[list[Pair], list[dict[str, set]]]:
    """Hand-aligned pairs and their links; `possible` holds the sure ones too."""
    with gzip.open(data / GOLD, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    links = [{"sure": as_set(row["sure"]), "possible": as_set(row["sure"] + row["possible"])} for row in rows]
    return [(row["src_tokens"], row["tgt_tokens"]) for row in rows], links


def as_set(links: list[list[int]]) -> set[tuple[int, ...]]:
    return set(map(tuple, links))


def error_rate(found: list[np.ndarray], links: list[dict[str, set]]) -> float:
    """AER in per cent (Och and Ney, 2003): 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)."""
    answers = [as_set(pair.tolist()) for pair in found]
    hits = sum(len(a & g["sure"]) + len(a & g["possible"]) for a, g in zip(answers, links, strict=True))
    return 100 * (1 - hits / sum(len(a) + len(g["sure"]) for a, g in zip(answers, links, strict=True)))


def figures(model: str, pairs: list[Pair], scored: list[Pair], links: list[dict[str, set]]) -> dict[str, float]:
    start = time.perf_counter()
    aligner = WordAligner.train(pairs, model)
    trained = time.perf_counter()
    aligner.align(pairs, DEFAULT)
    done = time.perf_counter()
    seconds = {"training, s": trained - start, "links, s": done - trained, "in all, s": done - start}
    return {name: error_rate(aligner.align(scored, name), links) for name in SYMMETRIZATIONS} | seconds


def verdict(name: str, value: float, sign: str, target: float) -> str:
    met = value <= target if sign == "<=" else value >= target
    return f"{name:62} {value:7.2f}   {sign} {target:g}: {'met' if met else 'MISSED'}"


def verdicts(ibm2: dict[str, float], hmm: dict[str, float]) -> list[str]:
    lines = [
        verdict(f"ibm2, AER {name} over fast_align's {aer}", ibm2[name] - aer, "<=", 1.0)
        for name, aer in FAST_ALIGN.items()
    ]
    lines.append(verdict("ibm2, seconds over fast_align's", ibm2["in all, s"] / FAST_ALIGN_SECONDS, "<=", 3.0))
    for name in (DEFAULT, "intersection"):
        gain = FAST_ALIGN[name] - hmm[DEFAULT]
        lines.append(verdict(f"hmm {DEFAULT}, AER below fast_align's {name}", gain, ">=", 3.0))
    return lines


def main(
    data: Annotated[Path, typer.Option(help="Folder of the parallel text and the gold links.")],
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    scored, links = gold(data)
    pairs = training_pairs(data) + scored
    print(f"{len(pairs)} pairs")
    results = {model: figures(model, pairs, scored, links) for model in MODELS}
    print(f"{'':24}{'fast_align':>12}" + "".join(f"{model:>12}" for model in MODELS))
    known = FAST_ALIGN | {"in all, s": FAST_ALIGN_SECONDS}
    for name in results["hmm"]:
        cells = (f"{results[model][name]:12.2f}" for model in MODELS)
        print(f"{name:24}{known.get(name, ''):>12}" + "".join(cells))
    for line in verdicts(results["ibm2"], results["hmm"]):
        print(line)
    if json_path:
        given = {"pairs": len(pairs), "fast_align": known}
        json_path.write_text(json.dumps(given | results, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

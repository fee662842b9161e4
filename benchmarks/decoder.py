r"""Train a decoder on a new language, by every way of beginning, and compare at equal bytes and at equal compute.

    python benchmarks/decoder.py SmolLM2-135M-Instruct DATA de runs \
        --variants source-tokenizer,pooled --json benchmarks/results/decoder_de.json

Each variant is an `hf-xlt run` of its own, which resumes; what is done already is not done again. The source's own
tokenizer is trained on as many bytes of the same text. German is trained on novels and the German side of captions and
news, Indonesian and Yoruba on the target side of pairs. The last `HELD_OUT` lines of the news are held out of
everything; half of them (the even ones) are the validation set, and half choose nothing and are kept for later.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_xlt import Checkpoint, Recipe, open_tokenizer, read_dictionary, read_parallel, run_recipe, train_tokenizer_like
from hf_xlt.files.text import text_lines
from hf_xlt.runs.results import Results
from hf_xlt.runs.text import SequenceSize
from hf_xlt.tokenizers.extend import extend_tokenizer

HELD_OUT = 120  # lines of news
NOVELS = 30_000  # lines
LENGTH, BATCH = 256, 8
VOCABULARY = 24_000
ADDED = 6_000
DICTIONARY = "dictionary.tsv"
RATES = {"learning_rate": 2e-4, "embedding_learning_rate": 1e-3}


@dataclass(frozen=True)
class Language:
    """Where the text of a language lies, under the folder of data; news last."""

    pairs: tuple[str, ...]
    dictionaries: tuple[str, ...]
    novels: str | None = None


LANGUAGES = {
    "de": Language(
        ("terms_unstated/multi30k.en-de.tsv.gz:en,de", "parallel/ntrex128.tsv.gz:en,de"),
        ("dict/muse.en-de.tsv.gz", "dict/wiktionary.en-de.tsv.gz"),
        "mono/de.eltec.txt.gz",
    ),
    "id": Language(
        ("terms_unstated/panl_bppt.en-id.tsv.gz:en,id", "parallel/ntrex128.tsv.gz:en,id"),
        ("dict/muse.en-id.tsv.gz", "dict/wiktionary.en-id.tsv.gz"),
    ),
    "yo": Language(
        ("parallel/mafand.en-yo.tsv.gz:en,yo", "parallel/ntrex128.tsv.gz:en,yo"), ("dict/wiktionary.en-yo.tsv.gz",)
    ),
}

# Variant → tokenizer, initializer, what else differs from the recipe's defaults.
VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "source-tokenizer": ("source", {"method": "subtoken-mean"}, {"calibrate": False}),
    "pooled": ("new", {"method": "pooled"}, {}),
    "subtoken-mean": ("new", {"method": "subtoken-mean"}, {}),
    "pooled-links": ("new", {"method": "pooled", "pieces": False, "keep_length": True}, {}),
    "pooled-uncalibrated": ("new", {"method": "pooled"}, {"calibrate": False}),
    "subtoken-mean-uncalibrated": ("new", {"method": "subtoken-mean"}, {"calibrate": False}),
    "resized": ("new", {"method": "resized"}, {"calibrate": False}),
    "resized-calibrated": ("new", {"method": "resized"}, {}),
    "random": ("new", {"method": "random"}, {"calibrate": False}),
    "extended": ("extended", {"method": "subtoken-mean"}, {}),
    "extended-uncalibrated": ("extended", {"method": "subtoken-mean"}, {"calibrate": False}),
}


def main(
    source: Path,
    data: Annotated[Path, typer.Argument(help="Folder of texts, see its README.")],
    language: str,
    work: Annotated[Path, typer.Argument(help="Folder for tokenizers, texts and runs.")],
    variants: str = ",".join(VARIANTS),
    steps: Annotated[int, typer.Option(help=f"Of the new tokenizer, {BATCH} x {LENGTH} tokens each.")] = 60,
    seeds: str = "0",
    output: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Train the variants of one language, one after the other, and write what was measured after each."""
    place = work / language
    prepare(source, data, LANGUAGES[language], place)
    for seed in map(int, seeds.split(",")):
        for name in variants.split(","):
            made = place / f"{name}-{steps}-seed{seed}"
            if not made.exists():
                run_recipe(recipe_of(name, source, place, steps, seed), made)
            print(line(name, seed, Results.load(made / "results.json")), flush=True)
    if output is not None:
        output.write_text(json.dumps(record(place, steps), indent=1) + "\n", encoding="utf-8")


def prepare(source: Path, data: Path, language: Language, place: Path) -> None:
    """Write corpus, pairs, dictionary, validation lines and tokenizers, once."""
    if (place / "extended").exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    news = read_parallel(f"{data / language.pairs[-1]}").pairs[-HELD_OUT:]
    hidden = {target for _, target in news}
    pairs = [pair for name in language.pairs for pair in read_parallel(f"{data / name}").pairs if pair[1] not in hidden]
    novels = () if language.novels is None else islice(filter(None, text_lines(data / language.novels)), NOVELS)
    corpus = [*novels, *(target for _, target in pairs)]
    random.Random(0).shuffle(corpus)
    words = read_dictionary([str(data / name) for name in language.dictionaries])
    write(place / "corpus.txt", corpus)
    write(place / "pairs.tsv", map("\t".join, pairs))
    write(place / DICTIONARY, map("\t".join, words.pairs))
    write(place / "held_out.txt", (target for _, target in news[::2]))
    own = Checkpoint.open(source).tokenizer()
    known = chain(corpus, (target for _, target in words.pairs))
    train_tokenizer_like(own, known, VOCABULARY).save_pretrained(place / "new")
    own.save_pretrained(place / "source")
    extend_tokenizer(own, iter(corpus), ADDED).save_pretrained(place / "extended")


def write(path: Path, lines: Iterator[str] | list[str]) -> None:
    path.write_text("".join(f"{' '.join(line.split(' '))}\n" for line in lines), encoding="utf-8")


def recipe_of(name: str, source: Path, place: Path, steps: int, seed: int) -> Recipe:
    """The recipe of a variant; other tokenizers than the new one read as many bytes."""
    tokenizer, initializer, options = VARIANTS[name]
    if tokenizer != "new":
        steps = math.ceil(steps * sequence_bytes(place, "new") / sequence_bytes(place, tokenizer))
    stage = {"name": "all", "max_steps": steps, "sequence_length": LENGTH, "per_device_train_batch_size": BATCH}
    evidence = {"corpus": str(place / "corpus.txt"), "held_out": str(place / "held_out.txt")}
    if initializer["method"] == "pooled":
        evidence |= {"parallel": str(place / "pairs.tsv"), "dictionary": str(place / DICTIONARY)}
    return Recipe(
        name=name,
        source=str(source),
        target_tokenizer=str(place / tokenizer),
        initializer=initializer,
        data=evidence,
        stages=[stage | RATES | {"bf16": True, "evaluations": 12, "checkpoints": 2}],
        seeds=[seed],
        **options,
    )


def sequence_bytes(place: Path, tokenizer: str) -> float:
    """Bytes of text in a packed sequence."""
    return SequenceSize.packed(
        text_lines(place / "corpus.txt"), open_tokenizer(str(place / tokenizer)), LENGTH
    ).text_bytes


def line(name: str, seed: int, results: Results) -> str:
    curve = results.kept[0].curve
    points = " ".join(f"{point.step}:{point.bits_per_byte:.3f}" for point in curve.points)
    return f"{name} (seed {seed}, {curve.seconds:.0f} s): {points}"


def record(place: Path, steps: int) -> dict[str, Any]:
    """Every run that is there, by variant and seed."""
    runs = {}
    for folder in sorted(place.glob(f"*-{steps}-seed*")):
        results = Results.load(folder / "results.json")
        runs[folder.name] = asdict(results.kept[0].curve) | {"parameters": results.kept[0].parameters}
    return {"corpus": results.corpus, "versions": results.versions, "hardware": results.hardware, "runs": runs}


if __name__ == "__main__":
    typer.run(main)

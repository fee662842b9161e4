r"""Held-out bits per byte of a decoder with a new vocabulary, before any training: which rows begin best.

As rows are made, and with the output head calibrated on the corpus or, where there is none, the pairs' target side.

    python benchmarks/decoder_start.py SmolLM2-135M-Instruct --corpus de.txt.gz --dictionary en-de.tsv.gz \
        --parallel captions.tsv.gz:en,de --parallel news.tsv.gz:en,de --held-out news.tsv.gz:en,de --json results.json

The tokenizer is like the source's, trained on the corpus, the pairs' target side and the dictionary's words, as
`hf-xlt run` makes it. The target side of the last `--lines` pairs of `--held-out` is measured on, and is in nothing
else.
"""

from __future__ import annotations

import json
import random
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt import Checkpoint, ParallelText, initializer, read_dictionary, read_parallel, train_tokenizer_like
from hf_xlt.data.objectives import objective_for
from hf_xlt.data.packing import blocks
from hf_xlt.evaluation.language_model import ValidationSet, measure
from hf_xlt.files.text import text_lines
from hf_xlt.initializers.calibration import calibrate
from hf_xlt.initializers.registry import used_evidence

LENGTH = 256
WAYS = {
    "random rows": ("random", {}),
    "resized rows": ("resized", {}),
    "subtoken mean": ("subtoken-mean", {}),
    "dictionary, else overlap": ("dictionary", {}),
    "ramen": ("ramen", {}),
    "pooled": ("pooled", {}),
    "pooled as in an encoder": ("pooled", {"pieces": False, "keep_length": True}),
    "pooled, plain means without pieces": ("pooled", {"pieces": False, "keep_length": False}),
    "pooled, pieces as 5": ("pooled", {"weights": {"pieces": 5.0}}),
    "pooled, pieces as 15": ("pooled", {"weights": {"pieces": 15.0}}),
}


def main(
    source: Path,
    held_out: Annotated[str, typer.Option(help="Pairs: FILE:english,target.")],
    parallel: Annotated[list[str], typer.Option(help="Likewise; may be given several times.")],
    dictionary: Annotated[Path, typer.Option(help="English TAB target.")],
    corpus: Annotated[Path | None, typer.Option(help="Target text for the tokenizer.")] = None,
    corpus_lines: Annotated[int, typer.Option(help="How much of it.")] = 30_000,
    vocab_size: int = 24_000,
    lines: Annotated[int, typer.Option(help="Of the held-out pairs.")] = 60,
    before: Annotated[int, typer.Option(help="The same, before the last so many: lines to choose settings by.")] = 0,
    ways: Annotated[str, typer.Option(help="Some of them, `;` between them.")] = ";".join(WAYS),
    output: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Measure the source with its own tokenizer, and with rows of every method that the evidence serves."""
    news = [target for _, target in read_parallel(held_out).pairs]
    measured, hidden = news[-lines - before : len(news) - before], set(news[-2 * lines :])
    pairs = [pair for spec in parallel for pair in read_parallel(spec).pairs if pair[1] not in hidden]
    words = read_dictionary(dictionary)
    checkpoint = Checkpoint.open(source)
    novels = () if corpus is None else islice((line for line in text_lines(corpus) if line), corpus_lines)
    text = [*novels, *(target for _, target in pairs)]
    random.Random(0).shuffle(text)
    tokenizer = train_tokenizer_like(
        checkpoint.tokenizer(), chain(text, (target for _, target in words.pairs)), vocab_size
    )
    packed = [
        {"input_ids": row, "key": (0, place)} for place, row in enumerate(islice(blocks(text, tokenizer, LENGTH), 4096))
    ]
    given = {"source": checkpoint, "tokenizer": tokenizer, "parallel": ParallelText(tuple(pairs)), "dictionary": words}

    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    figures: dict[str, Any] = {"source tokenizer": bits_per_byte(model, checkpoint.tokenizer(), measured)}
    print(f"source tokenizer: {figures['source tokenizer']:.3f}", flush=True)
    for name in ways.split(";"):
        method, options = WAYS[name]
        made = initializer(method, **used_evidence(method, given), **options)
        model = made.build_model(torch.float32).eval()
        plain = bits_per_byte(model, made.tokenizer, measured)
        calibrate(model, objective_for("clm", made.tokenizer), packed)
        calibrated = bits_per_byte(model, made.tokenizer, measured)
        figures[name] = {"as made": plain, "calibrated": calibrated}
        print(f"{name}: {plain:.3f}, calibrated {calibrated:.3f}", flush=True)
    if output is not None:
        settings = {"pairs": len(pairs), "entries": len(words.pairs), "vocab_size": len(tokenizer), "lines": lines}
        output.write_text(
            json.dumps({"settings": settings, "bits_per_byte": figures}, indent=2) + "\n", encoding="utf-8"
        )


def bits_per_byte(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lines: list[str]) -> float:
    """Of held-out text."""
    validation = ValidationSet.cut(lines, tokenizer, LENGTH, objective_for("clm", tokenizer))
    return measure(model, validation, tokenizer).bits_per_byte


if __name__ == "__main__":
    typer.run(main)

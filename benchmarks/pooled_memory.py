r"""Memory and time of `pooled` on a real decoder, against `ramen` on the same parallel text.

Each builds the new model's rows, and the whole checkpoint with its report and card, in a fresh process; peak memory is
the resident set of that whole process, interpreter and libraries included, and time is the processor's, on one thread.
Without `--tokenizer`, a byte-level BPE of `--vocab-size` is trained on the corpora and the target side of the pairs.

    python benchmarks/pooled_memory.py --source SmolLM2-135M --corpus de.txt.gz --dictionary en-de.tsv.gz \
        --parallel captions.tsv.gz:en,de --parallel news.tsv.gz:en,de --json results.json
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

MB = 1e6
ALLOWED_MB, ALLOWED_RATIO = 1200, 2.0
METHODS = ("ramen", "pooled")


def main(
    source: Annotated[str, typer.Option(help="A decoder: Hub id or folder.")],
    parallel: Annotated[list[str], typer.Option(help="FILE, or FILE:english,target; may be given several times.")],
    dictionary: Annotated[str, typer.Option(help="English TAB target.")],
    corpus: Annotated[list[Path] | None, typer.Option(help="Target text for the tokenizer, one text a line.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="A target tokenizer that is there.")] = None,
    vocab_size: Annotated[int, typer.Option(help="Of the target tokenizer, where one is trained.")] = 24_000,
    entries: Annotated[int, typer.Option(help="Of the dictionary, the first so many.")] = 60_000,
    output: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
    step: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure both."""
    if step in METHODS:
        return build(step, source, tokenizer or "", parallel[0], dictionary)
    if step == "prepare":
        return prepare(Path(tokenizer or ""), vocab_size, corpus or [], parallel, dictionary, entries)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        given = ["--vocab-size", vocab_size, "--entries", entries, "--dictionary", dictionary, "--tokenizer", folder]
        given += [part for path in corpus or [] for part in ("--corpus", path)]
        run("prepare", source, *given, *(part for text in parallel for part in ("--parallel", text)))
        made = ["--parallel", folder / "pairs.tsv", "--dictionary", folder / "dictionary.tsv"]
        made += ["--tokenizer", tokenizer or folder]
        figures: dict = {method: json.loads(run(method, source, *made)) for method in METHODS}
        for name in ("pairs", "dictionary"):
            figures[f"{name}_lines"] = len((folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines())
    ratio = figures["pooled"]["cpu_seconds"] / figures["ramen"]["cpu_seconds"]
    figures |= {"cpu_ratio": round(ratio, 2), "allowed_ratio": ALLOWED_RATIO, "allowed_mb": ALLOWED_MB}
    for method in METHODS:
        print(f"{method:8}{figures[method]['peak_mb']:6,.0f} MB {figures[method]['cpu_seconds']:6.1f} s of a processor")
    print(f"pooled took {ratio:.2f} × the time of ramen ({ALLOWED_RATIO} allowed; {ALLOWED_MB:,} MB allowed)")
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def run(step: str, source: str, *options: object) -> str:
    """Run one step of this script in a fresh process, on one thread, and return what it printed last."""
    command = [sys.executable, __file__, "--step", step, "--source", source, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    printed = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, env=environment)
    return (printed.stdout.decode().splitlines() or [""])[-1]


def prepare(
    folder: Path, vocab_size: int, corpora: list[Path], parallel: list[str], dictionary: str, entries: int
) -> None:
    """Write the pairs, the part of the dictionary and, where there are corpora, the tokenizer."""
    from hf_xlt.evidence.translations import read_dictionary, read_parallel
    from hf_xlt.files.text import text_lines
    from hf_xlt.tokenizers.train import train_tokenizer

    pairs = [pair for part in parallel for pair in read_parallel(part).pairs]
    words = read_dictionary(dictionary).pairs[:entries]
    for name, rows in (("pairs", pairs), ("dictionary", words)):
        text = "".join(f"{source}\t{target}\n" for source, target in rows)
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    if corpora:
        texts = [line for path in corpora for line in text_lines(path)] + [target for _, target in pairs]
        train_tokenizer(texts, vocab_size, "byte-level-bpe").save_pretrained(folder)


def build(method: str, source: str, tokenizer: str, parallel: str, dictionary: str) -> None:
    """Build by one method, and print the processor's seconds and the peak memory of this process."""
    from transformers import AutoTokenizer

    from hf_xlt.initializers import initializer

    given = {"dictionary": dictionary} if method == "pooled" else {}
    opened = AutoTokenizer.from_pretrained(tokenizer)
    began = time.process_time()
    made = initializer(method, source=source, tokenizer=opened, parallel=parallel, **given)
    with tempfile.TemporaryDirectory() as folder:
        made.build(Path(folder) / "model")
    counts, seconds = made.transport().counts, time.process_time() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB
    figures = {"peak_mb": round(peak, 1), "cpu_seconds": round(seconds, 1)}
    print(json.dumps(figures | {"copied": counts.copied, "mixed": counts.mixed, "drawn": counts.drawn}))


if __name__ == "__main__":
    typer.run(main)

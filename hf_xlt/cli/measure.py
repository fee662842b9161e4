"""Commands that measure models and set them side by side."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_xlt.cli.app import command, console, say
from hf_xlt.cli.options import TASKS, HarnessName, PrecisionName, Trust, asked_tasks, check_settings, several_of
from hf_xlt.errors import InputError

if TYPE_CHECKING:
    from hf_xlt.evaluation.config import EvaluationConfig
    from hf_xlt.evaluation.tasks.data import Data

Tasks = Annotated[
    str | None,
    typer.Option(help=f"Names with commas between them: {', '.join(TASKS)}.", autocompletion=several_of(TASKS)),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        help="TASK.ROLE=FILE, e.g. upos.test=de.conllu, or a .yaml file of them; of a table "
        "FILE:column,column@column=value; of a dataset of the Hub ID:CONFIG@SPLIT:column,column. "
        "Roles: train, dev, test."
    ),
]
Harness = Annotated[
    HarnessName | None,
    typer.Option(
        help="Whose tasks are named (the extra `harness`): its own, or some of your files. EleutherAI's lm-eval, for "
        "decoders and encoder-decoders, has multiple-choice, rolling-loglikelihood and language-model; mteb, for "
        "sentence encoders, has bitext, classification, sts and retrieval. Beside tasks of hf-xlt, without this "
        "option, they are called lm-eval/NAME and mteb/NAME."
    ),
]
Include = Annotated[
    str | None, typer.Option(help="With --harness lm-eval: a folder of YAML tasks. Python that they name is run.")
]
ZeroShot = Annotated[
    bool, typer.Option("--zero-shot", help="Learn in the source language: train and dev files are in it.")
]
SourceModel = Annotated[
    str | None,
    typer.Option(help="What a model with a new vocabulary was made from; its rows read the source language."),
]
Languages = Annotated[
    tuple[str, str] | None, typer.Option(help="Source and target language of a multilingual model (TreLM).")
]
Seeds = Annotated[str, typer.Option(help="Seeds of supervised tasks, with commas between them.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small budget: fewer examples and epochs.")]
Probe = Annotated[bool, typer.Option("--probe", help="Train only the heads, on the frozen encoder.")]
Layer = Annotated[
    int | None, typer.Option(help="Layer whose states the heads read, 0 for the embeddings; by default the last.")
]
Precision = Annotated[PrecisionName, typer.Option(help="Precision of the encoder in fine-tuning.")]
Dropout = Annotated[
    float | None,
    typer.Option(help="Dropout of the encoder in fine-tuning; by default its configuration's. 0 is faster on a CPU."),
]


@command
def evaluate(
    model: Annotated[str, typer.Argument(help="A Hub id or a folder.")],
    tasks: Tasks = None,
    data: DataOption = None,
    harness: Harness = None,
    include: Include = None,
    corpus: Annotated[
        str | None, typer.Option(help="In place of tasks: measure a language model on this text.")
    ] = None,
    length: Annotated[int, typer.Option(help="With --corpus: tokens a sequence.", min=8)] = 128,
    zero_shot: ZeroShot = False,
    source: SourceModel = None,
    languages: Languages = None,
    seeds: Seeds = "0",
    quick: Quick = False,
    probe: Probe = False,
    layer: Layer = None,
    precision: Precision = "float32",
    dropout: Dropout = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the results, MODEL/TASK.json. Results that it has are not computed again."),
    ] = None,
    trust_remote_code: Trust = False,
) -> None:
    """Measure a model: on tasks, or as a language model on a text.

    Examples: hf-xlt evaluate bert-large-german --corpus held_out.txt

    hf-xlt evaluate minilm-german --tasks retrieval,upos --source sentence-transformers/all-MiniLM-L6-v2 --zero-shot
    --data retrieval.test=en-de.tsv --data upos.train=en-train.conllu --data upos.dev=en-dev.conllu
    --data upos.test=de-test.conllu

    hf-xlt evaluate smollm2-german --harness lm-eval --tasks multiple-choice,hellaswag
    --data multiple-choice.test=questions.jsonl

    hf-xlt evaluate minilm-german --harness mteb --tasks sts,STS17/en-de --data sts.test=sts.tsv
    """
    from hf_xlt.evaluation.config import ModelSpec
    from hf_xlt.evaluation.evaluate import evaluate_model
    from hf_xlt.evaluation.language_model import evaluate_checkpoint
    from hf_xlt.report.tables import text_table

    if corpus is not None:
        if tasks is not None:
            raise InputError("Give --corpus or --tasks, not both: --tasks language-model measures on a text as well.")
        quality = evaluate_checkpoint(model, corpus, length, trust_remote_code)
        say(
            f"loss {quality.loss:.4f} nats a token, perplexity {quality.perplexity:,.2f}, "
            f"{quality.bits_per_byte:.4f} bits per byte"
        )
        return
    config = _config(zero_shot, seeds, quick, probe, layer, precision, dropout)
    spec = ModelSpec(model, source, languages, trust_remote_code)
    names = asked_tasks(tasks, harness)
    results = evaluate_model(spec, names, _data(names, data, harness, include), config, output)
    console.print(text_table(results.table()))
    if output is not None:
        say(f"Next: hf-xlt compare {model} ANOTHER-MODEL --output {output} with the same options")


@command
def compare(
    models: Annotated[list[str], typer.Argument(help="Hub ids or folders. The others are compared with the first.")],
    output: Annotated[
        Path, typer.Option(help="Folder for results and report.html. Results that it has are not computed again.")
    ],
    tasks: Tasks = None,
    data: DataOption = None,
    harness: Harness = None,
    include: Include = None,
    zero_shot: ZeroShot = False,
    source: SourceModel = None,
    languages: Languages = None,
    seeds: Seeds = "0",
    quick: Quick = False,
    probe: Probe = False,
    layer: Layer = None,
    precision: Precision = "float32",
    dropout: Dropout = None,
    parallel: Annotated[
        str | None,
        typer.Option(
            help="Translations, for a map of similar layers: between --source, which reads the first column, and each "
            "model, which reads the second; without --source between the first model and the others."
        ),
    ] = None,
    words: Annotated[
        str | None, typer.Option(help="Show the nearest tokens of these words; commas between them.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace report.html.")] = False,
    trust_remote_code: Trust = False,
) -> None:
    """Set models side by side: scores with intervals, paired differences, and one page that shows everything.

    Example: hf-xlt compare minilm-german minilm-german-random --tasks classification --data sib.yaml --output compared
    """
    from hf_xlt.report.comparison import PAGE, compare_models
    from hf_xlt.report.tables import text_table

    names = asked_tasks(tasks, harness)
    comparison = compare_models(
        models,
        names,
        _data(names, data, harness, include),
        _config(zero_shot, seeds, quick, probe, layer, precision, dropout),
        output,
        source=source,
        languages=languages,
        parallel=parallel,
        words=_list(words),
        overwrite=overwrite,
        trust_remote_code=trust_remote_code,
    )
    for table in comparison.tables():
        console.print(text_table(table))
    say(f"{output / PAGE}: tables, learning curves, similarity of layers, neighbors; open it in a browser.")


@command
def mine(
    model: Annotated[str, typer.Argument(help="A sentence encoder of both languages: a Hub id or a folder.")],
    corpus: Annotated[list[str], typer.Option(help="Text of the target language. May be given several times.")],
    source_corpus: Annotated[list[str], typer.Option(help="Text of the source language. May be given several times.")],
    output: Annotated[Path, typer.Option(help="Table of pairs to write; it appears when it is complete.")],
    threshold: Annotated[float, typer.Option(help="The least margin of a pair.")] = 1.06,
    most: Annotated[int, typer.Option(help="Lines of each language to look at, at most.", min=1)] = 100_000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the table if it exists.")] = False,
    trust_remote_code: Trust = False,
) -> None:
    """Find translation pairs in text of two languages: lines that are each other's nearest by margin.

    Example: hf-xlt mine minilm-german --corpus de.txt --source-corpus en.txt --output mined.tsv
    """
    from hf_xlt.files.folders import check_file
    from hf_xlt.mining import mine_pairs, sentences_of
    from hf_xlt.report.tables import text_table

    check_file(output, overwrite=overwrite, sources=[*corpus, *source_corpus])
    sides = sentences_of(source_corpus, most), sentences_of(corpus, most)
    mined = mine_pairs(model, *sides, threshold=threshold, trust_remote_code=trust_remote_code)
    console.print(text_table(mined.table()))
    mined.save(output, overwrite=overwrite)
    say(
        f"{output}: {len(mined.pairs):,} pairs. Next: train on them beside others, as --parallel {output}:source,target"
    )


@command
def structure(
    model_a: Annotated[str, typer.Argument(help="Reads the first column: a Hub id or a folder.")],
    model_b: Annotated[str, typer.Argument(help="Reads the second column; may be the same.")],
    parallel: Annotated[
        str, typer.Option(help="Translation pairs: .tsv, .tsv.gz; with a header row FILE:first,second.")
    ],
    languages: Annotated[
        tuple[str, str] | None, typer.Option(help="Languages of the two columns, for multilingual models (TreLM).")
    ] = None,
    sentences: Annotated[int, typer.Option(help="The most sentence pairs to compare.", min=1)] = 10_000,
    words: Annotated[int, typer.Option(help="The most word pairs in them; 0 for none.", min=0)] = 5_000,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 0,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    trust_remote_code: Trust = False,
) -> None:
    """Compare the representations of two models on translations: CKA, alignment, retrieval, layer by layer.

    Example: hf-xlt structure google-bert/bert-base-cased google-bert/bert-base-german-cased --parallel en-de.tsv
    """
    from hf_xlt.evaluation.structure import structure as compare_structure
    from hf_xlt.report.tables import text_table

    found = compare_structure(
        model_a,
        model_b,
        parallel,
        languages=languages or (None, None),
        sentences=sentences,
        words=words,
        seed=seed,
        output=output,
        overwrite=overwrite,
        trust_remote_code=trust_remote_code,
    )
    for table in found.tables():
        console.print(text_table(table))
    if output is not None:
        say(f"{output}: all figures.")


@command
def study(
    output: Annotated[Path, typer.Option(help="Folder of the study. Cells that it has are not trained again.")],
    grid: Annotated[Path | None, typer.Argument(help="A .yaml file; the shipped study without one.")] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Twice, LANGUAGE=FILE: text of the first and of the second language.")
    ] = None,
    parallel: Annotated[str | None, typer.Option(help="Translation pairs, first language first.")] = None,
    dictionary: Annotated[str | None, typer.Option(help="Words and translations, for extra anchors.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the study: training.steps=500, seeds=[0,1].")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Number of cells trained at the same time, each in a process of its own.", min=1)
    ] = 1,
) -> None:
    """Train a grid of small bilingual models, and see what makes their structure emerge.

    What the languages share (layers, embeddings, tokens, the kind of text) is changed one factor at a time. A killed
    study goes on with the cells that are left.

    Example: hf-xlt study --corpus en=en.txt.gz --corpus de=de.txt.gz --parallel en-de.tsv --output study
    """
    from hf_xlt.report.tables import text_table
    from hf_xlt.study import load_study, run_study

    check_settings(settings, [f"corpora.{text.partition('=')[0]}" for text in corpus or []])
    given = [f"corpora.{language}" for language in corpus or []]
    given += [f"{name}={value}" for name, value in (("parallel", parallel), ("dictionary", dictionary)) if value]
    results = run_study(load_study(grid, [*given, *(settings or [])]), output, workers)
    for table in results.tables():
        console.print(text_table(table))
    drawn = results.pictures(output)
    say(f"{output}: cells/*.json, {', '.join(path.name for path in drawn)}")


def _list(text: str | None) -> list[str]:
    return text.split(",") if text else []


def _data(names: list[str], data: list[str] | None, harness: str | None, include: str | None) -> "Data":
    """The data of tasks, and the folder that those of a harness are looked for in."""
    from hf_xlt.evaluation.tasks.data import parse_data
    from hf_xlt.evaluation.tasks.registry import task_named

    places = parse_data(data or [])
    if harness is None:
        return places
    places = {f"{harness}/{task}": roles for task, roles in places.items()}
    if include is not None:
        looked_for = [name for name in names if "include" in task_named(name).roles]
        if not looked_for:
            raise InputError("--include has no task to look for", value=include, expected="one of its tasks in --tasks")
        for name in looked_for:
            places.setdefault(name, {})["include"] = include
    return places


def _config(
    zero_shot: bool, seeds: str, quick: bool, probe: bool, layer: int | None, precision: str, dropout: float | None
) -> "EvaluationConfig":
    from hf_xlt.evaluation.config import EvaluationConfig, FineTuningConfig

    try:
        numbers = tuple(int(seed) for seed in seeds.split(","))
    except ValueError as error:
        raise InputError(f"--seeds {seeds!r} is not a list of numbers", value=seeds, expected="e.g. 0,1,2") from error
    tuning = FineTuningConfig().probe() if probe else FineTuningConfig()
    tuning = tuning.quick() if quick else tuning
    return EvaluationConfig(zero_shot, numbers, replace(tuning, layer=layer, precision=precision, dropout=dropout))

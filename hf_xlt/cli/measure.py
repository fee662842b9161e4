"""Commands that measure models and set them side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_xlt.cli.app import command, console, say
from hf_xlt.cli.effect import check_settings
from hf_xlt.cli.options import TASKS, PrecisionName, Trust, several_of
from hf_xlt.errors import InputError

if TYPE_CHECKING:
    from hf_xlt.evaluation.evaluate import Examination
    from hf_xlt.evaluation.tasks.budget import Budget
    from hf_xlt.evaluation.tasks.direct import ModelAsked

Tasks = Annotated[
    str | None, typer.Option(help=f"Comma between them: {', '.join(TASKS)}.", autocompletion=several_of(TASKS))
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        help="TASK.ROLE=FILE, e.g. upos.test=de.conllu, or a .yaml file of them; of a table "
        "FILE:column,column@column=value. Roles: train, dev, test."
    ),
]
ZeroShot = Annotated[
    bool, typer.Option("--zero-shot", help="Learn in the source language: train and dev files are in it.")
]
SourceModel = Annotated[
    str | None,
    typer.Option(help="What a model with a new vocabulary was made from; its rows read the source language."),
]
Languages = Annotated[
    tuple[str, str] | None, typer.Option(help="Source and target language of a model of several (TreLM).")
]
Seeds = Annotated[str, typer.Option(help="Seeds of supervised tasks, comma between them.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small budget: fewer examples and epochs.")]
Probe = Annotated[bool, typer.Option("--probe", help="Train only the heads, on the frozen encoder.")]
Layer = Annotated[int | None, typer.Option(help="Whose states heads get, 0 for the embeddings; the last by default.")]
Precision = Annotated[PrecisionName, typer.Option(help="What the encoder computes in while a task is learned.")]
Dropout = Annotated[
    float | None,
    typer.Option(help="Of the encoder while it learns; as its configuration says by default. 0 is faster on a CPU."),
]


@command
def evaluate(
    model: Annotated[str, typer.Argument(help="A Hub id or a folder.")],
    tasks: Tasks = None,
    data: DataOption = None,
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
        Path | None, typer.Option(help="Folder for the results, MODEL/TASK.json; what is there is not done again.")
    ] = None,
    trust_remote_code: Trust = False,
) -> None:
    """Measure a model: on tasks, or as a language model on a text.

    Examples: hf-xlt evaluate bert-large-german --corpus held_out.txt

    hf-xlt evaluate minilm-german --tasks retrieval,upos --source sentence-transformers/all-MiniLM-L6-v2 --zero-shot
    --data retrieval.test=en-de.tsv --data upos.train=en-train.conllu --data upos.dev=en-dev.conllu
    --data upos.test=de-test.conllu
    """
    from hf_xlt.evaluation.checkpoint import evaluate_checkpoint
    from hf_xlt.evaluation.evaluate import evaluate_model
    from hf_xlt.evaluation.tables import results_card_table
    from hf_xlt.evaluation.tasks.direct import ModelAsked
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
    budget = replace(_budget(quick, probe), layer=layer, precision=precision, dropout=dropout)
    examination = _examination(tasks, data, zero_shot, seeds, budget)
    results = evaluate_model(ModelAsked(model, source, languages, trust_remote_code), examination, output)
    console.print(text_table(results_card_table(results)))
    if output is not None:
        say(f"Next: hf-xlt compare {model} ANOTHER-MODEL --output {output} with the same options")


@command
def compare(
    models: Annotated[
        list[str], typer.Argument(help="Hub ids or folders; the first is what others are compared with.")
    ],
    output: Annotated[
        Path, typer.Option(help="Folder for results and report.html; results that are there are not made again.")
    ],
    tasks: Tasks = None,
    data: DataOption = None,
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
    words: Annotated[str | None, typer.Option(help="Words whose nearest tokens to show, comma between them.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace report.html.")] = False,
    trust_remote_code: Trust = False,
) -> None:
    """Set models side by side: scores with intervals, paired differences, and one page that shows everything.

    Example: hf-xlt compare minilm-german minilm-german-random --tasks classification --data sib.yaml --output compared
    """
    from hf_xlt.evaluation.compare import compare_results
    from hf_xlt.evaluation.evaluate import check_results_folder, evaluate_model, metric_of
    from hf_xlt.evaluation.neighbours import nearest_tokens
    from hf_xlt.evaluation.structure import structure as compare_structure
    from hf_xlt.evaluation.tables import comparison_table
    from hf_xlt.evidence.parallel import read_parallel
    from hf_xlt.evidence.skipped import told
    from hf_xlt.report.page import check_report, write_report
    from hf_xlt.report.page.comparison import comparison_report, curves_of
    from hf_xlt.report.tables import text_table

    if len(set(models)) != len(models) or len(models) < 2:
        raise InputError(f"Nothing to compare in {', '.join(models)}; name two or more different models.")
    page = output / "report.html"
    check_results_folder(output)
    if output.exists():
        check_report(page, overwrite=overwrite)
    budget = replace(_budget(quick, probe), layer=layer, precision=precision, dropout=dropout)
    examination = _examination(tasks, data, zero_shot, seeds, budget)
    asked = _asked(models, source, languages, trust_remote_code)
    pairs = None if parallel is None else told(read_parallel(parallel)).pairs
    by_model = [evaluate_model(model, examination, output) for model in asked]
    compared = {
        name: compare_results(results, metric_of(results[0]))
        for name, results in zip(examination.tasks, zip(*by_model, strict=True), strict=True)
    }
    for task, lines in compared.items():
        console.print(text_table(comparison_table(task, lines)))
    structures = []
    if pairs is not None:
        first, others = (source, models) if source else (models[0], models[1:])
        both = pairs if source else [(target, target) for _, target in pairs]
        structures = [
            compare_structure(first, other, both, words=0, trust_remote_code=trust_remote_code) for other in others
        ]
    asked_words = words.split(",") if words else []
    neighbours = {
        model: nearest_tokens(model, asked_words, trust_remote_code=trust_remote_code)
        for model in models
        if asked_words
    }
    curves = {model: found for model in models if (found := curves_of(model))}
    write_report(page, comparison_report(compared, curves, structures, neighbours), overwrite=overwrite)
    say(f"{page}: tables, learning curves, similarity of layers, neighbours; open it in a browser.")


@command
def structure(
    model_a: Annotated[str, typer.Argument(help="Reads the first column: a Hub id or a folder.")],
    model_b: Annotated[str, typer.Argument(help="Reads the second column; may be the same.")],
    parallel: Annotated[
        str, typer.Option(help="Translation pairs: .tsv, .tsv.gz; with a header row FILE:first,second.")
    ],
    languages: Annotated[
        tuple[str, str] | None, typer.Option(help="Languages of the two columns, for models of several (TreLM).")
    ] = None,
    sentences: Annotated[int, typer.Option(help="The most sentence pairs to compare.", min=1)] = 10_000,
    words: Annotated[int, typer.Option(help="The most word pairs in them; 0 for none.", min=0)] = 5_000,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
    output: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    trust_remote_code: Trust = False,
) -> None:
    """Compare the representations of two models on translations: CKA, alignment, retrieval, layer by layer.

    Example: hf-xlt structure google-bert/bert-base-cased google-bert/bert-base-german-cased --parallel en-de.tsv
    """
    from hf_xlt.evaluation.structure import Structure
    from hf_xlt.evaluation.structure import structure as compare_structure
    from hf_xlt.evaluation.structure import tables as structure_tables
    from hf_xlt.evidence.parallel import read_parallel
    from hf_xlt.evidence.skipped import told
    from hf_xlt.files.folders import check_file, write_whole
    from hf_xlt.files.place import file_of
    from hf_xlt.report.tables import text_table

    if output is not None:
        read = (model_a, model_b, file_of(parallel))
        check_file(output, overwrite=overwrite, ours=Structure.is_file, sources=read)
    pairs = told(read_parallel(parallel)).pairs
    found = compare_structure(
        model_a,
        model_b,
        pairs,
        languages=languages or (None, None),
        sentences=sentences,
        words=words,
        seed=seed,
        trust_remote_code=trust_remote_code,
    )
    for table in structure_tables(found):
        console.print(text_table(table))
    if output is not None:
        write_whole(output, found.to_json())
        say(f"{output}: all figures.")


@command
def study(
    output: Annotated[Path, typer.Option(help="Folder of the study; what is done there is not done again.")],
    grid: Annotated[Path | None, typer.Argument(help="A .yaml file; the shipped study without one.")] = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Twice, LANGUAGE=FILE: text of the first and of the second language.")
    ] = None,
    parallel: Annotated[str | None, typer.Option(help="Translation pairs, first language first.")] = None,
    dictionary: Annotated[str | None, typer.Option(help="Words and translations, for extra anchors.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change the study: training.steps=500, seeds=[0,1].")
    ] = None,
    workers: Annotated[int, typer.Option(help="Cells trained at a time, in processes of their own.", min=1)] = 1,
) -> None:
    """Train a grid of small bilingual models, and see what makes their structure emerge.

    What the languages share (layers, embeddings, tokens, the kind of text) is changed one factor at a time. A killed
    study goes on with the cells that are left.

    Example: hf-xlt study --corpus en=en.txt.gz --corpus de=de.txt.gz --parallel en-de.tsv --output study
    """
    from hf_xlt.report.tables import text_table
    from hf_xlt.study import load_study, pictures, run_study
    from hf_xlt.study import tables as study_tables

    check_settings(settings, [f"corpora.{text.partition('=')[0]}" for text in corpus or []])
    given = [f"corpora.{language}" for language in corpus or []]
    given += [f"{name}={value}" for name, value in (("parallel", parallel), ("dictionary", dictionary)) if value]
    results = run_study(load_study(grid, [*given, *(settings or [])]), output, workers)
    for table in study_tables(results):
        console.print(text_table(table))
    drawn = pictures(results, output)
    say(f"{output}: cells/*.json, {', '.join(path.name for path in drawn)}")


def _asked(
    models: list[str], source: str | None, languages: tuple[str, str] | None, trust_remote_code: bool
) -> list[ModelAsked]:
    """The models to compare, all of them there before one is measured; languages are those of models of several."""
    from hf_xlt.checkpoint.open import Checkpoint
    from hf_xlt.evaluation.tasks.direct import ModelAsked
    from hf_xlt.trelm import TreLMConfig

    configs = [Checkpoint.open(model, trust_remote_code=trust_remote_code).config for model in models]
    several = [isinstance(config, TreLMConfig) for config in configs]
    if languages and not any(several):
        raise InputError("--languages is for models of several (TreLM), and none of these is one. Leave it out.")
    return [
        ModelAsked(model, source, languages if own else None, trust_remote_code)
        for model, own in zip(models, several, strict=True)
    ]


def _budget(quick: bool, probe: bool) -> Budget:
    from hf_xlt.evaluation.tasks.budget import Budget

    budget = Budget().probe() if probe else Budget()
    return budget.quick() if quick else budget


def _examination(tasks: str | None, data: list[str] | None, zero_shot: bool, seeds: str, budget: Budget) -> Examination:
    from hf_xlt.evaluation.evaluate import Examination
    from hf_xlt.evaluation.tasks.data import read_data

    try:
        numbers = tuple(int(seed) for seed in seeds.split(","))
    except ValueError as error:
        raise InputError(f"--seeds {seeds!r} is not a list of numbers; expected e.g. 0,1,2.") from error
    names = tuple(tasks.split(",")) if tasks else ()
    return Examination(names, read_data(data or []), zero_shot, numbers, budget)

"""Commands that make models and explain them, and those about recipes."""

import json
import re
import shlex
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_xlt.cli import options
from hf_xlt.cli.app import Command, app, command, command_line, console, say
from hf_xlt.errors import InputError

_OF_LANGUAGE = re.compile(r"([a-z]{2,3}(?:-[A-Za-z0-9]+)?)=(.+)")  # de=en-de.tsv


@command
def demo(
    recipe: Annotated[options.Demonstration, typer.Option(help="Which recipe to show.")] = "clp",
    output: options.Output = Path("hf-xlt-demo"),
    overwrite: options.Overwrite = False,
    seeds: Annotated[int, typer.Option(help="Number of seeds for each method.", min=1)] = 1,
) -> None:
    """Teach German to the embedded English model, offline, in a few minutes, and show what was saved."""
    from hf_xlt.demo import run_demo

    run_demo(recipe, output, console, command=command_line(), seeds=seeds, overwrite=overwrite)


@command
def initialize(
    method: Annotated[
        str,
        typer.Argument(
            help=f"How target rows are made: {', '.join(options.METHODS)}; or auto.",
            autocompletion=options.one_of((*options.METHODS, "auto")),
        ),
    ],
    output: options.Output,
    source: options.Source = None,
    tokenizer: options.Tokenizer = None,
    helper: options.Helper = None,
    donor: options.Donor = None,
    dictionary: options.DictionaryFiles = None,
    parallel: options.ParallelFiles = None,
    vectors: options.VectorsFile = None,
    source_vectors: options.SourceVectorsFile = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Text of the target language, for the report on the rows: files or Hub dataset ids."),
    ] = None,
    source_corpus: Annotated[str | None, typer.Option(help="Text of the source language, for adversarial.")] = None,
    weighting: Annotated[options.Weighting | None, typer.Option(help="How cosines become weights.")] = None,
    k: Annotated[int | None, typer.Option(help="Source tokens in a row.", min=1)] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of the softmax, for top-k.")] = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="Match tokens that differ in case only.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Calibrate the output head on --corpus; for this the whole model is loaded."),
    ] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Another option of the method: seed=1.")] = None,
    chat_template: options.ChatTemplate = None,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.Trust = False,
) -> None:
    """Make a target-language checkpoint without training, and report on its rows. The model is never loaded as a whole.

    What a method needs, it asks for; auto takes the method that makes most of what is given, and says why.

    Examples: hf-xlt initialize clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased
    --output bert-large-german

    hf-xlt initialize auto --source google-bert/bert-base-cased --tokenizer google-bert/bert-base-german-cased
    --parallel en-de.tsv --dictionary en-de.txt --output bert-base-german
    """
    from hf_xlt.checkpoint.contents import left_behind
    from hf_xlt.checkpoint.rewrite import chat_of
    from hf_xlt.files.folders import check_output
    from hf_xlt.files.plain_yaml import set_value
    from hf_xlt.initializers.evidence import check_files, evidence_facts, read_places
    from hf_xlt.initializers.health import Health, health_tables
    from hf_xlt.initializers.registry import AUTO, choose, initializer, unused_evidence, used_evidence
    from hf_xlt.report.tables import example_token, text_table

    given = {"source": source, "tokenizer": tokenizer, "helper": helper, "donor": donor,
             "dictionary": _named(dictionary), "parallel": _named(parallel), "vectors": vectors,
             "source_vectors": source_vectors, "corpus": _named(corpus), "source_corpus": source_corpus}  # fmt: skip
    given = {name: value for name, value in given.items() if value}
    check_files(given)
    if method == AUTO:
        choice = choose(given)
        method = choice.method
        say(f"Taking {method}: {choice.reason}.")
    check_output(output, overwrite=overwrite, sources=read_places(given))
    flags = {"weighting": weighting, "k": k, "temperature": temperature, "ignore_case": ignore_case or None}
    chosen = {name: value for name, value in flags.items() if value is not None}
    options.check_settings(settings, chosen)
    for setting in settings or []:
        set_value(chosen, setting)
    made = initializer(method, **used_evidence(method, given), **({"trust_remote_code": trust_remote_code} | chosen))
    if unused := unused_evidence(method, given):
        say(f"Not used by {method}: {', '.join('--' + name.replace('_', '-') for name in unused)}.")
    chat = chat_of(made.source, made.tokenizer, chat_template)
    built = made.build(
        output,
        overwrite=overwrite,
        chat_template=chat_template,
        command=command_line(),
        corpus=corpus or None,
        calibrate=calibrate,
        evidence=evidence_facts(given, unused),
    )
    for table in health_tables(Health.load(built)):
        console.print(text_table(table))
    counts = asdict(made.transport().counts)
    say(f"{built}: {', '.join(f'{count:,} {origin}' for origin, count in counts.items() if count)} rows.")
    if chat.notice is not None:
        say(chat.notice)
    if gone := left_behind(made.source.folder, built):
        say(f"Left behind, as of the old model or of no known use to the new one: {', '.join(gone)}.")
    shown = example_token(made.transport())
    explained = "" if shown is None else f"{shlex.join(['hf-xlt', 'explain', str(built), shown])}, or "
    say(f"Next: {explained}train it: hf-xlt run --help")


@command
def run(
    recipe: options.RecipeName,
    output: options.Output,
    source: options.Source = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Target tokenizer; without one, the helper's or donor's, or one trained on the corpus."),
    ] = None,
    helper: options.Helper = None,
    donor: options.Donor = None,
    corpus: Annotated[
        list[str] | None, typer.Option(help="Text to train on: a file or a Hub dataset id. May be given several times.")
    ] = None,
    source_corpus: Annotated[
        str | None, typer.Option(help="The same in the source language: for trelm, ramen and stages that replay it.")
    ] = None,
    parallel: options.LanguageFiles = None,
    dictionary: options.DictionaryFiles = None,
    vectors: options.VectorsFile = None,
    source_vectors: options.SourceVectorsFile = None,
    languages: Annotated[
        tuple[str, str] | None, typer.Option(help="Codes of source and target language, for trelm and ramen.")
    ] = None,
    held_out: Annotated[str | None, typer.Option(help="Text to measure on; by default lines of the corpus.")] = None,
    language: Annotated[str | None, typer.Option(help="Code of the target language, for the card.")] = None,
    license: Annotated[str | None, typer.Option(help="License, for the card.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also train the baselines on the same data.")] = False,
    probe: Annotated[
        int | None,
        typer.Option(
            help="Train every candidate for this many steps and go on with the best. 0: no probe, the first candidate."
        ),
    ] = None,
    settings: options.Changes = None,
    chat_template: options.ChatTemplate = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be made, and from what.")] = False,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.Trust = False,
) -> None:
    """Carry out a recipe: initialize, train on the target language, measure, write model, card and pictures.

    A killed run goes on where it stopped when the same command is given again.

    Example: hf-xlt run clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased
    --corpus de.txt.gz --output bert-large-german --compare
    """
    from hf_xlt.recipes import load_recipe

    given = {"source": source, "target_tokenizer": tokenizer, "helper": helper, "donor": donor,
             "language": language, "license": license,
             "data.corpus": _named(corpus), "data.source_corpus": source_corpus, **_pairs(parallel),
             "data.dictionary": _named(dictionary), "data.vectors": vectors, "data.source_vectors": source_vectors,
             "data.held_out": held_out, "probe": probe, "trelm.languages": languages and list(languages),
             "chat_template": chat_template, "trust_remote_code": trust_remote_code or None}  # fmt: skip
    given = {key: value for key, value in given.items() if value is not None}
    options.check_settings(settings, given)
    overrides = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
    if languages and load_recipe(recipe).trelm is None:
        raise InputError(f"--languages is for recipes of two languages, such as trelm and ramen; {recipe} is none.")
    loaded = load_recipe(recipe, [*overrides, *(settings or [])])

    from hf_xlt.checkpoint.tokenizer import open_tokenizer
    from hf_xlt.files.folders import check_output
    from hf_xlt.report.tables import results_table, text_table
    from hf_xlt.runs import plan_run, run_recipe
    from hf_xlt.runs.kinds import kind_of_run

    if dry_run:
        check_output(output, overwrite=overwrite, sources=loaded.places)
        console.print(text_table(plan_run(loaded, compare=compare).table()))
        say(f"Nothing was made. Without --dry-run it would be in {output}.")
        return
    results = run_recipe(loaded, output, command_line(), compare=compare, overwrite=overwrite)
    kind = kind_of_run(loaded)(loaded)
    if kind.result_rows(results):
        console.print(results_table(results.summaries))
    for table in kind.tables(results):
        console.print(text_table(table))
    chat = kind.inputs.chat(open_tokenizer(output, trust_remote_code=loaded.trusts_code))
    if chat.notice is not None:
        say(chat.notice)
    pictures = ", ".join(sorted(path.name for path in output.glob("*.png")))
    say(f"{output}: model, README.md (card), results.json, {pictures}, recipe.yaml")
    say(f"Next: hf-xlt push {output} YOUR-NAME/{output.name}")


@command
def explain(
    folder: Annotated[Path, typer.Argument(help="A model that hf-xlt made.")],
    tokens: Annotated[list[str] | None, typer.Argument(help="Tokens of its vocabulary.")] = None,
    text: Annotated[str | None, typer.Option(help="Show every token of this text once.")] = None,
    k: Annotated[int, typer.Option(help="Source tokens to show.", min=1)] = 5,
    trust_remote_code: options.Trust = False,
) -> None:
    """Show what source tokens the rows of a model's tokens are made of, and by what evidence.

    Example: hf-xlt explain bert-large-german --text "Der Hund schläft."
    """
    from hf_xlt.checkpoint.tokenizer import open_tokenizer
    from hf_xlt.initializers.base import TRANSPORT_FILE
    from hf_xlt.report.tables import explanation_table
    from hf_xlt.transport import Transport

    transport = Transport.load(folder / TRANSPORT_FILE)
    asked = list(tokens or [])
    if text is not None:
        cut = open_tokenizer(folder, trust_remote_code=trust_remote_code)
        asked += [transport.target_names[id_] for id_ in cut(text, add_special_tokens=False)["input_ids"]]
    if not asked:
        raise InputError("There is nothing to explain; name tokens of the model, or give a text with --text.")
    console.print(explanation_table(transport, list(dict.fromkeys(asked)), k))


def _pairs(files: list[str] | None) -> dict[str, Any]:
    """Files of translation pairs as a recipe's values: each with a language code before it, or none of them."""
    named = {match[1]: match[2] for file in files or () if (match := _OF_LANGUAGE.fullmatch(file))}
    if not named:
        return {"data.parallel": _named(files)}
    if len(named) < len(files or ()):
        hint = "Write it before each, as --parallel de=en-de.tsv --parallel id=en-id.tsv, each language once."
        raise InputError("Some files of --parallel have no language of their own", value=files, hint=hint)
    return {"data.translations": named}


def _named(files: list[str] | None) -> str | list[str] | None:
    """An option that may be given several times, as a recipe's value: a name, or a list of names."""
    return files[0] if files and len(files) == 1 else files or None


@command
def tokenizer(
    corpus: options.CorpusFiles,
    output: options.Output,
    like: Annotated[str | None, typer.Option(help="Model whose tokenizer to imitate: a Hub id or a folder.")] = None,
    extend: Annotated[
        str | None, typer.Option(help="Model whose tokenizer to keep and add tokens to: a Hub id or a folder.")
    ] = None,
    added: Annotated[int, typer.Option(help="With --extend: tokens to add.")] = 5000,
    family: Annotated[options.Family, typer.Option(help="Without --like or --extend.")] = "byte-level-bpe",
    vocab_size: Annotated[int, typer.Option(help="Size of the vocabulary; not for --extend.")] = 32000,
    dictionary: Annotated[
        list[str] | None,
        typer.Option(help="Words and translations, source first: translations are text too. May be given again."),
    ] = None,
    min_frequency: Annotated[int, typer.Option(help="Least frequency of an entry; not for --extend.")] = 1,
    lowercase: Annotated[
        bool | None,
        typer.Option("--lowercase/--cased", help="Lowercase the text or not; by default as --like does, else not."),
    ] = None,
    strip_accents: Annotated[
        bool, typer.Option("--strip-accents/--keep-accents", help="Take accents, vowel signs and tone marks away.")
    ] = False,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.Trust = False,
) -> None:
    """Train a tokenizer on a corpus: like an existing model's, as more tokens for it, or of one of the known families.

    It keeps accents and whatever else tells words apart, also where the model that it is like does not.

    Example: hf-xlt tokenizer --extend google-bert/bert-base-cased --added 5000 --corpus de.txt.gz --output bert-german
    """
    from hf_xlt.checkpoint.tokenizer import open_tokenizer
    from hf_xlt.evidence.translations import read_dictionary
    from hf_xlt.files.corpora import Corpus
    from hf_xlt.files.folders import atomic_folder
    from hf_xlt.tokenizers.extend import extend_tokenizer
    from hf_xlt.tokenizers.train import check_numbers, train_tokenizer, train_tokenizer_like

    if like is not None and extend is not None:
        raise InputError("--like trains a new tokenizer and --extend keeps the old one; give one of them.")
    words = () if not dictionary else (target for _, target in read_dictionary(dictionary).pairs)
    lines = chain(Corpus.of(corpus).lines(), words)
    check_numbers(vocab_size, min_frequency)
    read = (*corpus, *(dictionary or ()), like, extend)
    with atomic_folder(output, overwrite=overwrite, sources=read) as folder:
        old = extend if like is None else like
        opened = None if old is None else open_tokenizer(old, trust_remote_code=trust_remote_code)
        how: dict[str, Any] = {"min_frequency": min_frequency, "strip_accents": strip_accents}
        trained: Any  # a tokenizer
        if opened is None:
            trained = train_tokenizer(lines, vocab_size, family, lowercase=bool(lowercase), **how)
        elif like is not None:
            trained = train_tokenizer_like(opened, lines, vocab_size, lowercase=lowercase, **how)
        else:
            trained = extend_tokenizer(opened, lines, added)
        trained.save_pretrained(folder)
    say(f"{output}: {len(trained):,} entries.")


recipes = typer.Typer(name="recipe", help="Recipes: one to start from, and what it will do.", no_args_is_help=True)
app.add_typer(recipes)


@recipes.command(cls=Command)
def show(recipe: options.RecipeName) -> None:
    """Print a recipe to start from: hf-xlt recipe show clp > mine.yaml."""
    from hf_xlt.recipes.recipe import recipe_file

    console.print(
        recipe_file(recipe).read_text(encoding="utf-8"), end="", soft_wrap=True, highlight=False, markup=False
    )


@recipes.command(cls=Command)
def check(
    recipe: options.RecipeName,
    settings: options.Changes = None,
    compare: Annotated[bool, typer.Option("--compare", help="With the baselines.")] = False,
) -> None:
    """Say what a recipe will do, without doing it: variants, rows, steps, tokens, memory and disk.

    Example: hf-xlt recipe check mine.yaml --set source=google-bert/bert-base-cased --set data.corpus=de.txt.gz
    """
    from hf_xlt.recipes import load_recipe
    from hf_xlt.report.tables import text_table
    from hf_xlt.runs import plan_run

    options.check_settings(settings)
    plan = plan_run(load_recipe(recipe, settings or []), compare=compare)
    console.print(text_table(plan.table()))
    say(f"Next: hf-xlt run {recipe} --output FOLDER, with the same settings")


@recipes.command(cls=Command)
def schema() -> None:
    """Print the JSON schema of recipes, for an editor that checks YAML while you type."""
    from hf_xlt.recipes import recipe_schema

    console.print(json.dumps(recipe_schema(), indent=2), soft_wrap=True, highlight=False, markup=False)

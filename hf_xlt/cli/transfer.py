"""Commands that make models, explain them and publish them."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_xlt.checkpoint import atomic_folder
from hf_xlt.cli.app import app, command_line, console, say
from hf_xlt.cli.options import (
    CorpusFiles,
    DictionaryFiles,
    Donor,
    Helper,
    Output,
    Overwrite,
    ParallelFiles,
    Source,
    SourceVectorsFile,
    Tokenizer,
    Trust,
    VectorsFile,
)
from hf_xlt.data.corpora import Corpus
from hf_xlt.data.extension import extend_tokenizer
from hf_xlt.data.tokenizer import (
    FAMILIES,
    MIN_FREQUENCY,
    check_numbers,
    open_tokenizer,
    train_tokenizer,
    train_tokenizer_like,
)
from hf_xlt.demo import run_demo
from hf_xlt.errors import InputError
from hf_xlt.evaluation.health import Health, health_tables
from hf_xlt.evidence.dictionary import read_dictionaries
from hf_xlt.hub import push as upload
from hf_xlt.initializers import AUTO, METHODS, TRANSPORT_FILE, Evidence, choose, initializer_for
from hf_xlt.initializers.evidence import flag
from hf_xlt.recipes import load_recipe, run_recipe, set_value, shipped_recipes
from hf_xlt.recipes.card import retrieval_tables
from hf_xlt.recipes.trade_off import language_tables
from hf_xlt.report import explanation_table, results_table, text_table
from hf_xlt.transport import Transport


@app.command()
def demo(
    recipe: Annotated[str, typer.Option(help="Which recipe to show.")] = "clp",
    output: Output = Path("hf-xlt-demo"),
    overwrite: Overwrite = False,
    seeds: Annotated[int, typer.Option(help="How often to train each method.", min=1)] = 1,
) -> None:
    """Teach German to the embedded English model, offline, in about three minutes, and show what was saved."""
    run_demo(recipe, output, console, command=command_line(), seeds=seeds, overwrite=overwrite)


@app.command()
def initialize(
    method: Annotated[str, typer.Argument(help=f"How target rows are made: {', '.join(METHODS)}; or {AUTO}.")],
    output: Output,
    source: Source = None,
    tokenizer: Tokenizer = None,
    helper: Helper = None,
    donor: Donor = None,
    dictionary: DictionaryFiles = None,
    parallel: ParallelFiles = None,
    vectors: VectorsFile = None,
    source_vectors: SourceVectorsFile = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Text of the target language, to judge the rows by: files or Hub dataset ids."),
    ] = None,
    source_corpus: Annotated[str | None, typer.Option(help="Text of the source language, for adversarial.")] = None,
    weighting: Annotated[
        str | None, typer.Option(help="How cosines become weights: paper, positive, top-k or sparsemax.")
    ] = None,
    k: Annotated[int | None, typer.Option(help="Source tokens in a row.", min=1)] = None,
    temperature: Annotated[float | None, typer.Option(help="What similarities are divided by, for top-k.")] = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", help="Match tokens that differ in case only.")] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Another option of the method: seed=1.")] = None,
    overwrite: Overwrite = False,
    trust_remote_code: Trust = False,
) -> None:
    """Make a target-language checkpoint without training, streaming it past memory, and show how healthy its rows are.

    What a method needs, it asks for; auto takes the method that makes most of what is given, and says why.

    Examples: hf-xlt initialize clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased
    --output bert-large-german

    hf-xlt initialize auto --source google-bert/bert-base-cased --tokenizer google-bert/bert-base-german-cased
    --parallel en-de.tsv --dictionary en-de.txt --output bert-base-german
    """
    evidence = Evidence(
        source=source,
        tokenizer=None if tokenizer is None else open_tokenizer(tokenizer),
        helper=helper,
        donor=donor,
        dictionary=dictionary or None,
        parallel=parallel or None,
        vectors=vectors,
        source_vectors=source_vectors,
        corpus=corpus or None,
        source_corpus=source_corpus,
        trust_remote_code=trust_remote_code,
    )
    if method == AUTO:
        choice = choose(evidence)
        method = choice.method
        say(f"Taking {method}: {choice.reason}.")
    flags = {"weighting": weighting, "k": k, "temperature": temperature, "ignore_case": ignore_case or None}
    options = {"method": method, **{name: value for name, value in flags.items() if value is not None}}
    for setting in settings or []:
        set_value(options, setting)
    initializer = initializer_for(options, evidence)
    if unused := METHODS[method].unused(evidence):
        say(f"Not used by {method}: {', '.join(map(flag, unused))}.")
    built = initializer.build(
        output, overwrite=overwrite, command=command_line(), corpus=corpus or None, evidence=evidence.facts(unused)
    )
    for table in health_tables(Health.load(built)):
        console.print(text_table(table))
    counts = asdict(initializer.transport().counts)
    say(f"{built}: {', '.join(f'{count:,} {origin}' for origin, count in counts.items() if count)} rows.")
    say(f"Next: hf-xlt explain {built} Hund, or train it: hf-xlt run --help")


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help=f"A shipped recipe ({', '.join(shipped_recipes())}) or a .yaml file.")],
    output: Output,
    source: Source = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Target tokenizer; without one, the helper's or donor's, or one trained on the corpus."),
    ] = None,
    helper: Helper = None,
    donor: Donor = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Text to train on: a file or a Hub dataset id. May be given several times."),
    ] = None,
    source_corpus: Annotated[
        str | None, typer.Option(help="The same in the source language, for trelm and ramen.")
    ] = None,
    parallel: ParallelFiles = None,
    dictionary: DictionaryFiles = None,
    vectors: VectorsFile = None,
    source_vectors: SourceVectorsFile = None,
    languages: Annotated[
        tuple[str, str] | None, typer.Option(help="Codes of source and target language, for trelm and ramen.")
    ] = None,
    held_out: Annotated[str | None, typer.Option(help="Text to measure on; by default lines of the corpus.")] = None,
    language: Annotated[str | None, typer.Option(help="Code of the target language, for the card.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence, for the card.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Also train the baselines on the same data.")] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: stages.0.steps=500.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Carry out a recipe: initialise, train on the target language, measure, write model, card and pictures.

    A killed run goes on where it stopped when the same command is given again.

    Example: hf-xlt run clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased
    --corpus de.txt.gz --output bert-large-german --compare
    """
    given = {"source": source, "target_tokenizer": tokenizer, "helper": helper, "donor": donor,
             "language": language, "license": license,
             "data.corpus": _named(corpus), "data.source_corpus": source_corpus, "data.parallel": _named(parallel),
             "data.dictionary": _named(dictionary), "data.vectors": vectors, "data.source_vectors": source_vectors,
             "data.held_out": held_out, "trelm.languages": languages and list(languages)}  # fmt: skip
    overrides = [f"{key}={value}" for key, value in given.items() if value is not None]
    loaded = load_recipe(recipe, [*overrides, *(settings or [])])
    results = run_recipe(loaded, output, command_line(), compare=compare, overwrite=overwrite)
    if not loaded.only_distils:
        console.print(results_table(results.summaries))
    for table in (*language_tables(results), *retrieval_tables(results)):
        console.print(text_table(table))
    pictures = ", ".join(sorted(path.name for path in output.glob("*.png")))
    say(f"{output}: model, README.md (card), results.json, {pictures}, recipe.yaml")
    say(f"Next: hf-xlt push {output} YOUR-NAME/{output.name}")


@app.command()
def explain(
    folder: Annotated[Path, typer.Argument(help="A model that hf-xlt made.")],
    tokens: Annotated[list[str] | None, typer.Argument(help="Tokens of its vocabulary.")] = None,
    text: Annotated[str | None, typer.Option(help="A text whose tokens to show, each once.")] = None,
    k: Annotated[int, typer.Option(help="Source tokens to show.", min=1)] = 5,
) -> None:
    """Show what source tokens the rows of a model's tokens are made of, and by what evidence.

    Example: hf-xlt explain bert-large-german --text "Der Hund schläft."
    """
    transport = Transport.load(folder / TRANSPORT_FILE)
    asked = list(tokens or [])
    if text is not None:
        ids = open_tokenizer(str(folder))(text, add_special_tokens=False)["input_ids"]
        asked += [transport.target_names[id_] for id_ in ids]
    if not asked:
        raise InputError("There is nothing to explain; name tokens of the model, or give a text with --text.")
    console.print(explanation_table(transport, list(dict.fromkeys(asked)), k))


def _named(files: list[str] | None) -> str | None:
    """An option that may be given several times, as a recipe's value: a name, or a list of names."""
    if not files:
        return None
    return files[0] if len(files) == 1 else json.dumps(files, ensure_ascii=False)


@app.command()
def tokenizer(
    corpus: CorpusFiles,
    output: Output,
    like: Annotated[str | None, typer.Option(help="Model whose tokenizer to imitate: a Hub id or a folder.")] = None,
    extend: Annotated[
        str | None, typer.Option(help="Model whose tokenizer to keep and add tokens to: a Hub id or a folder.")
    ] = None,
    added: Annotated[int | None, typer.Option(help="With --extend: tokens to add; 5000 unless given.")] = None,
    family: Annotated[
        str | None,
        typer.Option(help=f"Without --like or --extend: {', '.join(FAMILIES)}; {next(iter(FAMILIES))} unless given."),
    ] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Entries wanted; 32000 unless given.")] = None,
    dictionary: Annotated[
        list[str] | None,
        typer.Option(help="Words and translations, source first: translations are text too. May be given again."),
    ] = None,
    min_frequency: Annotated[
        int | None,
        typer.Option(help=f"What is seen less often becomes no entry; {MIN_FREQUENCY} unless given."),
    ] = None,
    lowercase: Annotated[
        bool | None,
        typer.Option("--lowercase/--cased", help="Make capital letters small; unless given, as --like does, or not."),
    ] = None,
    strip_accents: Annotated[
        bool,
        typer.Option("--strip-accents/--keep-accents", help="Take accents, vowel signs and tone marks away."),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a tokenizer on a corpus: like an existing model's, as more tokens for it, or of one of the known families.

    It keeps accents and whatever else tells words apart, also where the model that it is like does not.

    Example: hf-xlt tokenizer --extend google-bert/bert-base-cased --added 5000 --corpus de.txt.gz --output bert-german
    """
    if like is not None and extend is not None:
        raise InputError("--like trains a new tokenizer and --extend keeps the old one; give one of them.")
    new = {"--vocab-size": vocab_size, "--min-frequency": min_frequency, "--lowercase or --cased": lowercase,
           "--strip-accents": strip_accents or None}  # fmt: skip
    refused: dict[str, dict[str, Any]] = {
        "--extend, which keeps the tokenizer as it is": {} if extend is None else {"--family": family, **new},
        "--like, which says the family": {} if like is None else {"--family": family},
        "a new tokenizer": {} if extend is not None else {"--added": added},
    }
    for use, unfit in refused.items():
        if given := [name for name, value in unfit.items() if value is not None]:
            raise InputError(f"{given[0]} is not for {use}", expected="other options", hint=f"Leave {given[0]} out.")
    words = () if not dictionary else (target for _, target in read_dictionaries(dictionary).entries)
    lines = chain(Corpus.of(corpus).lines(), words)
    size = 32_000 if vocab_size is None else vocab_size
    options: dict[str, Any] = {"min_frequency": MIN_FREQUENCY if min_frequency is None else min_frequency,
               "strip_accents": strip_accents}  # fmt: skip
    check_numbers(size, options["min_frequency"])
    with atomic_folder(output, overwrite=overwrite) as folder:
        if extend is not None:
            trained = extend_tokenizer(open_tokenizer(extend), lines, 5000 if added is None else added)
        elif like is not None:
            trained = train_tokenizer_like(open_tokenizer(like), lines, size, lowercase=lowercase, **options)
        else:
            chosen = family or next(iter(FAMILIES))
            trained = train_tokenizer(lines, size, chosen, lowercase=bool(lowercase), **options)
        trained.save_pretrained(folder)
    say(f"{output}: {len(trained):,} entries.")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="A model folder with its card.")],
    repo_id: Annotated[str, typer.Argument(help="Where to: name or namespace/name.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    token: Annotated[str | None, typer.Option(help="Access token; by default the one logged in with.")] = None,
) -> None:
    """Upload a model folder to the Hub, its card last."""
    say(upload(folder, repo_id, private=private or None, token=token))

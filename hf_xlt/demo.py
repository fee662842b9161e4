"""The demonstration: German for the embedded English model, every step of a transfer on one screen."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import AutoModelForMaskedLM

from hf_xlt.arguments import require_one_of
from hf_xlt.checkpoint.kind import KINDS
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.evaluation.language_model import continuations
from hf_xlt.evaluation.retrieval import retrieval, sentence_vectors
from hf_xlt.files.folders import folder_in_place
from hf_xlt.files.printable import one_line
from hf_xlt.initializers import TRANSPORT_FILE
from hf_xlt.recipes import Recipe, load_recipe
from hf_xlt.report.tables import explanation_table, results_table, text_table
from hf_xlt.runs import Results, run_recipe
from hf_xlt.runs.measured import economy_tables
from hf_xlt.sample import FOLDER, sentences
from hf_xlt.transport import Transport

EXPLAINED = ("Mutter", "Haus", "Wasser", "schön", "kleine", "gehen")


@dataclass(frozen=True)
class Demonstration:
    """A recipe on the sample: what of it and of its data is filled in, and the same with checkpoints from the Hub."""

    recipe: Path
    models: Mapping[str, str]
    text: Mapping[str, str]
    next: str


DEMONSTRATIONS = {
    "clp": Demonstration(
        FOLDER / "demo_clp.yaml",
        {"source": "source", "helper": "helper"},
        {"corpus": "train.de.txt", "held_out": "held_out.de.txt"},
        "hf-xlt run clp --source google-bert/bert-large-cased --helper google-bert/bert-base-german-cased "
        "--corpus YOUR-GERMAN.txt.gz --language de --output bert-large-german --compare",
    ),
    "trelm": Demonstration(
        FOLDER / "demo_trelm.yaml",
        {"source": "encoder"},
        {"corpus": "train.de.txt", "source_corpus": "train.en.txt"}
        | {"held_out": "held_out.de.txt", "parallel": "train.en-de.tsv"},
        "hf-xlt run trelm --source google-bert/bert-base-cased --languages en de --corpus YOUR-GERMAN.txt.gz "
        "--source-corpus YOUR-ENGLISH.txt.gz --parallel YOUR-PAIRS.tsv --output bert-english-german --compare",
    ),
}


def demo_recipe(name: str, text: Path, seeds: int) -> Recipe:
    """The recipe of one of `DEMONSTRATIONS`, its paths filled in; `text` is the folder that `write_text` writes."""
    require_one_of("demonstration", name, DEMONSTRATIONS)
    shown = DEMONSTRATIONS[name]
    given = {role: FOLDER / folder for role, folder in shown.models.items()}
    given |= {f"data.{part}": text / file for part, file in shown.text.items()}
    recipe = load_recipe(shown.recipe, [f"{key}={value}" for key, value in given.items()])
    beginnings = tuple(" ".join(sentence.split()[:3]) for sentence in sentences("de", "held_out")[:3])
    return recipe.replace(seeds=tuple(range(seeds)), prompts=beginnings if "helper" in shown.models else ())


def write_text(folder: Path) -> None:
    """The sample's sentences in English and German, apart and in pairs."""
    folder.mkdir(parents=True)
    for split in ("train", "held_out"):
        english, german = sentences("en", split), sentences("de", split)
        pairs = [f"{source}\t{target}" for source, target in zip(english, german, strict=True)]
        for name, lines in (("en.txt", english), ("de.txt", german), ("en-de.tsv", pairs)):
            (folder / f"{split}.{name}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run_demo(
    name: str, output: Path, console: Console, command: str, *, seeds: int = 1, overwrite: bool = False
) -> Results:
    """Transfer, train, compare, explain and reopen, printing as it goes; in `output` are then `text` and `model`."""
    text, model = output / "text", output / "model"
    recipe = demo_recipe(name, text, seeds)
    with folder_in_place(output, overwrite=overwrite):
        write_text(text)
        console.print(recipe.description + "\n", highlight=False)
        results = run_recipe(recipe, model, command, compare=True)
    console.print(results_table(results.summaries))
    for table in economy_tables(results):
        console.print(text_table(table))
    show_origins(model, console)
    if name == "trelm":
        show_translations(model, console)
    else:
        show_continuations(results, console)
        reopen(model, results, console)
    files = "README.md (the card), learning_curves.png, results.json, recipe.yaml"
    console.print(f"\nIn {model}: {files}.", soft_wrap=True, markup=False)
    again = f"The same with checkpoints from the Hub:\n  {DEMONSTRATIONS[name].next}"
    console.print(again, soft_wrap=True, highlight=False)
    return results


def show_origins(model: Path, console: Console) -> None:
    """What rows of a few German words are made of."""
    transport = Transport.load(model / TRANSPORT_FILE)
    origins = ", ".join(f"{count:,} {origin}" for origin, count in asdict(transport.counts).items() if count)
    console.print(f"\nRows of the German model: {origins}. What some of them are made of:")
    console.print(explanation_table(transport, [word for word in EXPLAINED if word in transport.target_names], k=5))


def show_continuations(results: Results, console: Console) -> None:
    """How each method's model goes on after held-out sentence beginnings."""
    table = Table(title="\nContinuations", title_justify="left", show_lines=True)
    table.add_column("method")
    prompts = list(results.recipe["prompts"])
    for prompt in prompts:
        table.add_column(Text(f"{one_line(prompt)} …"), ratio=1)
    for method, runs in results.runs_of.items():
        texts = (runs[0].continuations[prompt] for prompt in prompts)
        table.add_row(*(Text(one_line(text)) for text in (method, *texts)))
    console.print(table)


def reopen(model: Path, results: Results, console: Console) -> None:
    """Open the folder as anyone would, and let it write."""
    auto_class = KINDS[results.kind].auto_class
    opened = auto_class.from_pretrained(model)
    prompt = results.recipe["prompts"][0]
    text = continuations(opened, open_tokenizer(model), [prompt])[prompt]
    console.print(
        f'\n{auto_class.__name__}.from_pretrained("{model}"): {type(opened).__name__}, '
        f"{opened.num_parameters():,} parameters. “{one_line(prompt)}” → “{one_line(text)}”",
        markup=False,
    )


def show_translations(model: Path, console: Console) -> None:
    """Open the folder as anyone would; how many held-out sentences find their translation, and what fills a gap."""
    opened, tokenizer = AutoModelForMaskedLM.from_pretrained(model), open_tokenizer(model)
    vectors = {}
    for language in opened.config.languages:
        opened.set_language(language)
        vectors[language] = sentence_vectors(opened.base_model, tokenizer, sentences(language, "held_out"))
    found = [retrieval(english, german) for english, german in zip(*vectors.values(), strict=True)]
    layer = max(range(len(found)), key=lambda i: found[i].forward + found[i].backward)
    console.print(
        f'\nAutoModelForMaskedLM.from_pretrained("{model}"): {type(opened).__name__}, '
        f"{opened.num_parameters():,} parameters. Of {vectors['de'].shape[1]} held-out sentences that it never saw, "
        f"{found[layer].forward:.0%} find their German translation first by the mean of the states after layer {layer} "
        f"(the best one), {found[layer].backward:.0%} the other way; "
        f"by chance {1 / vectors['de'].shape[1]:.1%}.",
        markup=False,
    )

"""Options that several commands share, and which have an effect beside which; what has none is refused."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.registry import of_harness, task_named, task_names
from hf_xlt.initializers import METHODS as INITIALIZERS

METHODS = tuple(INITIALIZERS)
TASKS = task_names()
RECIPES = tuple(sorted(path.stem for path in Path(__file__).parents[1].glob("recipes/*.yaml")))
Demonstration = Literal["clp", "trelm"]
Family = Literal["byte-level-bpe", "unigram", "wordpiece"]
Weighting = Literal["paper", "positive", "top-k", "sparsemax"]
MergeName = Literal["elchat", "chat-vector", "linear"]
FormatName = Literal["static", "onnx"]
HarnessName = Literal["lm-eval", "mteb"]
PrecisionName = Literal["float32", "bfloat16"]


def one_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell offers for an argument that may be one of these names, or something else."""
    return lambda incomplete: [name for name in names if name.startswith(incomplete)]


def several_of(names: Iterable[str]) -> Callable[[str], list[str]]:
    """The same for names with commas between."""

    def offered(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in before.split(",")]

    return offered


RecipeName = Annotated[
    str,
    typer.Argument(help=f"A shipped recipe ({', '.join(RECIPES)}) or a .yaml file.", autocompletion=one_of(RECIPES)),
]
Changes = Annotated[list[str] | None, typer.Option("--set", help="Change the recipe: stages.0.steps=500.")]
Source = Annotated[str | None, typer.Option(help="Checkpoint to start from: a Hub id or a folder.")]
Helper = Annotated[str | None, typer.Option(help="Small model of the target language: a Hub id or a folder.")]
Output = Annotated[Path, typer.Option(help="Folder to write; it appears when it is complete.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output folder if it exists.")]
Donor = Annotated[str | None, typer.Option(help="Model with the wanted tokenizer, for omp: a Hub id or a folder.")]
Tokenizer = Annotated[
    str | None, typer.Option(help="Target tokenizer: a Hub id or a folder; without one, the helper's or the donor's.")
]
DictionaryFiles = Annotated[
    list[str] | None,
    typer.Option(help="Words and translations, source first: .tsv, .txt, .gz. May be given several times."),
]
ParallelFiles = Annotated[
    list[str] | None,
    typer.Option(
        help="Translation pairs: .tsv, .tsv.gz, source first; with a header row FILE:source,target. May be given "
        "several times."
    ),
]
LanguageFiles = Annotated[
    list[str] | None,
    typer.Option(
        help="Translation pairs: .tsv, .tsv.gz, source first; with a header row FILE:source,target. May be given "
        "several times; for a sentence encoder of several languages as de=en-de.tsv."
    ),
]
VectorsFile = Annotated[str | None, typer.Option(help="Word vectors of the target language: .vec, .vec.gz, .bin.")]
SourceVectorsFile = Annotated[str | None, typer.Option(help="Word vectors of the source language, likewise.")]
ChatTemplate = Annotated[
    str | None,
    typer.Option(
        help="Chat template of the model: tokenizer, source or a file. By default the tokenizer's own; where it has "
        "none, the source's if the tokenizer has its special tokens."
    ),
]
CorpusFiles = Annotated[
    list[str],
    typer.Option(help="Text: .txt, .txt.gz, .jsonl, .parquet or a Hub dataset id. May be given several times."),
]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that the checkpoint brings.")]

Options = Mapping[str, Any]
# Whether the other options fulfil what an option needs to have an effect, and the same in words.
Condition = tuple[Callable[[Options], bool], str]


def _with(option: str) -> Condition:
    return lambda options: bool(options[option]), f"with --{option}"


def _with_argument(name: str) -> Condition:
    return lambda options: bool(options[name]), f"with {name.upper()}"


def _without(option: str) -> Condition:
    return lambda options: not options[option], f"without --{option}"


def asked_tasks(tasks: str | None, harness: str | None) -> list[str]:
    """The names of the tasks that are asked for, those of a harness as HARNESS/TASK."""
    names = tasks.split(",") if tasks else []
    return names if harness is None else [f"{harness}/{name}" for name in names]


def _asked(options: Options) -> list[Any]:
    names = asked_tasks(options["tasks"], options["harness"])
    return [task_named(name) for name in names if of_harness(name) or name in task_names()]


def _learns(options: Options) -> bool:
    asked = _asked(options)
    return not asked or any(task.learned for task in asked)


def _reads_source(options: Options) -> bool:
    asked = _asked(options)
    learned = any(task.learned for task in asked) and options["zero_shot"]
    return not asked or learned or any(task.reads_source for task in asked)


TASK = _without("corpus")
LEARNED: Condition = (_learns, "for tasks that are learned, such as classification")
SOURCE: Condition = (_reads_source, "where a task reads the source language: retrieval, or with --zero-shot")
SOURCE_OR_MAP: Condition = (
    lambda options: bool(options["parallel"]) or _reads_source(options),
    f"{SOURCE[1]}, or with --parallel",
)
STATIC: Condition = (lambda options: options["form"] == "static", "with --format static")
TUNED = _without("probe")
OF_LEARNING: dict[str, tuple[Condition, ...]] = {
    **dict.fromkeys(("zero_shot", "seeds", "quick", "probe", "layer", "precision"), (LEARNED,)),
    "dropout": (LEARNED, TUNED),
}
OF_TASKS = ("data", "harness", "include", "source", "languages", "output", *OF_LEARNING)

# Command → option → what it needs.
EFFECT: dict[str, dict[str, tuple[Condition, ...]]] = {
    "evaluate": {
        "length": (_with("corpus"),),
        **{option: (TASK, *OF_LEARNING.get(option, ())) for option in OF_TASKS},
        "source": (TASK, SOURCE),
        "include": (TASK, _with("harness")),
    },
    "compare": {**OF_LEARNING, "source": (SOURCE_OR_MAP,), "include": (_with("harness"),)},
    "export": {"dimensions": (STATIC,)},
    "merge": dict.fromkeys(("recipe", "base", "weight", "chat_template"), (_with_argument("original"),)),
    "structure": {"overwrite": (_with("output"),)},
    "tokenizer": {
        "added": (_with("extend"),),
        "family": (_without("like"), _without("extend")),
        **dict.fromkeys(("vocab_size", "min_frequency", "lowercase", "strip_accents"), (_without("extend"),)),
    },
}


def check_effect(command: str, options: Options, given: Collection[str]) -> None:
    """Refuse an option, of those that the user gave, that would have no effect beside the others of the command."""
    for option, conditions in EFFECT.get(command, {}).items():
        for holds, told in conditions if option in given else ():
            if not holds(options):
                problem = f"--{option.replace('_', '-')} has an effect only {told}"
                hint = "Leave it out, or change the other options."
                raise InputError(problem, value=options[option], hint=hint)


def check_settings(settings: Sequence[str] | None, flags: Iterable[str] = ()) -> None:
    """Refuse a setting of `--set` that is given twice, or has been set by an option of its own."""
    seen: set[str] = set()
    for key in (*flags, *(setting.partition("=")[0] for setting in settings or ())):
        if key in seen:
            raise InputError(f"{key} is set twice. Set it once, with --set or with its own option.", value=key)
        seen.add(key)

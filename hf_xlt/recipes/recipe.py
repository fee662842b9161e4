"""Recipe and Stage: what a transfer is, as data, read from YAML and checked before work starts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import SchedulerType

from hf_xlt.checkpoint.kind import ModelKind
from hf_xlt.data.corpora import Corpus, Split
from hf_xlt.data.objectives import OBJECTIVES
from hf_xlt.data.tokenizer import FAMILIES
from hf_xlt.errors import InputError
from hf_xlt.recipes import plain_yaml
from hf_xlt.recipes.schema import build

FOLDER = Path(__file__).parent
TRAINS = ("all", "embeddings", "lora")
PRECISIONS = ("float32", "bfloat16")
DTYPES = ("source", "float32", "float16", "bfloat16")
SCHEDULES = tuple(schedule.value for schedule in SchedulerType)


def _require(holds: bool, what: str, value: object, expected: str) -> None:
    if not holds:
        raise InputError(f"{what} is {value!r}; expected {expected}.")


def _one_of(what: str, value: str, known: Sequence[str]) -> None:
    _require(value in known, what, value, "one of " + ", ".join(known))


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Args:
        name: What the stage is called in logs and folders.
        steps: Optimizer steps.
        objective: `auto` (from the kind of model), `clm`, `mlm` or `denoise`.
        trains: `all` parameters, only the `embeddings` (input, output and output bias), or `lora` adapters on
            the body beside the embeddings, merged into the weights at the end.
        batch_size: Sequences a forward pass and process.
        accumulation: Forward passes a step.
        sequence_length: Tokens a sequence.
        learning_rate: Peak of the schedule.
        warmup: Share of the steps with rising learning rate.
        schedule: A learning-rate schedule `transformers` knows.
        weight_decay: AdamW's.
        evaluations: How often held-out quality is measured, evenly spaced, besides before the first step.
        checkpoints: How often training state is saved, evenly spaced, for a killed run to resume from.
        precision: `float32`, or `bfloat16` for mixed precision; weights stay float32.
        compile: Compile the body with `torch.compile`; pays only in long runs.
        lora_rank: Rank of the adapters where `trains` is `lora`.
    """

    name: str = "target"
    steps: int = 1000
    objective: str = "auto"
    trains: str = "all"
    batch_size: int = 16
    accumulation: int = 1
    sequence_length: int = 128
    learning_rate: float = 5e-4
    warmup: float = 0.1
    schedule: str = "cosine"
    weight_decay: float = 0.01
    evaluations: int = 10
    checkpoints: int = 5
    precision: str = "float32"
    compile: bool = False
    lora_rank: int = 16

    def __post_init__(self) -> None:
        _require(re.fullmatch(r"[\w-]+", self.name) is not None, "stage name", self.name, "letters, digits, - and _")
        for name in ("steps", "batch_size", "accumulation", "sequence_length", "evaluations", "lora_rank"):
            _require(getattr(self, name) > 0, f"stage {self.name!r}: {name}", getattr(self, name), "a number > 0")
        _require(self.checkpoints >= 0, f"stage {self.name!r}: checkpoints", self.checkpoints, "a number ≥ 0")
        _require(self.learning_rate > 0, f"stage {self.name!r}: learning_rate", self.learning_rate, "a number > 0")
        _require(0 <= self.warmup < 1, f"stage {self.name!r}: warmup", self.warmup, "a share in [0, 1)")
        _require(self.weight_decay >= 0, f"stage {self.name!r}: weight_decay", self.weight_decay, "a number ≥ 0")
        _one_of(f"stage {self.name!r}: schedule", self.schedule, SCHEDULES)
        _one_of(f"stage {self.name!r}: objective", self.objective, ("auto", *OBJECTIVES))
        _one_of(f"stage {self.name!r}: trains", self.trains, TRAINS)
        _one_of(f"stage {self.name!r}: precision", self.precision, PRECISIONS)

    def objective_for(self, kind: ModelKind) -> str:
        """The stage's objective, or the one a kind of model was made for."""
        return kind.objective if self.objective == "auto" else self.objective

    @property
    def evaluate_every(self) -> int:
        """Steps between evaluations."""
        return max(1, self.steps // self.evaluations)

    @property
    def save_every(self) -> int | None:
        """Steps between training checkpoints, or None for none."""
        return max(1, self.steps // self.checkpoints) if self.checkpoints else None


@dataclass(frozen=True)
class Data:
    """The text of a transfer.

    Args:
        corpus: File or Hub dataset id to train on.
        held_out: File or Hub dataset id to measure on; without one, lines of the corpus are held out.
        held_out_every: Hold out every so many-th line.
        held_out_lines: Hold out at most so many lines.
        max_sequences: Read at most so many packed sequences.
    """

    corpus: str | None = None
    held_out: str | None = None
    held_out_every: int = 100
    held_out_lines: int = 500
    max_sequences: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("held_out_lines", "max_sequences"):
            _require(getattr(self, name) > 0, f"data: {name}", getattr(self, name), "a number > 0")

    def split(self) -> Split:
        """The corpus and its held-out part.

        Raises:
            InputError: If there is no corpus, or one cannot be read.
        """
        if self.corpus is None:
            raise InputError("No corpus given; name one with --corpus (a .txt, .txt.gz, .jsonl, .parquet or Hub id).")
        held_out = None if self.held_out is None else Corpus(self.held_out)
        return Split(Corpus(self.corpus), held_out, self.held_out_every, self.held_out_lines)


@dataclass(frozen=True)
class NewTokenizer:
    """A tokenizer to train on the corpus: its family and its size."""

    family: str = "byte-level-bpe"
    vocab_size: int = 8000

    def __post_init__(self) -> None:
        _one_of("tokenizer: family", self.family, tuple(FAMILIES))


@dataclass(frozen=True)
class Recipe:
    """A transfer: where it starts, what it trains on and in which stages.

    Args:
        name: What the recipe is called.
        description: One sentence for the model card.
        source: Checkpoint to start from: a Hub id or a folder.
        helper: Small model of the target language: a Hub id or a folder.
        language: Code of the target language.
        license: Licence for the model card.
        initializer: `method` and its options; how target rows are made of source rows.
        alternatives: Other initializers that `--compare` trains beside the first one and the two baselines.
        model: In place of an initializer: the configuration of a new model, `model_type` and its fields.
        tokenizer: The tokenizer that a new model gets, trained on the corpus.
        data: The text.
        stages: Stretches of training, one after the other.
        seeds: Every method is trained once a seed; the first one's model is kept.
        prompts: Sentence beginnings that decoders continue after training, recorded with the results.
        dtype: Type of the saved weights, or `source` for the source checkpoint's own (float32 for a new model).
    """

    name: str
    description: str = ""
    source: str | None = None
    helper: str | None = None
    language: str | None = None
    license: str | None = None
    initializer: Mapping[str, Any] | None = None
    alternatives: tuple[Mapping[str, Any], ...] = ()
    model: Mapping[str, Any] | None = None
    tokenizer: NewTokenizer | None = None
    data: Data = field(default_factory=Data)
    stages: tuple[Stage, ...] = (Stage(),)
    seeds: tuple[int, ...] = (0,)
    prompts: tuple[str, ...] = ()
    dtype: str = "source"

    def __post_init__(self) -> None:
        if (self.initializer is None) == (self.model is None):
            raise InputError(f"Recipe {self.name!r} needs either `initializer` or `model`, and not both.")
        if self.initializer is not None and "method" not in self.initializer:
            raise InputError(f"Recipe {self.name!r}: `initializer` needs a `method`, e.g. clp.")
        if self.model is not None and "model_type" not in self.model:
            raise InputError(f"Recipe {self.name!r}: `model` needs a `model_type`, e.g. llama.")
        if not self.stages or not self.seeds:
            raise InputError(f"Recipe {self.name!r} needs at least one stage and one seed.")
        _require(min(self.seeds) >= 0, f"recipe {self.name!r}: seeds", list(self.seeds), "numbers ≥ 0")
        if len({stage.name for stage in self.stages}) != len(self.stages):
            raise InputError(f"Recipe {self.name!r}: stage names must differ from one another.")
        if len({stage.sequence_length for stage in self.stages}) != 1:
            raise InputError(f"Recipe {self.name!r}: all stages must have one sequence_length.")
        _one_of(f"recipe {self.name!r}: dtype", self.dtype, DTYPES)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def to_yaml(self) -> str:
        """The resolved recipe, which `load_recipe` reads back equal."""
        return plain_yaml.dump(_plain(asdict(self)))


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes inside the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or one from a YAML file.

    Args:
        name_or_path: Such as `clp`, or `my.yaml`.
        overrides: `dotted.key=value` each, the value in YAML: `stages.0.steps=500`.

    Raises:
        InputError: If it does not exist, is not YAML, or has unknown keys or values out of range.
    """
    path = FOLDER / f"{name_or_path}.yaml" if str(name_or_path) in shipped_recipes() else Path(name_or_path)
    if not path.is_file():
        raise InputError(
            f"No recipe {str(name_or_path)!r}: expected one of {', '.join(shipped_recipes())} or a .yaml file."
        )
    try:
        data = plain_yaml.load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"Recipe {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise InputError(f"Recipe {path} must be a mapping with a `name`; see the shipped ones.")
    for override in overrides:
        _set(data, override)
    return recipe_from(data)


def recipe_from(data: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain data, as YAML gives it.

    Raises:
        InputError: If a key is unknown or a value of the wrong type or out of range.
    """
    return build(Recipe, data, "recipe")


def _set(data: Any, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"Override {override!r} is not of the form key=value, e.g. stages.0.steps=500.")
    try:
        value = plain_yaml.load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Override {override!r}: the value is not YAML; put it in quotes.") from error
    *parents, last = key.split(".")
    for parent in parents:
        data = _child(data, parent, override)
    _child(data, last, override)
    data[int(last) if isinstance(data, list) else last] = value


def _child(data: Any, key: str, override: str) -> Any:
    if isinstance(data, list):
        if not key.isdigit() or int(key) >= len(data):
            raise InputError(f"Override {override!r}: there is no item {key}; the list has {len(data)}.")
        return data[int(key)]
    if not isinstance(data, dict):
        raise InputError(f"Override {override!r}: {data!r} has no part {key}.")
    if data.get(key) is None:
        data[key] = {}
    return data[key]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

"""What one kind of recipe becomes: what it makes use of, the variants compared, their text, its pictures and facts."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from transformers import PreTrainedConfig

from hf_xlt.checkpoint.kind import ModelKind
from hf_xlt.checkpoint.padding import multiple_of, padded
from hf_xlt.data.objectives import OBJECTIVES
from hf_xlt.hub.card import CardTable, ResultRow, Score, public_name
from hf_xlt.recipes.recipe import NewTokenizer, Recipe, names_in
from hf_xlt.recipes.settings import SettingError, one_of
from hf_xlt.recipes.stage import Stage
from hf_xlt.report.pictures import COMPUTE, STEPS, TEXT, differ_in, plot_learning_curves
from hf_xlt.runs.comparison import Comparison
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.measured import economy_tables, retrieval_scores, retrieval_tables
from hf_xlt.runs.results import BASELINES, Results
from hf_xlt.runs.text import Text, packed_text

CURVES_FILE = "learning_curves.png"
COMPUTE_FILE = "learning_curves_compute.png"
# The parts of a recipe that every kind reads.
OF_ALL = {
    *("name", "description", "kind", "language", "license", "license_name", "stages", "seeds", "prompts", "dtype"),
    *("chat_template", "trust_remote_code", "data.held_out_every", "data.held_out_lines", "data.max_sequences"),
}


class Kind(ABC):
    """A kind of run; every check raises an `InputError`."""

    name: ClassVar[str]  # what a recipe calls it, as `kind`
    uses: ClassVar[frozenset[str]]  # the parts of a recipe that it reads besides those that all kinds do
    reads: ClassVar[frozenset[str]] = frozenset({"text"})  # what the objectives of its stages may read
    variants: ClassVar[tuple[str, ...]]  # the names of what is compared, its own first
    default_tokenizer: ClassVar[NewTokenizer] = NewTokenizer()  # what is trained where the recipe does not say
    has_parts: ClassVar[bool] = False  # whether its models have parts to freeze, and languages to name
    replays: ClassVar[bool] = False  # whether its stages can put text of the source language between
    brings_code: ClassVar[bool] = False  # whether the model's code travels with it

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @cached_property
    def inputs(self) -> Inputs:
        """What the recipe names."""
        return Inputs(self.recipe)

    @classmethod
    @abstractmethod
    def fits(cls, recipe: Recipe) -> bool:
        """Whether a recipe that names no kind is of this one."""

    @classmethod
    def resolved(cls, recipe: Recipe) -> Recipe:
        """The recipe with what the kind adds to it or leaves out."""
        return recipe

    def check(self, *, compare: bool) -> None:
        """Refuse a recipe of which a part has no effect or a stage cannot be trained, before anything is opened."""
        for key, value in given_parts(self.recipe):
            if key not in self.uses | OF_ALL:
                problem = f"has no effect in a recipe of the kind {self.name!r}"
                raise SettingError(key, problem, value=value, hint="Leave it out.")
        for number, stage in enumerate(self.recipe.stages):
            self.check_stage(f"stages.{number}", stage)

    def check_stage(self, key: str, stage: Stage) -> None:
        """Refuse a stage that models of this kind cannot go through; `key` is where it stands in the recipe."""
        if stage.objective != "auto" and OBJECTIVES[stage.objective].reads not in self.reads:
            known = ", ".join(name for name, objective in OBJECTIVES.items() if objective.reads in self.reads)
            expected = f"one of auto, {known} in a recipe of the kind {self.name!r}"
            raise SettingError(f"{key}.objective", value=stage.objective, expected=expected)
        if stage.replay and not self.replays:
            problem = f"has no effect in a recipe of the kind {self.name!r}"
            raise SettingError(f"{key}.replay", problem, value=stage.replay, hint="Leave it out.")
        for part in ("frozen", "combine", "languages"):
            if (value := getattr(stage, part)) and not self.has_parts:
                hint = "Add `trelm:` with its two languages to the recipe, or leave it out."
                raise SettingError(f"{key}.{part}", "is for a TreLM", value=value, hint=hint)

    def check_inputs(self) -> None:
        """Refuse what the recipe names and cannot be used, before anything is learned from it."""
        if self.recipe.source is None:
            return
        last = len(self.recipe.stages) - 1
        if self.recipe.stages[last].adapters == "kept" and self.inputs.source_is_sentence_transformer:
            expected = f"'merged', as {self.recipe.source} is a sentence-transformers model, which keeps none"
            raise SettingError(f"stages.{last}.adapters", value="kept", expected=expected)
        self.inputs.check_source()

    def check_parts(self, parts: Collection[str]) -> None:
        """Refuse stages that name parts which the model does not have."""
        for number, stage in enumerate(self.recipe.stages):
            for name in (*stage.frozen, *(("lower", "upper") if stage.combine else ())):
                one_of(f"stages.{number}.frozen", name, parts)

    @abstractmethod
    def shape(self, rows: int) -> PreTrainedConfig:
        """The configuration of the model to come, with a vocabulary of so many rows; nothing is learned for it."""

    def rows(self) -> int:
        """Rows of the target vocabulary, padded as an initializer pads them."""
        if self.recipe.source is None or self.recipe.initializer is None:
            return self.size()
        source, own = self.inputs.source, self.inputs.source_tokenizer.get_vocab().values()
        given = self.recipe.initializer.get("pad_to_multiple_of")
        return padded(self.size(), given or multiple_of(source.vocab_size, max(own) + 1))

    def size(self) -> int:
        """Ids of the target tokenizer; of one that is still to be trained, as many as are asked for."""
        if self.inputs.target_tokenizer is not None:
            return len(self.inputs.target_tokenizer)
        new = self.recipe.tokenizer or self.default_tokenizer
        return len(self.inputs.source_tokenizer) + new.added if new.added else new.vocab_size

    def variant_names(self, *, compare: bool) -> tuple[str, ...]:
        """What is trained, the recipe's own first; names may be shorter than those in the results."""
        return self.variants if compare else self.variants[:1]

    def own_rows(self, variant_name: str) -> int | None:
        """Rows of the vocabulary of a variant that has a tokenizer of its own, by default none; None of the others."""
        return None

    @abstractmethod
    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        """The variants to train: the recipe's own, and when comparing what it is compared with.

        What is learned for them is kept in `work`: a killed run does not learn it again.
        """

    def text(self, comparison: Comparison, work: Path) -> Text:
        """What they are trained and measured on, kept in `work`; by default the corpus of one language, packed."""
        return packed_text(self.inputs, comparison.tokenizer, work / "packed")

    def draw(self, results: Results, folder: Path) -> dict[str, str]:
        """Draw what was measured; what each picture shows → its file in the folder."""
        title = f"Learning curves, {self.recipe.language or 'target language'}"
        curves, pictures = results.by_method, {"Learning curves": CURVES_FILE}
        over = TEXT if differ_in(TEXT, curves) else STEPS
        plot_learning_curves(curves, BASELINES, title, folder / CURVES_FILE, over)
        if differ_in(COMPUTE, curves):
            plot_learning_curves(curves, BASELINES, title, folder / COMPUTE_FILE, COMPUTE)
            pictures["Learning curves by compute"] = COMPUTE_FILE
        return pictures

    def saved_as(self, model_kind: ModelKind) -> Any:
        """The Auto class that opens the model that is kept."""
        return model_kind.auto_class

    @property
    def languages(self) -> tuple[str, ...]:
        """What the model is for."""
        return () if self.recipe.language is None else (self.recipe.language,)

    @property
    def cites(self) -> str | None:
        """The initializer whose paper the card cites."""
        return next(iter(self.recipe.methods), None)

    def result_rows(self, results: Results) -> tuple[ResultRow, ...]:
        """The lines of the card's table."""
        return results.summaries

    def tables(self, results: Results) -> tuple[CardTable, ...]:
        """What else was measured."""
        return (*economy_tables(results), *retrieval_tables(results))

    def scores(self, results: Results) -> Iterator[Score]:
        """The figures that the Hub lists."""
        data = self.recipe.data
        return retrieval_scores(results, tuple(names_in((data.parallel, *data.translations.values()))))

    def corpus_facts(self, text: Text) -> dict[str, str | int]:
        """Name and size of the text that the model is for."""
        return {
            "name": ", ".join(map(public_name, self.trained_on)),
            "sequences": text.sequences,
            "tokens": text.tokens,
            "held_out_lines": len(text.validation_lines),
            "held_out_bytes": sum(len(line.encode()) + 1 for line in text.validation_lines),
        }

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the corpora of the language that the model is for."""
        return tuple(part.name for part in self.inputs.split.corpus.parts)


def given_parts(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """The parts of a recipe that are not as they are by default, by their keys."""
    for prefix, part in (("", recipe), ("data.", recipe.data)):
        for name, info in type(part).model_fields.items():
            value = getattr(part, name)
            if name != "data" and value != info.default:
                yield prefix + name, value

"""Recipe: what a transfer is, as data, checked before work starts; read from YAML, with overrides."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from transformers import TrainingArguments

from hf_xlt.arguments import MOST, checked
from hf_xlt.errors import InputError
from hf_xlt.files.place import file_of
from hf_xlt.files.plain_yaml import dump, plain_data, set_value
from hf_xlt.hub.card import check_language, check_license
from hf_xlt.hub.card.codes import OTHER
from hf_xlt.recipes.settings import Count, Name, Seed, SettingError, Settings, Several, Share, one_of, setting
from hf_xlt.recipes.stage import FORMER, OWN, Stage, of_today, renamed
from hf_xlt.tokenizers.train import FAMILIES, MIN_FREQUENCY, MOST_ENTRIES, check_numbers

FOLDER = Path(__file__).parent
SOURCE_FAMILY = "source"

Code = Annotated[str, AfterValidator(check_language)]
License = Annotated[str, AfterValidator(check_license)]
Epochs = Annotated[int, Field(ge=0, le=1000)]
Options = Mapping[str, Any]
Dtype = Literal["source", "float32", "float16", "bfloat16"]
Places = str | Several[str] | None
SOME = Field(min_length=1)


class Data(Settings):
    """The text of a transfer."""

    corpus: Places = setting(None, "File or Hub dataset id to train on, or a list; of pairs, their target side.")
    corpora: Mapping[Code, str] = setting({}, "Of many languages: language → file or Hub dataset id to train on.")
    source_corpus: str | None = setting(None, "The same in the source language, for models of both languages.")
    parallel: Places = setting(None, "File of translation pairs, source language first, or a list of them.")
    translations: Mapping[Code, str] = setting(
        {}, "Of many languages: language → file of pairs, the source language or the first of corpora first."
    )
    alpha: Share = setting(
        0.7, "Exponent of the sizes by which a sentence encoder's languages are sampled: 1 by size, 0 all alike."
    )
    dictionary: Places = setting(None, "File of source words and their translations, or a list of them.")
    vectors: str | None = setting(None, "File of word vectors of the target language.")
    source_vectors: str | None = setting(None, "File of word vectors of the source language.")
    held_out: str | None = setting(None, "The validation set; without one, lines of the corpus are held out.")
    held_out_corpora: Mapping[Code, str] = setting({}, "Of many languages: language → its validation set.")
    held_out_every: Annotated[int, Field(ge=2)] = setting(100, "Hold out every n-th line.")
    held_out_lines: Count = setting(500, "Hold out at most this many lines.")
    max_sequences: Count = setting(1_000_000, "Read at most this many packed sequences.")

    @model_validator(mode="after")
    def _of_known_languages(self) -> Self:
        for name in ("translations", "held_out_corpora") if self.corpora else ():
            for language in getattr(self, name):
                one_of(name, language, tuple(self.corpora))
        return self


class NewTokenizer(Settings):
    """A tokenizer to train on the corpus and the dictionary: its family and its size.

    Family `source` is one like the source's.
    With `added`, it is the source's own with so many tokens more; its size follows, and the rest does not matter.
    """

    family: str = setting("byte-level-bpe", "One of `FAMILIES`, or `source`.")
    vocab_size: int = setting(8000, "Size of the vocabulary.")
    added: Annotated[int, Field(ge=0, le=MOST_ENTRIES)] = setting(0, "Tokens to add to the source's own.")
    min_frequency: int = setting(MIN_FREQUENCY, "Least frequency of an entry in the corpus.")
    lowercase: bool | None = setting(
        None, "Whether text is lowercased; None: as the source's tokenizer does, else not."
    )
    strip_accents: bool = setting(False, "Whether accents, vowel signs and tone marks are taken away.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        one_of("family", self.family, (*FAMILIES, SOURCE_FAMILY))
        check_numbers(self.vocab_size, self.min_frequency)
        if self.added and self.family != SOURCE_FAMILY:
            raise SettingError("family", value=self.family, expected=f"{SOURCE_FAMILY!r} with added")
        if self.added and (self.lowercase is not None or self.strip_accents):
            problem, hint = "keeps the source's tokenizer as it is", "Leave lowercase and strip_accents out."
            raise SettingError("added", problem, value=self.added, hint=hint)
        return self


class TreLMOptions(Settings):
    """How a source encoder becomes a TreLM: its languages, source first, and where the TRILayer goes.

    `tri_layer_index` is a number of layers, `middle` or `none`. With `separate_embeddings` each language has a
    vocabulary of its own: the source its own, the target what a transfer to it alone would have. Each language has
    `language_specific_layers` for itself: so many lowest layers, or those of these indices.
    """

    languages: Several[Code]
    tri_layer_index: int | Literal["middle", "none"] = "middle"
    separate_embeddings: bool = False
    language_specific_layers: int | Several[int] = ()

    @model_validator(mode="after")
    def _of_two_languages(self) -> Self:
        if not len(set(self.languages)) == len(self.languages) == 2:
            raise SettingError("languages", value=self.languages, expected="two different languages")
        return self


class MultilingualOptions(Settings):
    """How one model learns many languages, those of `data.corpora`; the first is what a stage calls `source`."""

    alpha: Share = setting(
        0.7, "Exponent of the sizes by which languages are sampled, for the tokenizer too: 1 by size, 0 all alike."
    )
    pair_share: Share = setting(0.5, "Part of the examples that are translation pairs, where there are any of a stage.")
    anchors: Literal["none", "default", "extra"] = setting(
        "default", "Shared tokens: special ones (`none`), those in common, or these and words replaced by translations."
    )
    anchor_probability: Share = setting(0.3, "Share of the words that `data.dictionary` knows which are replaced.")


class Recipe(Settings):
    """A transfer: where it starts, what it trains on and in which stages.

    Raises:
        InputError: If a key is unknown, a value of the wrong type or out of range, or stages do not follow from one
            another. What a kind of run makes no use of is refused by `hf_xlt.runs.check_recipe`.

    Example:
        >>> Recipe(name="mine", initializer={"method": "mean"}, stages=[Stage(max_steps=500)]).total_steps
        500
    """

    name: Name = setting(..., "What the recipe is called.")
    description: str = setting("", "One sentence for the model card.")
    kind: str | None = setting(
        None, "What kind of run it is, see `hf_xlt.runs.kinds`; None: derived from the other keys."
    )
    source: str | None = setting(None, "Checkpoint to start from: a Hub id or a folder.")
    helper: str | None = setting(None, "Small model of the target language: a Hub id or a folder.")
    donor: str | None = setting(None, "Model with the wanted tokenizer, for `omp`: a Hub id or a folder.")
    target_tokenizer: str | None = setting(
        None, "A Hub id or a folder; without one it is the helper's, the donor's, or one that is trained on the corpus."
    )
    language: Code | None = setting(None, "Code of the target language.")
    license: License | None = setting(None, "License for the model card, as the Hub spells it.")
    license_name: str | None = setting(None, "With the license `other`: what it is called.")
    initializer: Options | None = setting(
        None, "`method` and its options: how target rows are made of source rows; `auto` for what the evidence allows."
    )
    alternatives: Several[Options] = setting((), "Initializers to compare with, beside the baselines, or to probe.")
    probe: Annotated[int, Field(ge=0, le=MOST)] = setting(
        0, "Train the initializer and its alternatives so many steps each; the best one goes on. 0: no probe."
    )
    model: Options | None = setting(None, "In place of an initializer: a new model's `model_type` and its fields.")
    # With static vectors, masked language models of small budgets leave the unigram plateau far sooner.
    vector_epochs: Epochs = setting(0, "Begin a new model's embeddings as static vectors of so many epochs, 0: no.")
    trelm: TreLMOptions | None = setting(None, "Make the source a TreLM of two languages.")
    multilingual: MultilingualOptions | None = setting(
        None, "Train one TreLM on many languages: a new one, or one that goes on from a source that knows the first."
    )
    tokenizer: NewTokenizer | None = setting(None, "The tokenizer to train, where there is none yet.")
    data: Data = setting(Data(), "The text.")
    stages: Annotated[Several[Stage], SOME] = setting((Stage(),), "Stretches of training, one after the other.")
    seeds: Annotated[Several[Seed], SOME] = setting((0,), "One run a variant each; the first one's model is kept.")
    prompts: Several[str] = setting((), "Sentence beginnings that decoders continue after training.")
    dtype: Dtype = setting("source", "Of the saved weights; `source` for the source's own (float32 for a new model).")
    calibrate: bool | None = setting(
        None, "Whether the new output head starts with the text's token frequencies; by default that of a decoder."
    )
    chat_template: str | None = setting(
        None,
        "`tokenizer`, `source` or a file; by default the tokenizer's, else those of the source that fit it.",
    )
    trust_remote_code: bool = setting(False, "Run code that the checkpoints and the target tokenizer bring.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.license_name is not None and self.license != OTHER:
            raise SettingError("license", value=self.license, expected=f"{OTHER!r}, as it has a license_name")
        for key, options in self._methods():
            if not isinstance(options.get("method"), str):
                raise SettingError(key, value=dict(options), expected="a method, e.g. clp")
        if self.model is not None and not isinstance(self.model.get("model_type"), str):
            raise SettingError("model", value=dict(self.model), expected="a model_type, e.g. llama")
        if len(set(self.seeds)) != len(self.seeds):
            raise SettingError("seeds", value=self.seeds, expected="each once")
        self._check_stages()
        first = self.stages[0]
        if self.probe and (first.combine is not None or self.probe > first.max_steps):
            expected = f"at most the {first.max_steps} steps of the first stage"
            raise SettingError("probe", value=self.probe, expected=expected)
        return self

    def __repr__(self) -> str:
        stages = ", ".join(stage.name for stage in self.stages)
        source = "" if self.source is None else f", source={self.source!r}"
        return f"Recipe(name={self.name!r}{source}, stages: {stages}; {self.total_steps:,} steps)"[:199]

    def _methods(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if self.initializer is not None:
            yield "initializer", self.initializer
        yield from ((f"alternatives.{number}", options) for number, options in enumerate(self.alternatives))

    def _check_stages(self) -> None:
        names, length = [stage.name for stage in self.stages], self.stages[0].sequence_length
        for number, stage in enumerate(self.stages):
            key, earlier = f"stages.{number}", names[:number]
            if stage.name in earlier:
                raise SettingError(f"{key}.name", value=stage.name, expected="a name of its own")
            if stage.combine is None and stage.sequence_length != length:
                expected = f"{length} as in the first stage"
                raise SettingError(f"{key}.sequence_length", value=stage.sequence_length, expected=expected)
            for name in stage.follows:
                if name not in earlier:
                    known = ", ".join(earlier) or "none before it"
                    raise SettingError(key, f"follows {name!r}", value=name, expected=f"an earlier stage ({known})")
            if stage.adapters == "kept" and number + 1 < len(names):
                raise SettingError(f"{key}.adapters", value="kept", expected="'merged' before the last")

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of its initializers, the first one's first."""
        return tuple(str(options["method"]) for _, options in self._methods())

    @property
    def trusts_code(self) -> bool:
        """Whether code that a checkpoint brings may run: the recipe says so, or its initializer does."""
        return self.trust_remote_code or bool((self.initializer or {}).get("trust_remote_code", False))

    @property
    def distils(self) -> bool:
        """Whether a stage trains a sentence encoder on the source's vectors."""
        return any(stage.distils for stage in self.stages)

    @property
    def only_distils(self) -> bool:
        """Whether no stage trains a language model."""
        return all(stage.distils for stage in self.stages)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all stages."""
        return sum(stage.max_steps for stage in self.stages if stage.combine is None)

    @property
    def places(self) -> tuple[str | Path, ...]:
        """The folders, files and Hub ids that it reads; no output may touch them."""
        data, models = self.data, (self.source, self.helper, self.donor, self.target_tokenizer)
        corpora = (data.corpus, data.source_corpus, data.held_out, *data.corpora.values())
        others = (*data.held_out_corpora.values(), data.vectors, data.source_vectors)
        tables = (data.parallel, data.dictionary, *data.translations.values())
        return (*names_in(models), *names_in(corpora), *names_in(others), *map(file_of, names_in(tables)))

    def plain(self) -> dict[str, Any]:
        """Itself as plain data, as JSON and YAML hold it."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The resolved recipe, which `load_recipe` reads back equal."""
        return dump(self.plain())


def names_in(given: Iterable[str | tuple[str, ...] | None]) -> Iterator[str]:
    """Every name in a list of which some are several names, and some none."""
    for names in given:
        yield from () if names is None else (names,) if isinstance(names, str) else names


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes inside the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


@checked
def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or one from a YAML file.

    Args:
        name_or_path: Such as `clp`, or `my.yaml`.
        overrides: `dotted.key=value` each, the value in YAML: `stages.0.steps=500`.

    Raises:
        InputError: If it does not exist, is not YAML, or has unknown keys or values out of range.
    """
    data = plain_data(recipe_file(name_or_path), "Recipe")
    if isinstance(stages := data.get("stages"), list):
        data["stages"] = [renamed(stage) if isinstance(stage, dict) else stage for stage in stages]
    for override in overrides:
        set_value(data, of_today(override))
    return recipe_from(data)


def recipe_file(name_or_path: str | Path) -> Path:
    """Where a shipped recipe or one of the user's own is written."""
    path = FOLDER / f"{name_or_path}.yaml" if str(name_or_path) in shipped_recipes() else Path(name_or_path)
    if not path.is_file():
        expected = f"one of {', '.join(shipped_recipes())}, or a .yaml file"
        raise InputError(f"There is no recipe {str(name_or_path)!r}", value=name_or_path, expected=expected)
    return path


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of recipes, for editors: of a stage it knows what the installed `TrainingArguments` take.

    Example:
        >>> recipe_schema()["title"]
        'Recipe'
    """
    schema = Recipe.model_json_schema()
    stage = schema["$defs"]["Stage"]
    passed_on: dict[str, Any] = {field.name: {} for field in fields(TrainingArguments) if field.name not in OWN}
    stage |= {"properties": passed_on | dict.fromkeys(FORMER, {}) | stage["properties"], "additionalProperties": False}
    return schema


@checked
def recipe_from(data: Mapping[str, Any]) -> Recipe:
    """Build a recipe from plain data, as YAML gives it."""
    return Recipe(**{str(key): value for key, value in data.items()})

"""Recipe: what a transfer is, as data, checked before work starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from hf_xlt.files import plain_yaml
from hf_xlt.files.place import file_of
from hf_xlt.hub.card import check_language, check_license
from hf_xlt.hub.card.codes import OTHER
from hf_xlt.recipes.settings import Count, Name, Seed, SettingError, Settings, Several, Share, one_of
from hf_xlt.recipes.stage import Stage
from hf_xlt.tokenizers.train import FAMILIES, MIN_FREQUENCY, MOST_ENTRIES, check_numbers

SOURCE_FAMILY = "source"


def _language(code: str) -> str:
    check_language(code)
    return code


def _license(license: str) -> str:
    check_license(license)
    return license


Code = Annotated[str, AfterValidator(_language)]
Places = str | Several[str] | None


class Data(Settings):
    """The text of a transfer.

    Args:
        corpus: File or Hub dataset id to train on, or a list of them; or the file of translation pairs, for its target
            side.
        corpora: For a model of many languages, in place of one corpus: language → file or Hub dataset id.
        source_corpus: The same in the source language, for models of both languages.
        parallel: File of translation pairs, source language first, or a list of them.
        translations: For a model of many languages: language → file of translation pairs, the first language first.
            With two languages `parallel` says the same.
        dictionary: File of source words and their translations, or a list of them.
        vectors: File of word vectors of the target language.
        source_vectors: File of word vectors of the source language.
        held_out: File or Hub dataset id of the validation set; without one, lines of the corpus are held out.
        held_out_corpora: The same for a model of many languages: language → file or Hub dataset id.
        held_out_every: Hold out every so many-th line.
        held_out_lines: Hold out at most so many lines.
        max_sequences: Read at most so many packed sequences.
    """

    corpus: Places = None
    corpora: Mapping[Code, str] = {}
    source_corpus: str | None = None
    parallel: Places = None
    translations: Mapping[Code, str] = {}
    dictionary: Places = None
    vectors: str | None = None
    source_vectors: str | None = None
    held_out: str | None = None
    held_out_corpora: Mapping[Code, str] = {}
    held_out_every: Annotated[int, Field(ge=2)] = 100
    held_out_lines: Count = 500
    max_sequences: Count = 1_000_000

    @model_validator(mode="after")
    def _of_known_languages(self) -> Data:
        for name in ("translations", "held_out_corpora"):
            for language in getattr(self, name):
                one_of(name, language, tuple(self.corpora) or ("those of corpora, of which there are none yet",))
        return self


class NewTokenizer(Settings):
    """A tokenizer to train on the corpus and the dictionary: its family and its size.

    Family `source` is one like the source's.
    With `added`, it is the source's own with so many tokens more; its size follows, and the rest does not matter.

    Args:
        family: One of `FAMILIES`, or `source`.
        vocab_size: Number of entries wanted.
        added: Tokens to add to the source's own.
        min_frequency: What the corpus has less often becomes no entry.
        lowercase: Whether capital letters become small ones; None for what the source's tokenizer does, or not.
        strip_accents: Whether accents, vowel signs and tone marks are taken away.
    """

    family: str = "byte-level-bpe"
    vocab_size: int = 8000
    added: Annotated[int, Field(ge=0, le=MOST_ENTRIES)] = 0
    min_frequency: int = MIN_FREQUENCY
    lowercase: bool | None = None
    strip_accents: bool = False

    @model_validator(mode="after")
    def _fits(self) -> NewTokenizer:
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
    def _of_two_languages(self) -> TreLMOptions:
        if not len(set(self.languages)) == len(self.languages) == 2:
            raise SettingError("languages", value=self.languages, expected="two different languages")
        return self


class MultilingualOptions(Settings):
    """How one model learns many languages, those of `data.corpora`; the first is the one that a stage calls `source`.

    Args:
        alpha: How far languages are sampled by their size, for the tokenizer too: 1 wholly, 0 not at all.
        pair_share: Part of the examples that are translation pairs, trained on as translation language modeling,
            where there are any of the languages of a stage.
        anchors: Which tokens languages share: `none` but special ones, those they have in common (`default`), or
            `extra` ones: words of the first language are replaced by their translations into the second.
        anchor_probability: Share of the words that `data.dictionary` knows which are replaced.
    """

    alpha: Share = 0.7
    pair_share: Share = 0.5
    anchors: Literal["none", "default", "extra"] = "default"
    anchor_probability: Share = 0.3


class Recipe(Settings):
    """A transfer: where it starts, what it trains on and in which stages.

    Args:
        name: What the recipe is called.
        description: One sentence for the model card.
        kind: What kind of run it is, as `hf_xlt.runs.kinds` names it; None for the one that its parts tell.
        source: Checkpoint to start from: a Hub id or a folder.
        helper: Small model of the target language: a Hub id or a folder.
        donor: Model with the wanted tokenizer, for `omp`: a Hub id or a folder.
        target_tokenizer: Where the target tokenizer is: a Hub id or a folder. Without one it is the helper's or the
            donor's; without these it is trained on the corpus, as `tokenizer` says.
        language: Code of the target language.
        license: License for the model card, as the Hub spells it.
        license_name: With the license `other`: what it is called.
        initializer: `method` and its options; how target rows are made of source rows.
        alternatives: Other initializers that `--compare` trains beside the first one and the two baselines.
        model: In place of an initializer: the configuration of a new model, `model_type` and its fields.
        vector_epochs: Begin a new model's embeddings as static vectors, trained on the corpus for so many epochs; 0 for
            random ones. Masked language models of small budgets leave the unigram plateau far sooner with them.
        trelm: Make the source a TreLM of two languages.
        multilingual: Train one TreLM on many languages: a new one, as `model` and `tokenizer` say; or one that goes on
            from a `source`, which takes the place of both and of the stages on the first language alone.
        tokenizer: The tokenizer to train on the corpus: a new model's, or the target tokenizer where there is none
            yet; that of a TreLM with one vocabulary on both languages' text.
        data: The text.
        stages: Stretches of training, one after the other.
        seeds: Every variant is trained once a seed; the first one's model is kept.
        prompts: Sentence beginnings that decoders continue after training, recorded with the results.
        dtype: Type of the saved weights, or `source` for the source checkpoint's own (float32 for a new model).
        chat_template: `tokenizer`, `source` or a file; by default the target tokenizer's own, or where it has none
            those of the source whose special tokens it has.
        trust_remote_code: Run code that the source, the helper, the donor and the target tokenizer bring.

    Raises:
        InputError: If a key is unknown, a value of the wrong type or out of range, or stages do not follow from one
            another. What a kind of run makes no use of is refused by `hf_xlt.runs.check_recipe`.

    Example:
        >>> Recipe(name="mine", initializer={"method": "mean"}, stages=[Stage(max_steps=500)]).total_steps
        500
    """

    name: Name
    description: str = ""
    kind: str | None = None
    source: str | None = None
    helper: str | None = None
    donor: str | None = None
    target_tokenizer: str | None = None
    language: Code | None = None
    license: Annotated[str, AfterValidator(_license)] | None = None
    license_name: str | None = None
    initializer: Mapping[str, Any] | None = None
    alternatives: Several[Mapping[str, Any]] = ()
    model: Mapping[str, Any] | None = None
    vector_epochs: Annotated[int, Field(ge=0, le=1000)] = 0
    trelm: TreLMOptions | None = None
    multilingual: MultilingualOptions | None = None
    tokenizer: NewTokenizer | None = None
    data: Data = Data()
    stages: Annotated[Several[Stage], Field(min_length=1)] = (Stage(),)
    seeds: Annotated[Several[Seed], Field(min_length=1)] = (0,)
    prompts: Several[str] = ()
    dtype: Literal["source", "float32", "float16", "bfloat16"] = "source"
    chat_template: str | None = None
    trust_remote_code: bool = False

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
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
        return plain_yaml.dump(self.plain())


def names_in(given: Iterable[str | tuple[str, ...] | None]) -> Iterator[str]:
    """Every name in a list of which some are several names, and some none."""
    for names in given:
        yield from () if names is None else (names,) if isinstance(names, str) else names

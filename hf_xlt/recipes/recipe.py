"""Recipe: what a transfer is, as data, checked before work starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import MOST, checked, require_seeds, require_share, require_whole
from hf_xlt.data.anchors import ANCHORS
from hf_xlt.data.target_side import TargetSide
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import ParallelText, read_dictionary, read_parallel
from hf_xlt.files import plain_yaml
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.files.place import file_of
from hf_xlt.hub.card import check_language, check_license
from hf_xlt.hub.card.licenses import OTHER
from hf_xlt.recipes.schema import check_name, one_of, require
from hf_xlt.recipes.stage import Stage
from hf_xlt.tokenizers.extend import extend_tokenizer
from hf_xlt.tokenizers.train import (
    FAMILIES,
    MIN_FREQUENCY,
    MOST_ENTRIES,
    check_numbers,
    train_tokenizer,
    train_tokenizer_like,
)

SOURCE_FAMILY = "source"
MONOLINGUAL = ("auto", "mlm")
DTYPES = ("source", "float32", "float16", "bfloat16")


@checked
@dataclass(frozen=True)
class Data:
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
        held_out: File or Hub dataset id to measure on; without one, lines of the corpus are held out.
        held_out_corpora: The same for a model of many languages: language → file or Hub dataset id.
        held_out_every: Hold out every so many-th line.
        held_out_lines: Hold out at most so many lines.
        max_sequences: Read at most so many packed sequences.
    """

    corpus: str | tuple[str, ...] | None = None
    corpora: Mapping[str, Any] = field(default_factory=dict)
    source_corpus: str | None = None
    parallel: str | tuple[str, ...] | None = None
    translations: Mapping[str, Any] = field(default_factory=dict)
    dictionary: str | tuple[str, ...] | None = None
    vectors: str | None = None
    source_vectors: str | None = None
    held_out: str | None = None
    held_out_corpora: Mapping[str, Any] = field(default_factory=dict)
    held_out_every: int = 100
    held_out_lines: int = 500
    max_sequences: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("held_out_lines", "max_sequences"):
            require_whole(f"data: {name}", getattr(self, name), least=1, most=MOST)
        require_whole("data: held_out_every", self.held_out_every, least=2)
        for name in ("corpora", "translations", "held_out_corpora"):
            for language, place in getattr(self, name).items():
                check_language(language, f"data: {name}: language")
                require(isinstance(place, str), f"data: {name}.{language}", place, "a file or a Hub dataset id")
                known = ", ".join(map(str, self.corpora)) or "none yet"
                require(language in self.corpora, f"data: {name}: language", language, f"one of corpora ({known})")

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Names of the corpora to train on; the source language's is not among them."""
        return tuple(self.corpora.values()) or tuple(part.name for part in self.split().corpus.parts)

    def split(self) -> Split:
        """The corpus and its held-out part.

        Raises:
            InputError: If there is no corpus, or one cannot be read.
        """
        if self.corpus is None:
            raise InputError("No corpus given; name one with --corpus (a .txt, .txt.gz, .jsonl, .parquet or Hub id).")
        corpus = TargetSide.of(self.corpus) if self.corpus == self.parallel else Corpus.of(self.corpus)
        held_out = None if self.held_out is None else Corpus(self.held_out)
        return Split(corpus, held_out, self.held_out_every, self.held_out_lines)

    def tokenizer_lines(self) -> Iterator[str]:
        """What a new tokenizer is trained on: the training lines, and the translations in the dictionary.

        A word that is one token gets all of its dictionary entry: measured on German, retrieval without training gains
        17 points by these words, where there are 6,000 sentences beside them.

        Raises:
            InputError: If there is no corpus, or a file cannot be read.
        """
        entries = read_dictionary(self.dictionary).pairs if self.dictionary is not None else ()
        return chain(self.split().training_lines(), (target for _, target in entries))

    def pairs(self) -> ParallelText:
        """The translation pairs.

        Raises:
            InputError: If there is no file of them, or it cannot be read.
        """
        if self.parallel is None:
            raise InputError("The recipe trains on translation pairs; name a file of them with --parallel.")
        return read_parallel(self.parallel)

    def source_split(self) -> Split:
        """The corpus of the source language; its held-out lines are not trained on either.

        Raises:
            InputError: If there is none, or it cannot be read.
        """
        if self.source_corpus is None:
            raise InputError("No corpus of the source language given; name one with --source-corpus.")
        return Split(Corpus(self.source_corpus), None, self.held_out_every, self.held_out_lines)


@checked
@dataclass(frozen=True)
class NewTokenizer:
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
    added: int = 0
    min_frequency: int = MIN_FREQUENCY
    lowercase: bool | None = None
    strip_accents: bool = False

    def __post_init__(self) -> None:
        one_of("tokenizer: family", self.family, (*FAMILIES, SOURCE_FAMILY))
        require_whole("tokenizer: added", self.added, least=0, most=MOST_ENTRIES)
        check_numbers(self.vocab_size, self.min_frequency)
        if self.added and self.family != SOURCE_FAMILY:
            raise InputError(f"tokenizer: added is for the source's tokenizer; set family to {SOURCE_FAMILY!r}.")
        if self.added and (self.lowercase is not None or self.strip_accents):
            raise InputError(
                "tokenizer: added keeps the source's tokenizer as it is; leave lowercase and strip_accents out."
            )

    def trained(self, texts: Iterable[str], source: PreTrainedTokenizerBase | None = None) -> PreTrainedTokenizerBase:
        """The tokenizer.

        Args:
            texts: What it is trained on.
            source: The source's tokenizer, if there is one: what the new one is like, or puts around a text.

        Raises:
            InputError: If it cannot be trained.
        """
        options: dict[str, Any] = {"min_frequency": self.min_frequency, "strip_accents": self.strip_accents}
        if self.family != SOURCE_FAMILY or source is None:
            options |= {"lowercase": bool(self.lowercase), "framed_like": source}
            return train_tokenizer(texts, self.vocab_size, self.family, **options)
        if self.added:
            return extend_tokenizer(source, texts, self.added)
        return train_tokenizer_like(source, texts, self.vocab_size, lowercase=self.lowercase, **options)


@checked
@dataclass(frozen=True)
class TreLMOptions:
    """How a source encoder becomes a TreLM: its languages, source first, and where the TRILayer goes.

    `tri_layer_index` is a number of layers, `middle` or `none`. With `separate_embeddings` each language has a
    vocabulary of its own: the source its own, the target what a transfer to it alone would have. Each language has
    `language_specific_layers` for itself: so many lowest layers, or those of these indices.
    """

    languages: tuple[str, ...]
    tri_layer_index: int | str = "middle"
    separate_embeddings: bool = False
    language_specific_layers: int | tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for language in self.languages:
            check_language(language, "trelm: language")
        two = len(set(self.languages)) == len(self.languages) == 2
        require(two, "trelm: languages", list(self.languages), "two different")
        known = isinstance(self.tri_layer_index, int) or self.tri_layer_index in ("middle", "none")
        require(known, "trelm: tri_layer_index", self.tri_layer_index, "middle, none or a number of layers")


@checked
@dataclass(frozen=True)
class Multilingual:
    """How one model learns many languages, those of `data.corpora`; the first is the one that a stage calls `source`.

    Args:
        alpha: How far languages are sampled by their size, for the tokenizer too: 1 wholly, 0 not at all.
        pair_share: Part of the examples that are translation pairs, trained on as translation language modelling,
            where there are any of the languages of a stage.
        anchors: Which tokens languages share: `none` but special ones, those they have in common (`default`), or
            `extra` ones: words of the first language are replaced by their translations into the second.
        anchor_probability: Share of the words that `data.dictionary` knows which are replaced.
    """

    alpha: float = 0.7
    pair_share: float = 0.5
    anchors: str = "default"
    anchor_probability: float = 0.3

    def __post_init__(self) -> None:
        for name in ("alpha", "pair_share", "anchor_probability"):
            require_share(f"multilingual: {name}", getattr(self, name))
        one_of("multilingual: anchors", self.anchors, ANCHORS)


@checked
@dataclass(frozen=True)
class Recipe:
    """A transfer: where it starts, what it trains on and in which stages.

    Args:
        name: What the recipe is called.
        description: One sentence for the model card.
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
        seeds: Every method is trained once a seed; the first one's model is kept.
        prompts: Sentence beginnings that decoders continue after training, recorded with the results.
        dtype: Type of the saved weights, or `source` for the source checkpoint's own (float32 for a new model).
        chat_template: `tokenizer`, `source` or a file; by default the target tokenizer's own, or where it has none
            those of the source whose special tokens it has.
        trust_remote_code: Run code that the source, the helper, the donor and the target tokenizer bring.
    """

    name: str
    description: str = ""
    source: str | None = None
    helper: str | None = None
    donor: str | None = None
    target_tokenizer: str | None = None
    language: str | None = None
    license: str | None = None
    license_name: str | None = None
    initializer: Mapping[str, Any] | None = None
    alternatives: tuple[Mapping[str, Any], ...] = ()
    model: Mapping[str, Any] | None = None
    vector_epochs: int = 0
    trelm: TreLMOptions | None = None
    multilingual: Multilingual | None = None
    tokenizer: NewTokenizer | None = None
    data: Data = field(default_factory=Data)
    stages: tuple[Stage, ...] = (Stage(),)
    seeds: tuple[int, ...] = (0,)
    prompts: tuple[str, ...] = ()
    dtype: str = "source"
    chat_template: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        check_name("recipe: name", self.name)
        self._check_card()
        self._check_languages()
        if (self.initializer is None) == (self.model is None) and not self.continues:
            raise InputError(f"Recipe {self.name!r} needs either `initializer` or `model`, and not both.")
        if self.initializer is not None and "method" not in self.initializer:
            raise InputError(f"Recipe {self.name!r}: `initializer` needs a `method`, e.g. clp.")
        if self.model is not None and "model_type" not in self.model:
            raise InputError(f"Recipe {self.name!r}: `model` needs a `model_type`, e.g. llama.")
        require_whole(f"recipe {self.name!r}: vector_epochs", self.vector_epochs, least=0, most=MOST)
        if self.vector_epochs and self.model is None:
            raise InputError(
                f"Recipe {self.name!r}: vector_epochs is for a new `model`; an initializer makes its own rows."
            )
        if self.vector_epochs and self.multilingual is not None:
            raise InputError(f"Recipe {self.name!r}: vector_epochs is for one language; leave it out with several.")
        self._check_tokenizer()
        if not self.stages or not self.seeds:
            raise InputError(f"Recipe {self.name!r} needs at least one stage and one seed.")
        require_seeds(f"recipe {self.name!r}: seeds", self.seeds)
        if len({stage.name for stage in self.stages}) != len(self.stages):
            raise InputError(f"Recipe {self.name!r}: stage names must differ from one another.")
        if len({stage.sequence_length for stage in self.stages}) != 1:
            raise InputError(f"Recipe {self.name!r}: all stages must have one sequence_length.")
        for index, stage in enumerate(self.stages):
            self._check_stage(stage, [earlier.name for earlier in self.stages[:index]])
        one_of(f"recipe {self.name!r}: dtype", self.dtype, DTYPES)

    @property
    def trusts_code(self) -> bool:
        """Whether code that a checkpoint brings may run: the recipe says so, or its initializer does."""
        return self.trust_remote_code or bool((self.initializer or {}).get("trust_remote_code", False))

    @property
    def continues(self) -> bool:
        """Whether it goes on training a source on many languages."""
        return self.multilingual is not None and self.source is not None

    def _check_card(self) -> None:
        """What the Hub must understand."""
        if self.language is not None:
            check_language(self.language, "recipe: language")
        if self.license is not None:
            check_license(self.license, "recipe: license")
        if self.license_name is not None:
            require(self.license == OTHER, "recipe: license", self.license, f"{OTHER!r}, as it has a license_name")

    def _check_languages(self) -> None:
        if self.multilingual is None:
            if self.data.corpora:
                raise InputError(
                    f"Recipe {self.name!r}: data.corpora is for a model of many languages; name one corpus as "
                    "data.corpus, or add `multilingual:`."
                )
            return
        names = ("initializer", "trelm", "helper", "donor", "data.corpus", "data.source_corpus", "data.held_out")
        for name in names:
            if attrgetter(name)(self) is not None:
                raise InputError(
                    f"Recipe {self.name!r}: {name} is for one target language; leave it out of a model of many "
                    "languages. Name a corpus a language, as data.corpora.en=FILE."
                )

    @property
    def separate(self) -> bool:
        """Whether it makes a model of two languages with a vocabulary each."""
        return self.trelm is not None and self.trelm.separate_embeddings

    def _check_tokenizer(self) -> None:
        if self.tokenizer and self.tokenizer.added and (self.target_tokenizer or self.helper or self.donor):
            raise InputError(
                f"Recipe {self.name!r}: tokenizer.added extends the source's tokenizer; leave it out where there is a "
                "target_tokenizer, a helper or a donor."
            )
        if self.model is None and (self.trelm is None or self.separate):
            return
        if self.tokenizer and self.tokenizer.family == SOURCE_FAMILY:
            raise InputError(
                f"Recipe {self.name!r}: a tokenizer like the source's is for an initializer and one language; choose a "
                f"family of {', '.join(FAMILIES)}."
            )
        if self.target_tokenizer and self.multilingual is None:
            raise InputError(
                f"Recipe {self.name!r}: target_tokenizer is for an initializer and one language; here the tokenizer is "
                "trained, as `tokenizer` says."
            )

    def _check_stage(self, stage: Stage, earlier: Sequence[str]) -> None:
        for name in stage.follows:
            known = ", ".join(earlier) or "none before it"
            require(name in earlier, f"stage {stage.name!r} follows", name, f"an earlier stage ({known})")
        if self.multilingual is not None:
            one_of(f"stage {stage.name!r} of many languages: objective", stage.objective, MONOLINGUAL)
            require(stage.combine is None, f"stage {stage.name!r} of many languages: combine", stage.combine, "none")
        elif (stage.on_pairs or stage.frozen or stage.combine or "source" in stage.languages) and self.trelm is None:
            raise InputError(f"stage {stage.name!r} needs a TreLM; add `trelm:` with its two languages to the recipe.")
        if self.separate and stage.combine is None:
            one_of(f"stage {stage.name!r} of a model with separate embeddings: objective", stage.objective, MONOLINGUAL)
        if stage.objective == "tlm" and self.trelm and self.trelm.language_specific_layers:
            raise InputError(
                f"stage {stage.name!r}: objective is 'tlm', whose rows are of two languages at once; expected another "
                "with trelm.language_specific_layers, which need rows of one."
            )
        if stage.distils and (self.initializer is None or self.trelm is not None):
            raise InputError(
                f"stage {stage.name!r} distils the source; expected a recipe with an `initializer` and without `trelm`."
            )
        if stage.adapters == "kept" and stage is not self.stages[-1]:
            raise InputError(f"stage {stage.name!r} keeps its adapters; only the last stage can. Let it merge them.")

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
        return sum(stage.steps for stage in self.stages if stage.combine is None)

    @property
    def places(self) -> tuple[str | Path, ...]:
        """The folders, files and Hub ids that it reads; no output may touch them."""
        data, models = self.data, (self.source, self.helper, self.donor, self.target_tokenizer)
        corpora = (data.corpus, data.source_corpus, data.held_out, *data.corpora.values())
        others = (*data.held_out_corpora.values(), data.vectors, data.source_vectors)
        tables = (data.parallel, data.dictionary, *data.translations.values())
        return (*names_in(models), *names_in(corpora), *names_in(others), *map(file_of, names_in(tables)))

    def to_yaml(self) -> str:
        """The resolved recipe, which `load_recipe` reads back equal."""
        return plain_yaml.dump(asdict(self))


def names_in(given: Iterable[str | tuple[str, ...] | None]) -> Iterator[str]:
    """Every name in a list of which some are several names, and some none."""
    for names in given:
        yield from () if names is None else (names,) if isinstance(names, str) else names

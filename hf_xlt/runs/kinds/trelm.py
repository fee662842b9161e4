"""TreLM: one vocabulary for both languages, its rows mapped into the source's embedding space."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.token_stream import frequency_order, token_stream
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import check_gensim
from hf_xlt.initializers.adversarial import AdversarialInitializer
from hf_xlt.initializers.base import TRANSPORT_FILE, Initializer
from hf_xlt.initializers.baselines import RandomInitializer
from hf_xlt.initializers.pooled import PooledInitializer
from hf_xlt.recipes.recipe import NewTokenizer, Recipe, TreLMOptions
from hf_xlt.recipes.settings import SettingError, one_of
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison, Variant, kept_transport, seeded
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.kinds.kind import Kind
from hf_xlt.runs.kinds.new_model import check_family
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS
from hf_xlt.runs.text import Text, bilingual_text
from hf_xlt.runs.vectors import merged_pairs, token_vectors
from hf_xlt.transport import Transport
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM
from hf_xlt.trelm.conversion import Encoder, middle

OWN = "TreLM"
# Initializers that make rows for a TreLM, and what a recipe may say of each.
OPTIONS = {"adversarial": ("width", "epochs", "start", "ignore_case", "seed"), "pooled": ("seed",), "random": ("seed",)}


class OfTwoLanguages(Kind):
    """What recipes of a TreLM of two languages have in common."""

    reads = frozenset({"text", "pairs"})
    has_parts = True
    brings_code = True

    @property
    def options(self) -> TreLMOptions:
        """The recipe's own; one without them is refused."""
        if self.recipe.trelm is None:
            raise SettingError("trelm", "is missing", expected="the two languages, source first")
        return self.recipe.trelm

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.options.languages)

    def check_stage(self, key: str, stage: Stage) -> None:
        super().check_stage(key, stage)
        if stage.objective == "tlm" and self.options.language_specific_layers:
            expected = "another with trelm.language_specific_layers, which need rows of one"
            problem = "is 'tlm', whose rows are of two languages at once"
            raise SettingError(f"{key}.objective", problem, value="tlm", expected=expected)

    def check_inputs(self) -> None:
        self.inputs.split  # noqa: B018  opened
        self.inputs.source_split  # noqa: B018
        super().check_inputs()
        if any(stage.on_pairs for stage in self.recipe.stages):
            self.inputs.pairs  # noqa: B018
        with torch.device("meta"):
            self.check_parts(tuple(TreLMForMaskedLM(self.shape(self.inputs.source.vocab_size)).parts()))

    def shape(self, rows: int) -> TreLMConfig:
        options, source = self.options, self.inputs.source
        fields: dict[str, Any] = {
            "languages": list(options.languages),
            "vocab_size": rows,
            "language_specific_layers": options.language_specific_layers,
        }
        if options.separate_embeddings:  # the source has a vocabulary of its own, beside the rows
            others = {options.languages[0]: {"vocab_size": source.vocab_size}}
            fields |= {"separate_embeddings": True, "other_vocabularies": others}
        with refused_as_input(source.name):
            place = layer_index(options.tri_layer_index)
            fields["tri_layer_index"] = middle(source.config.num_hidden_layers) if place == "middle" else place
            return Encoder(source.config, {}).to_config(**fields)

    def config(self, transport: Transport, **tokens: Any) -> TreLMConfig:
        """The configuration that all variants share, of the source's dtype; `tokens` as `model` takes them."""
        config = self.model(transport, **tokens).config
        config.dtype = self.inputs.source.config.dtype
        return config

    def model(self, transport: Transport, **tokens: Any) -> TreLMForMaskedLM:
        """The source as a TreLM, in float32, its new rows made by a transport; `tokens` as for `from_encoder`."""
        with refused_as_input(self.recipe.source):
            return TreLMForMaskedLM.from_encoder(
                str(self.inputs.source.folder),
                languages=list(self.options.languages),
                tri_layer_index=layer_index(self.options.tri_layer_index),
                language_specific_layers=self.options.language_specific_layers,
                rows=transport.apply,
                dtype=torch.float32,
                **tokens,
            )

    def variant(self, name: str, transport: Transport, **tokens: Any) -> Variant:
        """The source's body with the rows of a transport; `tokens` as `model` takes them."""
        return Variant(name, seeded(lambda: self.model(transport, **tokens)), transport)

    def text(self, comparison: Comparison, work: Path) -> Text:
        return bilingual_text(self.inputs, comparison, work / "packed")


class TreLM(OfTwoLanguages):
    """A TreLM of one vocabulary; when comparing, the same with random rows, and one from scratch."""

    name = "trelm"
    variants = (OWN, RANDOM_ROWS, FROM_SCRATCH)
    default_tokenizer = NewTokenizer(family="wordpiece", vocab_size=16_000)
    uses = frozenset(
        {"source", "initializer", "trelm", "tokenizer", "data.corpus", "data.source_corpus", "data.held_out"}
    ) | {"data.parallel"}

    @property
    def cites(self) -> str:
        """The paper of TreLM, whatever makes the rows."""
        return "adversarial"

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.trelm is not None and not recipe.trelm.separate_embeddings

    def check(self, *, compare: bool) -> None:
        super().check(compare=compare)
        check_family(self.recipe)
        options = dict(self.recipe.initializer or {})
        method = options.pop("method", None)
        one_of("initializer.method", method, tuple(OPTIONS))
        for name in options:
            one_of(f"initializer: option of {method}", name, OPTIONS[method])

    def check_inputs(self) -> None:
        super().check_inputs()
        if self.recipe.methods[0] == "adversarial":
            check_gensim()
        if self.recipe.methods[0] == "pooled":
            self.inputs.pairs  # noqa: B018  opened

    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        source, lines = self.inputs.source, self.inputs.both_languages()
        tokenizer = self.inputs.trained_tokenizer(self.default_tokenizer, lines, work / "tokenizer")
        first_rows = RandomInitializer(source, tokenizer)
        tokenizer, random = first_rows.tokenizer, first_rows.transport()
        config = self.config(random, tokenizer=tokenizer)
        learned = kept_transport(lambda: rows_initializer(self.inputs, tokenizer), work / TRANSPORT_FILE)
        variants = [self.variant(OWN, learned, tokenizer=tokenizer)]
        if compare:
            variants += [self.variant(RANDOM_ROWS, random, tokenizer=tokenizer), trelm_from_scratch(config)]
        return Comparison(tokenizer, config, tuple(variants))


@contextmanager
def refused_as_input(source: str | None) -> Iterator[None]:
    """Turn what a TreLM model refuses into what a user is told."""
    try:
        yield
    except (ValueError, StrictDataclassError) as error:
        raise InputError(f"{source} cannot become a TreLM: {' '.join(str(error).split())}") from error


def rows_initializer(inputs: Inputs, tokenizer: PreTrainedTokenizerBase) -> Initializer:
    """The initializer of a recipe.

    `pooled` counts the links of the translation pairs, and those of their source side with itself, cut by the source's
    tokenizer and by the joint one. `adversarial` trains static vectors first: on the text of both languages and, where
    there are any, on translation pairs, without which words of the two languages that are not spelled alike hardly
    come near one another.
    """
    source = inputs.source
    options = dict(inputs.recipe.initializer or {})
    method = options.pop("method")
    if method == "random":
        return RandomInitializer(source, tokenizer, **options)
    if method == "pooled":
        text = inputs.pairs
        itself = tuple((sentence, sentence) for sentence, _ in text.pairs)
        return PooledInitializer(source, tokenizer, parallel=replace(text, pairs=(*text.pairs, *itself)), **options)
    width, epochs = options.pop("width", None), options.pop("epochs", 5)
    width = width or source.input_rows().shape[1]
    pairs = inputs.pairs.pairs if inputs.data.parallel else ()
    ids = chain(token_stream(inputs.both_languages(), tokenizer), merged_pairs(pairs, tokenizer))
    table, order = token_vectors(ids, tokenizer, width, epochs)
    source_order = frequency_order(inputs.source_split.training_lines(), inputs.source_tokenizer)
    return AdversarialInitializer(source, tokenizer, table, corpus=order, source_corpus=source_order, **options)


def layer_index(place: int | str) -> int | Literal["middle"] | None:
    """What a recipe calls the TRILayer's place, as the model takes it."""
    return None if place == "none" else place  # type: ignore[return-value]


def trelm_from_scratch(config: TreLMConfig) -> Variant:
    """A TreLM of the same shape with random weights throughout."""
    return Variant(FROM_SCRATCH, seeded(lambda: TreLMForMaskedLM(config)))

"""The contest of a TreLM recipe: joint vocabulary, static vectors, alignment with the source, and the baselines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.fetch import fetch
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.data.frequency import frequency_order
from hf_xlt.data.token_stream import token_stream
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import check_gensim
from hf_xlt.files.folders import atomic_folder
from hf_xlt.initializers import TRANSPORT_FILE, AdversarialInitializer, Initializer, RandomInitializer
from hf_xlt.initializers.pooled import PooledInitializer
from hf_xlt.recipes.recipe import NewTokenizer, Recipe, TreLMOptions
from hf_xlt.recipes.schema import one_of
from hf_xlt.runs.source import source_checkpoint
from hf_xlt.runs.variants import FROM_SCRATCH, RANDOM_ROWS, Contest, Method
from hf_xlt.runs.vectors import merged_pairs, token_vectors
from hf_xlt.transport import Transport
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM
from hf_xlt.trelm.conversion import Encoder, middle

# Initializers that make rows for a TreLM, and what a recipe may say of each.
OPTIONS = {"adversarial": ("width", "epochs", "start", "ignore_case", "seed"), "pooled": ("seed",), "random": ("seed",)}


def trelm_contest(recipe: Recipe, work: Path, compare: bool) -> Contest:
    """The source as a TreLM of two languages; when comparing, the same with random rows, and one from scratch.

    The joint tokenizer and what was learned of its tokens are kept in `work`: a killed run does not learn them again.

    Raises:
        InputError: If the source, a corpus or an option of the recipe cannot be used.
    """
    source = source_checkpoint(recipe)
    check_evidence(recipe)
    check_parts(recipe, source)
    tokenizer = joint_tokenizer(recipe, work / "tokenizer")
    first_rows = RandomInitializer(source, tokenizer)
    tokenizer, random = first_rows.tokenizer, first_rows.transport()
    config = trelm_config(recipe, source, random, tokenizer=tokenizer)
    first = learned_transport(recipe, source, tokenizer, work / TRANSPORT_FILE)
    methods = [trelm_method(recipe, "TreLM", first, tokenizer=tokenizer)]
    if compare:
        methods.append(trelm_method(recipe, RANDOM_ROWS, random, tokenizer=tokenizer))
        methods.append(trelm_from_scratch(config))
    return Contest(tokenizer, config, tuple(methods))


def check_evidence(recipe: Recipe) -> None:
    """Refuse an initializer or a file that cannot serve, before anything is learned."""
    options = dict(recipe.initializer or {})
    method = options.pop("method")
    one_of("trelm: initializer", method, tuple(OPTIONS))
    for name in options:
        one_of(f"{method}: option", name, OPTIONS[method])
    if method == "adversarial":
        check_gensim()
    if method == "pooled" or any(stage.on_pairs for stage in recipe.stages):
        recipe.data.pairs()


def check_parts(recipe: Recipe, source: Checkpoint) -> None:
    """Refuse stages that freeze or combine parts the model will not have, before anything is learned."""
    config = trelm_shape(recipe, source)
    with torch.device("meta"):
        parts = TreLMForMaskedLM(config).parts()
    for stage in recipe.stages:
        for name in (*stage.frozen, *(("lower", "upper") if stage.combine else ())):
            one_of(f"stage {stage.name!r}: part", name, tuple(parts))


def trelm_shape(recipe: Recipe, source: Checkpoint) -> TreLMConfig:
    """The configuration of the model to come, but for its vocabularies, which here are as large as the source's."""
    options = trelm_options(recipe)
    fields: dict[str, Any] = {"languages": list(options.languages), "vocab_size": source.vocab_size}
    fields["language_specific_layers"] = options.language_specific_layers
    if options.separate_embeddings:
        others = {options.languages[0]: {"vocab_size": source.vocab_size}}
        fields |= {"separate_embeddings": True, "other_vocabularies": others}
    with refused_as_input(source.name):
        place = layer_index(options.tri_layer_index)
        fields["tri_layer_index"] = middle(source.config.num_hidden_layers) if place == "middle" else place
        return Encoder(source.config, {}).to_config(**fields)


def trelm_config(recipe: Recipe, source: Checkpoint, transport: Transport, **tokens: Any) -> TreLMConfig:
    """The configuration that all methods share, of the source's dtype; `tokens` as `trelm_model` takes them."""
    config = trelm_model(recipe, transport, **tokens).config
    config.dtype = source.config.dtype
    return config


def trelm_options(recipe: Recipe) -> TreLMOptions:
    """The recipe's own.

    Raises:
        InputError: If it has none.
    """
    if recipe.trelm is None:
        raise InputError(f"Recipe {recipe.name!r} has no trelm; add it with two languages.")
    return recipe.trelm


@contextmanager
def refused_as_input(source: str | None) -> Iterator[None]:
    """Turn what a TreLM model refuses into what a user is told."""
    try:
        yield
    except (ValueError, StrictDataclassError) as error:
        raise InputError(f"{source} cannot become a TreLM: {' '.join(str(error).split())}") from error


def joint_tokenizer(recipe: Recipe, folder: Path) -> PreTrainedTokenizerBase:
    """A tokenizer trained on both languages' text; trained once, and then read from `folder`."""
    if not folder.exists():
        new = recipe.tokenizer or NewTokenizer("wordpiece", 16_000)
        with atomic_folder(folder) as partial:
            new.trained(both_languages(recipe), source_checkpoint(recipe).tokenizer()).save_pretrained(partial)
    return open_tokenizer(str(folder))


def both_languages(recipe: Recipe) -> Iterable[str]:
    """The training lines of both corpora."""
    return chain(recipe.data.source_split().training_lines(), recipe.data.split().training_lines())


def learned_transport(recipe: Recipe, source: Checkpoint, tokenizer: PreTrainedTokenizerBase, path: Path) -> Transport:
    """Rows for the joint vocabulary by the recipe's initializer; learned once, and then read from `path`."""
    if not path.exists():
        rows_initializer(recipe, source, tokenizer).transport().save(path)
    return Transport.load(path)


def rows_initializer(recipe: Recipe, source: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> Initializer:
    """The initializer of a recipe.

    `pooled` counts the links of the translation pairs, and those of their source side with itself, cut by the source's
    tokenizer and by the joint one.

    `adversarial` trains static vectors first: on the text of both languages and, where there are any, on translation
    pairs, without which words of the two languages that are not spelled alike hardly come near one another.
    """
    options = dict(recipe.initializer or {})
    method = options.pop("method")
    if method == "random":
        return RandomInitializer(source, tokenizer, **options)
    if method == "pooled":
        text = recipe.data.pairs()
        itself = tuple((sentence, sentence) for sentence, _ in text.pairs)
        return PooledInitializer(source, tokenizer, parallel=replace(text, pairs=(*text.pairs, *itself)), **options)
    width, epochs = options.pop("width", None), options.pop("epochs", 5)
    width = width or source.input_rows().shape[1]
    pairs = recipe.data.pairs().pairs if recipe.data.parallel else ()
    ids = chain(token_stream(both_languages(recipe), tokenizer), merged_pairs(pairs, tokenizer))
    table, order = token_vectors(ids, tokenizer, width, epochs)
    source_order = frequency_order(recipe.data.source_split().training_lines(), source.known_tokenizer())
    return AdversarialInitializer(source, tokenizer, table, order=order, source_order=source_order, **options)


def trelm_model(recipe: Recipe, transport: Transport, **tokens: Any) -> TreLMForMaskedLM:
    """The source as a TreLM, in float32, its new rows made by a transport.

    Args:
        recipe: With a source and two languages.
        transport: From the source's vocabulary to the new one.
        tokens: `tokenizer` of both languages, or `tokenizers` of each.
    """
    options = trelm_options(recipe)
    with refused_as_input(recipe.source):
        return TreLMForMaskedLM.from_encoder(
            str(fetch(str(recipe.source))),
            languages=list(options.languages),
            tri_layer_index=layer_index(options.tri_layer_index),
            language_specific_layers=options.language_specific_layers,
            rows=transport.apply,
            dtype=torch.float32,
            **tokens,
        )


def layer_index(place: int | str) -> int | Literal["middle"] | None:
    """What a recipe calls the TRILayer's place, as the model takes it."""
    if isinstance(place, int):
        return place
    return "middle" if place == "middle" else None


def trelm_method(recipe: Recipe, name: str, transport: Transport, **tokens: Any) -> Method:
    """The source's body with the rows of a transport; `tokens` as `trelm_model` takes them."""

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        return trelm_model(recipe, transport, **tokens)

    return Method(name, start, transport)


def trelm_from_scratch(config: TreLMConfig) -> Method:
    """A TreLM of the same shape with random weights throughout."""

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        return TreLMForMaskedLM(config)

    return Method(FROM_SCRATCH, start)

"""The contest of a model of many languages: monolingual first and then multilingual, or multilingual throughout.

After "Cross-lingual language model meta-pretraining" (2021, arXiv:2109.11129): phase 1 learns from one language with
the vocabulary of all of them, phase 2 from all of them; the baseline spends the whole budget on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.data.anchors import SeparateIds, TokenIds, token_ids
from hf_xlt.data.multilingual import MultilingualText
from hf_xlt.errors import InputError
from hf_xlt.files.folders import atomic_folder
from hf_xlt.recipes.recipe import Multilingual, NewTokenizer, Recipe
from hf_xlt.recipes.schema import one_of, require
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.kinds.trelm import refused_as_input, trelm_from_scratch
from hf_xlt.runs.languages import LanguagesText, languages_of, languages_text, read_languages
from hf_xlt.runs.own_tables import vocabulary_of, with_own_tables
from hf_xlt.runs.source import source_checkpoint
from hf_xlt.runs.variants import ONE_PHASE, Contest, Method
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM

IN_PHASES = "in phases"
CONTINUED = "continued"
MODEL_TYPE = "trelm"


def continued(recipe: Recipe) -> Recipe:
    """The recipe; where a source has been through phase 1, without the model and the stages that it stands for."""
    if not recipe.continues:
        return recipe
    stages = tuple(stage for stage in recipe.stages if stage.languages != ("source",))
    return replace(recipe, model=None, tokenizer=None, stages=stages)


def multilingual_contest(recipe: Recipe, work: Path, compare: bool) -> Contest:
    """The model of a recipe; when comparing, the same budget in one phase, or with a source a model from scratch.

    The joint tokenizer is kept in `work`: a killed run does not train it again.

    Raises:
        InputError: If text, source, model or a stage of the recipe cannot be used.
    """
    text = languages_text(recipe)
    for stage in recipe.stages:
        languages_of(stage, text.languages)
    if recipe.source is not None:
        return _continued_contest(recipe, recipe.source, text, compare)
    tokenizer = _joint_tokenizer(recipe, text, work / "tokenizer")
    config = languages_config(recipe, tokenizer)
    check_model(recipe, config, text)
    start = trelm_from_scratch(config).start
    phases = any(stage.languages for stage in recipe.stages)
    methods = [Method(IN_PHASES if phases else ONE_PHASE, start)]
    if compare and phases:
        methods.append(Method(ONE_PHASE, start, stages=(one_phase(recipe),)))
    published = _published(ids_of(recipe, tokenizer), tokenizer)
    return Contest(
        tokenizer,
        config,
        tuple(methods),
        source_tokenizer=tokenizer if published or config.separate_embeddings else None,
        published=published,
    )


def one_phase(recipe: Recipe) -> Stage:
    """All stages as one, on all languages: as many examples, with the last stage's hyperparameters.

    Raises:
        InputError: If stages have batches of different sizes, so that equal steps are not an equal budget.
    """
    sizes = [stage.batch_size * stage.accumulation for stage in recipe.stages]
    require(len(set(sizes)) == 1, "sequences a step of the stages", sizes, "equal numbers, to compare with one phase")
    return replace(
        recipe.stages[-1],
        name="all",
        languages=(),
        starts_from=None,
        steps=recipe.total_steps,
        evaluations=sum(stage.evaluations for stage in recipe.stages),
        checkpoints=sum(stage.checkpoints for stage in recipe.stages),
    )


def languages_config(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> TreLMConfig:
    """The configuration of a recipe's new model, its languages and vocabulary those of the text.

    Raises:
        InputError: If it is not of a TreLM, a field is not known, or values do not fit together.
    """
    given: dict[str, Any] = dict(recipe.model or {})
    one_of("model: model_type of a model of many languages", given.pop("model_type"), (MODEL_TYPE,))
    known = tuple(field.name for field in fields(TreLMConfig))
    for name in given:
        one_of("model: field", name, known)
    languages = list(recipe.data.corpora)
    vocabulary: dict[str, Any] = vocabulary_of(tokenizer, ids_of(recipe, tokenizer).vocab_size)
    if given.get("separate_embeddings"):
        given["other_vocabularies"] = dict.fromkeys(languages[:-1], vocabulary)
    try:
        return TreLMConfig(**vocabulary, languages=languages, **given)
    except (ValueError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Recipe {recipe.name!r}: no {MODEL_TYPE!r} model can be made of it: {reason}") from error


def ids_of(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> TokenIds:
    """The ids that the model reads; with separate embeddings those of the tokenizer, whatever the anchors."""
    options = recipe.multilingual or Multilingual()
    apart = bool((recipe.model or {}).get("separate_embeddings"))
    return token_ids("default" if apart else options.anchors, tokenizer, tuple(recipe.data.corpora))


def check_model(recipe: Recipe, config: TreLMConfig, text: MultilingualText) -> None:
    """Refuse parts that the model does not have, and rows of two languages where layers are of one."""
    with torch.device("meta"):
        parts = TreLMForMaskedLM(config).parts()
    for stage in recipe.stages:
        for name in stage.frozen:
            one_of(f"stage {stage.name!r}: part", name, tuple(parts))
    if config.own_layers and text.parallel and text.pair_share:
        raise InputError(
            "multilingual: pair_share is for translation pairs, whose rows are of two languages at once; expected 0 "
            "with language_specific_layers, which need rows of one. The pairs then serve retrieval alone."
        )


def read_contest(recipe: Recipe, contest: Contest, cache: Path) -> LanguagesText:
    """The text of a contest, packed in `cache`."""
    config = cast(TreLMConfig, contest.config)
    ids = ids_of(recipe, contest.tokenizer)
    return read_languages(recipe, contest.tokenizer, ids, config.position_offset, cache, contest.source_tokenizer)


def _published(
    ids: TokenIds, tokenizer: PreTrainedTokenizerBase
) -> Callable[[PreTrainedModel], PreTrainedModel] | None:
    """What makes a trained model read the tokenizer's ids, where it reads others."""
    if not isinstance(ids, SeparateIds):
        return None
    return lambda model: with_own_tables(cast(TreLMForMaskedLM, model), ids, tokenizer)


def _continued_contest(recipe: Recipe, name: str, text: MultilingualText, compare: bool) -> Contest:
    options = recipe.multilingual or Multilingual()
    one_of("multilingual: anchors with a source, whose rows are one a token:", options.anchors, ("default", "extra"))
    source = source_checkpoint(recipe)

    def start(seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        with refused_as_input(name):
            return TreLMForMaskedLM.from_encoder(
                str(source.folder), languages=list(text.languages), tri_layer_index=None, dtype=torch.float32
            )

    config = cast(TreLMConfig, start(0).config)
    config.dtype = source.config.dtype
    check_model(recipe, config, text)
    baselines = (trelm_from_scratch(config),) if compare else ()
    return Contest(source.tokenizer(), config, (Method(CONTINUED, start), *baselines))


def _joint_tokenizer(recipe: Recipe, text: MultilingualText, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that the recipe names; or one trained on all corpora, and then read from `folder`."""
    if recipe.target_tokenizer is not None:
        return open_tokenizer(recipe.target_tokenizer, trust_remote_code=recipe.trusts_code)
    if not folder.exists():
        new = recipe.tokenizer or NewTokenizer("wordpiece", 16_000)
        with atomic_folder(folder) as partial:
            new.trained(text.smoothed_lines()).save_pretrained(partial)
    return open_tokenizer(str(folder))

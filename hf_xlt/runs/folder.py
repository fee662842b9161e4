"""The folder that a run leaves: the kept model as what its source was, its tokenizer and adapters, and its card."""

import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.contents import carried_files, transformer_path
from hf_xlt.checkpoint.kind import KINDS, ModelKind
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import write_tokenizer
from hf_xlt.hub.card import CardFacts, CorpusFacts, RowCounts
from hf_xlt.initializers import METHODS
from hf_xlt.initializers.evidence import evidence_facts
from hf_xlt.initializers.health import health, health_tables
from hf_xlt.initializers.registry import initializer_class, unused_evidence
from hf_xlt.recipes.recipe import Recipe, names_in
from hf_xlt.runs.comparison import Variant
from hf_xlt.runs.kinds import Kind
from hf_xlt.runs.results import Results

ADAPTERS = "adapters"


def save_kept(
    kind: Kind,
    model_kind: ModelKind,
    trained: Path,
    dtype: torch.dtype | str,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    name: str,
) -> None:
    """Write the language model in the folder `trained`, and its adapters, to a folder that will be called `name`.

    Where the source is a sentence-transformers model, so is this: its modules and settings are carried over, as
    `Initializer.build` does. Adapters stay in float32.
    """
    inputs, body = kind.inputs, folder
    if inputs.source_is_sentence_transformer:
        source = inputs.source.folder
        for path in carried_files(source):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, folder / path)
        body = folder / transformer_path(source)
    model = model_kind.auto_class.from_pretrained(trained, dtype=dtype)
    if kind.saved_as(model_kind) is AutoModel:
        save_bare(model, inputs.source, body)
    else:
        model.save_pretrained(body)
    if kind.recipe.source is None:
        talking = copy.copy(tokenizer)
        talking.chat_template = inputs.chat(tokenizer).templates
        talking.save_pretrained(body)
    else:
        write_tokenizer(inputs.source, tokenizer, body, kind.recipe.chat_template)
    if (adapters := trained.with_name(ADAPTERS)).is_dir():
        shutil.copyfile(adapters / SAFETENSORS_WEIGHTS_NAME, folder / SAFETENSORS_WEIGHTS_NAME)
        settings = json.loads((adapters / CONFIG_NAME).read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = name
        (folder / CONFIG_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def save_bare(model: PreTrainedModel, source: Checkpoint, folder: Path) -> None:
    """Write the body of a language model, and with it what the source's has and a language model's does without.

    That is a pooler, mostly: nothing here trains it, but the class that opens the folder would miss it.
    """
    bare = cast(PreTrainedModel, model.base_model)
    state = bare.state_dict()
    with torch.device("meta"):
        whole = AutoModel.from_config(model.config, trust_remote_code=source.trust_remote_code).state_dict()
    others = [name for name in whole if name not in state and name in source.weights.tensors]
    state |= {name: source.weights.load(name).to(model.dtype) for name in others}
    bare.save_pretrained(folder, state_dict=state)


def card_facts(kind: Kind, results: Results, title: str, pictures: Mapping[str, str]) -> CardFacts:
    """What the card tells of a run; `pictures` are what a picture shows → its file beside the card."""
    recipe, model_kind = kind.recipe, KINDS[results.kind]
    rows = results.kept[0].rows
    return CardFacts(
        title=title,
        kind=results.kind,
        auto_class=kind.saved_as(model_kind).__name__,
        method=results.method,
        base_model=recipe.source,
        helper=recipe.helper,
        brings_code=kind.brings_code,
        languages=kind.languages,
        license=recipe.license,
        license_name=recipe.license_name,
        recipe_name=recipe.name,
        recipe_description=recipe.description or None,
        recipe=recipe.to_yaml(),
        command=results.command,
        rows=None if rows is None else RowCounts(**rows),
        datasets=trained_on(recipe),
        corpus=CorpusFacts(**results.corpus),
        results=kind.result_rows(results),
        scores=tuple(kind.scores(results)),
        retrieval=kind.tables(results),
        pictures=pictures,
        continuations=_continuations(results),
        versions=results.versions,
        hardware=results.hardware,
        citation=initializer_class(kind.cites).citation if kind.cites in METHODS else None,
    )


def trained_on(recipe: Recipe) -> tuple[str, ...]:
    """Names of all text that the recipe trains on: files and Hub datasets."""
    data = recipe.data
    given = (data.corpus, *data.corpora.values(), data.source_corpus, data.parallel, *data.translations.values())
    return tuple(dict.fromkeys(names_in(given)))


def start_facts(kind: Kind, variant: Variant, tokenizer: PreTrainedTokenizerBase, folder: Path) -> dict[str, Any]:
    """What the card tells of the start of the variant that is kept; the health of its rows goes into the folder too.

    Of a new model, which has no transport, there is nothing to tell.
    """
    if variant.transport is None:
        return {}
    found = health(variant.transport, kind.inputs.source, tokenizer, kind.inputs.split.corpus)
    found = replace(found, notices=variant.notices)
    found.save(folder)
    recipe = kind.recipe
    given = {name: getattr(recipe.data, name) for name in ("dictionary", "parallel", "vectors", "source_vectors")}
    given = {"donor": recipe.donor} | given
    method = (recipe.initializer or {}).get("method")
    unused = () if recipe.trelm or method is None else unused_evidence(method, given)
    return {"health": health_tables(found), "evidence": evidence_facts(given, unused)}


def _continuations(results: Results) -> dict[str, dict[str, str]]:
    """Prompt → method → text, of each method's first seed."""
    first = {method: runs[0].continuations for method, runs in results.runs_of.items()}
    prompts = dict.fromkeys(prompt for texts in first.values() for prompt in texts)
    return {prompt: {method: texts[prompt] for method, texts in first.items() if prompt in texts} for prompt in prompts}

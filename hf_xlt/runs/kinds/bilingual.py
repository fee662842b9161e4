"""The contest of models of two languages that each have a vocabulary of their own over one encoder (RAMEN, 2020)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from transformers import PreTrainedTokenizerBase

from hf_xlt.recipes.recipe import Recipe
from hf_xlt.runs.kinds.transfer import transfer_contest
from hf_xlt.runs.kinds.trelm import check_parts, trelm_config, trelm_from_scratch, trelm_method
from hf_xlt.runs.source import source_checkpoint
from hf_xlt.runs.variants import Contest, Method
from hf_xlt.transport import Transport
from hf_xlt.trelm import TreLMConfig


def bilingual_contest(recipe: Recipe, work: Path, compare: bool) -> Contest:
    """The contest of a transfer to the target language, the source's own vocabulary kept beside the target's.

    All methods have both tokenizers and one shape: when comparing, random rows and a model from scratch are of two
    languages too, and go through the same stages on the same text.

    Raises:
        InputError: As for a transfer, if there is no corpus of the source language, or if a stage names a part that
            the model does not have.
    """
    source = source_checkpoint(recipe)
    recipe.data.source_split()
    check_parts(recipe, source)
    transfers = transfer_contest(recipe, work, compare)
    tokenizers = [source.known_tokenizer(), transfers.tokenizer]
    own = cast(Transport, transfers.methods[0].transport)  # only a model from scratch has none
    config = trelm_config(recipe, source, own, tokenizers=tokenizers)
    methods = [bilingual(recipe, method, tokenizers, config) for method in transfers.methods]
    return Contest(transfers.tokenizer, config, tuple(methods), source_tokenizer=tokenizers[0])


def bilingual(recipe: Recipe, method: Method, tokenizers: list[PreTrainedTokenizerBase], config: TreLMConfig) -> Method:
    """A method of a transfer, begun with two languages."""
    if method.transport is None:
        return trelm_from_scratch(config)
    return trelm_method(recipe, method.name, method.transport, tokenizers=tokenizers)

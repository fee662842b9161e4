"""The source checkpoint of a recipe."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.body import check_body
from hf_xlt.checkpoint.chat import Chat
from hf_xlt.checkpoint.kind import TRAINED, has_other_head, kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import chat_of
from hf_xlt.errors import InputError
from hf_xlt.recipes.recipe import Recipe


def source_checkpoint(recipe: Recipe) -> Checkpoint:
    """The source, open; its own code runs where the recipe says so.

    Raises:
        InputError: If there is none, or it cannot be opened.
    """
    if recipe.source is None:
        raise InputError(f"{recipe.name} needs a source checkpoint; name one with --source (a Hub id or a folder).")
    return Checkpoint.open(recipe.source, trust_remote_code=recipe.trusts_code)


def chat_for(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Chat:
    """The chat template that the model of a recipe gets.

    Raises:
        InputError: As `Chat.choose` does, or if one of a source is asked for where there is no source.
    """
    if recipe.source is not None:
        return chat_of(source_checkpoint(recipe), tokenizer, recipe.chat_template)
    return Chat.choose(recipe.chat_template, tokenizer, None)


def check_source(recipe: Recipe) -> None:
    """Refuse a source that no run can train, before anything is made of it.

    Raises:
        InputError: If it has a head that training as a language model would lose, is no language model of text, or has
            a body that is not finite or all zeros.
    """
    if recipe.source is None:
        return
    source = source_checkpoint(recipe)
    saved_as = ", ".join(source.config.architectures or ()) or source.config.model_type
    if has_other_head(source.config) or kind_of(source.config) not in TRAINED:
        raise InputError(
            f"{source.name} is a {saved_as}, whose head a run would lose",
            value=saved_as,
            expected="a masked, causal or sequence-to-sequence language model, or a bare encoder",
            hint="`hf-xlt initialize` keeps the head: make the model with it, then train it on your task.",
        )
    check_body(source)

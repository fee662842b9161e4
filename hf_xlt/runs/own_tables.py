"""A model of languages that share no token, as one in which each language has a vocabulary of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.anchors import SeparateIds
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM
from hf_xlt.trelm.modeling_trelm import name_of

ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")
TABLES = ("trelm.embeddings.word_embeddings.weight", "decoder.weight", "decoder.bias")


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, size: int) -> dict[str, int | None]:
    """Size and special ids of a vocabulary, by their names in `TreLMConfig`."""
    return {"vocab_size": size} | {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ROLES}


def with_own_tables(model: TreLMForMaskedLM, ids: SeparateIds, tokenizer: PreTrainedTokenizerBase) -> TreLMForMaskedLM:
    """The model, of one table of `ids.vocab_size` rows, reading every language in the ids of the joint tokenizer.

    Its states are the same; its predictions are over the tokens of a text's own language alone.
    """
    fields: dict[str, Any] = model.config.to_dict()
    languages, own = fields["languages"], vocabulary_of(tokenizer, ids.tokens)
    others = [language for language in languages if language != fields["default_language"]]
    apart = {"separate_embeddings": True, "other_vocabularies": dict.fromkeys(others, own)}
    made = TreLMForMaskedLM(TreLMConfig.from_dict(fields | own | apart))
    state: dict[str, Tensor] = dict(model.state_dict())
    tables = {name: state.pop(name) for name in TABLES}
    joint = torch.arange(ids.tokens)[None]
    for number, language in enumerate(languages):
        rows = ids.of_languages(joint, torch.tensor([number]))[0]
        state |= {name_of(name, language): table[rows.to(table.device)] for name, table in tables.items()}
    made.load_state_dict(state)
    return made

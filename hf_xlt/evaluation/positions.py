"""How many tokens a model can read at once."""

from __future__ import annotations

from transformers import PreTrainedModel

_DEFAULT = 512


def positions(model: PreTrainedModel) -> int:
    """Tokens a sequence may have; RoBERTa and its kin count positions from behind their padding id."""
    rows = getattr(model.config, "max_position_embeddings", None) or _DEFAULT
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    before = [table.padding_idx + 1 for table in tables if isinstance(getattr(table, "padding_idx", None), int)]
    return int(rows - max(before, default=0))

"""The model card: plain facts, rendered; it tells nothing of where things lie on this machine."""

from hf_xlt.model_card.facts import CardFacts, CardTable, CorpusFacts, EvidenceFacts, ResultRow, RowCounts
from hf_xlt.model_card.public import is_repo_id, public_command, public_name, without_paths
from hf_xlt.model_card.render import CARD, installed_versions, render_card, write_card

__all__ = [
    "CARD",
    "CardFacts",
    "CardTable",
    "CorpusFacts",
    "EvidenceFacts",
    "ResultRow",
    "RowCounts",
    "installed_versions",
    "is_repo_id",
    "public_command",
    "public_name",
    "render_card",
    "without_paths",
    "write_card",
]

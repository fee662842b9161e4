"""The model card: plain facts, rendered; it tells nothing of where things lie on this machine."""

from hf_xlt.hub.card.codes import check_language, check_license
from hf_xlt.hub.card.facts import CardFacts, CardTable, CorpusFacts, EvidenceFacts, ResultRow, RowCounts, Score
from hf_xlt.hub.card.public import is_repo_id, public_command, public_name, public_names, without_paths
from hf_xlt.hub.card.render import CARD, installed_versions, render_card, write_card

__all__ = [
    "CARD", "CardFacts", "CardTable", "CorpusFacts", "EvidenceFacts", "ResultRow", "RowCounts", "Score",
    "check_language", "check_license", "installed_versions", "is_repo_id", "public_command", "public_name",
    "public_names", "render_card", "without_paths", "write_card",
]  # fmt: skip

"""Embedding spaces: which tokens of two vocabularies are near each other, and how to lay one space on another."""

from hf_xlt.geometry.adversarial import AdversarialGame, GameSettings
from hf_xlt.geometry.align import align_spaces
from hf_xlt.geometry.similarity import WEIGHTINGS, Weighting, sparsemax, top_k_softmax, unit_rows
from hf_xlt.geometry.space import Alignment

__all__ = [
    "WEIGHTINGS",
    "AdversarialGame",
    "Alignment",
    "GameSettings",
    "Weighting",
    "align_spaces",
    "sparsemax",
    "top_k_softmax",
    "unit_rows",
]

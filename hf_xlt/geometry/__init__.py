"""Embedding spaces: which tokens of two vocabularies are near each other, and how to lay one space on another."""

from hf_xlt.geometry.adversarial import AdversarialGame, GameSettings
from hf_xlt.geometry.align import align_spaces
from hf_xlt.geometry.alignment import Alignment
from hf_xlt.geometry.similarity import sparsemax, top_k_softmax, unit_rows
from hf_xlt.geometry.weighting import WEIGHTINGS, Weighting

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

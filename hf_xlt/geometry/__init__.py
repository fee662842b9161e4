"""Embedding spaces: which tokens of two vocabularies are near each other."""

from hf_xlt.geometry.similarity import sparsemax, top_k_softmax, unit_rows

__all__ = ["sparsemax", "top_k_softmax", "unit_rows"]

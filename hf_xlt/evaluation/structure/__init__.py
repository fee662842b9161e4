"""The study of emerging cross-lingual structure: CKA, and alignment after the fact, of any two encoders."""

from hf_xlt.evaluation.structure.cka import CKA
from hf_xlt.evaluation.structure.structure import Level, Structure, structure

__all__ = ["CKA", "Level", "Structure", "structure"]

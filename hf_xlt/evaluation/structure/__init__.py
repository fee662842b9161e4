"""The study of emerging cross-lingual structure: CKA, and alignment after the fact, of any two encoders."""

from hf_xlt.evaluation.structure.alignment import MAPS, Precision, aligned_precision, least_squares, precision
from hf_xlt.evaluation.structure.cka import CKA, CKAMap, cka_map
from hf_xlt.evaluation.structure.reader import Reader
from hf_xlt.evaluation.structure.sample import Sample, Side
from hf_xlt.evaluation.structure.states import States, encode
from hf_xlt.evaluation.structure.structure import Level, Structure, paired_layers, structure
from hf_xlt.evaluation.structure.tables import tables

__all__ = [
    "CKA",
    "MAPS",
    "CKAMap",
    "Level",
    "Precision",
    "Reader",
    "Sample",
    "Side",
    "States",
    "Structure",
    "aligned_precision",
    "cka_map",
    "encode",
    "least_squares",
    "paired_layers",
    "precision",
    "structure",
    "tables",
]

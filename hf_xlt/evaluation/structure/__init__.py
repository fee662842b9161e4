"""The study of emerging cross-lingual structure: CKA, and alignment after the fact, of any two encoders."""

from hf_xlt.evaluation.structure.cka import CKA, CKAMap, cka_map
from hf_xlt.evaluation.structure.sample import Sample, Side
from hf_xlt.evaluation.structure.states import LayerEncoder, States, encode
from hf_xlt.evaluation.structure.structure import (
    MAPS,
    Level,
    Precision,
    Structure,
    aligned_precision,
    least_squares,
    paired_layers,
    precision,
    structure,
)

__all__ = [
    "CKA",
    "MAPS",
    "CKAMap",
    "LayerEncoder",
    "Level",
    "Precision",
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
]

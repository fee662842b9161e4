"""The structure of two models in words: a table for sentences and one for words."""

from __future__ import annotations

from hf_xlt.evaluation.structure.alignment import MAPS, UNALIGNED, Precision
from hf_xlt.evaluation.structure.structure import Level, Structure
from hf_xlt.hub.card import CardTable


def tables(structure: Structure) -> list[CardTable]:
    """For sentences, and where there are any for words: CKA and P@1, a line for each pair of layers."""
    levels = {"sentence": structure.sentences, "word": structure.words}
    return [_table(structure, kind, level) for kind, level in levels.items() if level is not None]


def _table(structure: Structure, kind: str, level: Level) -> CardTable:
    ways = [way for way in (UNALIGNED, *MAPS) if way in level.precision]
    precisions = [f"{way.replace('_', ' ')}, {by}" for way in ways for by in ("cosine", "CSLS")]
    lines = []
    for at, (i, j) in enumerate(structure.layers):
        found = [cell for way in ways for cell in _cells(level.precision[way][at])]
        lines.append((_name(i, j), f"{level.cka[i][j]:.3f}", f"{level.debiased_cka[i][j]:.3f}", *found))
    header = ("layer", "CKA", "CKA, debiased", *(f"P@1 {name}" for name in precisions))
    return CardTable(_caption(structure, kind, level), header, tuple(lines))


def _caption(structure: Structure, kind: str, level: Level) -> str:
    return (
        f"{structure.model_a} against {structure.model_b}, {kind} pairs: CKA of all {level.learned + level.tested:,}; "
        f"P@1 (mean of both directions) among {level.tested:,}, with maps learned from {level.learned:,} others; "
        f"by chance {1 / level.tested:.1%}"
    )


def _cells(found: Precision) -> tuple[str, str]:
    cosine, csls = ((way.forward + way.backward) / 2 for way in (found.cosine, found.csls))
    return f"{cosine:.1%}", f"{csls:.1%}"


def _name(i: int, j: int) -> str:
    return ("embeddings" if i == 0 else str(i)) if i == j else f"{i} / {j}"

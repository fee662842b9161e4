"""A word aligner as one safetensors file."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_xlt.evidence.alignment.bitext import Vocabulary
from hf_xlt.evidence.alignment.cooccurrence import WordPairs
from hf_xlt.evidence.alignment.diagonal import Diagonal
from hf_xlt.evidence.alignment.jumps import Jumps
from hf_xlt.evidence.alignment.lexicon import Lexicon
from hf_xlt.evidence.alignment.training import Model
from hf_xlt.files.tensors import from_bytes, read_tensors, to_bytes, write_tensors

_FORMAT = "hf_xlt word aligner 1"
_DIRECTIONS = ("forward", "backward")
_DISTORTIONS: dict[str, type[Diagonal | Jumps]] = {"diagonal": Diagonal, "jumps": Jumps}

Tensors = dict[str, Tensor]


def write(
    path: str | Path,
    pairs: WordPairs,
    vocabularies: tuple[Vocabulary, Vocabulary],
    model: Model,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the parts of an aligner to one file, which appears whole or not at all.

    Raises:
        InputError: If the file exists and `overwrite` is not set, or its folder does not exist.
    """
    tensors = {"pairs.source": pairs.source.int(), "pairs.target": pairs.target.int()}
    for side, vocabulary in zip(("source", "target"), vocabularies, strict=True):
        tensors[f"{side}.tokens"] = to_bytes(vocabulary.tokens)
    for direction, *parts in zip(_DIRECTIONS, model.lexicons, model.distortions, strict=True):
        tensors |= _tensors(f"{direction}.lexicon", parts[0]) | _tensors(f"{direction}.distortion", parts[1])
    (kind,) = (kind for kind, cls in _DISTORTIONS.items() if isinstance(model.distortions[0], cls))
    return write_tensors(path, tensors, {"format": _FORMAT, "distortion": kind}, overwrite=overwrite)


def read(path: str | Path) -> tuple[WordPairs, tuple[Vocabulary, Vocabulary], Model]:
    """Read what `write` wrote, equal to the bit.

    Raises:
        InputError: If the file is missing, unreadable, or not a word aligner.
    """
    tensors, metadata = read_tensors(path, "word aligner", _FORMAT, "WordAligner.save")
    source, target = (Vocabulary(from_bytes(tensors[f"{side}.tokens"])) for side in ("source", "target"))
    pairs = WordPairs(tensors["pairs.source"].long(), tensors["pairs.target"].long(), len(source), len(target))
    distortion = _DISTORTIONS[metadata["distortion"]]
    lexicons = [Lexicon(**_fields(f"{direction}.lexicon", tensors)) for direction in _DIRECTIONS]
    distortions = [distortion(**_fields(f"{direction}.distortion", tensors)) for direction in _DIRECTIONS]
    return pairs, (source, target), Model((lexicons[0], lexicons[1]), (distortions[0], distortions[1]))


def _tensors(prefix: str, part: Any) -> Tensors:
    """The fields of a dataclass, numbers as float64 scalars."""
    values = {f"{prefix}.{field.name}": getattr(part, field.name) for field in fields(part)}
    return {name: v if isinstance(v, Tensor) else torch.tensor(v, dtype=torch.float64) for name, v in values.items()}


def _fields(prefix: str, tensors: Tensors) -> dict[str, Any]:
    """The inverse of `_tensors`."""
    own = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
    return {name: t if t.ndim else t.item() for name, t in own.items()}

"""A word aligner as one safetensors file."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment.bitext import Vocabulary
from hf_xlt.evidence.alignment.cooccurrence import WordPairs
from hf_xlt.evidence.alignment.diagonal import Diagonal
from hf_xlt.evidence.alignment.jumps import Jumps
from hf_xlt.evidence.alignment.lexicon import Lexicon
from hf_xlt.evidence.alignment.training import Model

_FORMAT = "hf_xlt word aligner 1"
_DIRECTIONS = ("forward", "backward")
_DISTORTIONS: dict[str, type[Diagonal | Jumps]] = {"diagonal": Diagonal, "jumps": Jumps}

Tensors = dict[str, Tensor]


def write(path: str | Path, pairs: WordPairs, vocabularies: tuple[Vocabulary, Vocabulary], model: Model) -> Path:
    """Write the parts of an aligner to one file, which appears whole or not at all.

    Raises:
        InputError: If the file's folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path.parent} is not a folder; expected one to write {path.name} to. Make it first.")
    tensors = {"pairs.source": pairs.source.int(), "pairs.target": pairs.target.int()}
    for side, vocabulary in zip(("source", "target"), vocabularies, strict=True):
        tensors[f"{side}.tokens"] = _to_bytes(vocabulary.tokens)
    for direction, *parts in zip(_DIRECTIONS, model.lexicons, model.distortions, strict=True):
        tensors |= _tensors(f"{direction}.lexicon", parts[0]) | _tensors(f"{direction}.distortion", parts[1])
    (kind,) = (kind for kind, cls in _DISTORTIONS.items() if isinstance(model.distortions[0], cls))
    unfinished = path.with_name(f".{path.name}.unfinished")
    save_file(tensors, unfinished, {"format": _FORMAT, "distortion": kind})
    os.replace(unfinished, path)
    return path


def read(path: str | Path) -> tuple[WordPairs, tuple[Vocabulary, Vocabulary], Model]:
    """Read what `write` wrote, equal to the bit.

    Raises:
        InputError: If the file is missing, unreadable, or not a word aligner.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected a word aligner. Write one with WordAligner.save.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}). Write it again.") from error
    if metadata.get("format") != _FORMAT:
        raise InputError(f"{path} is not a word aligner; expected a file that WordAligner.save wrote.")
    source, target = (Vocabulary(_from_bytes(tensors[f"{side}.tokens"])) for side in ("source", "target"))
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


def _to_bytes(tokens: tuple[str | int, ...]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(tokens).encode()), dtype=torch.uint8)


def _from_bytes(tokens: Tensor) -> tuple[Any, ...]:
    return tuple(json.loads(tokens.numpy().tobytes()))

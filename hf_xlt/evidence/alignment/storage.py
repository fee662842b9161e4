"""A word aligner as one safetensors file."""

from __future__ import annotations

import json
import os
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
from hf_xlt.evidence.alignment.posteriors import Distortion
from hf_xlt.evidence.alignment.training import Model

_FORMAT = "hf_xlt word aligner 1"
_DIRECTIONS = ("forward", "backward")

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
    for direction, lexicon, distortion in zip(_DIRECTIONS, model.lexicons, model.distortions, strict=True):
        parts = {"lexicon.values": lexicon.values, "lexicon.null": lexicon.null} | _distortion_tensors(distortion)
        tensors |= {f"{direction}.{name}": tensor for name, tensor in parts.items()}
    unfinished = path.with_name(f".{path.name}.unfinished")
    save_file(tensors, unfinished, {"format": _FORMAT})
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
    forward, backward = (_direction(tensors, direction) for direction in _DIRECTIONS)
    return pairs, (source, target), Model((forward[0], backward[0]), (forward[1], backward[1]))


def _direction(tensors: Tensors, direction: str) -> tuple[Lexicon, Distortion]:
    prefix = f"{direction}."
    parts = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return Lexicon(parts["lexicon.values"], parts["lexicon.null"]), _distortion(parts)


def _distortion_tensors(distortion: Distortion) -> Tensors:
    if isinstance(distortion, Jumps):
        return {"jumps.widths": distortion.widths, "null": _scalar(distortion.null)}
    assert isinstance(distortion, Diagonal)
    return {"diagonal.tension": _scalar(distortion.tension), "null": _scalar(distortion.null)}


def _distortion(parts: Tensors) -> Distortion:
    null = float(parts["null"])
    return (
        Jumps(parts["jumps.widths"], null)
        if "jumps.widths" in parts
        else Diagonal(float(parts["diagonal.tension"]), null)
    )


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _to_bytes(tokens: tuple[str | int, ...]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(tokens).encode()), dtype=torch.uint8)


def _from_bytes(tokens: Tensor) -> tuple[Any, ...]:
    return tuple(json.loads(tokens.numpy().tobytes()))

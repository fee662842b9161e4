"""Objects of ours as single safetensors files: written whole or not at all, read if they are what was asked for."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.files.folders import check_file, whole_file

Made = TypeVar("Made")


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, overwrite: bool = False
) -> Path:
    """Write tensors to one file."""
    path = Path(path)
    content_format = metadata.get("format")
    check_file(path, overwrite=overwrite, ours=lambda old: _format(old) == content_format)
    with whole_file(path) as unfinished:
        # Copies with their own memory: safetensors refuses tensors that share theirs.
        own = {name: each.detach().cpu().clone(memory_format=torch.contiguous_format) for name, each in tensors.items()}
        save_file(own, unfinished, dict(metadata))
    return path


def read_tensors(
    path: str | Path, kind: str, content_format: str, writer: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote in that format; messages call it `kind`, and `writer` what writes it."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected a {kind}. Write one with {writer}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} is not a readable safetensors file ({error}). Write it again.") from error
    if metadata.get("format") != content_format:
        raise InputError(f"{path} is not a {kind}; expected a file that {writer} wrote.")
    return tensors, metadata


def to_bytes(values: Iterable[Any]) -> Tensor:
    """Strings or numbers as a tensor of JSON's bytes."""
    return torch.frombuffer(bytearray(json.dumps(list(values)).encode()), dtype=torch.uint8)


def from_bytes(content: Tensor) -> tuple[Any, ...]:
    """The inverse of `to_bytes`."""
    return tuple(json.loads(content.numpy().tobytes()))


def tensors_of(part: Any, prefix: str = "") -> dict[str, Tensor]:
    """The fields of a dataclass, tensors and numbers, by their names behind a prefix."""
    values = {prefix + field.name: getattr(part, field.name) for field in fields(part)}
    return {name: v if isinstance(v, Tensor) else torch.as_tensor(np.asarray(v)) for name, v in values.items()}


def dataclass_of(kind: type[Made], tensors: Mapping[str, Tensor], prefix: str = "") -> Made:
    """The inverse of `tensors_of`."""
    return kind(**{name: t if t.ndim else t.item() for name, t in under(prefix, tensors).items()})


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _format(path: Path) -> str | None:
    """The format that a safetensors file says it has."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format")
    except (SafetensorError, OSError):
        return None

"""The safetensors files of a checkpoint, as byte ranges: what stays the same is copied without being loaded."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError, safe_open

from hf_xlt.errors import InputError

if TYPE_CHECKING:
    import torch

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CHUNK = 2**24  # bytes between two steps of the progress bar
CONVERT = (
    "Pickled .bin weights can run code when opened, so they are neither read nor downloaded. Convert them with "
    "https://huggingface.co/spaces/safetensors/convert, or, where you trust them, with AutoModel….from_pretrained(…) "
    "and save_pretrained(…)."
)

Progress = Callable[[int], Any]


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: its type and shape, and its bytes `start:end` within the file's data."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def n_bytes(self) -> int:
        """Bytes of data."""
        return self.end - self.start

    def resized(self, shape: tuple[int, ...], start: int) -> StoredTensor:
        """The same kind of tensor in another shape, or moved in its own, from `start` on."""
        moved = shape == self.shape  # which may be empty
        size = self.n_bytes if moved else self.n_bytes // math.prod(self.shape) * math.prod(shape)
        return StoredTensor(self.dtype, shape, start, start + size)


@dataclass(frozen=True)
class Shard:
    """One safetensors file with its header read: tensors in the order of their bytes."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, str]
    data_start: int

    @classmethod
    def open(cls, path: Path) -> Shard:
        """Read and check the header."""
        try:
            with safe_open(path, framework="np"):  # checks header and length; "pt" imports torch
                pass
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(length))
        except (OSError, SafetensorError) as error:
            problem = f"{path} is not a whole safetensors file ({error})"
            raise InputError(problem, hint="Download or save it again.") from error
        metadata = header.pop("__metadata__", {})
        tensors = {
            name: StoredTensor(entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"])
            for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        }
        return cls(path, tensors, metadata, 8 + length)

    def load(self, name: str) -> torch.Tensor:
        """One tensor, as stored."""
        with safe_open(self.path, framework="pt") as file:
            return file.get_tensor(name)

    def rewrite(
        self,
        target: Path,
        shapes: Mapping[str, tuple[int, ...]],
        make: Callable[[str], Iterable[torch.Tensor]],
        progress: Progress,
    ) -> None:
        """Write the file anew with the tensors of `shapes` replaced; all other bytes are copied.

        `make` gives the parts of the new tensor of a name, in the order of its bytes and in the stored type.
        """
        header: dict[str, Any] = {"__metadata__": dict(self.metadata)} if self.metadata else {}
        position = 0
        for name, old in self.tensors.items():
            new = old.resized(shapes.get(name, old.shape), position)
            header[name] = {"dtype": new.dtype, "shape": list(new.shape), "data_offsets": [new.start, new.end]}
            position = new.end
        encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        encoded += b" " * (-len(encoded) % 8)
        with self.path.open("rb") as source, target.open("wb") as file:
            file.write(struct.pack("<Q", len(encoded)) + encoded)
            for name, tensor in self.tensors.items():
                if name in shapes:
                    for part in make(name):
                        progress(file.write(_bytes(part)))
                else:
                    source.seek(self.data_start + tensor.start)
                    copy_bytes(source, file, tensor.n_bytes, progress)


@dataclass(frozen=True)
class Weights:
    """All safetensors files of a model, and the index where there are several."""

    shards: tuple[Shard, ...]
    index: Path | None = None

    @classmethod
    def open(cls, folder: Path) -> Weights:
        """Find the weights of a folder as transformers does: one file, else the shards of an index."""
        index = folder / INDEX_FILE
        if (folder / SINGLE_FILE).is_file():
            return cls((Shard.open(folder / SINGLE_FILE),))
        if not index.is_file():
            pickled = ", ".join(sorted(path.name for path in folder.glob("*.bin")))
            found = f"only {pickled}" if pickled else "no weights at all"
            raise InputError(f"{folder} has no {SINGLE_FILE} or {INDEX_FILE}: {found} there", hint=CONVERT)
        try:
            weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            files = {name: Path(name) for name in sorted(set(weight_map.values()))}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            problem = f"{index} is not an index of shards. Download or save it again."
            raise InputError(problem, path=index, expected="names of tensors and, for each, of a file") from error
        for name, path in files.items():
            if path.is_absolute() or ".." in path.parts:
                problem = f"{index} names the shard {name!r}, which leads out of the folder"
                raise InputError(problem, hint="Do not use this model.", value=name, path=index)
        shards = {name: Shard.open(folder / name) for name in files}
        for tensor, name in weight_map.items():
            if tensor not in shards[name].tensors:
                problem = f"{index} says that {name} holds {tensor}, which it does not"
                raise InputError(problem, hint="Download both again.")
        _check_once(shards, index)
        return cls(tuple(shards.values()), index)

    @property
    def tensors(self) -> dict[str, StoredTensor]:
        """Every stored tensor by name."""
        return {name: tensor for shard in self.shards for name, tensor in shard.tensors.items()}

    def load(self, name: str) -> torch.Tensor:
        """One tensor, as stored."""
        return next(shard for shard in self.shards if name in shard.tensors).load(name)


def _check_once(shards: Mapping[str, Shard], index: Path) -> None:
    holder: dict[str, str] = {}
    for file, shard in shards.items():
        for tensor in shard.tensors:
            if tensor in holder:
                problem = f"{tensor} is stored twice, in {holder[tensor]} and {file}"
                raise InputError(problem, hint="Save the model again.", value=tensor, path=index)
            holder[tensor] = file


def copy_bytes(source: BinaryIO, target: BinaryIO, count: int, progress: Progress) -> None:
    """Copy the next `count` bytes in chunks, inside the kernel where it can."""
    while count:
        size = min(CHUNK, count)
        linux = sys.platform == "linux"
        copied = _copy_in_kernel(source, target, size) if linux else target.write(source.read(size))
        if not copied:
            raise OSError(f"{source.name} ended {count} bytes too early.")
        progress(copied)
        count -= copied


def _copy_in_kernel(source: BinaryIO, target: BinaryIO, count: int) -> int:
    target.flush()
    start, end = source.tell(), target.tell()
    copied = os.sendfile(target.fileno(), source.fileno(), start, count)
    source.seek(start + copied)
    target.seek(end + copied)
    return copied


def _bytes(tensor: torch.Tensor) -> memoryview:
    import torch  # what only looks at a checkpoint does without

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data

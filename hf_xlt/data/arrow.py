"""Memory-mapped datasets, written once and found again by what they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset, Features
from datasets.arrow_writer import ArrowWriter
from transformers import PreTrainedTokenizerBase

from hf_xlt.files.folders import whole_file


def memory_mapped(
    cache: Path, name: str, features: Features, batches: Callable[[], Iterable[dict[str, Any]]]
) -> Dataset:
    """The dataset of a cache folder by its name, see `fingerprint`; it is written from `batches` if it is not there.

    The file appears when it is whole. `batches` gives the columns of some rows at a time.
    """
    path = cache / f"{name}.arrow"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished, ArrowWriter(path=str(unfinished), features=features) as writer:
            for batch in batches():
                writer.write_batch(batch)
            writer.finalize()
    return Dataset.from_file(str(path)).with_format("numpy")


def fingerprint(tokenizer: PreTrainedTokenizerBase, *parts: bytes) -> str:
    """A name for what is made of `parts` and a tokenizer, to its last file."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    with TemporaryDirectory() as folder:
        for file in sorted(tokenizer.save_pretrained(folder)):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]

"""Full sequences of a text, without padding or truncation; memory-mapped, and found again by what they are made of."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from datasets import Dataset, Features, Sequence, Value
from datasets.arrow_writer import ArrowWriter
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.token_stream import BATCH, Frame, batched, token_stream
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Split
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


def state_of(split: Split) -> bytes:
    """What a split is now: its corpora, and the sizes and times of their files."""
    files = [part.path.stat() for part in split.corpus.parts if part.path.is_file()]
    return repr((split, *((file.st_size, file.st_mtime_ns) for file in files))).encode()


def blocks(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int) -> Iterator[np.ndarray]:
    """Cut the token stream into sequences of exactly `length` ids, prefix and suffix included: int32 `(length,)` each.

    The last, incomplete sequence is dropped.
    """
    frame = Frame.of(tokenizer)
    inner = frame.room(length)
    rest = np.empty(0, dtype=np.int32)
    for ids in token_stream(lines, tokenizer):
        rest = np.concatenate([rest, ids])
        whole = len(rest) // inner * inner
        yield from (frame.around(row) for row in rest[:whole].reshape(-1, inner))
        rest = rest[whole:]


def pack(
    split: Split, tokenizer: PreTrainedTokenizerBase, length: int, limit: int, cache: Path, lang_id: int | None = None
) -> Dataset:
    """The training lines of a split as a memory-mapped dataset of full sequences: `input_ids`, int32 `(length,)`.

    Args:
        split: Which lines to train on.
        tokenizer: Its separator is put between lines, its own frame around every sequence.
        length: Ids a sequence, special tokens included.
        limit: Most sequences to pack; reading stops there.
        cache: Folder for the Arrow files; a second call with the same corpus and tokenizer reads them again.
        lang_id: Where given, the `lang_ids` of every sequence.
    """
    features = Features({"input_ids": Sequence(Value("int32"), length=length)})
    name = fingerprint(tokenizer, state_of(split), repr((length, limit)).encode())

    def batches() -> Iterator[dict[str, np.ndarray]]:
        rows = islice(blocks(split.training_lines(), tokenizer, length), limit)
        for batch in batched(tqdm(rows, desc="packing", unit=" sequences", disable=None), BATCH):
            yield {"input_ids": np.stack(batch)}

    dataset = memory_mapped(cache, name, features, batches)
    if len(dataset) == 0:
        problem = f"Corpus {split.corpus.name} is shorter than one sequence of {length} tokens"
        raise InputError(f"{problem}; give more text or a smaller sequence_length.")
    return dataset if lang_id is None else dataset.add_column("lang_ids", [lang_id] * len(dataset))

"""Translation pairs: with word links as rows that a cross-lingual objective trains on, and one side as a corpus."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, Features, Value
from datasets import Sequence as ListOf
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import MOST, checked, require_whole
from hf_xlt.data.objectives import UNALIGNED
from hf_xlt.data.packing import fingerprint, memory_mapped
from hf_xlt.data.token_stream import BATCH, Frame
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.place import file_of

TokenPair = tuple[np.ndarray, np.ndarray]

FEATURES = Features(
    {
        "input_ids": ListOf(Value("int32")),
        "labels": ListOf(Value("int32")),
        "alignment": ListOf(Value("int32")),
        "lang_ids": Value("int32"),
        "target_lang_ids": Value("int32"),
    }
)


@checked
def tokenized(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[np.ndarray]:
    """Ids of each text without special tokens, cut so that it fits into `max_length` with them; int64."""
    room = Frame.of(tokenizer).room(max_length)
    encoded = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
    return [np.array(ids[:room], dtype=np.int64) for ids in encoded["input_ids"]]


def tokenized_pairs(
    pairs: Sequence[tuple[str, str]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[TokenPair]:
    """Ids of both sides of each pair, as `tokenized` gives them, without the pairs of which a side is empty."""
    sides = (tokenized(side, tokenizer, max_length) for side in zip(*pairs, strict=True))
    return [pair for pair in zip(*sides, strict=True) if all(map(len, pair))]


@checked
def aligned_pairs(
    pairs: Sequence[TokenPair],
    links: Sequence[np.ndarray],
    tokenizer: PreTrainedTokenizerBase,
    lang_ids: tuple[int, int],
    cache: str | Path,
) -> Dataset:
    """Make a memory-mapped dataset of translation pairs for `DataCollatorForCdLM` and `DataCollatorForTLM`.

    Its columns are names of the TreLM model's own inputs, so that a plain `Trainer` keeps them: `input_ids` (source),
    `labels` (target), `alignment` (target position → source position or -1), `lang_ids`, `target_lang_ids`.

    Args:
        pairs: Source and target ids of each pair, without special tokens, as `tokenized` gives them.
        links: For each pair `(k, 2)`, which source token goes with which target token.
        tokenizer: Puts its special tokens around both sides; they are linked to one another.
        lang_ids: The two languages' places in the model's list.
        cache: Folder for the Arrow file; a second call with the same content reads it again.

    Raises:
        InputError: If there is no pair, the numbers of pairs and links differ, or a link leaves its pair.
    """
    if not len(pairs):
        raise InputError("There is no translation pair; give parallel text with at least one.")
    if len(pairs) != len(links):
        raise InputError(f"There are {len(pairs)} pairs and {len(links)} sets of links; expected one set a pair.")
    for lang_id in lang_ids:
        require_whole("lang_ids", lang_id, least=0, most=MOST)
    frame = Frame.of(tokenizer)

    def batches() -> Iterator[dict[str, list]]:
        for start in range(0, len(pairs), BATCH):
            chosen = range(start, min(start + BATCH, len(pairs)))
            rows = [(*pairs[i], target_to_source(links[i], len(pairs[i][0]), len(pairs[i][1]), i)) for i in chosen]
            yield {
                "input_ids": [frame.around(source) for source, _, _ in rows],
                "labels": [frame.around(target) for _, target, _ in rows],
                "alignment": [framed_alignment(alignment, len(source), frame) for source, _, alignment in rows],
                "lang_ids": [lang_ids[0]] * len(rows),
                "target_lang_ids": [lang_ids[1]] * len(rows),
            }

    name = fingerprint(tokenizer, _content_of(pairs, links), repr(lang_ids).encode())
    return memory_mapped(Path(cache), name, FEATURES, batches)


def target_to_source(links: np.ndarray, source_length: int, target_length: int, number: int = 0) -> np.ndarray:
    """Where each target token of pair `number` comes from: int32 `(target_length,)`, -1 for no link.

    Of several links of a target token the leftmost source token counts.
    """
    links = np.asarray(links, dtype=np.int64).reshape(-1, 2)
    outside = ((links < 0) | (links >= (source_length, target_length))).any(axis=1)
    if outside.any():
        source, target = links[outside][0]
        raise InputError(
            f"Pair {number} links source token {source} with target token {target}, but has {source_length} and "
            f"{target_length} tokens. Align the tokens that the pairs are made of."
        )
    alignment = np.full(target_length, source_length, dtype=np.int64)
    np.minimum.at(alignment, links[:, 1], links[:, 0])
    return np.where(alignment == source_length, UNALIGNED, alignment).astype(np.int32)


def framed_alignment(alignment: np.ndarray, source_length: int, frame: Frame) -> np.ndarray:
    """The alignment of a pair with special tokens around both sides: each is linked to its counterpart."""
    before = len(frame.prefix)
    inner = np.where(alignment == UNALIGNED, UNALIGNED, alignment + before)
    after = before + source_length + np.arange(len(frame.suffix))
    return np.concatenate([np.arange(before), inner, after]).astype(np.int32)


def _content_of(pairs: Sequence[TokenPair], links: Sequence[np.ndarray]) -> bytes:
    digest = hashlib.sha256()
    for (source, target), pair_links in zip(pairs, links, strict=True):
        for array in (source, target, np.asarray(pair_links).reshape(-1)):
            digest.update(len(array).to_bytes(8, "little") + np.asarray(array, dtype=np.int64).tobytes())
    return digest.digest()


@dataclass(frozen=True)
class TargetSide(Corpus):
    """The target sentences of a file of translation pairs, `FILE` or `FILE:source,target`, line by line."""

    def __post_init__(self) -> None:
        if not self.several and not os.path.isfile(self.path):
            raise InputError(f"{self.name} is not a file; expected translation pairs. Check the path.")

    @property
    def path(self) -> Path:
        """Where the file is."""
        return file_of(self.name)

    def lines(self) -> Iterator[str]:
        """The target sentence of every pair, in order."""
        if self.several:
            return super().lines()
        return (target for _, target in read_parallel(Path(self.name).expanduser()).pairs)

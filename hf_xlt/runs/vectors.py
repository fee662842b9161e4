"""Static vectors of a tokenizer's ids, trained on text and on translation pairs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives import special_ids
from hf_xlt.data.token_stream import token_stream
from hf_xlt.evidence.vectors import train_vectors
from hf_xlt.files.tensors import write_tensors
from hf_xlt.runs.inputs import Inputs

VECTORS_FILE = "vectors.safetensors"


def trained_vectors(inputs: Inputs, tokenizer: PreTrainedTokenizerBase, width: int, epochs: int, path: Path) -> Tensor:
    """Static vectors of a tokenizer's tokens, from the corpus; trained once, and then read from `path`."""
    if not path.exists():
        table, _ = token_vectors(token_stream(inputs.split.training_lines(), tokenizer), tokenizer, width, epochs)
        write_tensors(path, {"vectors": table}, {})
    return load_file(path)["vectors"]


def token_vectors(
    text: Iterable[np.ndarray], tokenizer: PreTrainedTokenizerBase, width: int, epochs: int
) -> tuple[Tensor, Tensor]:
    """Skip-gram vectors of the token ids of a text, which comes in parts.

    Returns:
        float32 `(V, width)`, zero where a token is rare; and int64, the ids that have one and are not special, by
        falling frequency.
    """
    names = np.array([str(id_) for id_ in range(len(tokenizer))], dtype=object)
    table, order = train_vectors(TokenText(tuple(text), names), width, epochs=epochs).placed(names.tolist())
    return table, order[~torch.isin(order, torch.from_numpy(special_ids(tokenizer)))]


def merged_pairs(pairs: Iterable[Sequence[str]], tokenizer: PreTrainedTokenizerBase) -> Iterator[np.ndarray]:
    """The ids of both sides of each pair as one text, ordered by how far along its sentence each token stands.

    In such a text the context of a word is its translation's too (Vulić and Moens, 2015, "Bilingual Word Embeddings
    from Non-Parallel Document-Aligned Data Applied to Bilingual Lexicon Induction", length-ratio shuffle).
    """
    sides = (tokenizer(list(side), add_special_tokens=False)["input_ids"] for side in zip(*pairs, strict=True))
    for both in zip(*sides, strict=True):
        along = np.concatenate([(np.arange(len(ids)) + 0.5) / max(1, len(ids)) for ids in both])
        yield np.concatenate(both).astype(np.int32)[along.argsort(kind="stable")]


@dataclass(frozen=True)
class TokenText:
    """A tokenised text to be read as words, as often as wanted: the ids, and what each is called."""

    ids: tuple[np.ndarray, ...]
    names: np.ndarray

    def __iter__(self) -> Iterator[list[str]]:
        return (self.names[part].tolist() for part in self.ids)

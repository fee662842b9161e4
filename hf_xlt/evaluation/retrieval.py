"""Sentence retrieval: is a sentence's translation the nearest sentence of the other language?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evaluation.pooling import mean_pooled
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.mixture import row_blocks


@dataclass(frozen=True)
class Retrieval:
    """Share of sentences whose translation is their nearest neighbour by cosine, in either direction."""

    forward: float
    backward: float


def retrieval(sources: Tensor, targets: Tensor) -> Retrieval:
    """P@1 of parallel sentences among all given.

    Args:
        sources: Sentence vectors `(n, d)`.
        targets: Of their translations, `(n, d)`, in the same order.

    Raises:
        InputError: If the shapes differ or there is no sentence.
    """
    if sources.shape != targets.shape or not len(sources):
        raise InputError(
            f"Sentence vectors of shapes {tuple(sources.shape)}, {tuple(targets.shape)}; expected the same number of "
            "sentences, one or more, and the same width on both sides."
        )
    a, b = unit_rows(sources), unit_rows(targets)
    return Retrieval(_precision(a, b), _precision(b, a))


@torch.inference_mode()
def sentence_vectors(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], batch_size: int = 64
) -> Tensor:
    """Mean-pooled states of every layer.

    Args:
        model: An encoder without a head.
        tokenizer: Its tokenizer.
        sentences: Cut off where the model's positions end.
        batch_size: Sentences at a time, of like length.

    Returns:
        float32 `(layers + 1, n, d)` on the CPU: the embeddings first, then the states after each layer.
    """
    model.eval()
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512) - 2)
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    pooled: list[Tensor] = []
    for start in tqdm(range(0, len(order), batch_size), desc="sentences", unit="batch", disable=None, leave=False):
        texts = [sentences[i] for i in order[start : start + batch_size]]
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        states = torch.stack(model(**inputs, output_hidden_states=True).hidden_states)  # (layers + 1, b, s, d)
        pooled.append(mean_pooled(states, inputs["attention_mask"]).cpu())
    return torch.cat(pooled, dim=1)[:, torch.tensor(order).argsort()]


def _precision(queries: Tensor, keys: Tensor) -> float:
    right = 0
    for block in row_blocks(len(queries), len(keys)):
        nearest = (queries[block] @ keys.T).argmax(1)
        right += int((nearest == torch.arange(block.start, block.start + len(nearest), device=nearest.device)).sum())
    return right / len(queries)

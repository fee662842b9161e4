"""Held-out loss, perplexity and bits per byte of a language model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import datasets
import evaluate
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.data.objectives import special_ids
from hf_xlt.data.objectives.objective import evaluate_losses
from hf_xlt.evaluation.held_out import HeldOut

__all__ = ["HeldOut", "LanguageModelQuality", "Quality", "measure"]


@dataclass(frozen=True)
class Quality:
    """Held-out quality: loss in nats a target token, its perplexity, and bits a byte of text."""

    loss: float
    perplexity: float
    bits_per_byte: float


class LanguageModelQuality(evaluate.Metric):
    """Loss, perplexity and bits per byte from summed negative log-likelihoods, as an offline `evaluate` metric.

    Bits per byte is Σ nll / (ln 2 · bytes), where bytes are those of the text that the targets stand for: all of it
    for causal models; for masked and denoising models the share of the text's ordinary tokens that were targets.
    Unlike the loss it does not depend on how a tokenizer cuts the text.
    """

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {
                "nll": datasets.Value("float64"),
                "targets": datasets.Value("int64"),
                "words": datasets.Value("int64"),
            }
        )
        return evaluate.MetricInfo(
            description="Held-out loss, perplexity and bits per byte of a language model.",
            citation="",
            inputs_description="Per batch: summed nll in nats, number of targets, of which ordinary tokens.",
            features=features,
        )

    def _compute(
        self, nll: list[float], targets: list[int], words: list[int], text_bytes: int, text_tokens: int
    ) -> dict[str, float]:
        loss = sum(nll) / sum(targets)
        scored_bytes = text_bytes * sum(words) / text_tokens
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": sum(nll) / (math.log(2) * scored_bytes),
        }


def measure(
    model: PreTrainedModel,
    held_out: HeldOut,
    tokenizer: PreTrainedTokenizerBase,
    batch_size: int = 16,
) -> Quality:
    """Quality of a model on a held-out text, each target weighted alike."""
    metric = LanguageModelQuality(keep_in_memory=True)
    special = special_ids(tokenizer)
    for examples in held_out.batches(batch_size):
        batch = {name: tensor.to(model.device) for name, tensor in held_out.objective(examples).items()}
        losses, target_ids = evaluate_losses(model, batch, held_out.objective.shifts_labels)
        words = ~np.isin(target_ids.cpu().numpy(), special)
        metric.add(nll=float(losses.double().sum()), targets=len(words), words=int(words.sum()))
    scores: dict[str, Any] = metric.compute(text_bytes=held_out.text_bytes, text_tokens=held_out.text_tokens)
    return Quality(**scores)

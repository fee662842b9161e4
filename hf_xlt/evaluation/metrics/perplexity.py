"""Loss, perplexity and bits per byte of a language model, from counts a sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from hf_xlt.evaluation.metrics.counted import CountedMetric, ratio

_LARGEST_EXPONENT = 700.0  # of what a float64 holds


class Perplexity(CountedMetric):
    """Loss in nats a predicted token, its exponential, and bits a byte of the text that was predicted.

    Counts of a sequence: negative log-likelihood in nats, predicted tokens, bytes of UTF-8 that these stand for. Unlike
    the others, bits per byte does not depend on how a tokenizer cuts the text.
    """

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        return evaluate.MetricInfo(
            description="Loss, perplexity and bits per byte of a language model.",
            citation="",
            inputs_description=(
                "predictions: negative log-likelihood of each sequence, in nats; references: its predicted tokens, and "
                "the bytes they stand for."
            ),
            features=datasets.Features({"predictions": number, "references": datasets.Sequence(number)}),
        )

    def counts(self, predictions: Sequence[float], references: Sequence[Sequence[float]]) -> np.ndarray:
        """float64 `(n, 3)`: negative log-likelihood, predicted tokens, bytes."""
        sizes = np.asarray(references, dtype=np.float64).reshape(len(references), 2)
        return np.column_stack([np.asarray(predictions, dtype=np.float64), sizes])

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """`bits_per_byte`, `perplexity` and `loss`; the lower the better, from 0 on."""
        nll, tokens, text_bytes = np.moveaxis(totals, -1, 0)
        loss = ratio(nll, tokens)
        return {
            "bits_per_byte": ratio(nll, math.log(2) * text_bytes),
            "perplexity": np.exp(np.minimum(loss, _LARGEST_EXPONENT)),
            "loss": loss,
        }

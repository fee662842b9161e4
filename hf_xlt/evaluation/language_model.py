"""Held-out loss, perplexity and bits per byte of a language model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import datasets
import evaluate
import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.data.objectives import IGNORED, CausalLM, Example, Objective
from hf_xlt.data.packing import Frame, token_stream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.loss import evaluate_losses

MASKING_SEED = 20230


@dataclass(frozen=True)
class HeldOut:
    """A held-out text, cut so that each of its tokens is seen once.

    For causal models neighbouring sequences share one token, so that every token but the first is a target.

    Args:
        examples: Sequences with a fixed masking key; all of one length but the last.
        text_bytes: Bytes of UTF-8 the text has, one line end a line included.
        text_tokens: Ordinary tokens in it, separators included.
    """

    examples: tuple[Example, ...]
    text_bytes: int
    text_tokens: int

    @classmethod
    def cut(
        cls, lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int, objective: Objective
    ) -> HeldOut:
        """Tokenise and cut a text.

        Raises:
            InputError: If there is no text.
        """
        kept = list(lines)
        if not kept:
            raise InputError("The held-out text is empty; give a longer corpus or a held-out file with text in it.")
        ids = np.concatenate(list(token_stream(kept, tokenizer)))
        windows = _causal_windows if isinstance(objective, CausalLM) else _framed_windows
        rows = windows(ids, Frame.of(tokenizer), length)
        examples = tuple({"input_ids": row, "key": (MASKING_SEED, i)} for i, row in enumerate(rows))
        return cls(examples, sum(len(line.encode()) + 1 for line in kept), len(ids))


def _causal_windows(ids: np.ndarray, frame: Frame, length: int) -> Iterator[np.ndarray]:
    start = (frame.prefix or frame.separator)[-1:]
    whole = np.concatenate([np.array(start, np.int32), ids])
    for begin in range(0, len(whole) - 1, length - 1):
        yield whole[begin : begin + length]


def _framed_windows(ids: np.ndarray, frame: Frame, length: int) -> Iterator[np.ndarray]:
    prefix, suffix = np.array(frame.prefix, np.int32), np.array(frame.suffix, np.int32)
    inner = length - len(prefix) - len(suffix)
    for begin in range(0, len(ids), inner):
        if len(ids) - begin > 1:
            yield np.concatenate([prefix, ids[begin : begin + inner], suffix])


@dataclass(frozen=True)
class Quality:
    """Held-out quality: loss in nats a target token, its perplexity, and bits a byte of text."""

    loss: float
    perplexity: float
    bits_per_byte: float


class LanguageModelQuality(evaluate.Metric):
    """Loss, perplexity and bits per byte from summed negative log-likelihoods, as an offline `evaluate` metric.

    Bits per byte is Σ nll / (ln 2 · bytes), where bytes are those of the text that the targets stand for: all of it
    for causal models; for masked and denoising models the share of the text's tokens that were targets. Unlike the
    loss it does not depend on how a tokenizer cuts the text.
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
        scored_bytes = text_bytes * min(1.0, sum(words) / text_tokens)
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": sum(nll) / (math.log(2) * scored_bytes),
        }


def measure(
    model: PreTrainedModel,
    held_out: HeldOut,
    tokenizer: PreTrainedTokenizerBase,
    objective: Objective,
    batch_size: int = 32,
) -> Quality:
    """Quality of a model on a held-out text, each target weighted alike."""
    metric = LanguageModelQuality(experiment_id=uuid4().hex)
    fillers = _fillers(tokenizer, objective)
    for examples in _batches(held_out.examples, batch_size):
        batch = {name: tensor.to(model.device) for name, tensor in objective(examples).items()}
        losses, target_ids = evaluate_losses(model, batch, objective.shifts_labels)
        words = ~np.isin(target_ids.cpu().numpy(), fillers)
        metric.add(nll=float(losses.double().sum()), targets=len(words), words=int(words.sum()))
    scores: dict[str, Any] = metric.compute(text_bytes=held_out.text_bytes, text_tokens=held_out.text_tokens)
    return Quality(**scores)


def _fillers(tokenizer: PreTrainedTokenizerBase, objective: Objective) -> np.ndarray:
    """Special target ids that stand for no text: all but the separator, which stands for a line end."""
    separator = set(Frame.of(tokenizer).separator)
    ids = set(tokenizer.all_special_ids) - separator
    return np.array(sorted(ids | {IGNORED}), dtype=np.int64)


def _batches(examples: tuple[Example, ...], size: int) -> Iterator[list[Example]]:
    batch: list[Example] = []
    for example in examples:
        if batch and (len(batch) == size or len(example["input_ids"]) != len(batch[0]["input_ids"])):
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch

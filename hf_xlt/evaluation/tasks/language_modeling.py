"""How well a model predicts a text: as it was trained to, and one masked token at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_xlt.checkpoint.kind import ENCODER
from hf_xlt.data.objectives import IGNORED, objective_for
from hf_xlt.data.objectives.objective import evaluate_losses
from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.language_model import ValidationSet, sequence_counts
from hf_xlt.evaluation.metrics import Perplexity
from hf_xlt.evaluation.models import LanguageModel
from hf_xlt.evaluation.tasks.data import text_lines_of
from hf_xlt.evaluation.tasks.task import Outcome, TrainingFreeTask, text_windows
from hf_xlt.evidence.token_ids import token_ids

_BATCH_TOKENS = 8192  # of masked copies


class TextPrediction(TrainingFreeTask):
    """What tasks that predict a text have in common."""

    headline: ClassVar[str] = "bits_per_byte"
    roles: ClassVar[Mapping[str, bool]] = {"test": True}
    lower_is_better: ClassVar[bool] = True

    def metric(self, labels: Sequence[str] = ()) -> Perplexity:
        """Counts of each sequence or line: nats, predicted tokens, bytes."""
        return Perplexity()


@dataclass(frozen=True)
class LanguageModeling(TextPrediction):
    """Quality on a held-out text of the objective that the model's kind is made for.

    Encoders predict 15 % of the tokens, masked alike at every measurement; decoders every token; encoder-decoders what
    was hidden from the encoder. So figures compare within a kind.
    """

    name: ClassVar[str] = "language-model"
    summary: ClassVar[str] = "loss, perplexity and bits per byte on a held-out text"

    length: int = 128  # tokens a sequence; fewer where the model has fewer positions

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        lines = text_lines_of(places["test"])
        opened = LanguageModel.open(model)
        length, objective = min(self.length, opened.max_length), opened.kind.objective
        text = ValidationSet.cut(lines, opened.tokenizer, length, objective_for(objective, opened.tokenizer))
        counts = sequence_counts(opened.model, text, opened.tokenizer)
        return Outcome(counts, {"objective": objective, "sequences": len(counts), "tokens each": length})


@dataclass(frozen=True)
class PseudoPerplexity(TextPrediction):
    """Perplexity of an encoder that predicts each token of a line from all others.

    (Salazar et al. 2020, "Masked Language Model Scoring", arXiv:1910.14659.) Every token is masked once, in a copy of
    the line of its own, unknown tokens too; lines longer than the model's positions are cut into windows. Unlike
    "language-model" it predicts the whole text, and it counts line by line, so that models with different tokenizers
    can be compared by pairs.
    """

    name: ClassVar[str] = "pseudo-perplexity"
    summary: ClassVar[str] = "bits per byte of an encoder that predicts each token of a line from all others"

    lines: int = 500  # the first of the text; each costs as many passes as it has tokens

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        lines = list(islice(text_lines_of(places["test"]), self.lines))
        if not lines:
            raise InputError(f"{places['test']} has no text", value=places["test"], expected="a sentence a line")
        opened = LanguageModel.open(model)
        if opened.kind is not ENCODER:
            raise InputError(
                f"{opened.name} is a {opened.kind.name}",
                value=opened.kind.name,
                expected="an encoder for pseudo-perplexity, trained to fill masks",
                hint="Use language-model.",
            )
        if opened.tokenizer.mask_token_id is None:
            raise InputError(
                f"The tokenizer of {opened.name} has no mask token", value=opened.name, expected="one to fill"
            )
        tokens = token_ids(opened.tokenizer, lines)
        scored = [_nll(opened, ids) for ids in tqdm(tokens, desc="pseudo-perplexity", unit="line", disable=None)]
        nll, windows = zip(*scored, strict=True)
        sizes = [(len(ids), len(line.encode()) * bool(ids)) for ids, line in zip(tokens, lines, strict=True)]
        unknown = sum(ids.count(opened.tokenizer.unk_token_id) for ids in tokens)
        notes = {"lines": len(lines), "windowed": sum(count > 1 for count in windows), "unknown tokens": unknown}
        return Outcome(self.metric().counts(nll, sizes), notes)


def _nll(opened: LanguageModel, ids: Sequence[int]) -> tuple[float, int]:
    """Nats that a line's tokens take, each predicted from all others, and the windows it was cut into."""
    if not ids:
        return 0.0, 0
    windows, picks = text_windows(ids, Frame.of(opened.tokenizer), opened.max_length)
    losses = (_masked_losses(opened, *window) for window in zip(windows, picks, strict=True))
    return sum(float(of_window.double().sum()) for of_window in losses), len(windows)


def _masked_losses(opened: LanguageModel, window: np.ndarray, picks: np.ndarray) -> torch.Tensor:
    """Losses `(picks,)` of a window's tokens, each masked in a copy of its own."""
    device = opened.model.device
    whole = torch.from_numpy(window.astype(np.int64)).to(device)
    losses = []
    for masked in torch.from_numpy(picks).to(device).split(max(1, _BATCH_TOKENS // len(window))):
        copies = whole.repeat(len(masked), 1)
        hidden = torch.zeros_like(copies, dtype=torch.bool).scatter_(1, masked[:, None], True)
        batch = {
            "input_ids": copies.masked_fill(hidden, opened.tokenizer.mask_token_id),
            "attention_mask": torch.ones_like(copies),
            "labels": copies.masked_fill(~hidden, IGNORED),
        }
        losses.append(evaluate_losses(opened.model, batch, shifted=False)[0])
    return torch.cat(losses)

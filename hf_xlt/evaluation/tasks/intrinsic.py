"""How well a model predicts a held-out text: as it was trained to, and one masked token at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_xlt.checkpoint.kind import ENCODER
from hf_xlt.data.objectives import IGNORED, objective_for, special_ids
from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.held_out import HeldOut
from hf_xlt.evaluation.loss import evaluate_losses, targets
from hf_xlt.evaluation.metrics.perplexity import Perplexity
from hf_xlt.evaluation.tasks.direct import DirectTask, ModelAsked, Outcome
from hf_xlt.evaluation.tasks.lm_head import LanguageModel
from hf_xlt.evaluation.tasks.windows import text_windows
from hf_xlt.evidence.token_ids import token_ids
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.place import Place

_BATCH = 16  # sequences
_BATCH_TOKENS = 8192  # of masked copies


@dataclass(frozen=True)
class LanguageModelling(DirectTask):
    """Quality on a held-out text of the objective that the model's kind is made for.

    Encoders predict 15 % of the tokens, masked alike at every measurement; decoders every token; encoder-decoders what
    was hidden from the encoder. So figures compare within a kind.

    Args:
        length: Tokens a sequence that the text is cut into; fewer where the model has fewer positions.
    """

    name: ClassVar[str] = "language-model"
    headline: ClassVar[str] = "bits_per_byte"
    summary: ClassVar[str] = "loss, perplexity and bits per byte on a held-out text"
    roles: ClassVar[Mapping[str, bool]] = {"test": True}
    lower_is_better: ClassVar[bool] = True

    length: int = 128

    def metric(self) -> Perplexity:
        """Counts of each sequence: nats, predicted tokens, bytes."""
        return Perplexity()

    def measure(self, model: ModelAsked, places: Mapping[str, str]) -> Outcome:
        """Cut the text into sequences and predict them.

        Raises:
            InputError: If the text is empty or unknown to the tokenizer, or the model has no trained head.
        """
        lines = _lines(places["test"])
        opened = LanguageModel.open(model)
        length = min(self.length, opened.longest)
        held_out = HeldOut.cut(lines, opened.tokenizer, length, objective_for(opened.kind.objective, opened.tokenizer))
        counts = _sequence_counts(opened, held_out)
        return Outcome(counts, {"objective": opened.kind.objective, "sequences": len(counts), "tokens each": length})


@dataclass(frozen=True)
class PseudoPerplexity(DirectTask):
    """Perplexity of an encoder that predicts each token of a line from all others.

    (Salazar et al. 2020, "Masked Language Model Scoring", arXiv:1910.14659.) Every token is masked once, in a copy of
    the line of its own, unknown tokens too; lines longer than the model's positions are cut into windows. Unlike
    "language-model" it predicts the whole text, and it counts line by line, so that models with different tokenizers
    can be compared by pairs.

    Args:
        lines: How many of the text's first lines are read; each costs as many passes as it has tokens.
    """

    name: ClassVar[str] = "pseudo-perplexity"
    headline: ClassVar[str] = "bits_per_byte"
    summary: ClassVar[str] = "bits per byte of an encoder that predicts each token of a line from all others"
    roles: ClassVar[Mapping[str, bool]] = {"test": True}
    lower_is_better: ClassVar[bool] = True

    lines: int = 500

    def metric(self) -> Perplexity:
        """Counts of each line: nats, tokens, bytes."""
        return Perplexity()

    def measure(self, model: ModelAsked, places: Mapping[str, str]) -> Outcome:
        """Predict each token of each line.

        Raises:
            InputError: If the text is empty, or the model is no encoder or has no mask token or trained head.
        """
        lines = list(islice(_lines(places["test"]), self.lines))
        if not lines:
            raise InputError(f"{places['test']} has no text; give a file with a sentence a line.")
        opened = LanguageModel.open(model)
        if opened.kind is not ENCODER:
            raise InputError(
                f"{opened.name} is a {opened.kind.name}; pseudo-perplexity is for encoders, which are trained to fill "
                "masks. Use language-model."
            )
        if opened.tokenizer.mask_token_id is None:
            raise InputError(f"The tokenizer of {opened.name} has no mask token; pseudo-perplexity needs one.")
        tokens = token_ids(opened.tokenizer, lines)
        scored = [_nll(opened, ids) for ids in tqdm(tokens, desc="pseudo-perplexity", unit="line", disable=None)]
        nll, windows = zip(*scored, strict=True)
        sizes = [(len(ids), len(line.encode()) * bool(ids)) for ids, line in zip(tokens, lines, strict=True)]
        unknown = sum(ids.count(opened.tokenizer.unk_token_id) for ids in tokens)
        notes = {"lines": len(lines), "windowed": sum(count > 1 for count in windows), "unknown tokens": unknown}
        return Outcome(self.metric().counts(nll, sizes), notes)


def _lines(text: str) -> Iterator[str]:
    """The lines of a corpus, or of one column of a table, none of them empty."""
    place = Place.parse(text)
    if place.columns and Path(place.path).is_file():
        return (stripped for _, (cell,) in place.rows(1) if (stripped := cell.strip()))
    return Corpus(text).lines()


def _sequence_counts(opened: LanguageModel, held_out: HeldOut) -> np.ndarray:
    """float64 `(sequences, 3)`: nats, predicted tokens, and the bytes that the ordinary ones among them stand for."""
    objective, special = held_out.objective, special_ids(opened.tokenizer)
    bytes_a_token = held_out.text_bytes / held_out.text_tokens
    batches = tqdm(list(held_out.batches(_BATCH)), desc="held-out text", unit="batch", disable=None)
    parts = []
    for examples in batches:
        batch = {name: tensor.to(opened.model.device) for name, tensor in objective(examples).items()}
        losses, target_ids = evaluate_losses(opened.model, batch, objective.shifts_labels)
        predicted = (targets(batch["labels"], objective.shifts_labels) != IGNORED).sum(1).cpu().numpy()
        of_sequence = np.repeat(np.arange(len(examples)), predicted)
        ordinary = ~np.isin(target_ids.cpu().numpy(), special)
        sums = (losses.double().cpu().numpy(), None, ordinary * bytes_a_token)
        parts.append(np.column_stack([np.bincount(of_sequence, weights, len(examples)) for weights in sums]))
    return np.concatenate(parts)


def _nll(opened: LanguageModel, ids: Sequence[int]) -> tuple[float, int]:
    """Nats that a line's tokens take, each predicted from all others, and the windows it was cut into."""
    if not ids:
        return 0.0, 0
    windows, picks = text_windows(ids, Frame.of(opened.tokenizer), opened.longest)
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

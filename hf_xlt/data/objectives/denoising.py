"""Denoising for encoder-decoders: T5's span corruption and BART's text infilling."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives.batch import Example, generator_for, padded_batch, special_ids
from hf_xlt.data.objectives.spans import collapse, noise_mask
from hf_xlt.errors import InputError

SENTINEL = re.compile(r"<extra_id_(\d+)>")


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Ids of T5's sentinels `<extra_id_0>`, `<extra_id_1>` …, in that order; empty if there are none."""
    found = {int(match[1]): i for token, i in tokenizer.get_vocab().items() if (match := SENTINEL.fullmatch(token))}
    return np.array([found[number] for number in sorted(found)], dtype=np.int64)


@dataclass(frozen=True)
class SpanCorruption:
    """T5's objective: spans give way to sentinels; the target is the sentinels, each with its span (Raffel 2020, §3.3).

    Args:
        tokenizer: With sentinels, eos and pad token.
        share: Part of the tokens that is dropped.
        mean_span: Mean length of a span, in tokens; longer where there are too few sentinels.

    Raises:
        InputError: If the tokenizer lacks one of these tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    share: float = 0.15
    mean_span: float = 3.0
    shifts_labels = False

    def __post_init__(self) -> None:
        if not len(self.sentinels):
            raise InputError("Span corruption needs sentinel tokens (<extra_id_0> …); the tokenizer has none.")
        _require_ends(self.tokenizer)

    @cached_property
    def sentinels(self) -> np.ndarray:
        """Ids of the sentinels in the order of use."""
        return sentinel_ids(self.tokenizer)

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids (batch, kept + spans + 1)`, `labels (batch, dropped + spans + 1)`, padded."""
        inputs, labels = zip(*(self._corrupt(example) for example in examples), strict=True)
        return padded_batch(inputs, labels, self.tokenizer.pad_token_id)

    def _corrupt(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        ids = np.array(example["input_ids"], dtype=np.int64)
        eos = self.tokenizer.eos_token_id
        body = ids[:-1] if ids[-1] == eos else ids
        hidden = noise_mask(len(body), self.share, self.mean_span, generator_for(example), len(self.sentinels))
        kept, dropped = collapse(body, hidden, self.sentinels), collapse(body, ~hidden, self.sentinels)
        return np.append(kept, eos), np.append(dropped, eos)


@dataclass(frozen=True)
class TextInfilling:
    """BART's objective: every span gives way to one mask token; the target is the whole text (Lewis et al. 2020, §2.2).

    Special tokens are never hidden.

    Args:
        tokenizer: With mask, eos and pad token.
        share: Part of the tokens that is hidden.
        mean_span: Mean length of a span, in tokens.

    Raises:
        InputError: If the tokenizer lacks one of these tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    share: float = 0.3
    mean_span: float = 3.0
    shifts_labels = False

    def __post_init__(self) -> None:
        if self.tokenizer.mask_token_id is None:
            raise InputError("Text infilling needs a mask token; the tokenizer has none.")
        _require_ends(self.tokenizer)

    @cached_property
    def special(self) -> np.ndarray:
        """Ids that are never hidden."""
        return special_ids(self.tokenizer)

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids (batch, kept + spans)` and `labels (batch, length)`, padded."""
        labels = [np.asarray(example["input_ids"]) for example in examples]
        return padded_batch([self._corrupt(example) for example in examples], labels, self.tokenizer.pad_token_id)

    def _corrupt(self, example: Example) -> np.ndarray:
        ids = np.array(example["input_ids"], dtype=np.int64)
        hidden = noise_mask(len(ids), self.share, self.mean_span, generator_for(example))
        return collapse(ids, hidden & ~np.isin(ids, self.special), np.array([self.tokenizer.mask_token_id]))


def _require_ends(tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.pad_token_id is None or tokenizer.eos_token_id is None:
        raise InputError("Denoising needs a tokenizer with pad and eos tokens; add them first.")

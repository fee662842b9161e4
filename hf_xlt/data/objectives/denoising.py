"""Denoising for encoder-decoders: T5's span corruption and BART's text infilling."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives.objective import Example, Objective, Setting, generator_for, padded_batch, special_ids
from hf_xlt.errors import InputError

SENTINEL = re.compile(r"<extra_id_(\d+)>")


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    """Ids of T5's sentinels `<extra_id_0>`, `<extra_id_1>` …, in that order; empty if there are none."""
    found = {int(match[1]): i for token, i in tokenizer.get_vocab().items() if (match := SENTINEL.fullmatch(token))}
    return np.array([found[number] for number in sorted(found)], dtype=np.int64)


class Denoising(Objective):
    """Give back a text of which spans are hidden: T5's way where the tokenizer has sentinels, else BART's."""

    @classmethod
    def of(cls, setting: Setting) -> "Denoising":
        """The one of both that a tokenizer is made for."""
        if len(sentinel_ids(setting.tokenizer)):
            return SpanCorruption(setting.tokenizer)
        if setting.tokenizer.mask_token_id is None:
            expected = "sentinel tokens (<extra_id_0> …) or a mask token, to denoise text with"
            hint = "Train one like the source's."
            raise InputError("The tokenizer has neither sentinels nor a mask token", expected=expected, hint=hint)
        return TextInfilling(setting.tokenizer)


@dataclass(frozen=True)
class SpanCorruption(Denoising):
    """T5's objective: spans give way to sentinels; the target is the sentinels, each with its span (Raffel 2020, §3.3).

    Args:
        tokenizer: With sentinels, eos and pad token.
        share: Part of the tokens that is dropped.
        mean_span: Mean length of a span, in tokens; longer where there are too few sentinels.
    """

    tokenizer: PreTrainedTokenizerBase
    share: float = 0.15
    mean_span: float = 3.0

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
class TextInfilling(Denoising):
    """BART's objective: every span gives way to one mask token; the target is the whole text (Lewis et al. 2020, §2.2).

    Special tokens are never hidden.

    Args:
        tokenizer: With mask, eos and pad token.
        share: Part of the tokens that is hidden.
        mean_span: Mean length of a span, in tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    share: float = 0.3
    mean_span: float = 3.0

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


def noise_mask(
    length: int, share: float, mean_span: float, generator: np.random.Generator, most_spans: int | None = None
) -> np.ndarray:
    """Which tokens to hide: about `share` of them, in spans of `mean_span` on average (Raffel et al. 2020, §3.1.4).

    Boolean `(length,)`; it starts visible, ends hidden, and spans do not touch. With fewer than two tokens nothing is
    hidden; if there are more spans than `most_spans`, they are fewer and longer.
    """
    if length < 2:
        return np.zeros(length, dtype=bool)
    hidden = min(max(round(length * share), 1), length - 1)
    spans = min(max(round(hidden / mean_span), 1), hidden, length - hidden, most_spans or length)
    lengths = np.stack([_partition(length - hidden, spans, generator), _partition(hidden, spans, generator)], axis=1)
    return np.repeat(np.tile([False, True], spans), lengths.ravel())


def _partition(total: int, parts: int, generator: np.random.Generator) -> np.ndarray:
    """Random lengths of `parts` non-empty parts of `total`."""
    cuts = np.sort(generator.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def collapse(ids: np.ndarray, hidden: np.ndarray, stand_ins: np.ndarray) -> np.ndarray:
    """Ids with every hidden span replaced by one stand-in: the first span by the first, and so on, in a cycle."""
    first = hidden & ~np.concatenate([[False], hidden[:-1]])
    replaced = ids.copy()
    replaced[first] = np.resize(stand_ins, first.sum())
    return replaced[~hidden | first]

"""Training objectives as collators: packed sequences in, a batch with labels out.

Each collator draws from a generator seeded by the example's `key`, so masking is new at every position of the
training stream and yet the same whenever that position is visited again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError

IGNORED = -100
Example = dict[str, Any]


def _tensor(rows: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def _padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return _tensor([np.pad(row, (0, width - len(row)), constant_values=value) for row in rows])


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
    return np.array(sorted(set(tokenizer.all_special_ids)), dtype=np.int64)


@dataclass(frozen=True)
class CausalLM:
    """Predict every token from those before it (Radford et al. 2018).

    Labels follow the convention of stock models: `labels[i]` is the token *at* `i`, shifted inside the loss. The
    first one is never a target, and is ignored here so that counting labels counts targets.
    """

    shifts_labels = True

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate packed sequences: `input_ids` and `labels`, each `(batch, length)`."""
        input_ids = _tensor([example["input_ids"] for example in examples])
        labels = input_ids.clone()
        labels[:, 0] = IGNORED
        return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": labels}


@dataclass(frozen=True)
class MaskedLM:
    """Predict 15 % of the tokens; of those 80 % are masked, 10 % replaced, 10 % kept (Devlin et al. 2019, §3.1).

    Special tokens are never targets, and random replacements are never special tokens.

    Raises:
        InputError: If the tokenizer has no mask token.
    """

    tokenizer: PreTrainedTokenizerBase
    share: float = 0.15
    shifts_labels = False

    def __post_init__(self) -> None:
        if self.tokenizer.mask_token_id is None:
            raise InputError(
                "The tokenizer has no mask token, so it cannot train a masked language model; "
                "add one with `tokenizer.add_special_tokens({'mask_token': '[MASK]'})` or use objective clm."
            )
        ordinary = np.setdiff1d(np.arange(len(self.tokenizer)), _special_ids(self.tokenizer))
        object.__setattr__(self, "_ordinary", ordinary)
        object.__setattr__(self, "_special", _special_ids(self.tokenizer))

    _ordinary: Any = None
    _special: Any = None

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate packed sequences: `input_ids` and `labels`, each `(batch, length)`."""
        pairs = [self._mask(example) for example in examples]
        input_ids = _tensor([ids for ids, _ in pairs])
        labels = _tensor([labels for _, labels in pairs])
        return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "labels": labels}

    def _mask(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(example["key"])
        ids = np.array(example["input_ids"], dtype=np.int64)
        candidates = np.flatnonzero(~np.isin(ids, self._special))
        count = min(len(candidates), max(1, round(self.share * len(candidates))))
        targets = generator.permutation(candidates)[:count]
        labels = np.full_like(ids, IGNORED)
        labels[targets] = ids[targets]
        draw = generator.random(len(targets))
        masked, replaced = targets[draw < 0.8], targets[draw >= 0.9]
        ids[masked] = self.tokenizer.mask_token_id
        ids[replaced] = generator.choice(self._ordinary, size=len(replaced))
        return ids, labels


def _span_starts(length: int, share: float, mean_span: float, generator: np.random.Generator) -> np.ndarray:
    """Boolean noise mask of `length`: about `share` of it in spans of `mean_span` on average (Raffel et al. 2020)."""
    noise = min(max(round(length * share), 1), length - 1)
    spans = min(max(round(noise / mean_span), 1), noise, length - noise)

    def partition(total: int) -> np.ndarray:
        cuts = np.sort(generator.permutation(total - 1)[: spans - 1]) + 1
        return np.diff(np.concatenate([[0], cuts, [total]]))

    lengths = np.stack([partition(length - noise), partition(noise)], axis=1).ravel()
    return np.repeat(np.tile([False, True], spans), lengths)


@dataclass(frozen=True)
class SpanCorruption:
    """T5's objective: spans give way to sentinels; the target is the sentinels, each with its span (Raffel 2020, §3.3).

    Args:
        tokenizer: Must carry sentinel tokens (`extra_special_tokens`, in the order of use) and an eos token.
        share: Part of the tokens that is dropped.
        mean_span: Mean length of a span, in tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    sentinels: tuple[int, ...]
    share: float = 0.15
    mean_span: float = 3.0
    shifts_labels = False

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids (batch, kept + spans)`, `labels (batch, dropped + spans + 1)`, padded."""
        pairs = [self._corrupt(example) for example in examples]
        pad = self.tokenizer.pad_token_id
        input_ids = _padded([ids for ids, _ in pairs], pad)
        lengths = torch.tensor([len(ids) for ids, _ in pairs])
        attention_mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
        labels = _padded([labels for _, labels in pairs], IGNORED)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}

    def _corrupt(self, example: Example) -> tuple[np.ndarray, np.ndarray]:
        ids = np.array(example["input_ids"], dtype=np.int64)
        generator = np.random.default_rng(example["key"])
        eos = np.array([self.tokenizer.eos_token_id])
        body = ids[:-1] if ids[-1] == eos[0] else ids
        noise = _span_starts(len(body), self.share, self.mean_span, generator)
        kept = self._with_sentinels(body, noise)
        dropped = self._with_sentinels(body, ~noise)
        return np.concatenate([kept, eos]), np.concatenate([dropped, eos])

    def _with_sentinels(self, ids: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        first = hidden & ~np.concatenate([[False], hidden[:-1]])
        order = np.cumsum(first) - 1
        sentinels = np.array(self.sentinels)[np.minimum(order, len(self.sentinels) - 1)]
        return np.where(first, sentinels, ids)[~hidden | first]


@dataclass(frozen=True)
class TextInfilling:
    """BART's objective: every span gives way to one mask token; the target is the whole text (Lewis et al. 2020, §2.2).

    Args:
        tokenizer: Must have a mask token.
        share: Part of the tokens that is hidden.
        mean_span: Mean length of a span, in tokens.
    """

    tokenizer: PreTrainedTokenizerBase
    share: float = 0.3
    mean_span: float = 3.0
    shifts_labels = False

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids (batch, kept + spans)`, padded, and `labels (batch, length)`."""
        pad = self.tokenizer.pad_token_id
        corrupted = [self._corrupt(example) for example in examples]
        input_ids = _padded(corrupted, pad)
        lengths = torch.tensor([len(ids) for ids in corrupted])
        attention_mask = (torch.arange(input_ids.shape[1]) < lengths[:, None]).long()
        labels = _tensor([example["input_ids"] for example in examples])
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}

    def _corrupt(self, example: Example) -> np.ndarray:
        ids = np.array(example["input_ids"], dtype=np.int64)
        noise = _span_starts(len(ids), self.share, self.mean_span, np.random.default_rng(example["key"]))
        noise &= ~np.isin(ids, _special_ids(self.tokenizer))
        first = noise & ~np.concatenate([[False], noise[:-1]])
        return np.where(first, self.tokenizer.mask_token_id, ids)[~noise | first]


Objective = CausalLM | MaskedLM | SpanCorruption | TextInfilling
OBJECTIVES = ("clm", "mlm", "denoise")


def objective_for(name: str, tokenizer: PreTrainedTokenizerBase) -> Objective:
    """The collator of an objective; `denoise` uses sentinels where the tokenizer has them, else its mask token.

    Raises:
        InputError: If the objective is unknown or the tokenizer lacks the special tokens it needs.
    """
    if name == "clm":
        return CausalLM()
    if name == "mlm":
        return MaskedLM(tokenizer)
    if name == "denoise":
        return _denoising(tokenizer)
    raise InputError(f"Unknown objective {name!r}; choose one of {', '.join(OBJECTIVES)}.")


def _denoising(tokenizer: PreTrainedTokenizerBase) -> Objective:
    sentinels = tuple(tokenizer.convert_tokens_to_ids(list(tokenizer.extra_special_tokens)))
    if tokenizer.pad_token_id is None or tokenizer.eos_token_id is None:
        raise InputError("Denoising needs a tokenizer with pad and eos tokens; add them first.")
    if sentinels:
        return SpanCorruption(tokenizer, sentinels)
    if tokenizer.mask_token_id is None:
        raise InputError(
            "Denoising needs sentinel tokens (`extra_special_tokens`) or a mask token; the tokenizer has neither. "
            "Train one with `hf-xlt tokenizer --like` the source."
        )
    return TextInfilling(tokenizer)

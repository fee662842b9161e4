"""Objectives on packed text: causal and masked language modeling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked, require_share
from hf_xlt.data.objectives.objective import (
    IGNORED,
    Example,
    Objective,
    Setting,
    full_batch,
    generator_for,
    languages_of,
    special_ids,
)
from hf_xlt.errors import InputError


@dataclass(frozen=True)
class CausalLM(Objective):
    """Predict every token from those before it (Radford et al. 2018).

    Labels follow the convention of stock models: `labels[i]` is the token *at* `i`, shifted inside the loss. The
    first one is never a target, and is ignored here so that counting labels counts targets.
    """

    shifts_labels = True

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """It needs to know nothing."""
        return cls()

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate packed sequences: `input_ids` and `labels`, each `(batch, length)`."""
        rows = [np.asarray(example["input_ids"]) for example in examples]
        return full_batch(rows, [np.concatenate([[IGNORED], row[1:]]) for row in rows])


@checked
@dataclass(frozen=True)
class MaskedLM(Objective):
    """Predict 15 % of the tokens; of those 80 % are masked, 10 % replaced, 10 % kept (Devlin et al. 2019, §3.1).

    Special tokens are never targets, and random replacements are never special tokens. A tokenizer without a mask
    token is refused.
    """

    tokenizer: PreTrainedTokenizerBase
    share: float = 0.15

    def __post_init__(self) -> None:
        require_share("mlm_share", self.share)
        if self.tokenizer.mask_token_id is None:
            hint = "add one with `tokenizer.add_special_tokens({'mask_token': '[MASK]'})` or use objective clm."
            raise InputError(f"The tokenizer has no mask token, so it cannot train a masked language model; {hint}")

    @classmethod
    def of(cls, setting: Setting) -> "MaskedLM":
        """That of one tokenizer, or of one a language."""
        if setting.source_tokenizer is None:
            return cls(setting.tokenizer)
        return BilingualMaskedLM(setting.tokenizer, source=MaskedLM(setting.source_tokenizer))

    @cached_property
    def special(self) -> np.ndarray:
        """Ids that are never targets."""
        return special_ids(self.tokenizer)

    @cached_property
    def ordinary(self) -> np.ndarray:
        """Ids that may replace a target."""
        return np.setdiff1d(list(self.tokenizer.get_vocab().values()), self.special)

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate packed sequences: `input_ids` and `labels`, each `(batch, length)`."""
        masked = (
            self.of_text(example).mask(np.asarray(example["input_ids"]), generator_for(example)) for example in examples
        )
        inputs, labels = zip(*masked, strict=True)
        return full_batch(inputs, labels) | languages_of(examples)

    def of_text(self, example: Example) -> "MaskedLM":
        """What masks a text."""
        return self

    def mask(self, ids: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Masked ids and labels `(length,)` of one sequence."""
        ids = ids.astype(np.int64)
        candidates = np.flatnonzero(~np.isin(ids, self.special))
        count = min(len(candidates), max(1, round(self.share * len(candidates))))
        targets = generator.permutation(candidates)[:count]
        labels = np.full_like(ids, IGNORED)
        labels[targets] = ids[targets]
        draw = generator.random(count)
        masked, replaced = targets[draw < 0.8], targets[draw >= 0.9]
        ids[masked] = self.tokenizer.mask_token_id
        ids[replaced] = generator.choice(self.ordinary, size=len(replaced))
        return ids, labels


@dataclass(frozen=True, kw_only=True)
class BilingualMaskedLM(MaskedLM):
    """Masked language modeling of texts in two languages; those whose `lang_ids` is 0 are masked by `source`."""

    source: MaskedLM

    def of_text(self, example: Example) -> "MaskedLM":
        """What masks a text, by its language."""
        return self if int(example["lang_ids"]) else self.source

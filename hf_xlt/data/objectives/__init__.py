"""Training objectives as collators: packed sequences in, a batch with labels out.

Each collator draws from a generator seeded by the example's `key`, so masking is new at every position of the
training stream and yet the same whenever that position is visited again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives.batch import IGNORED, Example, special_ids
from hf_xlt.data.objectives.causal import CausalLM
from hf_xlt.data.objectives.cross_lingual import DataCollatorForCdLM, DataCollatorForTLM
from hf_xlt.data.objectives.denoising import SpanCorruption, TextInfilling, sentinel_ids
from hf_xlt.data.objectives.distillation import DataCollatorForDistillation
from hf_xlt.data.objectives.masked import MaskedLM
from hf_xlt.data.objectives.multilingual import DataCollatorForMultilingualMLM
from hf_xlt.errors import InputError

__all__ = [
    "DISTILLATION",
    "IGNORED",
    "OBJECTIVES",
    "PAIR_OBJECTIVES",
    "CausalLM",
    "DataCollatorForCdLM",
    "DataCollatorForDistillation",
    "DataCollatorForMultilingualMLM",
    "DataCollatorForTLM",
    "Example",
    "MaskedLM",
    "Objective",
    "SpanCorruption",
    "TextInfilling",
    "objective_for",
    "special_ids",
]


class Objective(Protocol):
    """A collator that makes labels."""

    @property
    def shifts_labels(self) -> bool:
        """Whether a label is the token at its place, which the one before predicts."""

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The batch of some examples: inputs and `labels`."""


PAIR_OBJECTIVES = ("cdlm", "tlm")
DISTILLATION = "distill"
OBJECTIVES = ("clm", "mlm", "denoise", *PAIR_OBJECTIVES, DISTILLATION)


def objective_for(name: str, tokenizer: PreTrainedTokenizerBase) -> Objective:
    """The collator of an objective; `denoise` uses T5's sentinels where the tokenizer has them, else its mask token.

    Raises:
        InputError: If the objective is unknown or the tokenizer lacks the special tokens it needs.
    """
    if name == "clm":
        return CausalLM()
    if name == "mlm":
        return MaskedLM(tokenizer)
    if name == "denoise":
        return _denoising(tokenizer)
    if name == "cdlm":
        return DataCollatorForCdLM(tokenizer)
    if name == "tlm":
        return DataCollatorForTLM(tokenizer)
    if name == DISTILLATION:
        return DataCollatorForDistillation(tokenizer)
    raise InputError(f"Unknown objective {name!r}; choose one of {', '.join(OBJECTIVES)}.")


def _denoising(tokenizer: PreTrainedTokenizerBase) -> Objective:
    if len(sentinel_ids(tokenizer)):
        return SpanCorruption(tokenizer)
    if tokenizer.mask_token_id is None:
        raise InputError(
            "Denoising needs sentinel tokens (<extra_id_0> …) or a mask token; the tokenizer has neither. "
            "Train one with `hf-xlt tokenizer --like` the source."
        )
    return TextInfilling(tokenizer)

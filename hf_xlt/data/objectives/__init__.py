"""Training objectives: collators with a loss. Packed sequences or pairs in, a batch out.

Each collator draws from a generator seeded by the example's `key`, so masking is new at every position of the
training stream and yet the same whenever that position is visited again.
"""

from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives.cross_lingual import DataCollatorForCdLM, DataCollatorForMultilingualMLM, DataCollatorForTLM
from hf_xlt.data.objectives.denoising import Denoising, SpanCorruption, TextInfilling
from hf_xlt.data.objectives.distillation import DataCollatorForDistillation
from hf_xlt.data.objectives.objective import IGNORED, UNALIGNED, Example, Objective, Setting, special_ids
from hf_xlt.data.objectives.text import CausalLM, MaskedLM
from hf_xlt.data.objectives.token_distillation import DataCollatorForTokenDistillation
from hf_xlt.errors import InputError

__all__ = [
    "IGNORED", "OBJECTIVES", "UNALIGNED", "CausalLM", "DataCollatorForCdLM", "DataCollatorForDistillation",
    "DataCollatorForMultilingualMLM", "DataCollatorForTLM", "DataCollatorForTokenDistillation", "Example", "MaskedLM",
    "Objective", "Setting", "SpanCorruption", "TextInfilling", "objective_for", "register_objective", "special_ids",
]  # fmt: skip

# The name that a stage gives an objective.
OBJECTIVES: dict[str, type[Objective]] = {
    "clm": CausalLM,
    "mlm": MaskedLM,
    "denoise": Denoising,  # type: ignore[type-abstract]  # makes one of its subclasses
    "cdlm": DataCollatorForCdLM,
    "tlm": DataCollatorForTLM,
    "distill": DataCollatorForDistillation,
    "token-distill": DataCollatorForTokenDistillation,
}


def register_objective(name: str, objective: type[Objective]) -> None:
    """Give an objective a name that no other has; stages of recipes know it by this name from now on."""
    if OBJECTIVES.setdefault(name, objective) is not objective:
        raise InputError(f"There is an objective {name!r} already", value=name, expected="a name of its own")


def objective_for(name: str, tokenizer: PreTrainedTokenizerBase) -> Objective:
    """The objective of a name, made of a tokenizer."""
    if name not in OBJECTIVES:
        raise InputError(f"There is no objective {name!r}", value=name, expected=f"one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name].of(Setting(tokenizer))

"""What an optimizer step costs: how much text it reads, and how much it computes."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from hf_xlt.initializers.calibration import Calibration
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.processes import processes
from hf_xlt.runs.text import Text

FLOPS = 6  # a multiplication and an addition for each weight and token, forwards, and twice as many backwards


@dataclass(frozen=True)
class StepCost:
    """Of an optimizer step of all processes: bytes of UTF-8 that it reads, and floating-point operations."""

    bytes_per_step: float
    flops_per_step: float


def step_cost(model: PreTrainedModel, text: Text, stages: Sequence[Stage]) -> StepCost | None:
    """What a step costs, on average over the stages; None where a stage reads what is not measured, such as pairs.

    A step takes `6 N` operations a token, N the parameters that take part in matrix products (Kaplan et al. 2020). Left
    out are the products of attention itself, which grow with the length of sequences, norms and other sums, the
    optimizer and evaluation; that masked models compute their head on masked positions alone, that gradients of frozen
    weights are not computed, and that each half of an encoder-decoder sees tokens of its own is not taken into account.
    """
    trained = [stage for stage in stages if stage.combine is None]
    tokens = text_bytes = 0.0
    for stage in trained:
        size = text.sequence_size(stage)
        if size is None:
            return None
        sequences = stage.max_steps * stage.batch_size * processes().num_processes
        tokens, text_bytes = tokens + sequences * size.tokens, text_bytes + sequences * size.text_bytes
    steps = sum(stage.max_steps for stage in trained)
    return StepCost(text_bytes / steps, FLOPS * multiplied_parameters(model) * tokens / steps) if steps else None


def calibration_cost(model: PreTrainedModel, calibration: Calibration) -> float:
    """Floating-point operations of a calibration: a multiplication and an addition for each weight and token."""
    return 2.0 * multiplied_parameters(model) * calibration.tokens


def multiplied_parameters(model: PreTrainedModel) -> int:
    """How many parameters take part in matrix products.

    The rows of the vocabulary count once, as the output head; tables that are only looked up in, such as untied input
    embeddings and those of positions, biases and norms do not.
    """
    head = model.get_output_embeddings()
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    multiplied = set() if head is None else {id(parameter) for parameter in head.parameters()}
    return sum(
        parameter.numel()
        for parameter in model.parameters()
        if parameter.ndim > 1 and (id(parameter) in multiplied or id(parameter) not in looked_up)
    )

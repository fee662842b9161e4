"""Distillation of a sentence encoder: target sentences, the vectors that they should get, and how far they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.arguments import checked
from hf_xlt.data.objectives.objective import Example, Objective, Setting, padded
from hf_xlt.errors import InputError


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far sentences are from their teacher's vectors, and how hard these are to tell from the batch's others.

    With unit vectors s and t `(batch, d)` and temperature τ, the mean over i of
    1 − sᵢ·tᵢ − log(exp(sᵢ·tᵢ/τ) / Σⱼ exp(sᵢ·tⱼ/τ)): a distance, as in Reimers & Gurevych (2020, "Making Monolingual
    Sentence Embeddings Multilingual Using Knowledge Distillation"), but of directions, and InfoNCE (van den Oord et
    al. 2018, eq. 4).
    """
    with torch.autocast(student.device.type, enabled=False):  # half precision is too coarse for cosines / τ
        cosines = normalize(student.float()) @ normalize(teacher.float()).T
        right = torch.arange(len(cosines), device=cosines.device)
        return (1 - cosines.diagonal()).mean() + cross_entropy(cosines / temperature, right)


@checked
@dataclass(frozen=True)
class DataCollatorForDistillation(Objective):
    """Target sentences beside the teacher's vectors of their translations.

    Args:
        tokenizer: The target's, with a pad token.
        sentence_head: What makes one vector of a sentence's states; called with the body's output and its inputs.
        temperature: What cosines are divided by, see `distillation_loss`.
    """

    tokenizer: PreTrainedTokenizerBase
    sentence_head: nn.Module | None = None
    temperature: float = 0.05
    reads = "sentences"

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            raise InputError("Batches of sentences need a tokenizer with a pad token; add one first.")

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids`, `attention_mask` `(batch, longest)`, `teacher` float32 `(batch, d)`."""
        rows = [np.asarray(example["input_ids"]) for example in examples]
        return {
            "input_ids": padded(rows, self.tokenizer.pad_token_id),
            "attention_mask": padded([np.ones(len(row)) for row in rows], 0),
            "teacher": torch.from_numpy(np.stack([example["teacher"] for example in examples]).astype(np.float32)),
        }

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """That of a sentence encoder."""
        return cls(setting.tokenizer, setting.sentence_head, setting.temperature)

    def learner(self, model: PreTrainedModel) -> PreTrainedModel:
        """The body; the head of the language model is left as it is."""
        return cast(PreTrainedModel, model.base_model)

    def loss(self, model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """`distillation_loss` of a batch `()`; a sentence is told from those of its own forward pass."""
        if self.sentence_head is None:
            raise InputError("There is no sentence_head", expected="one, to make a vector of a sentence's states")
        sentences = {name: tensor for name, tensor in batch.items() if name != "teacher"}
        output = forward(**sentences)
        student = self.sentence_head.to(output.last_hidden_state.device)(output, sentences)
        return distillation_loss(student, batch["teacher"], self.temperature)

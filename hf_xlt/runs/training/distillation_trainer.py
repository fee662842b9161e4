"""The `Trainer` of distillation: a sentence encoder learns the vectors of another one."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import PreTrainedModel

from hf_xlt.evaluation.sentence_encoder import SentenceHead
from hf_xlt.runs.training.trainer import LanguageModelTrainer


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """How far sentences are from their teacher's vectors, and how hard these are to tell from the batch's others.

    With unit vectors s and t and temperature τ, the mean over i of 1 − sᵢ·tᵢ − log(exp(sᵢ·tᵢ/τ) / Σⱼ exp(sᵢ·tⱼ/τ)):
    a distance, as in Reimers & Gurevych (2020, "Making Monolingual Sentence Embeddings Multilingual Using Knowledge
    Distillation"), but of directions, and InfoNCE (van den Oord et al. 2018, eq. 4).

    Args:
        student: `(batch, d)`, of the target sentences.
        teacher: `(batch, d)`, of their translations.
        temperature: τ.
    """
    with torch.autocast(student.device.type, enabled=False):  # half precision is too coarse for cosines / τ
        cosines = normalize(student.float()) @ normalize(teacher.float()).T
        right = torch.arange(len(cosines), device=cosines.device)
        return (1 - cosines.diagonal()).mean() + cross_entropy(cosines / temperature, right)


class DistillationTrainer(LanguageModelTrainer):
    """`LanguageModelTrainer` that trains the model's body as a sentence encoder; its head is left as it is.

    Under gradient accumulation a sentence is told from those of its own forward pass.

    Args:
        model: Masked language model.
        temperature: What cosines are divided by, see `distillation_loss`.
        head: What makes one vector of a sentence's states.
        given: As for `LanguageModelTrainer`, with sentences and vectors to train on.
    """

    def __init__(self, model: PreTrainedModel, temperature: float, head: SentenceHead, **given: Any) -> None:
        super().__init__(model=cast(PreTrainedModel, model.base_model), **given)
        self.language_model = model
        self.temperature = temperature
        self.head = head

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """`distillation_loss` of the vectors that the head makes of the states; see `Trainer.compute_loss`."""
        sentences = {name: tensor for name, tensor in inputs.items() if name != "teacher"}
        output = model(**sentences)
        student = self.head.to(output.last_hidden_state.device)(output, sentences)
        return distillation_loss(student, inputs["teacher"], self.temperature)

    def measured(self) -> PreTrainedModel:
        """The language model around the body that trains."""
        return self.language_model

"""Distillation of a sentence encoder: sentences, the vectors that they should get, and how far they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.arguments import checked
from hf_xlt.data.objectives.objective import Example, Objective, Setting, generator_for, padded
from hf_xlt.errors import InputError

_TOGETHER = 32  # sentences of like length that are padded to the longest of them: one long one does not pad a batch
ALIKE = 0.999  # cosine of the teacher's vectors of sentences that say the same: none is told from the other


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float, others: Tensor | None = None) -> Tensor:
    """How far sentences are from their teacher's vectors, and how hard these are to tell from those of others.

    With unit vectors s and t `(batch, d)` and temperature τ, the mean over i of
    1 − sᵢ·tᵢ − log(exp(sᵢ·tᵢ/τ) / Σⱼ exp(sᵢ·tⱼ/τ)): a distance, as in Reimers & Gurevych (2020, "Making Monolingual
    Sentence Embeddings Multilingual Using Knowledge Distillation"), but of directions, and InfoNCE (van den Oord et
    al. 2018, eq. 4). The sum is over the batch and over the vectors of `others (n, d)`, where there are any, without
    those that say the same as tᵢ: a sentence and its translation share one batch, and texts repeat.
    """
    with torch.autocast(student.device.type, enabled=False):  # half precision is too coarse for cosines / τ
        own = normalize(teacher.float())
        known = own if others is None else torch.cat([own, normalize(others.float())])
        cosines = normalize(student.float()) @ known.T
        right = torch.arange(len(cosines), device=cosines.device)
        alike = own @ known.T > ALIKE
        alike[right, right] = False
        logits = (cosines / temperature).masked_fill(alike, -torch.inf)
        return (1 - cosines.diagonal()).mean() + cross_entropy(logits, right)


@checked
@dataclass(frozen=True)
class DataCollatorForDistillation(Objective):
    """Sentences beside the vectors that the teacher has of them, or of their translations.

    As the teacher's vectors stay as they are, sentences can be told from many more than the batch has, at the price of
    one product of matrices: `negatives` are drawn for each batch out of `bank`.

    Args:
        tokenizer: That of all languages that are learned, with a pad token.
        sentence_head: What makes one vector of a sentence's states; called with the body's output and its inputs.
        temperature: What cosines are divided by, see `distillation_loss`.
        negatives: How many of the bank's vectors each batch gets; the `key` of its first example decides which.
        bank: The teacher's vectors of texts that are trained on, float32 `(n, d)`.
    """

    tokenizer: PreTrainedTokenizerBase
    sentence_head: nn.Module | None = None
    temperature: float = 0.05
    negatives: int = 0
    bank: Tensor | None = None
    reads = "sentences"

    def __post_init__(self) -> None:
        if self.tokenizer.pad_token_id is None:
            raise InputError("Batches of sentences need a tokenizer with a pad token; add one first.")

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Collate: `input_ids`, `attention_mask` `(batch, longest)`, `teacher` float32 `(batch, d)`.

        With a bank also `others`, float32 `(negatives, d)`.
        """
        rows = [np.asarray(example["input_ids"]) for example in examples]
        batch = {
            "input_ids": padded(rows, self.tokenizer.pad_token_id),
            "attention_mask": padded([np.ones(len(row)) for row in rows], 0),
            "teacher": torch.from_numpy(np.stack([example["teacher"] for example in examples]).astype(np.float32)),
        }
        if self.bank is not None and self.negatives:
            drawn = generator_for(examples[0]).integers(len(self.bank), size=self.negatives)
            batch["others"] = self.bank[torch.from_numpy(drawn)]
        return batch

    @classmethod
    def of(cls, setting: Setting) -> Self:
        """That of a sentence encoder."""
        return cls(setting.tokenizer, setting.sentence_head, setting.temperature, setting.negatives, setting.bank)

    def learner(self, model: PreTrainedModel) -> PreTrainedModel:
        """The body; the head of the language model is left as it is."""
        return cast(PreTrainedModel, model.base_model)

    def loss(self, model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """`distillation_loss` of a batch `()`."""
        if self.sentence_head is None:
            raise InputError("There is no sentence_head", expected="one, to make a vector of a sentence's states")
        head = self.sentence_head.to(batch["input_ids"].device)
        lengths = batch["attention_mask"].sum(1)
        order, vectors = lengths.argsort(stable=True), []
        for alike in order.split(_TOGETHER):
            longest = int(lengths[alike[-1]])
            sentences = {name: batch[name][alike, :longest] for name in ("input_ids", "attention_mask")}
            vectors.append(head(forward(**sentences), sentences))
        student = torch.cat(vectors)[order.argsort()]
        return distillation_loss(student, batch["teacher"], self.temperature, batch.get("others"))

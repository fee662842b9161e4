"""A model's own vectors of sentences: its pooling, its further modules, its prompt, its length.

Those of a sentence-transformers folder come from that library; of any other folder, they are means of the last states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.contents import check_modules
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.sentences import MEAN, SentenceModules, foreign_module
from hf_xlt.device import best_device
from hf_xlt.errors import InputError
from hf_xlt.evaluation.models import longest, open_body, quiet
from hf_xlt.evaluation.retrieval import BATCH, in_batches, mean_pooled

LIBRARY = "sentence_transformers"


class SentenceHead(nn.Module):
    """What makes one vector of a body's states, as a model does: its pooling and all that follows; it does not learn.

    Where no folder declares how, and without further steps, the vector is the mean of the states.
    """

    def __init__(
        self, declared: SentenceModules | None, tokenizer: PreTrainedTokenizerBase, steps: Sequence[nn.Module] = ()
    ) -> None:
        super().__init__()
        self.declared = declared or SentenceModules(kinds=())
        self.steps = nn.ModuleList(steps)
        self.prompt_length = 0
        if self.declared.prompt:  # with what stands before it and without what ends a sentence
            ids = tokenizer(self.declared.prepared([""])[0])["input_ids"]
            self.prompt_length = len(ids) - (ids[-1] in tokenizer.all_special_ids)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "SentenceHead":
        """Stay as it is: nothing here is dropped or learned."""
        return super().train(False)

    def forward(self, output: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        """Sentence vectors float32 `(b, d)` of the output of a body for a batch of inputs."""
        states = output.last_hidden_state
        with torch.autocast(states.device.type, enabled=False):
            if not self.steps:
                mean = mean_pooled(states, inputs["attention_mask"])
                return normalize(mean, dim=-1) if "Normalize" in self.declared.kinds else mean
            features: dict[str, Any] = {
                **inputs,
                "token_embeddings": states.float(),
                "prompt_length": self.prompt_length,
            }
            if getattr(output, "hidden_states", None) is not None:
                features["all_layer_embeddings"] = [layer.float() for layer in output.hidden_states]
            for step in self.steps:
                features = step(features)
            return cast(Tensor, features["sentence_embedding"])


@dataclass(frozen=True, eq=False)
class BodyEncoder:
    """A body and its tokenizer under a head: a plain model, or one that learns to be like another."""

    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head: SentenceHead

    @property
    def pooling(self) -> str:
        """As the head says."""
        return self.head.declared.label

    @property
    def longest(self) -> int:
        """Tokens that are read of a sentence."""
        most = longest(self.body, self.tokenizer)
        return min(most, self.head.declared.max_seq_length or most)

    @torch.inference_mode()
    def vectors(self, sentences: Sequence[str]) -> Tensor:
        """float32 `(n, d)` on the CPU; the mode of the body stays."""
        training = self.body.training
        self.body.eval()
        head, most = self.head.to(self.body.device), self.longest

        def encode(texts: list[str]) -> Tensor:
            inputs = self.tokenizer(
                head.declared.prepared(texts), padding=True, truncation=True, max_length=most, return_tensors="pt"
            ).to(self.body.device)
            return head(self.body(**inputs), inputs).cpu()

        found = in_batches(sentences, BATCH, encode, dim=0)
        self.body.train(training)
        return found

    def truncated(self, sentences: Sequence[str]) -> int:
        """How many sentences are longer than what is read of one."""
        return longer(self.tokenizer, self.head.declared.prepared(sentences), self.longest)


@dataclass(frozen=True, eq=False)
class LibraryEncoder:
    """A `SentenceTransformer` that the library has opened."""

    model: Any
    declared: SentenceModules

    @property
    def pooling(self) -> str:
        """As the folder says."""
        return self.declared.label

    def vectors(self, sentences: Sequence[str]) -> Tensor:
        """What its `encode` gives, with the prompt that is its default."""
        found = self.model.encode(list(sentences), batch_size=BATCH, convert_to_tensor=True, show_progress_bar=False)
        return cast(Tensor, found).float().cpu()

    def truncated(self, sentences: Sequence[str]) -> int:
        """How many sentences are longer than what is read of one."""
        longest = self.model.max_seq_length or self.model.tokenizer.model_max_length
        return longer(self.model.tokenizer, self.declared.prepared(sentences), longest)


SentenceEncoder = BodyEncoder | LibraryEncoder
"""What makes vectors of sentences."""


def sentence_encoder(checkpoint: Checkpoint) -> SentenceEncoder:
    """What makes a checkpoint's own vectors of sentences; on the accelerator where there is one."""
    declared = SentenceModules.of(checkpoint.folder)
    if declared is not None and (find_spec(LIBRARY) is not None or not declared.as_we_compute):
        return LibraryEncoder(_opened(checkpoint, declared), declared)
    body: Any = open_body(checkpoint)
    tokenizer = checkpoint.tokenizer()
    return BodyEncoder(body.to(best_device()).eval(), tokenizer, SentenceHead(declared, tokenizer))


def sentence_head(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> SentenceHead:
    """What makes a checkpoint's vectors of its states, for another body that sentences come to by a tokenizer."""
    declared = SentenceModules.of(checkpoint.folder)
    if declared is None or declared.only_mean:
        return SentenceHead(declared, tokenizer)
    check_modules(checkpoint.folder)
    return SentenceHead(declared, tokenizer, list(_opened(checkpoint, declared))[1:])


@dataclass(frozen=True, eq=False)
class LayerPooling:
    """How the states of any layer are pooled: as a model pools those of its last."""

    modes: tuple[str, ...] = MEAN
    module: nn.Module | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "LayerPooling":
        """A checkpoint's own. What its folder names besides (Dense, a prompt) is for the last layer alone."""
        declared = SentenceModules.of(checkpoint.folder)
        if declared is None or declared.pooling == MEAN:
            return cls()
        steps = _opened(checkpoint, declared)
        return cls(declared.pooling, next(step for step in steps if type(step).__name__ == "Pooling"))

    def vectors(self, layer: int, states: Tensor, attention_mask: Tensor) -> Tensor:
        """A vector of each sentence `(b, d)`, or as many times as wide as there are modes.

        States are `(b, s, d)`. The embeddings, layer 0, are pooled by the mean whatever the modes: the first token's
        are the same in every sentence.
        """
        if self.module is None or layer == 0:
            return mean_pooled(states, attention_mask).repeat(1, len(self.modes))
        features = {"token_embeddings": states.float(), "attention_mask": attention_mask}
        return cast(Tensor, self.module(features)["sentence_embedding"])


def check_sentence_head(checkpoint: Checkpoint) -> None:
    """Refuse, without loading it, a checkpoint whose vectors another body cannot learn here."""
    declared = SentenceModules.of(checkpoint.folder)
    if declared is not None and not declared.as_we_compute:
        _check_library(checkpoint, declared)
        check_modules(checkpoint.folder)


def _check_library(checkpoint: Checkpoint, declared: SentenceModules) -> None:
    if find_spec(LIBRARY) is None:
        raise InputError(
            f"{checkpoint.name} makes its sentence vectors by {declared.label}, which needs sentence-transformers",
            value=declared.label,
            hint="Install it: pip install 'hf-xlt[sentence]'.",
        )
    if (foreign := foreign_module(checkpoint.folder)) is not None and not checkpoint.trust_remote_code:
        raise InputError(
            f"{checkpoint.name} has a module {foreign}, which is code of its own",
            value=foreign,
            expected="modules of sentence-transformers",
            hint="If you trust it, allow it with trust_remote_code.",
        )


def _opened(checkpoint: Checkpoint, declared: SentenceModules) -> Any:
    _check_library(checkpoint, declared)
    from sentence_transformers import SentenceTransformer

    try:
        with quiet():
            return SentenceTransformer(
                str(checkpoint.folder),
                device=str(best_device()),
                trust_remote_code=checkpoint.trust_remote_code,
                local_files_only=True,
                model_kwargs={"dtype": torch.float32},
            ).eval()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        raise InputError(
            f"sentence-transformers cannot open {checkpoint.name} ({' '.join(str(error).split())})",
            hint="Save the model again.",
            path=checkpoint.folder,
        ) from error


def longer(tokenizer: PreTrainedTokenizerBase, sentences: Sequence[str], longest: int) -> int:
    """How many sentences have more tokens than that."""
    return sum(len(ids) > longest for ids in tokenizer(list(sentences), verbose=False)["input_ids"])

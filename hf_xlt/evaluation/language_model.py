"""How good a language model is: loss, perplexity and bits per byte on a text, and what it writes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.arguments import checked, require_whole
from hf_xlt.checkpoint.kind import DECODER, kind_of
from hf_xlt.data.objectives import IGNORED, CausalLM, Example, Objective, objective_for, special_ids
from hf_xlt.data.objectives.objective import evaluate_losses, targets
from hf_xlt.data.token_stream import Frame, token_stream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.metrics import Perplexity
from hf_xlt.evaluation.models import LanguageModel
from hf_xlt.files.corpora import Corpus

MASKING_SEED = 20230
NEW_TOKENS = 16


@dataclass(frozen=True)
class ValidationSet:
    """A validation text, cut so that each of its tokens is seen once.

    For causal models neighboring sequences share one token, so that every token is a target (but for the first, where
    the tokenizer has no special token to begin with).
    """

    # sequences with a fixed masking key; all of one length but the last
    examples: tuple[Example, ...] = field(repr=False)
    text_bytes: int  # bytes of UTF-8 the text has, one line end a line included
    text_tokens: int  # ordinary tokens in it: neither separators nor unknown ones
    objective: Objective  # what the text was cut for, and is measured by

    @classmethod
    def cut(
        cls, lines: Iterable[str], tokenizer: PreTrainedTokenizerBase, length: int, objective: Objective
    ) -> "ValidationSet":
        """Tokenize and cut a text."""
        kept = list(lines)
        if not kept:
            raise InputError("The validation text is empty; give a longer corpus or a file with text in it.")
        ids = np.concatenate(list(token_stream(kept, tokenizer)))
        text_tokens = int((~np.isin(ids, special_ids(tokenizer))).sum())
        frame = Frame.of(tokenizer)
        if isinstance(objective, CausalLM):
            whole = np.concatenate([frame.opening, ids]).astype(np.int32)
            rows = [whole[begin : begin + length] for begin in range(0, len(whole) - 1, length - 1)]
        else:
            room = frame.room(length)
            rows = [frame.around(ids[begin : begin + room]) for begin in range(0, len(ids) - 1, room)]
        if not rows or not text_tokens:
            raise InputError("The tokenizer knows no two tokens of the validation text; give more text or check both.")
        examples = tuple({"input_ids": row, "key": (MASKING_SEED, i)} for i, row in enumerate(rows))
        return cls(examples, sum(len(line.encode()) + 1 for line in kept), text_tokens, objective)

    def batches(self, size: int) -> Iterator[list[Example]]:
        """Examples in order, at most `size` at a time and all of one length."""
        batch: list[Example] = []
        for example in self.examples:
            if batch and (len(batch) == size or len(example["input_ids"]) != len(batch[0]["input_ids"])):
                yield batch
                batch = []
            batch.append(example)
        yield batch


@dataclass(frozen=True)
class Quality:
    """Quality on a validation text: loss in nats a target token, its perplexity, and bits a byte of text."""

    loss: float
    perplexity: float
    bits_per_byte: float


def sequence_counts(
    model: PreTrainedModel, validation: ValidationSet, tokenizer: PreTrainedTokenizerBase, batch_size: int = 16
) -> np.ndarray:
    """What each sequence adds to `Perplexity`: float64 `(sequences, 3)`, nats, predicted tokens and bytes.

    The bytes are those of the text that the targets stand for: all of it for causal models; for masked and denoising
    models the share of the text's ordinary tokens that were targets.
    """
    objective, special = validation.objective, special_ids(tokenizer)
    bytes_a_token = validation.text_bytes / validation.text_tokens
    parts = []
    for examples in validation.batches(batch_size):
        batch = {name: tensor.to(model.device) for name, tensor in objective(examples).items()}
        losses, target_ids = evaluate_losses(model, batch, objective.shifts_labels)
        predicted = (targets(batch["labels"], objective.shifts_labels) != IGNORED).sum(1).cpu().numpy()
        of_sequence = np.repeat(np.arange(len(examples)), predicted)
        ordinary = ~np.isin(target_ids.cpu().numpy(), special)
        sums = (losses.double().cpu().numpy(), None, ordinary * bytes_a_token)
        parts.append(np.column_stack([np.bincount(of_sequence, weights, len(examples)) for weights in sums]))
    return np.concatenate(parts)


def measure(
    model: PreTrainedModel, validation: ValidationSet, tokenizer: PreTrainedTokenizerBase, batch_size: int = 16
) -> Quality:
    """Quality of a model on a validation text, each target weighted alike."""
    return Quality(**Perplexity().scores(sequence_counts(model, validation, tokenizer, batch_size)))


@checked
def evaluate_checkpoint(name_or_folder: str, corpus: str, length: int, trust_remote_code: bool = False) -> Quality:
    """Open a language model, a Hub id or a folder, and measure it on a text with the objective its kind was made for.

    The text is a file or a Hub dataset, cut into sequences of `length` tokens. A checkpoint or text that cannot be
    used, and a checkpoint without a trained head, raise InputError.
    """
    lines = Corpus(corpus).lines()
    opened = LanguageModel.open(ModelSpec(name_or_folder, trust_remote_code=trust_remote_code))
    require_whole("length", length, least=2, most=opened.max_length)
    objective = objective_for(opened.kind.objective, opened.tokenizer)
    validation = ValidationSet.cut(lines, opened.tokenizer, length, objective)
    return measure(opened.model, validation, opened.tokenizer)


@torch.inference_mode()
def continuations(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> dict[str, str]:
    """Prompt → its greedy continuation on one line, `NEW_TOKENS` tokens at most; empty unless the model is a decoder.

    A prompt stands where lines of the training text stand: after the token that a text begins with, and without the
    one some tokenizers end it with.
    """
    if kind_of(model.config) is not DECODER:
        return {}
    training = model.training
    model.eval()
    generate: Any = model.generate
    written = {}
    for prompt in prompts:
        text = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*Frame.of(tokenizer).opening, *text]], device=model.device)
        found = generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        written[prompt] = " ".join(str(tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)).split())
    model.train(training)
    return written

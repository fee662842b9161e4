"""What a decoder writes when it is given the beginning of a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import DECODER, kind_of

NEW_TOKENS = 16


@torch.inference_mode()
def continuations(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> dict[str, str]:
    """Greedy continuations, `NEW_TOKENS` tokens at most; empty unless the model is a decoder.

    Returns:
        Prompt → the text that follows it, on one line.
    """
    if kind_of(model.config) is not DECODER:
        return {}
    training = model.training
    model.eval()
    written = {}
    for prompt in prompts:
        encoded = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False).to(model.device)
        ids = model.generate(**encoded, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        new = ids[0, encoded["input_ids"].shape[1] :]
        written[prompt] = " ".join(tokenizer.decode(new, skip_special_tokens=True).split())
    model.train(training)
    return written

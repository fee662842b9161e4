"""What a decoder writes when it is given the beginning of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import DECODER, kind_of
from hf_xlt.data.token_stream import Frame

NEW_TOKENS = 16


@torch.inference_mode()
def continuations(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> dict[str, str]:
    """Greedy continuations, `NEW_TOKENS` tokens at most; empty unless the model is a decoder.

    A prompt stands where lines of the training text stand: after the token that a text begins with, and without the
    one some tokenizers end it with.

    Returns:
        Prompt → the text that follows it, on one line.
    """
    if kind_of(model.config) is not DECODER:
        return {}
    training = model.training
    model.eval()
    written = {prompt: _continuation(model, tokenizer, prompt) for prompt in prompts}
    model.train(training)
    return written


def _continuation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    text = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*Frame.of(tokenizer).opening, *text]], device=model.device)
    generate: Any = model.generate
    written = generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
    )
    return " ".join(str(tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)).split())

"""What a vocabulary buys: characters a token stands for, and how fast a model writes with it."""

import time
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError

WRITTEN = 32  # tokens a prompt
PROMPTS = 3
WARM_UP = 2  # tokens


def characters_per_token(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> float:
    """How many characters of some lines a token stands for, without special tokens; InputError if there is no token."""
    kept = list(lines)
    return sum(map(len, kept)) / len(_tokens(kept, tokenizer))


def unknown_share(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> float:
    """The share of the tokens of some lines that are unknown; InputError if there is no token."""
    ids = _tokens(list(lines), tokenizer)
    return 0.0 if tokenizer.unk_token_id is None else ids.count(tokenizer.unk_token_id) / len(ids)


def _tokens(lines: list[str], tokenizer: PreTrainedTokenizerBase) -> list[int]:
    encoded = tokenizer(lines, add_special_tokens=False, verbose=False)["input_ids"] if lines else []
    ids = list(chain.from_iterable(encoded))
    if not ids:
        raise InputError("The tokenizer makes no token of the text; give text of the target language.")
    return ids


@torch.inference_mode()
def tokens_per_second(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], length: int
) -> float:
    """How many tokens a second a decoder writes greedily, after the fastest of the first `PROMPTS` prompts.

    A prompt and what follows have `length` tokens at most: the prompt is cut to half of them, `WRITTEN` new ones follow
    or as many as there is room for, none of which ends the text. Reading the prompt counts into the time.
    """
    generate: Any = model.eval().generate
    opening = Frame.of(tokenizer).opening
    speeds = []
    for prompt in prompts[:PROMPTS]:
        text = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([[*opening, *text][: max(1, length // 2)]], device=model.device)
        room = max(1, min(WRITTEN, length - ids.shape[1]))
        for new in (min(WARM_UP, room), room):  # the last one counts
            begun = time.perf_counter()
            generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                min_new_tokens=new,
                max_new_tokens=new,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id,
            ).cpu()
            speed = new / (time.perf_counter() - begun)
        speeds.append(speed)
    return max(speeds)

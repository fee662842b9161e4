"""How often the tokens of a text occur."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked, require_text
from hf_xlt.data.objectives import special_ids
from hf_xlt.data.token_stream import token_stream


@checked
def frequency_order(lines: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Ids of the tokens of a text by falling frequency, int64; without special tokens and those that do not occur."""
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    for ids in token_stream(map(require_text, lines), tokenizer):
        counts += np.bincount(ids, minlength=len(counts))
    counts[special_ids(tokenizer)] = 0
    order = torch.from_numpy(counts).argsort(descending=True, stable=True)
    return order[: int((counts > 0).sum())]

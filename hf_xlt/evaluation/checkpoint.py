"""Held-out quality of any checkpoint on any text."""

from __future__ import annotations

import torch

from hf_xlt.checkpoint import Checkpoint, kind_of
from hf_xlt.data.corpora import Corpus
from hf_xlt.data.objectives import objective_for
from hf_xlt.evaluation.held_out import HeldOut
from hf_xlt.evaluation.language_model import Quality, measure


def evaluate_checkpoint(name_or_folder: str, corpus: str, length: int, trust_remote_code: bool = False) -> Quality:
    """Open a language model and measure it on a text, with the objective its kind was made for.

    Args:
        name_or_folder: A Hub id or a folder.
        corpus: A file or a Hub dataset id.
        length: Tokens a sequence.
        trust_remote_code: Run code that the checkpoint brings.

    Raises:
        InputError: If the checkpoint or the text cannot be used.
    """
    lines = Corpus(corpus).lines()
    checkpoint = Checkpoint.open(name_or_folder, trust_remote_code=trust_remote_code)
    tokenizer, kind = checkpoint.tokenizer(), kind_of(checkpoint.config)
    objective = objective_for(kind.objective, tokenizer)
    held_out = HeldOut.cut(lines, tokenizer, length, objective)
    model = kind.auto_class.from_pretrained(checkpoint.body, trust_remote_code=trust_remote_code)
    model.to(torch.accelerator.current_accelerator() or "cpu")
    return measure(model, held_out, tokenizer)

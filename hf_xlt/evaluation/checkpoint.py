"""Held-out quality of any checkpoint on any text."""

from __future__ import annotations

from hf_xlt.arguments import checked, require_whole
from hf_xlt.data.objectives import objective_for
from hf_xlt.evaluation.held_out import HeldOut
from hf_xlt.evaluation.language_model import Quality, measure
from hf_xlt.evaluation.tasks.direct import ModelAsked
from hf_xlt.evaluation.tasks.lm_head import LanguageModel
from hf_xlt.files.corpora import Corpus


@checked
def evaluate_checkpoint(name_or_folder: str, corpus: str, length: int, trust_remote_code: bool = False) -> Quality:
    """Open a language model and measure it on a text, with the objective its kind was made for.

    Args:
        name_or_folder: A Hub id or a folder.
        corpus: A file or a Hub dataset id.
        length: Tokens a sequence.
        trust_remote_code: Run code that the checkpoint brings.

    Raises:
        InputError: If the checkpoint or the text cannot be used, or the checkpoint has no trained head.
    """
    lines = Corpus(corpus).lines()
    opened = LanguageModel.open(ModelAsked(name_or_folder, trust_remote_code=trust_remote_code))
    require_whole("length", length, least=2, most=int(opened.longest))
    held_out = HeldOut.cut(lines, opened.tokenizer, length, objective_for(opened.kind.objective, opened.tokenizer))
    return measure(opened.model, held_out, opened.tokenizer)

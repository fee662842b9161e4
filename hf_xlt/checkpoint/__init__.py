"""Open checkpoints and give them another vocabulary, without loading their bodies."""

from hf_xlt.checkpoint.checks import check_body, check_finite, check_ids, rows_of_ids, tokens_without_row
from hf_xlt.checkpoint.fetch import checkpoint_content, commit_of, fetch, pinned
from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.kind import (
    DECODER,
    ENCODER,
    ENCODER_DECODER,
    TRAINED,
    ModelKind,
    auto_class_name,
    has_other_head,
    kind_of,
)
from hf_xlt.checkpoint.layout import Layout
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import assemble, chat_of, revocabulary, target_settings, write_tokenizer
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.files.folders import atomic_folder, check_output, check_space

__all__ = [
    "DECODER",
    "ENCODER",
    "ENCODER_DECODER",
    "TRAINED",
    "Checkpoint",
    "FittedTokenizer",
    "Layout",
    "ModelKind",
    "assemble",
    "atomic_folder",
    "auto_class_name",
    "chat_of",
    "check_body",
    "check_finite",
    "check_ids",
    "check_output",
    "check_space",
    "checkpoint_content",
    "commit_of",
    "fetch",
    "has_other_head",
    "kind_of",
    "open_tokenizer",
    "pinned",
    "revocabulary",
    "rows_of_ids",
    "target_settings",
    "tokens_without_row",
    "write_tokenizer",
]

"""Open checkpoints and give them another vocabulary, without loading their bodies."""

from hf_xlt.checkpoint.assemble import assemble
from hf_xlt.checkpoint.fetch import fetch
from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.kind import DECODER, ENCODER, ENCODER_DECODER, ModelKind, auto_class_name, kind_of
from hf_xlt.checkpoint.layout import Layout
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary, target_settings, write_tokenizer
from hf_xlt.checkpoint.rows import check_finite, check_ids, rows_of_ids, tokens_without_row
from hf_xlt.files.folders import atomic_folder, check_output, check_space

__all__ = [
    "DECODER",
    "ENCODER",
    "ENCODER_DECODER",
    "Checkpoint",
    "FittedTokenizer",
    "Layout",
    "ModelKind",
    "assemble",
    "atomic_folder",
    "auto_class_name",
    "check_finite",
    "check_ids",
    "check_output",
    "check_space",
    "fetch",
    "kind_of",
    "revocabulary",
    "rows_of_ids",
    "target_settings",
    "tokens_without_row",
    "write_tokenizer",
]

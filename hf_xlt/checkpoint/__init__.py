"""Open checkpoints and give them another vocabulary, without loading their bodies."""

from hf_xlt.checkpoint.assemble import assemble, target_config
from hf_xlt.checkpoint.fetch import checkpoint_content, commit_of, fetch, pinned
from hf_xlt.checkpoint.kind import DECODER, ENCODER, ENCODER_DECODER, ModelKind, auto_class_name, kind_of
from hf_xlt.checkpoint.layout import Layout
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary, write_tokenizer
from hf_xlt.checkpoint.rows import check_finite, check_ids
from hf_xlt.files.folders import atomic_folder, check_output, check_space

__all__ = [
    "DECODER",
    "ENCODER",
    "ENCODER_DECODER",
    "Checkpoint",
    "Layout",
    "ModelKind",
    "assemble",
    "atomic_folder",
    "auto_class_name",
    "check_finite",
    "check_ids",
    "check_output",
    "check_space",
    "checkpoint_content",
    "commit_of",
    "fetch",
    "kind_of",
    "pinned",
    "revocabulary",
    "target_config",
    "write_tokenizer",
]

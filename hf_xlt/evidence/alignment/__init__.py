"""Word alignment: models of parallel text, their links, and links read from elsewhere."""

from hf_xlt.evidence.alignment.aligner import WordAligner
from hf_xlt.evidence.alignment.links import SYMMETRIZATIONS, read_pharaoh, symmetrize, write_pharaoh
from hf_xlt.evidence.alignment.training import MODELS

__all__ = ["MODELS", "SYMMETRIZATIONS", "WordAligner", "read_pharaoh", "symmetrize", "write_pharaoh"]

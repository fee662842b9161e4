"""Word alignment: models of parallel text, their links, and links read from elsewhere."""

from hf_xlt.evidence.alignment.aligner import MODELS, WordAligner
from hf_xlt.evidence.alignment.links import SYMMETRIZATIONS, read_pharaoh, symmetrize, write_pharaoh

__all__ = ["MODELS", "SYMMETRIZATIONS", "WordAligner", "read_pharaoh", "symmetrize", "write_pharaoh"]

"""Static vectors of words or subword tokens: trained on text, or read from files."""

from hf_xlt.evidence.vectors.subword import NgramVectors, TextVectors, WordAverages, read_vectors
from hf_xlt.evidence.vectors.train import check_gensim, train_vectors
from hf_xlt.evidence.vectors.vectors import Vectors, read_words, vector_count

__all__ = [
    "NgramVectors",
    "TextVectors",
    "Vectors",
    "WordAverages",
    "check_gensim",
    "read_vectors",
    "read_words",
    "train_vectors",
    "vector_count",
]

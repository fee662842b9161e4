"""Give any Hugging Face checkpoint a new language."""

from hf_xlt.checkpoint import Checkpoint, revocabulary
from hf_xlt.errors import InputError
from hf_xlt.initializers import CLPInitializer, Initializer, RandomInitializer
from hf_xlt.recipes import Recipe, Results, Stage, load_recipe, run_recipe
from hf_xlt.tokens import Overlap, Vocabulary, overlap
from hf_xlt.transport import Transport

__version__ = "0.1.0"

__all__ = [
    "CLPInitializer",
    "Checkpoint",
    "Initializer",
    "InputError",
    "Overlap",
    "RandomInitializer",
    "Recipe",
    "Results",
    "Stage",
    "Transport",
    "Vocabulary",
    "load_recipe",
    "overlap",
    "revocabulary",
    "run_recipe",
]

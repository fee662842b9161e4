"""Give any Hugging Face checkpoint a new language."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name → the module that defines it, imported when the name is first used: training and pictures need libraries
# that rewriting a checkpoint does not, and their memory counts.
_HOME = {
    "CLPInitializer": "hf_xlt.initializers",
    "Checkpoint": "hf_xlt.checkpoint",
    "Initializer": "hf_xlt.initializers",
    "InputError": "hf_xlt.errors",
    "Overlap": "hf_xlt.tokens",
    "RandomInitializer": "hf_xlt.initializers",
    "Recipe": "hf_xlt.recipes",
    "Results": "hf_xlt.recipes",
    "Stage": "hf_xlt.recipes",
    "Transport": "hf_xlt.transport",
    "Vocabulary": "hf_xlt.tokens",
    "load_recipe": "hf_xlt.recipes",
    "overlap": "hf_xlt.tokens",
    "revocabulary": "hf_xlt.checkpoint",
    "run_recipe": "hf_xlt.recipes",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

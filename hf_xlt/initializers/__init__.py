"""Initializers: one method a file, each turning evidence about words into a `Transport`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from hf_xlt.errors import InputError
from hf_xlt.initializers.adversarial import AdversarialInitializer
from hf_xlt.initializers.base import TRANSPORT_FILE, Initializer
from hf_xlt.initializers.clp import WEIGHTINGS, CLPInitializer
from hf_xlt.initializers.random import RandomInitializer

__all__ = [
    "CITATIONS",
    "INITIALIZERS",
    "TRANSPORT_FILE",
    "WEIGHTINGS",
    "AdversarialInitializer",
    "CLPInitializer",
    "Initializer",
    "RandomInitializer",
    "initializer_for",
]

# What a source and a helper suffice for.
INITIALIZERS: dict[str, type[CLPInitializer]] = {"clp": CLPInitializer}

CITATIONS = {method.method: method.citation for method in (AdversarialInitializer, CLPInitializer, RandomInitializer)}


def initializer_for(options: Mapping[str, Any], source: str | None, helper: str | None) -> Initializer:
    """The initializer a recipe describes.

    Args:
        options: `method` and the method's own options.
        source: Source checkpoint.
        helper: Helper checkpoint.

    Raises:
        InputError: If the method or an option is unknown, or source or helper are missing.
    """
    method, own = options["method"], {name: value for name, value in options.items() if name != "method"}
    if method not in INITIALIZERS:
        raise InputError(f"Unknown initializer {method!r}; choose one of {', '.join(INITIALIZERS)}.")
    if source is None or helper is None:
        role = "source" if source is None else "helper"
        raise InputError(f"{method} needs a {role} checkpoint; name one with --{role} (a Hub id or a folder).")
    known = _options(INITIALIZERS[method])
    if unknown := sorted(own.keys() - known):
        raise InputError(f"{method} has no option {unknown[0]!r}; its options are {', '.join(sorted(known))}.")
    return INITIALIZERS[method](source=source, helper=helper, **own)


def _options(cls: type[Initializer]) -> set[str]:
    names = {*inspect.signature(cls).parameters, *inspect.signature(Initializer).parameters}
    return names - {"source", "helper", "tokenizer", "options"}

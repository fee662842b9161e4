"""Evidence that a method cannot do without."""

from __future__ import annotations

from hf_xlt.errors import InputError


def missing_evidence(method: str, what: str, flag: str) -> InputError:
    """What to raise where evidence is not given: the message names the flag of the command line that gives it."""
    return InputError(f"{method} needs {what}; give it with {flag}.")

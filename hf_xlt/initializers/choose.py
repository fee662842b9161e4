"""Choose a method by the evidence there is."""

from __future__ import annotations

from dataclasses import dataclass

from hf_xlt.errors import InputError
from hf_xlt.initializers.evidence import KINDS, Evidence

AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """A method, and why it."""

    method: str
    reason: str


def choose(evidence: Evidence) -> Choice:
    """The method that makes most of the evidence.

    Translations, in parallel text or a dictionary, tell more of a token than any similarity; a language model's
    embeddings more than static vectors, a helper's rows more than what a donor shares; a tokenizer alone tells how a
    token is spelled.

    Raises:
        InputError: If nothing of the target language is given.
    """
    translations = [KINDS[name] for name in ("parallel", "dictionary") if name in evidence.given]
    if translations:
        told = " and ".join(translations)
        return Choice("pooled", f"it counts all evidence together, and nothing tells more of a token than {told}")
    if evidence.helper is not None:
        return Choice("clp", "without translations, the helper's embeddings tell which tokens are alike")
    if evidence.donor is not None:
        return Choice("omp", "the donor's rows are made again of the source's, token by token")
    if evidence.vectors is not None:
        return Choice("focus", "vectors of the target language tell which tokens are alike")
    if evidence.tokenizer is not None:
        return Choice("subtoken-mean", "there is only a tokenizer: a token is what its text is made of in the source")
    raise InputError(
        "auto needs something of the target language; give --tokenizer and, of --parallel, --dictionary, --vectors, "
        "--helper and --donor, what there is."
    )

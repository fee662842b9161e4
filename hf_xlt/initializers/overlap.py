"""What methods that copy some rows and make the others share: which tokens are the same, and the transport."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.initializers.base import Initializer
from hf_xlt.tokenizers.vocabulary import Overlap, Vocabulary, kept_pairs, match
from hf_xlt.transport import Transport
from hf_xlt.transport.mixture import Mixture

OVERLAPS = ("exact", "ignore-case", "none")


class OverlapInitializer(Initializer):
    """Copies the rows of tokens that source and target share, and mixes those of the others.

    Args:
        source: The source checkpoint: a Hub id, a folder, or an open `Checkpoint`.
        tokenizer: The target tokenizer.
        overlap: Which tokens are the same: `exact`: those that stand for the same text; `ignore-case`: also those that
            differ in case only, where no other does; `none`: special tokens alone, by their role.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If the source cannot be opened, its tokenizer does not fit it, the rule is unknown, or no token is
            shared where some have to be.
    """

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        overlap: str = "exact",
        **options: Any,
    ) -> None:
        super().__init__(source, tokenizer, **options)
        self._overlap = shared_tokens(self.source_vocabulary, self.target_vocabulary, overlap)

    def overlap(self) -> Overlap:
        """The tokens that source and target share, and those whose rows are mixed."""
        return self._overlap

    @cached_property
    def _transport(self) -> Transport:
        return self._make_transport(self._overlap, self._mixture() if len(self._overlap.missing_ids) else None)

    def transport(self) -> Transport:
        """Copied rows for the overlap, mixed ones for the rest; computed once."""
        return self._transport

    @abstractmethod
    def _mixture(self) -> Mixture:
        """The rows of `overlap().missing_ids`, of which there is at least one."""


def shared_tokens(source: Vocabulary, target: Vocabulary, rule: str) -> Overlap:
    """The overlap of two vocabularies by one of `OVERLAPS`.

    Raises:
        InputError: If the rule is unknown, or asks for shared tokens and there are none.
    """
    if rule not in OVERLAPS:
        raise InputError(f"Unknown overlap {rule!r}; choose one of {', '.join(OVERLAPS)}.")
    if rule != "none":
        return match(source, target, ignore_case=rule == "ignore-case")
    return Overlap.of(kept_pairs(source, target), target)

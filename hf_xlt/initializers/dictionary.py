"""A bilingual dictionary and nothing else: a token is the mean of its translations' tokens."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.dictionary import Dictionary, dictionary_counts
from hf_xlt.initializers.counted import CountedInitializer, overlap_counts
from hf_xlt.initializers.missing import missing_evidence


class DictionaryInitializer(CountedInitializer):
    """Mix the source tokens of a token's translations; copy the token where it has none and the source shares it.

    Args:
        source: Source checkpoint: Hub id, folder or `Checkpoint`.
        tokenizer: The target tokenizer.
        dictionary: Source and target words, as `read_dictionary` gives them.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If there is no dictionary, or none of its entries is spelled in known tokens.
    """

    method = "dictionary"

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dictionary: Dictionary | None = None,
        **options: Any,
    ) -> None:
        if dictionary is None:
            raise missing_evidence(self.method, "a bilingual dictionary", "--dictionary")
        super().__init__(source, tokenizer, **options)
        self.dictionary = dictionary
        self._entries = dictionary_counts(dictionary, self.source_tokenizer, self.tokenizer)

    @property
    def label(self) -> str:
        """`dictionary`."""
        return "dictionary"

    @cached_property
    def _evidence(self) -> dict[str, TokenCounts]:
        shared = overlap_counts(self.source_vocabulary, self.target_vocabulary)
        left = ~np.isin(shared.target_ids, self._entries.rows)
        fallback = TokenCounts.of_pairs(shared.target_ids[left], shared.source_ids[left], self.shape)
        return {"dictionary": self._entries, "overlap": fallback}

    def evidence(self) -> dict[str, TokenCounts]:
        """The dictionary's counts, and the overlap where there are none."""
        return self._evidence

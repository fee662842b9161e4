"""Static vectors of the target vocabulary, mapped into the source's embedding space (TreLM's initialization)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_xlt.arguments import require_one_of
from hf_xlt.evidence.vectors import TextVectors
from hf_xlt.geometry.adversarial import GameSettings
from hf_xlt.geometry.align import align_spaces
from hf_xlt.geometry.space import Alignment
from hf_xlt.initializers.base import OverlapInitializer, once, paper
from hf_xlt.initializers.evidence import AnyText, AnyTokenizer, Model, frequent_ids, target_table
from hf_xlt.transport.mixture import ProjectedMixture

STARTS = ("overlap", "similarity", "identity")


class AdversarialInitializer(OverlapInitializer):
    """Rows that are static vectors mapped into the source's space by an orthogonal map.

    Tokens that the source shares keep their rows, and are the first dictionary of the map; without them (`similarity`,
    `identity`) the spaces are aligned without any supervision. The paper maps from the identity, by the adversarial
    game: `start="identity"` with `game`.

    Rows of an output bias are not mapped but drawn. An untied head as wide as the table gets the same rows as it.

    Args:
        vectors: Static vectors `(V_t, k)` of the target's tokens, zero rows for tokens without one; or word vectors.
        corpus: Text of the target language, whose frequent tokens are learned from; or int64, their ids, the most
            frequent first.
        source_corpus: The same of the source language.
        start: What the first map comes from.
        game: If given, the adversarial game is played before the map is refined.
        ignore_case: Whether tokens also match on their casefolded text.

    Raises:
        InputError: If the vocabularies share no token, or the spaces cannot be aligned.
    """

    citation = paper("li2021trelm")

    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        vectors: str | Path | TextVectors | Tensor,
        *,
        corpus: AnyText,
        source_corpus: AnyText,
        start: str = "overlap",
        game: GameSettings | None = None,
        ignore_case: bool = False,
        **options: Any,
    ) -> None:
        require_one_of("start", start, STARTS)
        super().__init__(source, tokenizer, overlap="ignore-case" if ignore_case else "exact", **options)
        self._vectors = target_table(vectors, self.fitted)
        order = frequent_ids("corpus", corpus, self.tokenizer, self.target_vocabulary.size)
        self._order = self.fitted.ids(order) if isinstance(corpus, Tensor) else order
        sizes = self.source_tokenizer, self.source_vocabulary.size
        self._source_order = frequent_ids("source_corpus", source_corpus, *sizes)
        self.start = start
        self.game = game
        self.label = f"adversarial ({start})"

    @once
    def alignment(self) -> Alignment:
        """The map between the two spaces, and how good it is; computed once."""
        shared = torch.from_numpy(self._overlap.target_ids), torch.from_numpy(self._overlap.source_ids)
        return align_spaces(
            self.source.input_rows()[: self.source_vocabulary.size],
            self._vectors,
            source_order=self._source_order,
            target_order=self._order,
            dictionary=torch.stack(shared, dim=1) if self.start == "overlap" else None,
            start="similarity" if self.start == "overlap" else self.start,
            game=self.game,
            seed=self.seed,
        )

    def mixture(self, rows: np.ndarray) -> ProjectedMixture:
        """Mapped rows for what the source lacks."""
        return self.alignment().projection(torch.from_numpy(rows))

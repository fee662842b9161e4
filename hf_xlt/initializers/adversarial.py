"""Static vectors of the target vocabulary, led into the source's embedding space (TreLM's initialisation)."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import require_finite, require_ids
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import GameSettings
from hf_xlt.geometry.align import align_spaces
from hf_xlt.geometry.alignment import Alignment
from hf_xlt.initializers.overlap import OverlapInitializer
from hf_xlt.transport.mixture import ProjectedMixture

STARTS = ("overlap", "similarity", "identity")

CITATION = """@misc{li2021trelm,
  title = {Cross-lingual Transferring of Pre-trained Contextualized Language Models},
  author = {Li, Zuchao and Parnow, Kevin and Zhao, Hai and Zhang, Zhuosheng and Wang, Rui and Utiyama, Masao and
            Sumita, Eiichiro},
  year = {2021},
  eprint = {2107.12627},
  archivePrefix = {arXiv},
}"""


class AdversarialInitializer(OverlapInitializer):
    """Rows that are static vectors mapped into the source's space by an orthogonal map.

    Tokens that the source shares keep their rows, and are the first dictionary of the map; without them (`similarity`,
    `identity`) the spaces are aligned without any supervision. The paper maps from the identity, by the adversarial
    game: `start="identity"` with `game`.

    Rows of an output bias are not mapped but drawn. An untied head as wide as the table gets the same rows as it.

    Args:
        source: The source checkpoint: a Hub id, a folder, or an open `Checkpoint`.
        tokenizer: The target tokenizer, often a joint one of both languages.
        vectors: Static vectors `(V_t, k)` of the target's tokens; zero rows for tokens without one.
        order: int64, ids of the target's tokens to learn from, most frequent first.
        source_order: The same for the source's tokens.
        start: What the first map comes from.
        game: If given, the adversarial game is played before the map is refined.
        ignore_case: Whether tokens also match on their casefolded text.

    Raises:
        InputError: If an argument does not fit, the vocabularies share no token, or the spaces cannot be aligned.
    """

    method = "adversarial"
    citation = CITATION

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        vectors: Tensor,
        *,
        order: Tensor,
        source_order: Tensor,
        start: str = "overlap",
        game: GameSettings | None = None,
        ignore_case: bool = False,
        **options: Any,
    ) -> None:
        if start not in STARTS:
            raise InputError(f"Unknown start {start!r}; choose one of {', '.join(STARTS)}.")
        super().__init__(source, tokenizer, overlap="ignore-case" if ignore_case else "exact", **options)
        require_finite("vectors", vectors)
        if len(vectors) < self.fitted.former_size:
            raise InputError(
                f"There are {len(vectors)} vectors for {self.fitted.former_size} token ids; expected one each, "
                "zero where a token has none."
            )
        require_ids("order", order, self.target_vocabulary.size)
        require_ids("source_order", source_order, self.source_vocabulary.size)
        self.start = start
        self.game = game
        self._vectors = self.fitted.rows(vectors)
        self._order = self.fitted.ids(order)
        self._source_order = source_order[source_order < self.source_vocabulary.size]

    @property
    def label(self) -> str:
        """`adversarial (overlap)` and so on."""
        return f"adversarial ({self.start})"

    @cached_property
    def _alignment(self) -> Alignment:
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

    def alignment(self) -> Alignment:
        """The map between the two spaces, and how good it is; computed once."""
        return self._alignment

    def _mixture(self) -> ProjectedMixture:
        """Mapped rows for what the source lacks."""
        return self.alignment().projection(torch.from_numpy(self._overlap.missing_ids))

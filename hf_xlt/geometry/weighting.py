"""How the cosines of two vocabularies become weights: one choice that the methods of similarity share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import check_top_k, sparsemax, top_k_softmax, unit_rows
from hf_xlt.transport.mixture import ClippedMixture, FactoredMixture, Mixture

WEIGHTINGS = ("paper", "positive", "top-k", "sparsemax")


@dataclass(frozen=True)
class Weighting:
    """A way to weigh the tokens a row is mixed from by their cosines to it.

    Attributes:
        name: `paper`: the cosines as they are, over all tokens (CLP-Transfer's paper), in closed form; `positive`: the
            same with negative ones set to zero; `top-k`: softmax of the k largest over a temperature (WECHSEL, OFA);
            `sparsemax`: their sparsemax (FOCUS, CLP+, RAMEN).
        k: Number of tokens in a row, for `top-k`.
        temperature: What cosines are divided by, for `top-k`.

    Raises:
        InputError: If the name is unknown, or `k` or the temperature is not positive.
    """

    name: str
    k: int = 10
    temperature: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in WEIGHTINGS:
            raise InputError(f"Unknown weighting {self.name!r}; choose one of {', '.join(WEIGHTINGS)}.")
        if self.name == "top-k":
            check_top_k(self.k, self.temperature)

    def mix(self, queries: Tensor, keys: Tensor, source_ids: Tensor, source_size: int) -> Mixture:
        """Mix source rows for each query.

        Args:
            queries: Target vectors `(n, d)`; a zero vector gets no weights.
            keys: Vectors `(o, d)` of the source tokens that rows are mixed from, on the same device: where the work is
                done. Zero vectors get no weight.
            source_ids: int64 `(o,)`, the source ids of the keys.
            source_size: Number of source ids.

        Returns:
            A mixture of `n` rows, in main memory.

        Raises:
            InputError: If a vector holds NaN or infinity.
        """
        match self.name:
            case "paper":
                return FactoredMixture(unit_rows(queries).cpu(), unit_rows(keys).cpu(), source_ids.cpu())
            case "positive":
                return ClippedMixture(unit_rows(queries).cpu(), unit_rows(keys).cpu(), source_ids.cpu())
            case "top-k":
                return top_k_softmax(queries, keys, source_ids, source_size, self.k, self.temperature)
            case _:
                return sparsemax(queries, keys, source_ids, source_size)

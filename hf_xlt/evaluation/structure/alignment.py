"""Linear maps between two models' states, learned on some pairs, and whether they bring translations together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import Retrieval, retrieval
from hf_xlt.geometry.csls import matches
from hf_xlt.geometry.maps import procrustes
from hf_xlt.geometry.similarity import unit_rows

UNALIGNED = "unaligned"


@dataclass(frozen=True)
class Precision:
    """P@1: the share of rows whose translation is their nearest neighbour, in either direction.

    Attributes:
        cosine: Nearest by cosine.
        csls: Nearest by CSLS, which takes hubs back (Conneau et al., 2018).
    """

    cosine: Retrieval
    csls: Retrieval


def precision(queries: Tensor, keys: Tensor) -> Precision:
    """P@1 of paired rows among all given.

    Args:
        queries: `(n, d)`.
        keys: `(n, d)`, their translations in the same order.

    Raises:
        InputError: If the shapes differ or there is no row.
    """
    cosine = retrieval(queries, keys)
    found = matches(unit_rows(queries), unit_rows(keys))
    own = torch.arange(len(queries), device=queries.device)
    forward, backward = (float((match == own).double().mean()) for match in (found.forward, found.backward))
    return Precision(cosine, Retrieval(forward, backward))


def least_squares(rows: Tensor, images: Tensor) -> Tensor:
    """The map `W` that minimises `‖rows W − images‖_F`; the one of smallest norm where there are several.

    It fits what it learns from the better the fewer pairs there are, and is worst on others where there are about as
    many pairs as the rows are wide: give several times as many.

    Args:
        rows: `(p, k)`.
        images: `(p, d)`, what each row should become.

    Returns:
        `(k, d)`, in the dtype of `images`; computed in float64.

    Raises:
        InputError: If there is no pair, or the numbers of rows differ.
    """
    if len(rows) != len(images) or not len(rows):
        raise InputError(
            f"Cannot map rows {tuple(rows.shape)} to {tuple(images.shape)}; expected as many of one as of the other, "
            "and at least one pair."
        )
    both = (side.to("cpu", torch.float64) for side in (rows, images))
    # Not the default, gelsy: torch 2.13 returned wrong ranks of singular matrices with it, now and then.
    return torch.linalg.lstsq(*both, driver="gelsd").solution.to(images)


MAPS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"orthogonal": procrustes, "least_squares": least_squares}


def aligned_precision(a: Tensor, b: Tensor, test: Tensor) -> dict[str, Precision]:
    """P@1 of one layer's test pairs as they are, and after each map that the other pairs teach.

    Args:
        a: States `(n, d1)`, which are mapped.
        b: States `(n, d2)` of their translations.
        test: Bool `(n,)`: the pair is for testing; from the others the maps are learned.

    Returns:
        `unaligned`, where both are of one width; then each of `MAPS`. Between different widths the orthogonal map is
        the one with orthonormal rows or columns.

    Raises:
        InputError: If the numbers of rows differ, or there is no pair to learn from or to test with.
    """
    if not len(a) == len(b) == len(test):
        raise InputError(f"{len(a)} and {len(b)} states with {len(test)} marks of test pairs; expected one a pair.")
    queries, keys = a[test], b[test]
    found = {UNALIGNED: precision(queries, keys)} if a.shape[1] == b.shape[1] else {}
    for name, learn in MAPS.items():
        found[name] = precision(queries @ learn(a[~test], b[~test]).to(queries), keys)
    return found


def layer_precisions(
    a: Tensor, b: Tensor, layers: tuple[tuple[int, int], ...], test: Tensor
) -> dict[str, tuple[Precision, ...]]:
    """`aligned_precision` of each pair of layers.

    Args:
        a: States of every layer `(L1, n, d1)`.
        b: States of every layer `(L2, n, d2)`.
        layers: Which layer of `a` goes with which of `b`.
        test: Bool `(n,)`: the pair is for testing.
    """
    bar = tqdm(layers, desc="alignment", unit="layer", disable=None, leave=False)
    found = [aligned_precision(a[i], b[j], test) for i, j in bar]
    return {name: tuple(of_layer[name] for of_layer in found) for name in found[0]}

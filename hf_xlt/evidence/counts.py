"""Counts of target tokens with source tokens: the form that all evidence about words takes, so that it adds up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from hf_xlt.errors import InputError
from hf_xlt.transport.mixture import SparseMixture


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """A sparse table of counts, target token × source token: by target id, then source id, each pair once.

    InputError is raised if entries are of other types or lengths, out of order or range, or not positive and finite.
    """

    target_ids: np.ndarray  # int64 `(n,)`, the target token of each entry
    source_ids: np.ndarray  # int64 `(n,)`, its source token
    values: np.ndarray  # float64 `(n,)`, how often the two were seen as translations, positive
    shape: tuple[int, int]  # target ids and source ids that the table has room for

    def __post_init__(self) -> None:
        shapes = [field.shape for field in (self.target_ids, self.source_ids, self.values)]
        if any(shape != (len(self.values),) for shape in shapes):
            raise InputError(
                f"Counts of {shapes} target ids, source ids and values do not fit", expected="one of each an entry"
            )
        for side, ids, size in zip(("target", "source"), (self.target_ids, self.source_ids), self.shape, strict=True):
            if ids.dtype != np.int64 or (len(ids) and not 0 <= ids.min() <= ids.max() < size):
                raise InputError(
                    f"The {side} ids of the counts are not int64 from 0 and below {size}",
                    expected=f"ids of the {side} tokenizer",
                )
        if not (np.isfinite(self.values).all() and (self.values > 0).all()):
            raise InputError("A count is not a positive number", hint="Leave out what was not seen.")
        if (np.diff(self._keys) <= 0).any():
            raise InputError("The counts are out of order or have a pair twice", hint="Make them with TokenCounts.of.")

    def __repr__(self) -> str:
        return f"TokenCounts({len(self):,} pairs of {self.shape[0]:,} target and {self.shape[1]:,} source ids)"

    @property
    def _keys(self) -> np.ndarray:
        """One number a pair, ascending as the pairs do."""
        return self.target_ids * self.shape[1] + self.source_ids

    @classmethod
    def of(cls, target_ids: np.ndarray, source_ids: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Self:
        """The table of some observations `(n,)`, in any order: the values of a pair add up, and zeros are left out.

        InputError is raised if an id is out of range, or a value negative or not finite.
        """
        keys = np.asarray(target_ids, np.int64) * shape[1] + np.asarray(source_ids, np.int64)
        if len(source_ids) and not 0 <= np.min(source_ids) <= np.max(source_ids) < shape[1]:
            raise InputError(
                f"The source ids of the counts are not from 0 and below {shape[1]}", hint="Check the tokenizer."
            )
        found, place = np.unique(keys, return_inverse=True)
        sums = np.bincount(place, np.asarray(values, np.float64), len(found))
        seen = sums != 0
        first, second = np.divmod(found[seen], shape[1])
        return cls(first, second, sums[seen], shape)

    @classmethod
    def of_pairs(cls, target_ids: np.ndarray, source_ids: np.ndarray, shape: tuple[int, int]) -> Self:
        """One count for each pair of a target and a source token, such as tokens that are spelled alike."""
        return cls.of(target_ids, source_ids, np.ones(len(target_ids)), shape)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Self:
        """No counts."""
        nothing = np.empty(0, np.int64)
        return cls(nothing, nothing, np.empty(0), shape)

    @classmethod
    def total(cls, tables: Iterable[Self], shape: tuple[int, int]) -> Self:
        """The sum of some tables of one shape."""
        tables = list(tables)
        if other := [table.shape for table in tables if table.shape != shape]:
            raise InputError(
                f"Counts of shape {other[0]} cannot be added to {shape}", expected="the same two tokenizers"
            )
        if not tables:
            return cls.empty(shape)
        return cls.of(
            np.concatenate([table.target_ids for table in tables]),
            np.concatenate([table.source_ids for table in tables]),
            np.concatenate([table.values for table in tables]),
            shape,
        )

    def __add__(self, other: Self) -> Self:
        """Evidence adds up: the counts of both tables."""
        return self.total([self, other], self.shape)

    def __len__(self) -> int:
        """Number of pairs with a count."""
        return len(self.values)

    def scaled(self, weight: float) -> Self:
        """All counts times a finite weight from 0; none for 0."""
        if not (weight >= 0 and np.isfinite(weight)):
            raise InputError(f"A weight of counts is {weight}", value=weight, expected="a number from 0")
        return self._with(self.values * weight)

    def relative(self) -> Self:
        """Each count over the sum of its target token's: every row that has any sums to 1."""
        return self._with(self.values / self.target_totals[self.target_ids])

    def specific(self, power: float) -> Self:
        """Each count times a power of its share in its source token's counts.

        Source tokens that translate a bit of everything, such as function words, leak into many rows; each of their
        counts is a small share of what they have, and so loses weight.
        """
        return self._with(self.values * (self.values / self.source_totals[self.source_ids]) ** power)

    def among(self, target_ids: np.ndarray) -> Self:
        """The counts of some target tokens alone."""
        entries = np.isin(self.target_ids, target_ids)
        return type(self)(self.target_ids[entries], self.source_ids[entries], self.values[entries], self.shape)

    def _with(self, values: np.ndarray) -> Self:
        return type(self).of(self.target_ids, self.source_ids, values, self.shape)

    @property
    def rows(self) -> np.ndarray:
        """int64, the target ids that have a count, ascending."""
        return np.unique(self.target_ids)

    @property
    def target_totals(self) -> np.ndarray:
        """float64 `(V_t,)`, the counts of each target token."""
        return np.bincount(self.target_ids, self.values, self.shape[0])

    @property
    def source_totals(self) -> np.ndarray:
        """float64 `(V_s,)`, the counts of each source token."""
        return np.bincount(self.source_ids, self.values, self.shape[1])

    def at(self, target_ids: np.ndarray, source_ids: np.ndarray) -> np.ndarray:
        """Float64 `(n,)`, the counts of some pairs of a target and a source token; 0 where there is none."""
        if not len(self):
            return np.zeros(len(target_ids))
        wanted = target_ids * self.shape[1] + source_ids
        places = np.searchsorted(self._keys, wanted).clip(max=len(self) - 1)
        return np.where(self._keys[places] == wanted, self.values[places], 0.0)

    def mixture(self, rows: np.ndarray) -> SparseMixture:
        """Relative frequencies: each row's counts over their sum, P(source token | target token).

        The rows wanted are int64 target ids, ascending; those without a count get an empty row.
        """
        entries = np.isin(self.target_ids, rows)
        targets = self.target_ids[entries]
        weights = self.values[entries] / self.target_totals[targets]
        shape = len(rows), self.shape[1]
        return SparseMixture.of(np.searchsorted(rows, targets), self.source_ids[entries], weights, shape)

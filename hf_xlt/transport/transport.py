"""Transport: everything an initializer learned, as one linear operator from source rows to target rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from hf_xlt.arguments import checked, require_seed, require_whole
from hf_xlt.errors import InputError, did_you_mean
from hf_xlt.files.printable import html_table
from hf_xlt.files.tensors import dataclass_of, from_bytes, read_tensors, tensors_of, to_bytes, under, write_tensors
from hf_xlt.transport.mixture import MIXTURES, Mixture, SparseMixture, check_ids

_FORMAT = "hf_xlt.transport.transport.1"
_IDS = ("copied_source", "copied_target", "mixed_target")
_NAMES = ("source_names", "target_names")
_BLOCK_ROWS = 512
_GRAM_ROWS = 4096
_NO_DIRECTION = 1e-6  # singular values below this share of the largest are rounding


@dataclass(frozen=True)
class Counts:
    """How many target rows are copied, mixed of source rows, drawn at random, or projected into the source's space.

    Others are unused: no token has them.
    """

    copied: int
    mixed: int
    drawn: int
    projected: int = 0
    unused: int = 0


@dataclass(frozen=True)
class Part:
    """A source token in a target token's row."""

    source: str
    weight: float  # what its row counts
    # where rows are mixed by counts: kind of evidence → how much of it there is for these two tokens
    evidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FalseFriends:
    """Copied rows of tokens that translations tell to mean something else than the source token of their spelling.

    ValueError is raised if lengths do not fit, or target ids are out of order.
    """

    target_ids: Tensor  # int64 `(n,)`, the target token of each entry, ascending
    source_ids: Tensor  # int64 `(n,)`, a source token that translates it
    links: Tensor  # float32 `(n,)`, how much says so, in links of parallel text

    def __post_init__(self) -> None:
        for name in ("target_ids", "source_ids"):
            check_ids(name, getattr(self, name))
            if len(getattr(self, name)) != len(self.links):
                raise ValueError(f"{name} has {len(getattr(self, name))} entries; expected {len(self.links)}.")
        if (self.target_ids.diff() < 0).any():
            raise ValueError("target_ids is not in order; expected ascending target rows. Sort all parts alike.")

    def __repr__(self) -> str:
        return f"FalseFriends({len(self.rows):,} rows, {len(self.links):,} source tokens linked to them)"

    @cached_property
    def rows(self) -> Tensor:
        """int64 `(f,)`, the rows of false friends, ascending."""
        return self.target_ids.unique()

    def strongest(self, row: int, k: int) -> tuple[list[int], list[float]]:
        """The source ids that a row is linked to most often, and how often; none of a row that is no false friend."""
        entries = _within(self.target_ids, slice(row, row + 1))
        links, places = self.links[entries].sort(descending=True, stable=True)
        return self.source_ids[entries][places][:k].tolist(), links[:k].tolist()


@checked
@dataclass(frozen=True, eq=False)
class Transport:
    """Target rows out of source rows: copied, mixed, and for every other row a seeded draw.

    A drawn row comes from N(mean, std) of each column over the source rows. Its noise depends on nothing but the
    seed, the number of target ids, its own id and the width: transports that differ in what they copy or mix draw
    the same row for the same id, and an untied head as wide as the input table gets the input table's noise. A row that
    no token has, as those that pad a table, is the mean alone: a head gives it the mean of all logits, where that of a
    drawn row may be the highest, and then a decoder writes an id that its tokenizer cannot read.

    ValueError is raised if ids are out of range, out of order or given twice, or lengths do not fit.

    Attributes:
        source_size: The source tokenizer's largest id + 1; later source rows are padding, never read.
        target_size: Rows of the target table.
        copied_source: int64 `(c,)`, the source row of each copied row.
        copied_target: int64 `(c,)`, the target row of each copied row, ascending.
        mixed_target: int64 `(m,)`, the target row of each row of the mixture, ascending.
        mixture: How the mixed rows are made; None where there are none.
        source_names: A readable name for each source id, empty for ids that are no token.
        target_names: The same for each target id.
        seed: Seed of the draw.
        evidence: Where rows are mixed by counts: kind of evidence → float32 `(nnz,)`, how much of it is behind each
            entry of the mixture, which is a sparse one.
        rank: Where a matrix is factorized first, and its coordinates are transported in place of its rows, how many
            coordinates there are, at most (see `factorize`); target rows are the products.
        false_friends: The copied rows whose translations say otherwise; None where nobody looked for them.
    """

    source_size: int
    target_size: int
    copied_source: Tensor
    copied_target: Tensor
    mixed_target: Tensor
    mixture: Mixture | None
    source_names: Sequence[str]
    target_names: Sequence[str]
    seed: int = 42
    evidence: Mapping[str, Tensor] = field(default_factory=dict)
    rank: int | None = None
    false_friends: FalseFriends | None = None

    def __post_init__(self) -> None:
        require_seed("seed", self.seed)
        check_ids("copied_source", self.copied_source, self.source_size)
        check_ids("copied_target", self.copied_target, self.target_size)
        check_ids("mixed_target", self.mixed_target, self.target_size)
        entries = self.mixture.values if isinstance(self.mixture, SparseMixture) else ()
        lengths: list[tuple[str, Sequence[str] | Tensor, int]] = [
            ("copied_target", self.copied_target, len(self.copied_source)),
            ("source_names", self.source_names, self.source_size),
            ("target_names", self.target_names, self.target_size),
            *((f"evidence {kind!r}", amounts, len(entries)) for kind, amounts in self.evidence.items()),
            ("mixed_target", self.mixed_target, self.mixture.n_rows if self.mixture else 0),
        ]
        for name, values, length in lengths:
            if len(values) != length:
                raise ValueError(f"{name} has {len(values)} entries; expected {length}.")
        given, times = torch.cat([self.copied_target, self.mixed_target]).unique(return_counts=True)
        if (times > 1).any():
            raise ValueError(f"Target row {given[times > 1][0]} is given {times.max()} times; expected once.")
        for name in ("copied_target", "mixed_target"):
            if (getattr(self, name).diff() < 0).any():
                raise ValueError(f"{name} is not in order; expected ascending target rows. Sort all parts alike.")
        if self.mixture and self.mixture.source_size > self.source_size:
            wanted = self.mixture.source_size
            raise ValueError(f"source_size is {self.source_size}; expected {wanted} or more, as the mixture reads.")
        if self.false_friends is not None:
            check_ids("false friends' source_ids", self.false_friends.source_ids, self.source_size)
            if not torch.isin(self.false_friends.rows, self.copied_target).all():
                raise ValueError("A false friend is not copied; expected rows of copied_target.")

    def __repr__(self) -> str:
        origins = ", ".join(f"{count:,} {origin}" for origin, count in asdict(self.counts).items() if count)
        stored = "" if self.mixture is None else f"; {self.mixture.kind}"
        rank = "" if self.rank is None else f", rank {self.rank}"
        return f"Transport({self.source_size:,} -> {self.target_size:,} rows: {origins}{stored}{rank})"

    @torch.no_grad()
    @checked
    def apply(self, matrix: Tensor) -> Tensor:
        """Make the target's rows out of the source's, in the same dtype and on the same device.

        The source's embedding table or output head `(V_s, d)`, of any float dtype, becomes `(target_size, d)`, and its
        output bias `(V_s,)` becomes `(target_size,)`: one more column, but drawn where mixed rows are no sums of source
        rows. InputError is raised for other forms and for fewer than `source_size` rows.
        """
        if matrix.ndim == 1:
            mixes = self.mixture is None or self.mixture.sums_sources
            of_bias = self if mixes else replace(self, mixed_target=self.mixed_target[:0], mixture=None)
            return of_bias.apply(matrix[:, None])[:, 0]
        target = matrix.new_empty(self.target_size, *matrix.shape[1:])
        for rows, block in zip(self._rows_at_a_time(), self.blocks(matrix), strict=True):
            target[rows] = block
        return target

    @torch.no_grad()
    def blocks(self, matrix: Tensor) -> Iterator[Tensor]:
        """The rows of `apply(matrix)` for a matrix `(V_s, d)`, in order and some at a time."""
        if matrix.ndim != 2 or not matrix.is_floating_point() or len(matrix) < self.source_size:
            raise InputError(
                f"Cannot transport a {matrix.dtype} tensor of shape {tuple(matrix.shape)}",
                expected=f"float rows or a bias for at least {self.source_size} source ids",
                hint="Pass a tensor of the source checkpoint this transport was built for.",
            )
        if self.rank is not None:
            coordinates, primitives = factorize(matrix[: self.source_size], min(self.rank, matrix.shape[1]))
            for block in replace(self, rank=None).blocks(coordinates):
                yield (block @ primitives).to(matrix)
            return
        mixed_rows = self.mixture.rows_of(matrix) if self.mixture else None
        drawn_rows = self._draws(matrix) if self._drawn.any() else None
        for rows in self._rows_at_a_time():
            block = matrix.new_empty(rows.stop - rows.start, matrix.shape[1])
            copied, mixed = _within(self.copied_target, rows), _within(self.mixed_target, rows)
            block[self.copied_target[copied] - rows.start] = matrix[self.copied_source[copied]]
            if mixed_rows and mixed.stop > mixed.start:
                block[self.mixed_target[mixed] - rows.start] = mixed_rows(mixed).to(block)
            if drawn_rows:
                drawn = self._drawn[rows]
                block[drawn] = next(drawn_rows)[drawn].to(block)
            yield block

    def _rows_at_a_time(self) -> Iterator[slice]:
        starts = range(0, self.target_size, _BLOCK_ROWS)
        return (slice(start, min(start + _BLOCK_ROWS, self.target_size)) for start in starts)

    def _draws(self, matrix: Tensor) -> Iterator[Tensor]:
        """A float32 draw for every row of each block, in use or not: so that a row's draw is its own."""
        mean, std = _column_statistics(matrix[: self.source_size])
        generator = torch.Generator().manual_seed(self.seed)
        for rows in self._rows_at_a_time():
            noise = torch.randn(rows.stop - rows.start, matrix.shape[1], generator=generator)
            noise[self._unused[rows]] = 0
            yield mean + std * noise

    @cached_property
    def _drawn(self) -> Tensor:
        """Bool `(target_size,)`: the rows without a source, and the mixed rows without usable evidence."""
        drawn = torch.ones(self.target_size, dtype=torch.bool)
        drawn[self.copied_target] = False
        if self.mixture:
            drawn[self.mixed_target] = ~self.mixture.finite.cpu()
        return drawn

    @cached_property
    def _unused(self) -> Tensor:
        """Bool `(target_size,)`: those of them that no token has."""
        return self._drawn & torch.tensor([not name for name in self.target_names], dtype=torch.bool)

    @cached_property
    def origins(self) -> dict[str, Tensor]:
        """Where rows come from, by the names of `Counts`: bool `(target_size,)`, each row in one of them."""
        copied, drawn = torch.zeros_like(self._drawn), self._drawn
        copied[self.copied_target] = True
        made = ~(copied | drawn)
        mixed = made if self.mixture is None or self.mixture.sums_sources else torch.zeros_like(made)
        named = {"copied": copied, "mixed": mixed, "projected": made & ~mixed, "drawn": drawn & ~self._unused}
        return named | {"unused": self._unused}

    @cached_property
    def counts(self) -> Counts:
        """Rows of each origin; they add up to `target_size`."""
        return Counts(**{origin: int(rows.sum()) for origin, rows in self.origins.items()})

    def origin(self, token: str) -> str:
        """Where the row of a target token comes from: `copied`, `mixed`, `projected` or `drawn`."""
        row = self._row(token)
        return next(origin for origin, rows in self.origins.items() if rows[row])

    @checked
    def explain(self, token: str, k: int = 5) -> list[tuple[str, float]]:
        """Names and weights of the `k` source tokens in a target token's row, largest absolute weight first.

        There is one of weight 1 for a copied row, and none for a drawn or projected one. InputError is raised if the
        target vocabulary has no such token or `k` is not positive.
        """
        return Explanation((part.source, part.weight) for part in self.parts(token, k))

    @checked
    def parts(self, token: str, k: int = 5) -> list[Part]:
        """What `explain` tells, and the evidence behind each source token."""
        if k < 1:
            raise InputError(f"k is {k}", value=k, expected="at least 1, the number of source tokens to list")
        row = self._row(token)
        if self._drawn[row]:
            return []
        mixed = (self.mixed_target == row).nonzero()
        if not len(mixed) or self.mixture is None:
            return [Part(self.source_names[int(self.copied_source[self.copied_target == row])], 1.0)]
        ids, weights = (part.cpu() for part in self.mixture.weights(int(mixed)))
        seen = {}
        if isinstance(self.mixture, SparseMixture):
            entries = slice(*self.mixture.crow[mixed[0, 0] :][:2].tolist())
            seen = {kind: amounts[entries] for kind, amounts in self.evidence.items()}
        largest = weights.abs().argsort(descending=True, stable=True)[:k].tolist()
        return [
            Part(
                source=self.source_names[int(ids[place])],
                weight=float(weights[place]),
                evidence={kind: float(amounts[place]) for kind, amounts in seen.items() if amounts[place]},
            )
            for place in largest
        ]

    @checked
    def linked(self, token: str, k: int = 5) -> list[tuple[str, float]]:
        """Of a false friend, the `k` source tokens that it is linked to most often, and how often; of others nothing.

        InputError is raised as by `explain`.
        """
        require_whole("k", k, least=1)
        row = self._row(token)
        if self.false_friends is None:
            return []
        ids, links = self.false_friends.strongest(row, k)
        return [(self.source_names[id_], count) for id_, count in zip(ids, links, strict=True)]

    def _row(self, token: str) -> int:
        if token in self._rows:
            return self._rows[token]
        meant = did_you_mean(token, self._rows, most=3) or "Nothing is spelled like it."
        hint = f"{meant} Longer words are made of several tokens: ask for one of those."
        raise InputError(f"{token!r} is not a token of the target vocabulary", value=token, hint=hint)

    @cached_property
    def _rows(self) -> dict[str, int]:
        """Target id by name, the smallest where names repeat; `-en` goes by `en` too where no other does."""
        named = {name: row for row, name in reversed(list(enumerate(self.target_names))) if name}
        return {name.removeprefix("-"): row for name, row in named.items()} | named

    @checked
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the transport to one `.safetensors` file, which appears whole or not at all.

        InputError is raised if the file exists and `overwrite` is not set, or its folder does not exist.
        """
        tensors = {name: getattr(self, name) for name in _IDS}
        tensors |= {name: to_bytes(getattr(self, name)) for name in _NAMES}
        metadata = {"format": _FORMAT, "seed": str(self.seed), "mixture": ""}
        if self.rank is not None:
            metadata["rank"] = str(self.rank)
        if self.mixture:
            metadata["mixture"] = self.mixture.kind
            tensors |= tensors_of(self.mixture, "mixture.")
        tensors |= {f"counts.{kind}": amounts for kind, amounts in self.evidence.items()}
        if self.false_friends is not None:
            tensors |= tensors_of(self.false_friends, "false_friends.")
        return write_tensors(path, tensors, metadata, overwrite=overwrite)

    @classmethod
    @checked
    def load(cls, path: str | Path) -> "Transport":
        """Read what `save` wrote, equal to the bit; InputError if the file is missing, unreadable, or no transport."""
        tensors, metadata = read_tensors(path, "transport", _FORMAT, "Transport.save")
        mixture = dataclass_of(MIXTURES[metadata["mixture"]], tensors, "mixture.") if metadata["mixture"] else None
        source_names, target_names = (from_bytes(tensors[name]) for name in _NAMES)
        return cls(
            source_size=len(source_names),
            target_size=len(target_names),
            **{name: tensors[name] for name in _IDS},
            mixture=mixture,
            source_names=source_names,
            target_names=target_names,
            seed=int(metadata["seed"]),
            evidence=under("counts.", tensors),
            rank=int(metadata["rank"]) if "rank" in metadata else None,
            false_friends=dataclass_of(FalseFriends, found, "")
            if (found := under("false_friends.", tensors))
            else None,
        )


class Explanation(list[tuple[str, float]]):
    """Source tokens and their weights: a list, and a table in a notebook."""

    def _repr_html_(self) -> str:
        return html_table(("source token", "weight"), ((token, f"{weight:.3f}") for token, weight in self))


def factorize(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best approximation of a table by coordinates and primitives: `E ≈ F P`.

    With `E = U S Vᵀ (V, d)`, of any float dtype, F is U, float32 `(V, D')`, and P is `S Vᵀ`, float32 `(D', d)`, of the
    D' ≤ d largest singular values (paper, §3.1); where the table has a lower rank, coordinates are zero. They come from
    the Gram matrix `EᵀE (d, d)`, summed in float64, so that no matrix of the table's size is decomposed.
    """
    blocks = matrix.split(_GRAM_ROWS)
    gram = torch.stack([block.double().T @ block.double() for block in blocks]).sum(0)
    values, vectors = torch.linalg.eigh(gram)
    singular = values.flip(0)[:rank].clamp_(min=0).sqrt()
    axes = vectors.flip(1)[:, :rank]
    scale = torch.where(singular > _NO_DIRECTION * singular[0], 1 / singular, 0)
    coordinates = torch.cat([(block.double() @ (axes * scale)).float() for block in blocks])
    return coordinates, (singular[:, None] * axes.T).float()


def _within(ids: Tensor, rows: slice) -> slice:
    """Where the entries of ascending `ids` lie that fall into `rows`."""
    first, last = torch.searchsorted(ids, torch.tensor([rows.start, rows.stop])).tolist()
    return slice(first, last)


def _column_statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation `(d,)` of the columns of `rows (n, d)`, in float32."""
    blocks = rows.split(_BLOCK_ROWS)
    mean = torch.stack([block.sum(0, dtype=torch.float64) for block in blocks]).sum(0) / len(rows)
    squares = torch.stack([(block - mean).square_().sum(0) for block in blocks]).sum(0)
    return mean.float().cpu(), (squares / len(rows)).sqrt_().float().cpu()

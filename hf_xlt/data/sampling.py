"""The order of training: shuffled epochs, of several languages in turn or sampled by their smoothed size."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.data import Dataset as TorchDataset

from hf_xlt.arguments import checked, require_share
from hf_xlt.errors import InputError

BLOCK = 256
GOLDEN_RATIO = (5**0.5 - 1) / 2


class Stream(TorchDataset, ABC):
    """Examples in the order in which they are trained on, addressed by their position in training."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        """The examples of a batch, read at once (torch's `DataLoader` calls this where it exists)."""

    def __getitem__(self, position: int) -> dict[str, Any]:
        return self.__getitems__([position])[0]


class ShuffledStream(Stream):
    """Packed sequences, repeated in a new order every epoch, addressed by their position in training.

    The example at a position depends on nothing but the seed and that position, so a resumed run, whatever its
    batch or process layout, sees exactly what an uninterrupted one would have seen. `length` is the number of
    positions: steps × batch size; the seed decides order and, through `key`, masking.
    """

    def __init__(self, packed: Dataset, length: int, seed: int) -> None:
        self.packed = packed
        self.length = length
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        columns = self.packed[[self._row(position) for position in positions]]
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return [row | {"key": (self.seed, position)} for row, position in zip(rows, positions, strict=True)]

    def _row(self, position: int) -> int:
        if not 0 <= position < self.length:
            raise IndexError(position)
        epoch, offset = divmod(position, len(self.packed))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.packed))
            self._epoch = epoch
        return int(self._order[offset])


class AlternatingStream(Stream):
    """Several streams of equal length in turn, an example of each: languages side by side in every batch."""

    def __init__(self, streams: Sequence[ShuffledStream]) -> None:
        self.streams = tuple(streams)

    def __len__(self) -> int:
        return sum(len(stream) for stream in self.streams)

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        turns = len(self.streams)
        return [self.streams[position % turns][position // turns] for position in positions]


class ReplayStream(Stream):
    """A stream with examples of old text put between, evenly, so that a model does not forget what it could read."""

    def __init__(self, new: Stream, old: Stream, share: float) -> None:
        self.new, self.old, self.share = new, old, share

    def __len__(self) -> int:
        return len(self.new) + len(self.old)

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        return [self._example(position) for position in positions]

    def _example(self, position: int) -> dict[str, Any]:
        before, after = (replayed(count, self.share) for count in (position, position + 1))
        return self.old[before] if after > before else self.new[position - before]


def replayed(positions: int, share: float) -> int:
    """How many of the first positions of a stream are of old text, where a share of all is."""
    return int(positions * Fraction(str(share)))


@checked
def language_probabilities(sizes: Mapping[str, int], alpha: float) -> dict[str, float]:
    """How likely the next example is of each language: p_i = n_i^α / Σ_j n_j^α (Lample & Conneau 2019, §3.1).

    Args:
        sizes: Language → how much text it has, in any one unit; a language without text is refused.
        alpha: 1 samples languages by their size, 0 all alike.
    """
    require_share("alpha", alpha)
    for language, size in sizes.items():
        if size < 1:
            raise InputError(f"Language {language!r} has no data; give it text, or leave it out.")
    largest = max(sizes.values(), default=1)
    weights = {language: (size / largest) ** alpha for language, size in sizes.items()}
    return {language: weight / sum(weights.values()) for language, weight in weights.items()}


@dataclass(frozen=True)
class Schedule:
    """From which of several parts, and which of the part's examples, the example at a position of training is.

    Positions are dealt out in blocks of `BLOCK`. A block has room for `BLOCK · p` examples of a part, rounded up or
    down: the parts' shares are laid end to end, and cut at whole numbers from an offset on (systematic sampling). The
    offset is uniform, so the expected count is `BLOCK · p` exactly, and advances from block to block by the golden
    ratio, so that roundings even out in the long run. Within a block the order is random. A part's examples are
    numbered in the order in which they come. All of it depends on the seed and the position alone.
    """

    probabilities: tuple[float, ...]
    length: int
    seed: int

    def places(self, positions: Sequence[int]) -> np.ndarray:
        """Part, and number of the example in it, at each of some positions: int64 `(n, 2)`."""
        wanted = np.asarray(positions, dtype=np.int64)
        if ((wanted < 0) | (wanted >= self.length)).any():
            raise IndexError(f"positions {wanted.min()} to {wanted.max()} of {self.length}")
        blocks, offsets = np.divmod(wanted, BLOCK)
        places = np.empty((len(wanted), 2), dtype=np.int64)
        for block in np.unique(blocks):
            here = blocks == block
            places[here] = self._block(int(block))[offsets[here]]
        return places

    def counts(self, position: int) -> np.ndarray:
        """Examples of each part before a position: int64 `(parts,)`."""
        block, offset = divmod(position, BLOCK)
        whole = self._before[block]
        if not offset:
            return whole
        return whole + np.bincount(self._block(block)[:offset, 0], minlength=len(whole))

    @cached_property
    def _before(self) -> np.ndarray:
        """Examples of each part before each block: int64 `(blocks + 1, parts)`."""
        blocks = -(-self.length // BLOCK)
        shares = np.cumsum(self.probabilities)
        offsets = (np.random.default_rng(self.seed).random() + GOLDEN_RATIO * np.arange(blocks)) % 1
        cuts = np.floor(BLOCK * shares / shares[-1] + offsets[:, None])
        counts = np.diff(np.minimum(cuts, BLOCK), axis=1, prepend=0).astype(np.int64)
        return np.pad(counts.cumsum(axis=0), ((1, 0), (0, 0)))

    def _block(self, block: int) -> np.ndarray:
        """The places of a block: int64 `(BLOCK, 2)`."""
        before, after = self._before[block : block + 2]
        generator = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(block,)))
        parts = generator.permutation(np.repeat(np.arange(len(before)), after - before))
        numbers = np.empty_like(parts)
        numbers[parts.argsort(kind="stable")] = np.concatenate(list(map(np.arange, before, after)))
        return np.stack([parts, numbers], axis=1)


class MixedStream(Stream):
    """Examples of several datasets, sampled by a `Schedule`; each dataset is gone through in shuffled epochs.

    Batches hold all of them side by side. An example depends on the seed and its position alone, so a resumed run sees
    what an uninterrupted one would have seen. `Trainer` keeps the order if its `train_sampling_strategy` is
    `sequential`, and the masking if its `remove_unused_columns` is off: the `key` of an example decides it.
    """

    def __init__(self, parts: Sequence[Dataset], probabilities: Sequence[float], length: int, seed: int) -> None:
        self.schedule = Schedule(tuple(probabilities), length, seed)
        self.seed = seed
        counts = self.schedule.counts(length)
        # A seed for each dataset: corpora of equal length, which may be translations, differ in order.
        seeds = [np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0] for number in range(len(parts))]
        self.streams = [
            ShuffledStream(part, int(count), int(own)) for part, count, own in zip(parts, counts, seeds, strict=True)
        ]

    def __len__(self) -> int:
        return self.schedule.length

    def __getitems__(self, positions: list[int]) -> list[dict[str, Any]]:
        places = self.schedule.places(positions)
        examples: dict[int, dict[str, Any]] = {}
        for part in np.unique(places[:, 0]):
            here = np.flatnonzero(places[:, 0] == part)
            read = self.streams[part].__getitems__(places[here, 1].tolist())
            examples |= zip(here.tolist(), read, strict=True)
        return [examples[i] | {"key": (self.seed, position)} for i, position in enumerate(positions)]

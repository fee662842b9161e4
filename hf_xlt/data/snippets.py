"""Snippets of a text around new tokens, each in two segmentations: the extended tokenizer's and the source's own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, Features, Sequence, Value
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerBase

from hf_xlt.data.objectives import UNALIGNED
from hf_xlt.data.packing import fingerprint, memory_mapped, state_of
from hf_xlt.data.token_stream import BATCH, Frame, batched, token_stream
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Split

FEATURES = Features({name: Sequence(Value("int32")) for name in ("input_ids", "source_ids", "alignment")})


class Segmentation(NamedTuple):
    """A text as tokens: ids int64 `(n,)`, and where each ends, in characters of the text, int64 `(n,)`."""

    ids: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, lines: list[str], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Lines one after the other, each with the tokenizer's separator at its end."""
        separator = Frame.of(tokenizer).separator
        encoded = tokenizer(
            lines,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        ids: list[np.ndarray] = []
        ends: list[np.ndarray] = []
        begin = 0
        for line, own, offsets in zip(lines, encoded["input_ids"], encoded["offset_mapping"], strict=True):
            after = begin + len(line) + 1
            ids.append(np.array([*own, *separator], dtype=np.int64))
            ends.append(np.array([*(begin + end for _, end in offsets), *(after for _ in separator)], dtype=np.int64))
            begin = after
        return cls(np.concatenate(ids), np.maximum.accumulate(np.concatenate(ends)))

    @property
    def last_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Where tokens end, ascending, and the last token that ends there; others are parts of a character."""
        last = np.flatnonzero(np.append(self.ends[1:] != self.ends[:-1], True))
        return self.ends[last], last


def matches(new: Segmentation, old: Segmentation) -> np.ndarray:
    """For each token of one segmentation the token of the other that ends where it ends, or −1: int64 `(n,)`.

    A word that is one token in `new` and several in `old` is matched with the last of these. Both have read the same
    text there.
    """
    (new_ends, new_places), (old_ends, old_places) = new.last_ends, old.last_ends
    _, in_new, in_old = np.intersect1d(new_ends, old_ends, assume_unique=True, return_indices=True)
    found = np.full(len(new.ids), UNALIGNED)
    found[new_places[in_new]] = old_places[in_old]
    return found


@dataclass(frozen=True, eq=False)
class Snippets:
    """How snippets are cut: so many of each new token, of at most so many tokens by either tokenizer.

    Occurrences are spread evenly over the text. A snippet begins up to half its length before the new token, so that
    much of it follows.
    """

    tokenizer: PreTrainedTokenizerBase  # extends the source's
    source_tokenizer: PreTrainedTokenizerBase
    number: int
    length: int

    @cached_property
    def is_new(self) -> np.ndarray:
        """Which ids the source does not have: boolean `(V,)`."""
        vocabulary = self.tokenizer.get_vocab()
        new = np.zeros(max(vocabulary.values()) + 1, dtype=bool)
        new[list(set(vocabulary.values()).difference(self.source_tokenizer.get_vocab().values()))] = True
        return new

    def counts(self, lines: Iterable[str]) -> np.ndarray:
        """How often each token occurs in a text: int64 `(V,)`."""
        counts = np.zeros(len(self.is_new), dtype=np.int64)
        for ids in token_stream(lines, self.tokenizer):
            counts += np.bincount(ids, minlength=len(counts))
        return counts

    def cut(self, lines: Iterable[str], counts: np.ndarray) -> Iterator[dict[str, list[np.ndarray]]]:
        """The snippets of a text, some lines at a time; `counts` are those of the text.

        Columns, of a snippet that is `n` new and `m` old tokens long, with the token before it that a text begins with:
        `input_ids` `(n,)`; `source_ids` `(m,)`; `alignment` `(n,)`, the place in `source_ids` that has read the same
        text, for the tokens from the first new one on, or −1.
        """
        seen = np.zeros_like(counts)
        generator = np.random.default_rng(0)
        for batch in batched(lines, BATCH):
            new = Segmentation.of(batch, self.tokenizer)
            places = self._chosen(new.ids, seen, counts)
            seen += np.bincount(new.ids, minlength=len(seen))
            if len(places):
                old = Segmentation.of(batch, self.source_tokenizer)
                yield self._snippets(new, old, places, generator.random(len(places)))

    def missing(self, snippets: Dataset) -> np.ndarray:
        """New tokens that are in none of some snippets: ids, ascending."""
        used = pc.unique(pc.list_flatten(snippets.data.column("input_ids")))
        return np.setdiff1d(np.flatnonzero(self.is_new), used.to_numpy())

    def _chosen(self, ids: np.ndarray, seen: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Places of the new tokens to cut snippets around; each of its occurrences in the text before was `seen`.

        Of c occurrences the k-th is chosen where ⌊k·number/c⌋ grows with it: so many, or all if they are fewer.
        """
        places = np.flatnonzero(self.is_new[ids])
        places = places[np.argsort(ids[places], kind="stable")]
        _, first, times = np.unique(ids[places], return_index=True, return_counts=True)
        before = seen[ids[places]] + np.arange(len(places)) - first.repeat(times)
        total = counts[ids[places]]
        number = np.minimum(self.number, total)
        return np.sort(places[(before + 1) * number // total > before * number // total])

    def _snippets(
        self, new: Segmentation, old: Segmentation, places: np.ndarray, draws: np.ndarray
    ) -> dict[str, list[np.ndarray]]:
        """The snippets around new tokens at some places; of the drawn shares `(len(places),)` half is before each."""
        found = matches(new, old)
        # Where both segmentations may be cut, as numbers of tokens before: at the beginning, and after matched tokens.
        cuts = np.append(0, np.flatnonzero(found != UNALIGNED) + 1)
        old_cuts = np.append(0, found[cuts[1:] - 1] + 1)
        before = np.searchsorted(cuts, places, side="right") - 1  # the last cut before the new token
        opening = np.array(Frame.of(self.tokenizer).opening, dtype=np.int64)
        room = self.length - len(opening)
        lead = (draws * room / 2).astype(np.int64)
        first = np.minimum(before, np.searchsorted(old_cuts, old_cuts[before] - lead))
        last = np.minimum(
            np.searchsorted(cuts, cuts[first] + room, side="right"),
            np.searchsorted(old_cuts, old_cuts[first] + room, side="right"),
        )
        last -= 1
        columns: dict[str, list[np.ndarray]] = {name: [] for name in FEATURES}
        whole = cuts[last] > places  # the others are of tokens that a snippet has no room for
        for begin, end in zip(first[whole], last[whole], strict=True):
            ids, aligned = new.ids[cuts[begin] : cuts[end]], found[cuts[begin] : cuts[end]]
            read = np.maximum.accumulate(self.is_new[ids]) & (aligned != UNALIGNED)
            shift = len(opening) - old_cuts[begin]
            columns["input_ids"].append(np.concatenate([opening, ids]))
            columns["source_ids"].append(np.concatenate([opening, old.ids[old_cuts[begin] : old_cuts[end]]]))
            columns["alignment"].append(
                np.concatenate([np.full_like(opening, UNALIGNED), np.where(read, aligned + shift, UNALIGNED)])
            )
        return columns


def cut_snippets(split: Split, snippets: Snippets, cache: Path) -> Dataset:
    """Snippets of the training lines of a split, memory-mapped, as `Snippets.cut` describes their columns.

    A second call with the same text and tokenizers reads the file in `cache` again. InputError is raised if no new
    token is in the text.
    """
    how = repr((snippets.number, snippets.length, len(snippets.source_tokenizer)))
    name = fingerprint(snippets.tokenizer, state_of(split), how.encode())

    def batches() -> Iterator[dict[str, Any]]:
        counts = snippets.counts(tqdm(split.training_lines(), desc="counting", unit=" lines", disable=None))
        lines = tqdm(split.training_lines(), desc="cutting snippets", unit=" lines", disable=None)
        return snippets.cut(lines, counts)

    dataset = memory_mapped(cache, name, FEATURES, batches)
    if len(dataset) == 0:
        problem = f"Corpus {split.corpus.name} has no new token of the tokenizer"
        raise InputError(problem, expected="text with new tokens, to distil from the source's own", hint="Give more.")
    return dataset

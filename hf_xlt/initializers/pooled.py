"""All the evidence there is, pooled: weighted counts of every kind in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import refused
from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import WordAligner
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.dictionary import Dictionary, dictionary_counts
from hf_xlt.evidence.links import link_counts, token_pairs
from hf_xlt.evidence.parallel import ParallelText
from hf_xlt.evidence.spelling import relative_counts
from hf_xlt.initializers.base import open_checkpoint
from hf_xlt.initializers.counted import CountedInitializer, overlap_counts
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.neighbours import check_helper, neighbours_in_helper
from hf_xlt.transport.mixture import SparseMixture, row_blocks

# What each kind of evidence counts, in links of parallel text.
WEIGHTS: Mapping[str, float] = {"links": 1.0, "dictionary": 20.0, "overlap": 5.0, "similarity": 5.0, "helper": 5.0}

_SPECIFICITY = 0.5


class PooledInitializer(CountedInitializer):
    """Mix source tokens by everything known of a token: its links, its translations, its spelling, its neighbours.

    Each kind of evidence is a table of counts; they are weighted and added, and relative frequencies are the weights of
    the source tokens. Links count as they are, so that they outweigh the rest once a token is seen often. The others
    are priors worth a fixed number of links: a dictionary's entries, each worth less the more translations its source
    token has; the source's token of the same text; similarities, given or in a helper model of the target language.

    With both a dictionary and parallel text, the aligner learns from the entries as well as from the sentences. Links
    are those that both directions agree on.

    A mean of rows is shorter than they are, and a body trained on longer ones reads it as a weaker word. So with
    `keep_length` each row's weights, which sum to 1, are scaled by what brings it to the mean length of its parts.

    Args:
        source: Source checkpoint: Hub id, folder or `Checkpoint`.
        tokenizer: The target tokenizer.
        dictionary: Source and target words.
        parallel: Sentences of the source language and their translations.
        similarity: A row for each target id, of weights of source ids, such as `top_k_softmax` gives.
        helper: Small model of the target language with the target's vocabulary: Hub id, folder or `Checkpoint`.
        weights: What the kinds of evidence count, where it is not as in `WEIGHTS`; 0 leaves one out.
        keep_length: Whether mixed rows get the mean length of the rows they are made of.
        **options: As `Initializer` takes them: `pad_to_multiple_of`, `seed`, `trust_remote_code`.

    Raises:
        InputError: If there is no dictionary, parallel text, similarities or helper, they do not fit the tokenizers, or
            a weight is of an unknown kind or negative.
    """

    method = "pooled"

    def __init__(
        self,
        source: str | Path | Checkpoint,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dictionary: Dictionary | None = None,
        parallel: ParallelText | None = None,
        similarity: SparseMixture | None = None,
        helper: str | Path | Checkpoint | None = None,
        weights: Mapping[str, float] | None = None,
        keep_length: bool = True,
        **options: Any,
    ) -> None:
        if dictionary is None and parallel is None and similarity is None and helper is None:
            flags = "--dictionary, --parallel, --vectors or --helper"
            raise missing_evidence(self.method, "evidence of translations", flags)
        self.weights = {**WEIGHTS, **(weights or {})}
        if unknown := sorted(self.weights.keys() - WEIGHTS.keys()):
            raise InputError(f"There is no evidence {unknown[0]!r} to weigh; choose from {', '.join(WEIGHTS)}.")
        if negative := [kind for kind, weight in self.weights.items() if not 0 <= weight < float("inf")]:
            raise InputError(f"The weight of {negative[0]} is {self.weights[negative[0]]}; expected a number from 0.")
        if not any(self.weights.values()):
            raise refused("weights", dict(self.weights), "one above 0, as no evidence counts otherwise")
        super().__init__(source, tokenizer, **options)
        self.dictionary = dictionary
        self.parallel = parallel
        self.keep_length = keep_length
        self._entries = (
            None if dictionary is None else dictionary_counts(dictionary, self.source_tokenizer, self.tokenizer)
        )
        self._similarity = None if similarity is None else _as_counts(similarity, self.shape, self.fitted)
        self.helper = None if helper is None else open_checkpoint(helper, options.get("trust_remote_code", False))
        if self.helper is not None:
            check_helper(self.helper, tokenizer)

    @property
    def label(self) -> str:
        """`pooled (links, dictionary, overlap)` and so on: the kinds of evidence in use."""
        return f"pooled ({', '.join(self._kinds)})"

    @property
    def _kinds(self) -> list[str]:
        """The kinds of evidence that are given and have a weight."""
        return [kind for kind in self._tables if self.weights[kind]]

    @property
    def _tables(self) -> dict[str, Callable[[], TokenCounts]]:
        """How the counts of each kind of evidence that is given are made."""
        parallel, entries, similarity, helper = self.parallel, self._entries, self._similarity, self.helper
        tables: dict[str, Callable[[], TokenCounts]] = {}
        if parallel is not None:
            tables["links"] = lambda: self._links(parallel)
        if entries is not None:
            tables["dictionary"] = lambda: entries.specific(_SPECIFICITY).relative()
        if similarity is not None:
            tables["similarity"] = similarity.relative
        if helper is not None:
            tables["helper"] = lambda: self._near_in(helper).relative()
        return tables | {"overlap": lambda: overlap_counts(self.source_vocabulary, self.target_vocabulary)}

    def evidence(self) -> dict[str, TokenCounts]:
        """The weighted counts of each kind of evidence that is given, and what tokens without any borrow."""
        return self._evidence

    @cached_property
    def _evidence(self) -> dict[str, TokenCounts]:
        tables = {kind: self._tables[kind]().scaled(self.weights[kind]) for kind in self._kinds}
        known = TokenCounts.total(tables.values(), self.shape)
        return tables | {"relatives": relative_counts(known, self.target_vocabulary)}

    def observations(self) -> dict[str, TokenCounts]:
        """Links, entries and similarities as they are; what is borrowed, in links."""
        seen = {kind: table.scaled(1 / self.weights.get(kind, 1)) for kind, table in self.evidence().items()}
        given = {"dictionary": self._entries, "similarity": self._similarity}
        return seen | {kind: table for kind, table in given.items() if table is not None and kind in seen}

    def _links(self, parallel: ParallelText) -> TokenCounts:
        tokenizers = self.source_tokenizer, self.tokenizer
        sentences = token_pairs(parallel.pairs, *tokenizers, parallel.lines)
        entries = [] if self.dictionary is None else token_pairs(self.dictionary.entries, *tokenizers)
        links = WordAligner.train(sentences + entries).align(sentences, "intersection")
        return link_counts(sentences, links, self.shape)

    def _near_in(self, helper: Checkpoint) -> TokenCounts:
        near = neighbours_in_helper(helper, self.source_vocabulary, self.target_vocabulary, self.fitted)
        return _positive(near, torch.arange(near.n_rows), self.shape)

    def _card_evidence(self) -> dict[str, Any]:
        return {} if self.helper is None else {"helper": self.helper.pinned_name}

    def _mixture(self, rows: np.ndarray) -> SparseMixture:
        mixture = super()._mixture(rows)
        return at_source_length(mixture, self.source.input_rows()) if self.keep_length else mixture


def at_source_length(mixture: SparseMixture, table: Tensor) -> SparseMixture:
    """Scale each row's weights so that it gets the weighted mean length of the rows it is made of.

    Args:
        mixture: Weights that are not negative.
        table: The source's input rows `(V_s, d)`; those of other columns, such as a bias, are scaled alike.
    """
    lengths = mixture.apply(torch.linalg.vector_norm(table, dim=1, keepdim=True, dtype=torch.float32)).squeeze(1)
    rows_of = mixture.rows_of(table)
    mixed = torch.cat(
        [torch.linalg.vector_norm(rows_of(rows), dim=1) for rows in row_blocks(len(lengths), table.shape[1])]
    )
    scale = torch.where(mixed > 0, lengths / mixed, 1)
    return replace(mixture, values=mixture.values * scale.repeat_interleave(mixture.crow.diff()))


def _as_counts(mixture: SparseMixture, shape: tuple[int, int], fitted: FittedTokenizer) -> TokenCounts:
    """The positive weights of a mixture with a row for each id of the tokenizer that was given."""
    if mixture.n_rows > shape[0] or mixture.source_size > shape[1]:
        raise InputError(
            f"The similarities are {mixture.n_rows} target rows of {mixture.source_size} source ids; expected at most "
            f"{shape}: make them for these two tokenizers."
        )
    return _positive(mixture, fitted.ids(torch.arange(mixture.n_rows)), shape)


def _positive(mixture: SparseMixture, ids: Tensor, shape: tuple[int, int]) -> TokenCounts:
    """The positive weights of a mixture as counts of the target ids that its rows are for."""
    targets = ids.repeat_interleave(mixture.crow.diff().cpu())
    return TokenCounts.of(targets.numpy(), mixture.col.cpu().numpy(), mixture.values.cpu().clamp(min=0).numpy(), shape)

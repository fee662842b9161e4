"""All the evidence there is, pooled: weighted counts of every kind in one table."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import refused, require_number, require_one_of, require_positive, require_share
from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.kind import DECODER, kind_of
from hf_xlt.checkpoint.open import Checkpoint, check_finite, rows_of_ids, tokens_without_row
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import WordAligner
from hf_xlt.evidence.counting import dictionary_counts, link_counts, relative_counts
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.token_ids import token_pairs
from hf_xlt.evidence.translations import Dictionary, ParallelText, read_dictionary, read_parallel
from hf_xlt.evidence.vectors import TextVectors, read_vectors
from hf_xlt.geometry.similarity import sparsemax, top_k_softmax
from hf_xlt.initializers.base import once
from hf_xlt.initializers.counted import CountedInitializer, overlap_counts
from hf_xlt.initializers.evidence import AnyTokenizer, Model, Places, missing, source_table, target_table
from hf_xlt.initializers.subtoken_mean import pieces_of
from hf_xlt.initializers.wechsel import dictionary_map
from hf_xlt.tokenizers.vocabulary import Overlap, match
from hf_xlt.transport.mixture import SparseMixture, row_blocks

# What each kind of evidence counts, in links of parallel text.
WEIGHTS = {"links": 1.0, "dictionary": 20.0, "overlap": 5.0, "similarity": 5.0, "helper": 5.0, "pieces": 5.0}
# In a decoder, as measured before training in German and Indonesian (`benchmarks/decoder_start.py`).
DECODER_WEIGHTS = WEIGHTS | {"pieces": 50.0}

_SPELLING = ("overlap", "pieces")  # what a token is made of, whatever it means
_OWN = "own"  # what false friends count their own rows: a choice, which nobody observed
_MIX = 0.5
_SPECIFICITY = 0.5
_NEAREST = 10
_TEMPERATURE = 0.1


class PooledInitializer(CountedInitializer):
    """Mix source tokens by everything known of a token: its links, its translations, its spelling, its neighbors.

    Each kind of evidence is a table of counts; they are weighted and added, and relative frequencies are the weights of
    the source tokens. Links count as they are, so that they outweigh the rest once a token is seen often. The others
    are priors worth a fixed number of links: a dictionary's entries, each worth less the more translations its source
    token has; the source's token of the same text; similarities, given or in a helper model of the target language.

    With both a dictionary and parallel text, the aligner learns from the entries as well as from the sentences. Links
    are those that both directions agree on.

    A mean of rows is shorter than they are, and a body trained on longer ones reads it as a weaker word. So with
    `keep_length` each row's weights, which sum to 1, are scaled by what brings it to the mean length of its parts.
    A decoder predicts with its rows too, and began worse with longer ones, so there they are plain means.

    Args:
        dictionary: Source and target words.
        parallel: Sentences of the source language and their translations.
        vectors: Word vectors of the target language; without those of the source a table `(V_t, k)` may do. Alone, they
            tell which tokens that both vocabularies share are near, as in FOCUS.
        source_vectors: Word vectors of the source language: the dictionary maps them into the target's space, as in
            WECHSEL.
        helper: Small model of the target language with the target's vocabulary.
        similarity: In place of vectors, a row for each target id, of weights of source ids, such as `top_k_softmax`
            gives.
        pieces: Whether the source's tokens that a token's text is made of are evidence too, as in subtoken-mean; by
            default in decoders alone.
        weights: What the kinds of evidence count, where it is not as in `WEIGHTS`, or `DECODER_WEIGHTS` of a decoder; 0
            leaves one out.
        keep_length: Whether mixed rows get the mean length of the rows they are made of; by default in all but
            decoders.
        false_friends: Where the target extends the source, what becomes of the source's tokens that mean something else
            in the target language (see `hf_xlt.initializers.false_friends`): `keep` copies their rows as those of all
            others, `mix` mixes them of the source's own row and of what all evidence but their spelling says.
        mix: With `mix`, the evidence's share of such a row, 0.5 by default; the rest is the source's own row.

    Raises:
        InputError: If there is no dictionary, parallel text, vectors, similarities or helper, they do not fit the
            tokenizers, vectors of both languages come without a dictionary, or false friends are to be mixed where
            there can be none.
    """

    needs_one_of = ("dictionary", "parallel", "vectors", "helper")

    def __init__(
        self,
        source: Model,
        tokenizer: AnyTokenizer,
        *,
        dictionary: Places | Dictionary | None = None,
        parallel: Places | ParallelText | None = None,
        vectors: str | Path | TextVectors | Tensor | None = None,
        source_vectors: str | Path | TextVectors | None = None,
        helper: Model | None = None,
        similarity: SparseMixture | None = None,
        pieces: bool | None = None,
        weights: Mapping[str, float] | None = None,
        keep_length: bool | None = None,
        false_friends: Literal["keep", "mix"] = "keep",
        mix: float | None = None,
        **options: Any,
    ) -> None:
        if all(given is None for given in (dictionary, parallel, vectors, similarity, helper)):
            raise missing("pooled", *self.needs_one_of)
        if vectors is not None and source_vectors is not None and dictionary is None:
            raise missing("pooled", "dictionary")  # which maps the source's vectors into the target's space
        checked_weights(WEIGHTS, weights or {})
        self.mix = _checked_mix(false_friends, mix, translated=dictionary is not None or parallel is not None)
        self.dictionary = None if dictionary is None else read_dictionary(dictionary)
        self.parallel = None if parallel is None else read_parallel(parallel)
        trust = options.get("trust_remote_code", False)
        given = open_tokenizer(tokenizer, trust_remote_code=trust)
        super().__init__(source, given, **options)
        decoder = kind_of(self.source.config) == DECODER
        self.pieces = decoder if pieces is None else pieces
        self.keep_length = not decoder if keep_length is None else keep_length
        self.weights = checked_weights(DECODER_WEIGHTS if decoder else WEIGHTS, weights or {})
        tokenizers = self.source_tokenizer, self.tokenizer
        self._entries = None if self.dictionary is None else dictionary_counts(self.dictionary, *tokenizers)
        self._similarity: TokenCounts | None = None
        if similarity is not None:
            self._similarity = _as_counts(similarity, self.shape, self.fitted)
        elif vectors is not None:
            self._similarity = self._near_in_vectors(vectors, source_vectors)
        self.helper = None if helper is None else Checkpoint.open(helper, trust_remote_code=trust)
        if self.helper is not None:
            check_helper(self.helper, given)
        self._kinds = [kind for kind in self._tables if self.weights[kind]]  # those that are given and have a weight
        if self.mix is not None and not self.target_vocabulary.extends(self.source_vocabulary):
            told = "The target tokenizer does not extend the source's, so that there are no false friends to mix"
            raise InputError(told, value=false_friends, expected="keep", hint="Leave out false_friends.")
        mixed = "" if self.mix is None else f"; false friends mixed {self.mix:g}"
        self.label = f"pooled ({', '.join(self._kinds)}{mixed})"

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
            tables["helper"] = lambda: self._near_in_helper(helper).relative()
        if self.pieces:
            rows = np.array(sorted(self.target_vocabulary.forms))
            tables["pieces"] = lambda: _positive(pieces_of(self, rows), torch.from_numpy(rows), self.shape)
        return tables | {"overlap": lambda: overlap_counts(self.source_vocabulary, self.target_vocabulary)}

    @once
    def evidence(self) -> dict[str, TokenCounts]:
        """The weighted counts of each kind of evidence that is given, and what tokens without any borrow."""
        tables = {kind: self._tables[kind]().scaled(self.weights[kind]) for kind in self._kinds}
        known = TokenCounts.total(tables.values(), self.shape)
        relatives = {"relatives": relative_counts(known, self.target_vocabulary)}
        return tables | relatives if self.mix is None else self._with_own_rows(tables, self.mix) | relatives

    def _with_own_rows(self, tables: dict[str, TokenCounts], mix: float) -> dict[str, TokenCounts]:
        """The tables, in which false friends count their own rows so much that `mix` of them is left to the rest."""
        false = self._false_friends_in(tables).rows
        others = np.setdiff1d(np.arange(self.shape[0]), false)
        spelled = {kind: tables[kind].among(others) for kind in _SPELLING if kind in tables}
        told = TokenCounts.total((tables | spelled).values(), self.shape).target_totals[false]
        return tables | spelled | {_OWN: TokenCounts.of(false, false, told * (1 - mix) / mix, self.shape)}

    def observations(self) -> dict[str, TokenCounts]:
        """Links, entries and similarities as they are; what is borrowed, in links."""
        tables = {kind: table for kind, table in self.evidence().items() if kind != _OWN}
        seen = {kind: table.scaled(1 / self.weights.get(kind, 1)) for kind, table in tables.items()}
        given = {"dictionary": self._entries, "similarity": self._similarity}
        return seen | {kind: table for kind, table in given.items() if table is not None and kind in seen}

    def _links(self, parallel: ParallelText) -> TokenCounts:
        tokenizers = self.source_tokenizer, self.tokenizer
        sentences = token_pairs(parallel.pairs, *tokenizers, parallel.lines)
        entries = [] if self.dictionary is None else token_pairs(self.dictionary.pairs, *tokenizers)
        links = WordAligner.train(sentences + entries).align(sentences, "intersection")
        return link_counts(sentences, links, self.shape)

    def _shared(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors, out of a table `(V_t, k)`, and the source ids of the tokens that both vocabularies share."""
        shared = match(self.source_vocabulary, self.target_vocabulary, ignore_case=True)
        return table[torch.from_numpy(shared.target_ids)], torch.from_numpy(shared.source_ids)

    def _near_in_helper(self, helper: Checkpoint) -> TokenCounts:
        """The sparsemax of each target token's cosines, in the helper, to the tokens that both vocabularies share."""
        rows = self.fitted.rows(rows_of_ids(helper.input_rows(), self.fitted.former_size))
        near = sparsemax(rows, *self._shared(rows), self.shape[1])
        return _positive(near, torch.arange(self.shape[0]), self.shape)

    def _near_in_vectors(
        self, vectors: str | Path | TextVectors | Tensor, source_vectors: str | Path | TextVectors | None
    ) -> TokenCounts:
        """The softmax of the largest cosines of each target token to source tokens."""
        if source_vectors is None or self.dictionary is None:
            table = target_table(vectors, self.fitted)
            keys, ids = self._shared(table)
        else:
            if isinstance(vectors, Tensor):
                raise refused("vectors", vectors, "word vectors, beside those of the source language")
            target, source = read_vectors(vectors), read_vectors(source_vectors)
            table = target_table(target, self.fitted)
            keys = source_table(source, self.source_tokenizer) @ dictionary_map(source, target, self.dictionary.pairs)
            ids = torch.arange(len(keys))
        near = top_k_softmax(table, keys, ids, self.shape[1], _NEAREST, _TEMPERATURE)
        return _positive(near, torch.arange(near.n_rows), self.shape)

    def overlap(self) -> Overlap:
        """The tokens whose rows are copied, without the false friends that are to be mixed."""
        shared = super().overlap()
        return shared if self.mix is None else shared.without(self.false_friends().rows)

    def mixture(self, rows: np.ndarray) -> SparseMixture:
        """Relative frequencies of the counts, scaled where rows keep their length."""
        mixture = super().mixture(rows)
        return at_source_length(mixture, self.source.input_rows()) if self.keep_length else mixture


def _checked_mix(false_friends: str, mix: float | None, *, translated: bool) -> float | None:
    """The evidence's share of the rows of false friends; None where these are kept."""
    require_one_of("false_friends", false_friends, ("keep", "mix"))
    if false_friends == "keep":
        if mix is not None:
            raise refused("mix", mix, "none, as false friends are kept")
        return None
    if not translated:
        raise missing("pooled with false_friends=mix", "parallel", "dictionary")
    mix = _MIX if mix is None else mix
    require_share("mix", mix)
    require_positive("mix", mix)
    return mix


def checked_weights(usual: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """The usual weights with others in their place."""
    if unknown := sorted(weights.keys() - WEIGHTS.keys()):
        raise InputError(
            f"There is no evidence {unknown[0]!r} to weigh", value=unknown[0], hint=f"Choose from {', '.join(WEIGHTS)}."
        )
    for kind, weight in weights.items():
        require_number(f"The weight of {kind}", weight, least=0)
    if not any((whole := {**usual, **weights}).values()):
        raise refused("weights", whole, "one above 0, as no evidence counts otherwise")
    return whole


def check_helper(helper: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a helper that does not tell of the tokenizer's tokens."""
    vocabulary = tokenizer.get_vocab()
    if helper.tokenizer().get_vocab() != vocabulary:
        raise InputError(
            f"The helper {helper.name} has another vocabulary than the target tokenizer, so its rows tell nothing of "
            "the tokenizer's tokens",
            expected="the same",
            hint="Leave out --tokenizer, or the helper.",
        )
    tokens_without_row(vocabulary, helper.vocab_size, helper.name)
    check_finite(helper.input_rows(), f"the embedding table of the helper {helper.name}")


def at_source_length(mixture: SparseMixture, table: Tensor) -> SparseMixture:
    """Scale each row's weights, not negative, so that it gets the weighted mean length of the input rows `(V_s, d)`.

    Those of other columns, such as a bias, are scaled alike.
    """
    norm = torch.linalg.vector_norm
    lengths = mixture.apply(norm(table, dim=1, keepdim=True, dtype=torch.float32)).squeeze(1)
    rows_of = mixture.rows_of(table)
    mixed = torch.cat([norm(rows_of(rows), dim=1) for rows in row_blocks(len(lengths), table.shape[1])])
    scale = torch.where(mixed > 0, lengths / mixed, 1)
    return replace(mixture, values=mixture.values * scale.repeat_interleave(mixture.crow.diff()))


def _as_counts(mixture: SparseMixture, shape: tuple[int, int], fitted: FittedTokenizer) -> TokenCounts:
    """The positive weights of a mixture with a row for each id of the tokenizer that was given."""
    if mixture.n_rows > shape[0] or mixture.source_size > shape[1]:
        told = f"The similarities are {mixture.n_rows} target rows of {mixture.source_size} source ids"
        hint = "Make them for these two tokenizers."
        raise InputError(told, value=mixture.n_rows, expected=f"at most {shape}", hint=hint)
    return _positive(mixture, fitted.ids(torch.arange(mixture.n_rows)), shape)


def _positive(mixture: SparseMixture, ids: Tensor, shape: tuple[int, int]) -> TokenCounts:
    """The positive weights of a mixture as counts of the target ids that its rows are for."""
    targets = ids.repeat_interleave(mixture.crow.diff().cpu())
    return TokenCounts.of(targets.numpy(), mixture.col.cpu().numpy(), mixture.values.cpu().clamp(min=0).numpy(), shape)

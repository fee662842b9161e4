"""Counts of translations, made of what there is: entries of a dictionary, links of parallel text, spelling."""

from collections.abc import Callable, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment.links import numbered
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.token_ids import TokenPair, check_direction, flat_token_ids, ranges, token_ids
from hf_xlt.evidence.translations import Dictionary
from hf_xlt.tokenizers.vocabulary import Vocabulary

Flat = tuple[np.ndarray, np.ndarray]
"""The ids of many texts, one after the other, and the texts' numbers of ids; int64."""

_PAIRS_AT_A_TIME = 2**18


def dictionary_counts(
    dictionary: Dictionary, source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> TokenCounts:
    """Count each entry once, shared evenly by all pairs of a token of its target and a token of its source side.

    So a target token that is a whole word gets the mean of its translation's tokens, and a piece of a word less. Where
    the target's tokenizer tells capitals or a leading space, an entry counts once in each way it can be written. The
    counts are of shape `(V_t, V_s)`.
    """
    check_direction(dictionary.pairs, source, target)
    written = _written(dictionary.pairs, source, target)
    sources, targets = (
        _known_ids(tokenizer, [entry[side] for entry in written]) for side, tokenizer in enumerate((source, target))
    )
    shape = max(target.get_vocab().values()) + 1, max(source.get_vocab().values()) + 1
    counts = _spread(sources, targets, shape)
    if not len(counts):
        raise InputError(
            f"None of the {len(dictionary)} dictionary entries is spelled in tokens of both tokenizers",
            hint="Check that its columns are source and target, in this order.",
        )
    return counts


def _written(
    entries: Sequence[tuple[str, str]], source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase
) -> list[tuple[str, str]]:
    """The entries in each way that the target's tokenizer tells apart, each once."""
    cases: list[Callable[[str], str]] = [str]
    if _tells(target, "a", "A"):
        cases += [str.lower, lambda text: text[:1].upper() + text[1:]]
    spaces = ["", " "] if _tells(target, "a", " a") else [" " if _tells(source, "a", " a") else ""]
    ways = ((space + case(s), space + case(t)) for s, t in entries for case in cases for space in spaces)
    return list(dict.fromkeys(ways))


def _tells(tokenizer: PreTrainedTokenizerBase, first: str, second: str) -> bool:
    return token_ids(tokenizer, [first]) != token_ids(tokenizer, [second])


def _known_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> Flat:
    ids, lengths = flat_token_ids(tokenizer, texts)
    known = ids != (-1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id)
    ends = np.concatenate([np.zeros(1, np.int64), known.cumsum()])[lengths.cumsum()]
    return ids[known], np.diff(ends, prepend=0)


def _spread(sources: Flat, targets: Flat, shape: tuple[int, int]) -> TokenCounts:
    """One count an entry, shared evenly by the pairs of its tokens."""
    (all_sources, of_source), (all_targets, of_target) = sources, targets
    pairs = of_source * of_target
    after_source, after_target, after = of_source.cumsum(), of_target.cumsum(), pairs.cumsum()
    tables = []
    cuts = np.searchsorted(after, np.arange(_PAIRS_AT_A_TIME, pairs.sum(), _PAIRS_AT_A_TIME))
    for some in np.split(np.arange(len(pairs)), cuts):
        place, entry = ranges(np.zeros(len(some), np.int64), pairs[some])
        entry = some[entry]
        target_place, source_place = np.divmod(place, of_source[entry])
        target_ids = all_targets[(after_target - of_target)[entry] + target_place]
        source_ids = all_sources[(after_source - of_source)[entry] + source_place]
        tables.append(TokenCounts.of(target_ids, source_ids, 1 / pairs[entry], shape))
    return TokenCounts.total(tables, shape)


def link_counts(pairs: Sequence[TokenPair], links: Sequence[np.ndarray], shape: tuple[int, int]) -> TokenCounts:
    """Count the links of a word alignment (RAMEN's evidence), for each pair int `(k, 2)`: source, target position."""
    if len(pairs) != len(links):
        raise InputError(f"There are {len(pairs)} pairs and {len(links)} sets of links", expected="one set a pair")
    if not len(pairs):
        return TokenCounts.empty(shape)
    number, *positions = numbered(links).T
    source_ids, target_ids = (
        _at(number, positions[side], [pair[side] for pair in pairs], name)
        for side, name in enumerate(("source", "target"))
    )
    return TokenCounts.of_pairs(target_ids, source_ids, shape)


def _at(number: np.ndarray, positions: np.ndarray, sentences: Sequence[np.ndarray], side: str) -> np.ndarray:
    """The ids at positions of the sentences with these numbers."""
    lengths = np.array([len(sentence) for sentence in sentences])
    outside = np.flatnonzero((positions < 0) | (positions >= lengths[number]))
    if len(outside):
        first = outside[0]
        raise InputError(
            f"Pair {number[first]} has a link to {side} token {positions[first]}, but {lengths[number[first]]} {side} "
            "tokens",
            hint="Align the tokens that the pairs are made of.",
        )
    starts = lengths.cumsum() - lengths
    return np.concatenate(sentences)[starts[number] + positions]


def relative_counts(counts: TokenCounts, vocabulary: Vocabulary, least: int = 4) -> TokenCounts:
    """Lend counts to the tokens that have none: those of the tokens that share the longest prefix with them.

    Inflected forms begin alike in most languages that have them. All tokens that share a prefix with one lend their
    relative frequencies, in equal parts. Case is ignored, and tokens inside a word do not lend to those that start one.
    The counts add up to 1 for each token that had none and has a relative; the others have none.
    """
    texts, lengths = _texts(vocabulary, counts.shape[0])
    lent = counts.relative()
    first, after = (np.searchsorted(lent.target_ids, np.arange(counts.shape[0]), side) for side in ("left", "right"))
    known, left = after > first, (after == first) & (lengths >= least)
    tables = [TokenCounts.empty(counts.shape)]
    for length in range(int(lengths[left].max(initial=0)), least - 1, -1):
        long = np.flatnonzero((lengths >= length) & (known | left))
        group = np.unique(texts[long].astype(f"<U{length + 1}"), return_inverse=True)[1]
        takers, lenders = _pairs(group, known[long])
        takers, lenders = long[takers], long[lenders]
        entries, of_taker = ranges(first[lenders], after[lenders])
        tables.append(
            TokenCounts.of(takers[of_taker], lent.source_ids[entries], lent.values[entries], counts.shape).relative()
        )
        left[takers] = False
    return TokenCounts.total(tables, counts.shape)


def _texts(vocabulary: Vocabulary, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The text of each id behind a mark of where it stands in a word, and its number of letters; 0 for other text."""
    texts, lengths = [""] * size, np.zeros(size, np.int64)
    for id_, form in vocabulary.forms.items():
        text = form.text.decode("utf-8", "ignore").casefold()
        if text.isalpha():
            texts[id_], lengths[id_] = f"{'^' if form.starts_word else '-'}{text}", len(text)
    return np.array(texts), lengths


def _pairs(group: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each unknown member of a group with each of its known members."""
    lenders = np.flatnonzero(known)
    lenders = lenders[group[lenders].argsort(kind="stable")]
    takers = np.flatnonzero(~known)
    first, after = (np.searchsorted(group[lenders], group[takers], side) for side in ("left", "right"))
    places, of_taker = ranges(first, after)
    return takers[of_taker], lenders[places]

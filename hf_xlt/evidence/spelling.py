"""Evidence from spelling: a token that nothing is known of is taken for its nearest relative by prefix."""

from __future__ import annotations

import numpy as np

from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.token_ids import ranges
from hf_xlt.tokenizers.vocabulary import Vocabulary


def relative_counts(counts: TokenCounts, vocabulary: Vocabulary, least: int = 4) -> TokenCounts:
    """Lend counts to the tokens that have none: those of the tokens that share the longest prefix with them.

    Inflected forms begin alike in most languages that have them. All tokens that share a prefix with one lend their
    relative frequencies, in equal parts. Case is ignored, and tokens inside a word do not lend to those that start one.

    Args:
        counts: The evidence there is.
        vocabulary: The target's.
        least: The fewest characters that a prefix has.

    Returns:
        Counts that add up to 1 for each token that had none and has a relative, and none for the others.
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

"""False friends: tokens that an extended vocabulary keeps, and that mean something else in the target language.

Where a target tokenizer extends the source's, text of the target language is cut into source tokens too: German *die*,
*war*, *also* in an English vocabulary, and pieces of words. Their rows are copied, and so say what they mean in the
source language. Translations tell which of them are wrong.
"""

import numpy as np

from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.initializers.health.text import is_letters
from hf_xlt.tokenizers.vocabulary import Vocabulary

TRANSLATIONS = ("links", "dictionary")  # the kinds of evidence that know nothing of how tokens are spelled
LEAST_LINKS = 5  # how much has to be known of a token
MOST_OWN = 0.1  # share of it that speaks for the token's own spelling; with as much or more it is no false friend


def false_friends(counts: TokenCounts, vocabulary: Vocabulary) -> TokenCounts:
    """The counts of the false friends among a target's tokens; those of all other tokens are left out.

    A token of the source's is a false friend where it has at least `LEAST_LINKS` counts, and where less than the share
    `MOST_OWN` of them is with source tokens of the same text, whatever their case and place in a word. Special tokens,
    punctuation, digits and all else that is not letters alone is left out.

    Args:
        counts: What translations say, `(V_t, V_s)`, in links of parallel text.
        vocabulary: The target's, which extends the source's: source tokens have the same ids in both.

    Example:
        >>> the, die = 7, 9  # of 40 links of German "die" 39 are with "the"
        >>> counts = TokenCounts.of([die, die], [the, die], [39.0, 1.0], (30_522, 30_522))
        >>> false_friends(counts, Vocabulary.of(tokenizer)).rows  # doctest: +SKIP
        array([9])
    """
    text = _texts(vocabulary, counts.shape[0])
    own = text[counts.target_ids] == text[counts.source_ids]
    with_own = np.bincount(counts.target_ids[own], counts.values[own], counts.shape[0])
    all_counts = counts.target_totals
    false = (text >= 0) & (all_counts >= LEAST_LINKS) & (with_own < MOST_OWN * all_counts)
    false[counts.shape[1] :] = False
    return counts.among(np.flatnonzero(false))


def _texts(vocabulary: Vocabulary, size: int) -> np.ndarray:
    """int64 `(size,)`: a number for the text of each id, the same whatever its case; -1 for what is not letters."""
    numbers: dict[str, int] = {}
    found = np.full(size, -1)
    for id_, form in vocabulary.forms.items():
        text = form.text.decode("utf-8", "replace").casefold()
        if text and is_letters(text):
            found[id_] = numbers.setdefault(text, len(numbers))
    return found

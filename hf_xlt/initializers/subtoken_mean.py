"""Subtoken mean (Gee et al. 2022, §3): a token starts as the mean of the source's tokens that its text is made of."""

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.evidence.token_ids import flat, token_ids
from hf_xlt.evidence.vectors.subword import token_texts
from hf_xlt.initializers.base import Initializer, OverlapInitializer, paper
from hf_xlt.tokenizers.vocabulary import Vocabulary
from hf_xlt.transport.mixture import SparseMixture


class SubtokenMeanInitializer(OverlapInitializer):
    """Copy the rows of shared tokens; give the others the mean of the source rows that their text is tokenized into.

    A token that starts a word is tokenized after a space. Of one that continues a word, the first piece is the source's
    token for the inside of words, where there is one. Rows of tokens that are no text (half characters), or of which
    the source knows no piece, are drawn.

    Arguments are those of `OverlapInitializer`.
    """

    label = "subtoken mean"
    citation = paper("gee2022fast")

    def mixture(self, rows: np.ndarray) -> SparseMixture:
        """Equal parts of the pieces."""
        return pieces_of(self, rows)


def pieces_of(initializer: Initializer, rows: np.ndarray) -> SparseMixture:
    """Equal parts of the source's tokens that the text of each target token is made of, in the order of the text."""
    tokenizer, source = initializer.source_tokenizer, initializer.source_vocabulary
    forms, texts = initializer.target_vocabulary.forms, token_texts(initializer.tokenizer)
    starts = np.array([id_ in forms and forms[id_].starts_word for id_ in rows.tolist()], dtype=bool)
    space = _space(tokenizer, source)
    wanted = zip([texts[id_] for id_ in rows], starts, strict=True)
    pieces, lengths = flat(token_ids(tokenizer, [space + text if text and start else text for text, start in wanted]))
    firsts = (lengths.cumsum() - lengths)[(lengths > 0) & ~starts]
    pieces[firsts] = _insides(source)[pieces[firsts]]
    known = (pieces >= 0) & ~np.isin(pieces, tokenizer.all_special_ids)
    places = np.arange(len(rows)).repeat(lengths)[known]
    return SparseMixture.of(places, pieces[known], 1 / np.bincount(places)[places], (len(rows), source.size))


def _space(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> str:
    """What a text has to begin with for its first token to start a word; nothing where the tokenizer sees to that."""
    first = token_ids(tokenizer, ["a"])[0][:1]
    starts = first and first[0] in vocabulary.forms and vocabulary.forms[first[0]].starts_word
    return "" if starts else " "


def _insides(vocabulary: Vocabulary) -> np.ndarray:
    """For each id the token of the same text inside a word: itself where there is none, −1 where nothing is left."""
    insides = np.arange(vocabulary.size)
    inner = {form.text: id_ for id_, form in reversed(list(vocabulary.forms.items())) if not form.starts_word}
    for id_, form in vocabulary.forms.items():
        if form.starts_word:
            insides[id_] = inner.get(form.text, id_) if form.text else -1
    return insides

"""Source tokens near each target token, in vectors or a helper: evidence of similarity, to be pooled with others."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rows import check_finite, rows_of_ids, tokens_without_row
from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import sparsemax, top_k_softmax
from hf_xlt.initializers.evidence import Evidence
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.wechsel import dictionary_map
from hf_xlt.tokenizers.vocabulary import Vocabulary, match
from hf_xlt.transport.mixture import SparseMixture

_NEAREST = 10
_TEMPERATURE = 0.1


def neighbours(evidence: Evidence) -> SparseMixture | None:
    """The softmax of the largest cosines of each target token to source tokens; None without vectors.

    With vectors of both languages, a dictionary leads those of the source into the target's space, as in WECHSEL. With
    vectors of the target alone, source tokens are those that both vocabularies share, as in FOCUS.

    Raises:
        InputError: If vectors of both languages are given without a dictionary, or no token has one.
    """
    if evidence.vectors is None:
        return None
    vocabulary = Vocabulary.of(evidence.checkpoint.known_tokenizer())
    if evidence.source_vectors is None:
        overlap = match(vocabulary, Vocabulary.of(evidence.target_tokenizer), ignore_case=True)
        keys, ids = evidence.table[torch.from_numpy(overlap.target_ids)], torch.from_numpy(overlap.source_ids)
    elif evidence.entries is None:
        raise missing_evidence("pooled", "a dictionary to lead the source's vectors to the target's", "--dictionary")
    else:
        keys = evidence.source_table @ dictionary_map(evidence.source_words, evidence.words, evidence.entries.entries)
        ids = torch.arange(len(keys))
    return top_k_softmax(evidence.table, keys, ids, vocabulary.size, _NEAREST, _TEMPERATURE)


def check_helper(helper: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a helper that does not tell of the tokenizer's tokens.

    Raises:
        InputError: If its vocabulary is another, has many more tokens than rows, or a row is not finite.
    """
    vocabulary = tokenizer.get_vocab()
    if helper.tokenizer().get_vocab() != vocabulary:
        raise InputError(
            f"The helper {helper.name} has another vocabulary than the target tokenizer, so its rows tell nothing of "
            "the tokenizer's tokens; expected the same. Leave out --tokenizer, or the helper."
        )
    tokens_without_row(vocabulary, helper.vocab_size, helper.name)
    check_finite(helper.input_rows(), f"the embedding table of the helper {helper.name}")


def neighbours_in_helper(
    helper: Checkpoint, source: Vocabulary, target: Vocabulary, fitted: FittedTokenizer
) -> SparseMixture:
    """The sparsemax of each target token's cosines, in a helper, to the tokens that source and target share (CLP+).

    Args:
        helper: Has the target tokenizer as it was given.
        source: The source's vocabulary.
        target: The target's, with the ids of the fitted tokenizer.
        fitted: How that came of the helper's.

    Raises:
        InputError: If no token is shared.
    """
    overlap = match(source, target, ignore_case=True)
    rows = fitted.rows(rows_of_ids(helper.input_rows(), fitted.former_size))
    keys, ids = rows[torch.from_numpy(overlap.target_ids)], torch.from_numpy(overlap.source_ids)
    return sparsemax(rows, keys, ids, source.size)

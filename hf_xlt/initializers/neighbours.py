"""Source tokens near each target token in vectors: evidence of similarity, to be pooled with other kinds."""

from __future__ import annotations

import torch

from hf_xlt.geometry.similarity import top_k_softmax
from hf_xlt.initializers.evidence import Evidence
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.wechsel import dictionary_map
from hf_xlt.mixture import SparseMixture
from hf_xlt.tokens import Vocabulary, match

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
    vocabulary = Vocabulary.of(evidence.checkpoint.tokenizer())
    if evidence.source_vectors is None:
        overlap = match(vocabulary, Vocabulary.of(evidence.target_tokenizer), ignore_case=True)
        keys, ids = evidence.table[torch.from_numpy(overlap.target_ids)], torch.from_numpy(overlap.source_ids)
    elif evidence.entries is None:
        raise missing_evidence("pooled", "a dictionary to lead the source's vectors to the target's", "--dictionary")
    else:
        keys = evidence.source_table @ dictionary_map(evidence.source_words, evidence.words, evidence.entries.entries)
        ids = torch.arange(len(keys))
    return top_k_softmax(evidence.table, keys, ids, vocabulary.size, _NEAREST, _TEMPERATURE)

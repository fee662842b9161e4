"""Attachment scores of parses of a treebank's own words are the shares of right heads and relations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import AttachmentScore, Tree

RELATIONS = st.sampled_from(["root", "nsubj", "nsubj:pass", "obj", "punct"])
GOLD = Tree([3, 3, 0, 3], ["case", "det", "root", "punct"])


@st.composite
def parses(draw):
    size = draw(st.integers(1, 8))
    heads, deprels = (
        st.lists(st.integers(0, 3), min_size=size, max_size=size),
        st.lists(RELATIONS, min_size=size, max_size=size),
    )
    return tuple(Tree(draw(heads), draw(deprels)) for _ in range(2))


@given(st.lists(parses(), min_size=1, max_size=4))
def test_scores_are_shares_of_words(pairs):
    found, gold = zip(*pairs, strict=True)
    words = [
        (one.heads[i] == other.heads[i], one.deprels[i].split(":")[0] == other.deprels[i].split(":")[0])
        for one, other in pairs
        for i in range(len(one.heads))
    ]
    expected = {"uas": np.mean([head for head, _ in words]), "las": np.mean([head and label for head, label in words])}
    assert AttachmentScore().compute(found, gold) == pytest.approx(expected)


def test_punctuation_counts_and_subtypes_do_not():
    found = Tree([3, 3, 0, 2], ["case:loc", "amod", "root", "punct"])
    assert AttachmentScore().compute(predictions=[found], references=[GOLD]) == {"uas": 3 / 4, "las": 2 / 4}


def test_samples_of_sentences_are_scored_at_once():
    metric = AttachmentScore()
    wrong = GOLD._replace(heads=[2, 0, 2, 2])
    totals = np.array([[1, 0], [1, 1], [0, 0]]) @ metric.counts([GOLD, wrong], [GOLD, GOLD])
    np.testing.assert_allclose(metric.of_counts(totals)["uas"], [1, 1 / 2, 0])


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="Sentence 2 does not have one head and one relation for each word"):
        AttachmentScore().counts([GOLD, GOLD._replace(heads=[0])], [GOLD, GOLD])

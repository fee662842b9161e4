"""Counts of target tokens with source tokens: from links and spelling, added, weighed and normalised."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evidence.counting import link_counts, relative_counts
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.token_ids import token_pairs
from hf_xlt.tokenizers.vocabulary import Form, Vocabulary

SHAPE = 5, 4
observations = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.floats(0, 100, allow_subnormal=False)), max_size=30
)


def counted(rows) -> TokenCounts:
    target, source, values = zip(*rows, strict=True) if rows else ((), (), ())
    return TokenCounts.of(np.array(target, int), np.array(source, int), np.array(values, float), SHAPE)


def dense(counts: TokenCounts) -> np.ndarray:
    table = np.zeros(counts.shape)
    table[counts.target_ids, counts.source_ids] = counts.values
    return table


def spelled(*texts: str) -> Vocabulary:
    """A vocabulary of these tokens; those with a leading hyphen are inside a word."""
    forms = {i: Form(text.removeprefix("-").encode(), not text.startswith("-")) for i, text in enumerate(texts)}
    names, ids = dict(enumerate(texts)), {text: i for i, text in enumerate(texts)}
    return Vocabulary(forms, {}, {}, names, len(texts), marks_words=True, ids=ids)


@given(observations)
def test_counts_of_pairs_are_looked_up(rows):
    counts = counted(rows)
    targets, sources = (ids.ravel() for ids in np.indices(SHAPE))
    assert np.array_equal(counts.at(targets, sources), dense(counts).ravel())
    assert np.array_equal(counts.at(targets[[3, 3, 1]], sources[[3, 3, 1]]), dense(counts).ravel()[[3, 3, 1]])


@given(observations)
def test_observations_of_a_pair_add_up(rows):
    expected = np.zeros(SHAPE)
    for target, source, value in rows:
        expected[target, source] += value
    counts = counted(rows)
    assert np.allclose(dense(counts), expected)
    assert np.allclose(counts.target_totals, expected.sum(1))
    assert np.allclose(counts.source_totals, expected.sum(0))
    assert counts.rows.tolist() == np.flatnonzero(expected.sum(1)).tolist()


@given(observations, observations, st.floats(0, 10, allow_subnormal=False))
def test_tables_add_and_scale_as_dense_ones_do(first, second, weight):
    one, two = counted(first), counted(second)
    assert np.allclose(dense(one + two.scaled(weight)), dense(one) + weight * dense(two))
    assert np.allclose(dense(TokenCounts.total([one, two, one], SHAPE)), 2 * dense(one) + dense(two))


def test_no_tables_make_an_empty_one():
    assert len(TokenCounts.total([], SHAPE)) == 0
    assert len(TokenCounts.empty(SHAPE) + TokenCounts.empty(SHAPE)) == 0


@pytest.mark.slow
@given(observations)
def test_the_mixture_is_relative_frequencies_of_the_rows_asked_for(rows):
    counts = counted([(target, source, value + 1) for target, source, value in rows])
    table, asked = dense(counts), np.array([0, 2, 4])
    mixture = counts.mixture(asked)
    eye = mixture.apply(torch.eye(SHAPE[1])).numpy()
    sums = table[asked].sum(1, keepdims=True)
    assert np.allclose(eye, table[asked] / np.where(sums, sums, 1), atol=1e-6)
    assert mixture.finite.tolist() == (sums[:, 0] > 0).tolist()


@pytest.mark.slow
@given(observations, st.permutations(range(5)))
def test_permuting_ids_permutes_rows(rows, order):
    rows = [(target, source, value + 1) for target, source, value in rows]
    plain = counted(rows).mixture(np.arange(5)).apply(torch.eye(4))
    moved = counted([(order[target], source, value) for target, source, value in rows]).mixture(np.arange(5))
    assert torch.allclose(moved.apply(torch.eye(4))[list(order)], plain)


def test_relative_and_specific_counts_by_hand():
    counts = counted([(0, 0, 3), (0, 1, 1), (2, 1, 3)])
    assert dense(counts.relative())[0].tolist() == [0.75, 0.25, 0, 0]
    assert dense(counts.specific(0.5))[[0, 0, 2], [0, 1, 1]] == pytest.approx([3, 0.5, 3 * 0.75**0.5])


def test_pairs_count_once():
    counts = TokenCounts.of_pairs(np.array([3, 1]), np.array([0, 2]), SHAPE)
    assert (counts.target_ids.tolist(), counts.source_ids.tolist(), counts.values.tolist()) == ([1, 3], [2, 0], [1, 1])


def test_broken_tables_are_refused():
    ids = np.array([0, 1])
    with pytest.raises(InputError, match="source ids of the counts are not from 0 and below 4"):
        TokenCounts.of(ids, np.array([0, 4]), np.ones(2), SHAPE)
    with pytest.raises(InputError, match="target ids of the counts are not int64 from 0 and below 5"):
        TokenCounts.of(np.array([0, 5]), ids, np.ones(2), SHAPE)
    with pytest.raises(InputError, match="not a positive number"):
        TokenCounts.of(ids, ids, np.array([1, -1.0]), SHAPE)
    with pytest.raises(InputError, match="not a positive number"):
        TokenCounts.of(ids, ids, np.array([1, np.nan]), SHAPE)
    with pytest.raises(InputError, match=r"out of order or have a pair twice.*TokenCounts\.of"):
        TokenCounts(ids[::-1], ids, np.ones(2), SHAPE)
    with pytest.raises(InputError, match="do not fit; expected one of each an entry"):
        TokenCounts(ids, ids, np.ones(3), SHAPE)
    with pytest.raises(InputError, match=r"shape \(2, 2\) cannot be added to \(5, 4\)"):
        TokenCounts.empty(SHAPE) + TokenCounts.empty((2, 2))
    with pytest.raises(InputError, match="weight of counts is -1"):
        TokenCounts.empty(SHAPE).scaled(-1)


def test_links_are_counted_by_their_tokens():
    pairs = [(np.array([3, 1]), np.array([4, 4, 2])), (np.array([3]), np.array([4]))]
    links = [np.array([[0, 0], [0, 1], [1, 2]]), np.array([[0, 0]])]
    assert dense(link_counts(pairs, links, SHAPE)).tolist() == [
        [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 3],
    ]  # fmt: skip
    assert len(link_counts(pairs, [np.empty((0, 2), int)] * 2, SHAPE)) == 0
    assert len(link_counts([], [], SHAPE)) == 0


def test_links_that_leave_their_pair_are_refused():
    pairs = [(np.array([3]), np.array([4])), (np.array([3, 1]), np.array([4]))]
    with pytest.raises(InputError, match="Pair 1 has a link to target token 1, but 1 target tokens"):
        link_counts(pairs, [np.array([[0, 0]]), np.array([[1, 1]])], SHAPE)
    with pytest.raises(InputError, match="2 pairs and 1 sets of links"):
        link_counts(pairs, [np.array([[0, 0]])], SHAPE)


def test_each_side_is_tokenised_by_its_own_tokenizer():
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "byte-level-bpe")
    pairs = token_pairs([("The dog sleeps.", "Der Hund schläft."), ("", "leer")], english, german)
    assert len(pairs) == 1
    assert token_pairs([], english, german) == []
    assert pairs[0][0].tolist() == english("The dog sleeps.", add_special_tokens=False)["input_ids"]
    assert pairs[0][1].tolist() == german("Der Hund schläft.", add_special_tokens=False)["input_ids"]


def test_tokens_without_counts_borrow_from_the_longest_shared_prefix():
    vocabulary = spelled("laufen", "laufend", "Läufer", "-laufend", "lauft", "laus", "laufende")
    counts = TokenCounts.of(np.array([0, 1, 1]), np.array([0, 1, 2]), np.array([8.0, 1, 3]), (7, 3))
    lent = relative_counts(counts, vocabulary)
    assert lent.rows.tolist() == [4, 6]
    table = dense(lent)
    assert table[6].tolist() == [0, 0.25, 0.75]  # laufend-
    assert table[4].tolist() == [0.5, 0.125, 0.375]  # lauf-: both, in equal parts
    assert len(relative_counts(counts, vocabulary, least=9)) == 0
    assert len(relative_counts(TokenCounts.empty((7, 3)), vocabulary)) == 0


def test_documents_among_sentence_pairs_are_left_out_counted_and_named(caplog):
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    texts = [("The dog sleeps.", "Der Hund schläft."), ("dog " * 600, "Hund"), ("dog", "Hund " * 600)]
    assert len(token_pairs(texts, english, german, lines=(3, 5, 7))) == 1
    assert "2 of 3 pairs have more than 512 tokens on a side and are left out" in caplog.text
    assert "lines 5, 7" in caplog.text
    with pytest.raises(
        InputError, match="2 of 2 pairs have more than 512 tokens on a side .pairs 1, 2.; expected pairs"
    ):
        token_pairs(texts[1:], english, german)

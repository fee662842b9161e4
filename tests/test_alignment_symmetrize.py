"""Symmetrised links agree with a loop over the links of a pair, and contain each other as they should."""

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import SYMMETRIZATIONS, symmetrize

PROPERTY = settings(deadline=None, max_examples=80)
LINKS = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=14)
PAIRS = st.lists(st.tuples(LINKS, LINKS), min_size=1, max_size=6)


def looped(forward, backward, method):
    """The links of one pair, one at a time."""
    if method in ("forward", "backward", "intersection", "union"):
        return {
            "forward": forward, "backward": backward, "intersection": forward & backward, "union": forward | backward,
        }[method]  # fmt: skip
    chosen = forward & backward
    source_free = lambda i: all(i != s for s, _ in chosen)  # noqa: E731
    target_free = lambda j: all(j != t for _, t in chosen)  # noqa: E731
    grew = True
    while grew:
        grew = False
        for i, j in sorted((forward | backward) - chosen):
            near = any(max(abs(i - s), abs(j - t)) == 1 for s, t in chosen)
            if near and (source_free(i) or target_free(j)):
                chosen = chosen | {(i, j)}
                grew = True
    if method == "grow-diag":
        return chosen
    both = all if method == "grow-diag-final-and" else any
    for direction in (forward, backward):
        for i, j in sorted(direction - chosen):
            if both((source_free(i), target_free(j))):
                chosen = chosen | {(i, j)}
    return chosen


def arrays(sets):
    return [np.array(sorted(links), dtype=np.int64).reshape(-1, 2) for links in sets]


def combine(pairs, method):
    forward, backward = zip(*pairs, strict=True)
    return [set(map(tuple, links.tolist())) for links in symmetrize(arrays(forward), arrays(backward), method)]


@pytest.mark.parametrize("method", SYMMETRIZATIONS)
@PROPERTY
@given(pairs=PAIRS)
def test_every_method_agrees_with_a_loop_over_links(method, pairs):
    assert combine(pairs, method) == [looped(forward, backward, method) for forward, backward in pairs]


@pytest.mark.slow
@PROPERTY
@given(pairs=PAIRS)
def test_each_method_contains_the_one_before(pairs):
    order = ("intersection", "grow-diag", "grow-diag-final-and", "union")
    steps = [combine(pairs, method) for method in order]
    for fewer, more in zip(steps, steps[1:], strict=False):
        assert all(a <= b for a, b in zip(fewer, more, strict=True))
    for grown, final, union in zip(steps[1], combine(pairs, "grow-diag-final"), steps[3], strict=True):
        assert grown <= final <= union


@PROPERTY
@given(links=st.lists(LINKS, min_size=1, max_size=5))
def test_directions_that_agree_are_left_as_they_are(links):
    for method in SYMMETRIZATIONS:
        assert combine([(of_pair, of_pair) for of_pair in links], method) == links


def test_growth_reaches_a_diagonal_neighbour_and_final_and_needs_both_words_free():
    forward = {(0, 0), (1, 1), (3, 0), (5, 5)}
    backward = {(0, 0), (3, 3), (5, 6)}
    assert combine([(forward, backward)], "grow-diag") == [{(0, 0), (1, 1)}]
    assert combine([(forward, backward)], "grow-diag-final-and") == [{(0, 0), (1, 1), (5, 5), (3, 3)}]
    assert combine([(forward, backward)], "grow-diag-final") == [{(0, 0), (1, 1), (3, 0), (5, 5), (3, 3), (5, 6)}]


def test_links_come_in_order_with_no_pair_lost():
    forward = arrays([set(), {(2, 1), (0, 3)}, set(), {(1, 0)}, set()])
    found = symmetrize(forward, arrays([set()] * 5), "union")
    assert [links.tolist() for links in found] == [[], [[0, 3], [2, 1]], [], [[1, 0]], []]
    assert symmetrize([], [], "union") == []


def test_unknown_methods_and_unequal_numbers_of_pairs_are_refused():
    assert tiny.refusal(symmetrize, [], [], "grow").value == "grow"
    with pytest.raises(InputError, match="links of 2 and of 1 pairs"):
        symmetrize(arrays([set(), set()]), arrays([set()]), "union")

"""Attachment scores are those of the CoNLL 2018 shared task's definitions, whatever the words are cut into."""

from collections import deque
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.attachment import AttachmentScore


class Word(NamedTuple):
    number: int
    form: str
    start: int
    end: int
    multi: bool


def plain_words(tree):
    """Every word with the characters of its token."""
    words, at, number = deque(), 0, 1
    tokens = {token["first"]: token for token in tree["multiwords"]}
    while number <= len(tree["words"]):
        form = tokens[number]["form"] if number in tokens else tree["words"][number - 1]
        end = at + len(form.replace(" ", "").replace("\u00a0", ""))
        last = tokens[number]["last"] if number in tokens else number
        for i in range(number, last + 1):
            bare = tree["words"][i - 1].replace(" ", "").replace("\u00a0", "")
            words.append(
                Word(i, (tree["words"][i - 1] if number in tokens else bare).lower(), at, end, number in tokens)
            )
        at, number = end, last + 1
    return words


def plain_common(gold, system):
    """Pairs of the longest common subsequence; where a choice remains, the reference's word is left out first."""

    def length(g, s):
        if g == len(gold) or s == len(system):
            return 0
        same = 1 + length(g + 1, s + 1) if gold[g].form == system[s].form else 0
        return max(same, length(g + 1, s), length(g, s + 1))

    pairs, g, s = [], 0, 0
    while g < len(gold) and s < len(system):
        if gold[g].form == system[s].form:
            pairs.append((gold[g].number, system[s].number))
            g, s = g + 1, s + 1
        elif length(g, s) == length(g + 1, s):
            g += 1
        else:
            s += 1
    return pairs


def plain_pairs(gold, system):
    """Aligned words: by equal spans, or in stretches that multiword tokens of either side hold together."""
    pairs = []
    while gold and system:
        a, b = gold[0], system[0]
        if not a.multi and not b.multi:
            if (a.start, a.end) == (b.start, b.end):
                pairs.append((a.number, b.number))
                gold.popleft(), system.popleft()
            else:
                (gold if a.start <= b.start else system).popleft()
            continue
        if a.multi:
            end = a.end
            if not b.multi and b.start < a.start:
                system.popleft()
        else:
            end = b.end
            if a.start < b.start:
                gold.popleft()
        stretch = [], []

        def within(side, end):
            return bool(side) and (side[0].start < end if side[0].multi else side[0].end <= end)

        while within(gold, end) or within(system, end):
            side = 0 if gold and (not system or gold[0].start <= system[0].start) else 1
            word = (gold, system)[side].popleft()
            stretch[side].append(word)
            if word.multi:
                end = max(end, word.end)
        pairs += plain_common(*stretch)
    return pairs


def plain_scores(predictions, references):
    """UAS and LAS F1."""
    right, labelled, total = 0, 0, 0
    for tree, gold in zip(predictions, references, strict=True):
        pairs = plain_pairs(plain_words(gold), plain_words(tree))
        twin = {system: reference for reference, system in pairs}
        total += len(tree["words"]) + len(gold["words"])
        for reference, system in pairs:
            head = tree["heads"][system - 1]
            if (0 if head == 0 else twin.get(head, "not aligned")) == gold["heads"][reference - 1]:
                right += 1
                labels = tree["deprels"][system - 1], gold["deprels"][reference - 1]
                labelled += labels[0].split(":")[0] == labels[1].split(":")[0]
    return {"uas": 2 * right / total, "las": 2 * labelled / total}


RELATIONS = st.sampled_from(["root", "nsubj", "nsubj:pass", "obj", "punct"])


@st.composite
def tree_over(draw, text):
    """A tree over random words of a text; some tokens stand for several words, some hold a space."""
    words, multiwords = [], []
    while text:
        cut = draw(st.integers(1, min(4, len(text))))
        token, text = text[:cut], text[cut:]
        if draw(st.integers(0, 2)) == 0:
            parts = draw(st.lists(st.sampled_from(["a", "b", "ab", "A", "ba"]), min_size=1, max_size=3))
            multiwords.append({"first": len(words) + 1, "last": len(words) + len(parts), "form": token})
            words += parts
        else:
            space = draw(st.sampled_from(["", "", " ", "\u00a0"]))
            words.append(token[:1] + space + token[1:])
    order = draw(st.permutations(range(1, len(words) + 1)) | st.just(range(1, len(words) + 1)))
    above = {word: order[draw(st.integers(max(0, i - 2), i - 1))] if i else 0 for i, word in enumerate(order)}
    deprels = [draw(RELATIONS) for _ in words]
    return {
        "words": words,
        "heads": [above[word] for word in sorted(order)],
        "deprels": deprels,
        "multiwords": multiwords,
    }


@st.composite
def cut_twice(draw):
    text = draw(st.text("ab", min_size=1, max_size=14))
    return draw(tree_over(text)), draw(tree_over(text))


@st.composite
def cut_alike(draw):
    gold = draw(tree_over(draw(st.text("ab", min_size=1, max_size=14))))
    heads = [draw(st.sampled_from([head, 0, 1])) for head in gold["heads"]]
    return gold | {"heads": heads, "deprels": [draw(RELATIONS) for _ in heads]}, gold


@given(st.lists(cut_twice() | cut_alike(), min_size=1, max_size=4))
def test_scores_are_those_of_a_plain_implementation(pairs):
    metric = AttachmentScore()
    predictions, references = zip(*pairs, strict=True)
    counts = metric.counts(predictions, references)
    scores = metric.of_counts(counts.sum(0))
    assert scores == pytest.approx(plain_scores(predictions, references))
    assert all(0 <= score <= 1 for score in scores.values())
    np.testing.assert_array_equal(counts[:, 3], [len(gold["words"]) for gold in references])


@given(cut_twice())
def test_a_tree_agrees_with_itself(pair):
    metric = AttachmentScore()
    for tree in pair:
        assert metric.of_counts(metric.counts([tree], [tree])[0]) == {"uas": 1, "las": 1}


def tree(words, heads, deprels, multiwords=()):
    tokens = [dict(zip(("first", "last", "form"), token, strict=True)) for token in multiwords]
    return {"words": words, "heads": heads, "deprels": deprels, "multiwords": tokens}


GOLD = tree(["in", "dem", "Haus", "."], [3, 3, 0, 3], ["case", "det", "root", "punct"], [(1, 2, "im")])


def test_punctuation_counts_and_subtypes_do_not():
    found = GOLD | {"heads": [3, 3, 0, 2], "deprels": ["case:loc", "amod", "root", "punct"]}
    assert AttachmentScore().compute(predictions=[found], references=[GOLD]) == {"uas": 3 / 4, "las": 2 / 4}


def test_words_that_are_not_found_cost_recall_and_precision():
    unsplit = tree(["im", "Haus", "."], [2, 0, 2], ["case", "root", "punct"])
    metric = AttachmentScore()
    assert metric.counts([unsplit], [GOLD]).tolist() == [[2, 2, 3, 4]]
    assert metric.compute(predictions=[unsplit], references=[GOLD]) == {"uas": 4 / 7, "las": 4 / 7}


def test_samples_of_sentences_are_scored_at_once():
    metric = AttachmentScore()
    wrong = GOLD | {"heads": [2, 0, 2, 2]}
    totals = np.array([[1, 0], [1, 1], [0, 0]]) @ metric.counts([GOLD, wrong], [GOLD, GOLD])
    scores = metric.of_counts(totals)
    np.testing.assert_allclose(scores["uas"], [1, 1 / 2, 0])


def test_sides_that_do_not_fit_are_refused():
    metric = AttachmentScore()
    with pytest.raises(InputError, match="Sentence 1 reads 'imHaus!', the reference 'imHaus.'"):
        metric.counts([GOLD | {"words": ["in", "dem", "Haus", "!"]}], [GOLD])
    with pytest.raises(InputError, match="Sentence 2 does not have one head and one relation for each word"):
        metric.counts([GOLD, GOLD | {"heads": [0]}], [GOLD, GOLD])

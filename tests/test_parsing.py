"""The decoder finds the best tree; the head scores pairs of words, learns trees, and does not look at padding."""

from itertools import pairwise

import networkx
import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.parsing import (
    BiaffineHead,
    Parsing,
    are_trees,
    maximum_arborescence,
    maximum_tree,
    maximum_trees,
)
from hf_xlt.evaluation.tasks.task import IGNORED
from hf_xlt.files.conll import Sentence


def total(scores, heads):
    return scores[np.arange(len(heads)), heads].sum()


def is_tree(heads):
    arcs = networkx.DiGraph([(head, word) for word, head in enumerate(heads, start=1)])
    return networkx.is_arborescence(arcs) and set(arcs) == set(range(len(heads) + 1))


def networkx_total(scores, under_root):
    """Score of the best tree in which only the words given may hang on the root."""
    graph = networkx.DiGraph()
    for word, row in enumerate(scores.tolist(), start=1):
        for head, score in enumerate(row):
            if head != word and (head or word in under_root):
                graph.add_edge(head, word, weight=score)
    best = networkx.maximum_spanning_arborescence(graph)
    return sum(weight for _, _, weight in best.edges(data="weight"))


@st.composite
def arc_scores(draw, longest=8):
    """Whole numbers, so that sums are exact and ties frequent, with cycles that arcs would rather make."""
    n = draw(st.integers(1, longest))
    scores = np.array(draw(st.lists(st.integers(-4, 4), min_size=n * (n + 1), max_size=n * (n + 1))), dtype=float)
    scores = scores.reshape(n, n + 1)
    for size in draw(st.lists(st.integers(2, max(2, n)), max_size=3)):
        cycle = draw(st.permutations(range(n)))[:size]
        for word, head in pairwise([*cycle, cycle[0]]):
            scores[word, head + 1] += draw(st.integers(0, 9))
    return scores


@settings(max_examples=60)
@given(arc_scores())
@pytest.mark.slow
def test_the_best_tree_is_that_of_networkx(scores):
    words = range(1, len(scores) + 1)
    any_roots, one_root = maximum_arborescence(scores), maximum_tree(scores)
    assert is_tree(any_roots)
    assert total(scores, any_roots) == networkx_total(scores, words)
    assert is_tree(one_root)
    assert np.count_nonzero(one_root == 0) == 1
    assert total(scores, one_root) == max(networkx_total(scores, [word]) for word in words)


@pytest.mark.slow
def test_cycles_within_cycles_are_taken_apart():
    scores = np.random.default_rng(0).normal(size=(60, 61))
    for size in (2, 4, 8, 16, 32, 60):  # ever larger groups of neighbours that would rather keep to themselves
        group = np.arange(60) // size
        scores[:, 1:] += group[:, None] == group
    heads = maximum_arborescence(scores)
    assert is_tree(heads)
    assert total(scores, heads) == pytest.approx(networkx_total(scores, range(1, 61)))


@given(st.lists(arc_scores(), min_size=1, max_size=5))
@pytest.mark.slow
def test_trees_of_a_batch_are_those_of_each_sentence(sentences):
    lengths = np.array([len(scores) for scores in sentences])
    batch = np.full((len(sentences), lengths.max(), lengths.max() + 1), np.nan)
    for row, scores in zip(batch, sentences, strict=True):
        row[: len(scores), : len(scores) + 1] = scores
    found = maximum_trees(batch, lengths)
    assert are_trees(found, lengths).all()
    for heads, scores in zip(found, sentences, strict=True):
        assert total(scores, heads[: len(scores)]) == total(scores, maximum_tree(scores))
        assert not heads[len(scores) :].any()


@given(st.data(), st.integers(1, 6), st.integers(0, 3))
def test_a_tree_is_told_from_what_is_none(data, n, padding):
    heads = np.array([data.draw(st.integers(0, n)) for _ in range(n)])
    padded = np.concatenate([heads, np.zeros(padding, dtype=int)])
    expected = is_tree(heads) and np.count_nonzero(heads == 0) == 1
    assert are_trees(padded[None], np.array([n])).tolist() == [expected]


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(score):
    with pytest.raises(InputError, match=r"its training has diverged. Lower the learning rate"):
        maximum_trees(np.full((1, 2, 3), score), np.array([2]))


def parser(width=6, relations=4):
    """A head whose every weight counts."""
    torch.manual_seed(0)
    head = BiaffineHead(width, relations)
    for weight in head.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return head.eval()


def batch(lengths, width=6):
    """Random states, with large ones where the padding is."""
    states = torch.randn(len(lengths), max(lengths), width, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.where(mask[..., None], states, 99.0), mask


def gold_of(lengths, relations=4):
    """Each word hangs on the one before it."""
    heads, kinds = (torch.full((len(lengths), max(lengths)), IGNORED) for _ in range(2))
    for row, length in enumerate(lengths):
        heads[row, :length] = torch.arange(length)
        kinds[row, :length] = torch.arange(length) % relations
    return {"heads": heads, "relations": kinds}


@torch.no_grad()
def test_scores_are_the_biaffine_forms_of_every_pair():
    head, (states, mask) = parser(), batch([3, 2])
    scores = head(states, mask)
    weight, bias = head.relations.weight.view(4, 101, 100), head.relations.bias.view(4, 101)
    for row, length in enumerate([3, 2]):
        nodes = [head.root, *states[row, :length]]
        views = [torch.nn.functional.leaky_relu(head.views(node), 0.1).split([500, 500, 100, 100]) for node in nodes]
        for word in range(1, length + 1):
            for above in range(length + 1):
                arc = scores.arcs[row, word - 1, above]
                if above == word:
                    assert arc == -torch.inf
                    continue
                dependent, upper = views[word][0], views[above][1]
                plain = upper @ head.arcs.weight @ dependent + upper @ head.arcs.bias
                torch.testing.assert_close(arc, plain, rtol=1e-5, atol=1e-4)
                only = torch.zeros_like(mask).index_put((torch.tensor(row), torch.tensor(word - 1)), torch.tensor(True))
                found = head.relation_scores(scores, only, torch.tensor([above]))[0]
                dependent, upper = views[word][2], torch.cat([views[above][3], torch.ones(1)])
                plain = torch.stack([upper @ u @ dependent + upper @ b for u, b in zip(weight, bias, strict=True)])
                torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-4)


def test_padding_changes_nothing():
    head, lengths = parser(), [4, 2, 7]
    states, mask = batch(lengths)
    states.requires_grad_()
    gold = gold_of(lengths)
    scores = head(states, mask)
    together, answers = head.loss(scores, mask, gold), head.decode(scores, mask)
    weighted = 0.0
    for row, length in enumerate(lengths):
        alone = head(states[row : row + 1, :length], mask[row : row + 1, :length])
        gold_alone = {name: values[row : row + 1, :length] for name, values in gold.items()}
        weighted += length / sum(lengths) * head.loss(alone, mask[row : row + 1, :length], gold_alone)
        np.testing.assert_array_equal(head.decode(alone, mask[row : row + 1, :length])[0], answers[row])
        assert answers[row].shape == (2, length)
    torch.testing.assert_close(together, weighted)
    together.backward()
    assert not states.grad[~mask].any()
    assert states.grad[mask].isfinite().all()


def test_relations_that_training_lacks_cost_nothing_in_the_loss():
    head, (states, mask) = parser(), batch([3, 2])
    gold = gold_of([3, 2])
    scores = head(states, mask)
    arcs = torch.nn.functional.cross_entropy(scores.arcs[mask], gold["heads"][mask])
    unseen = gold | {"relations": torch.full_like(gold["relations"], IGNORED)}
    torch.testing.assert_close(head.loss(scores, mask, unseen), arcs)


@pytest.mark.slow
def test_a_head_learns_a_few_trees_by_heart():
    lengths, width = [5, 3, 6], 32
    states, mask = batch(lengths, width)
    heads = [[2, 0, 2, 5, 3], [0, 1, 2], [4, 1, 2, 0, 6, 4]]
    relations = [[0, 1, 2, 3, 0], [1, 1, 2], [3, 2, 1, 0, 1, 2]]
    gold = gold_of(lengths)
    for row, length in enumerate(lengths):
        gold["heads"][row, :length] = torch.tensor(heads[row])
        gold["relations"][row, :length] = torch.tensor(relations[row])
    torch.manual_seed(0)
    head = BiaffineHead(width, 4)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(head(states, mask), mask, gold).backward()
        optimizer.step()
    head.eval()
    answers = head.decode(head(states, mask), mask)
    assert [answer.tolist() for answer in answers] == [list(pair) for pair in zip(heads, relations, strict=True)]


def sentence(words, heads, deprels):
    return Sentence(1, tuple(words), ("X",) * len(words), tuple(heads), tuple(deprels))


def chain(words):
    """A sentence of which every word hangs on the one before it."""
    return sentence(words, range(len(words)), ["root"] + ["dep:x"] * (len(words) - 1))


def test_a_long_sentence_is_read_in_windows_with_every_word_once():
    tokenizer = tiny.tokenizer("en", "wordpiece")
    words = ["the", "old", "dog", "sleeps", "under", "a", "wooden", "table", ",", "and", "nobody", "wakes", "it"] * 5
    task = Parsing()
    short, long = task.encode([chain(words[:3]), chain(words)], ["dep", "root"], tokenizer, 12)
    assert len(short.windows) == 1
    assert len(long.windows) > 1
    assert max(map(len, long.windows)) <= 12
    picked = np.concatenate([window[pick] for window, pick in zip(long.windows, long.picks, strict=True)])
    assert picked.tolist() == [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]
    assert long.gold["heads"].tolist() == list(range(len(words)))
    assert long.gold["relations"].tolist() == [1] + [0] * (len(words) - 1)


def test_right_answers_score_one_and_others_what_they_are_worth(tmp_path):
    path = tmp_path / "a.conllu"
    rows = [("1-2", "im", "_", "_"), ("1", "in", "2", "case:x"), ("2", "Haus", "0", "root")]
    path.write_text(
        "".join(f"{number}\t{form}\t_\t_\t_\t_\t{head}\t{deprel}\t_\t_\n" for number, form, head, deprel in rows)
    )
    task = Parsing()
    sentences = task.read(str(path))
    labels = task.labels(sentences, {})
    assert labels == ("case", "root")
    encoded = task.encode(sentences, labels, tiny.tokenizer("en", "wordpiece"), 20)
    right = np.stack([encoded[0].gold["heads"], encoded[0].gold["relations"]])
    assert isinstance(task.head(8, labels), BiaffineHead)
    for answer, las in [(right, 1.0), (np.array([[2, 0], [1, 1]]), 0.5)]:
        prediction = task.prediction(sentences[0], encoded[0], answer, labels)
        scores = task.metric(labels).compute(predictions=[prediction], references=[task.reference(sentences[0])])
        assert scores == {"uas": 1.0, task.headline: las}


def test_rare_relations_are_ignored_and_other_schemes_refused():
    task = Parsing()
    train = [chain(["a"] * 20)]
    rare = sentence(["a"] * 20, range(20), ["root", "clf"] + ["dep"] * 18)
    assert task.labels(train, {"test": [rare]}) == ("dep", "root")
    (encoded,) = task.encode([rare], ("dep", "root"), tiny.tokenizer("en", "wordpiece"), 64)
    assert encoded.gold["relations"][:3].tolist() == [1, IGNORED, 0]
    other = sentence(["a", "b"], [0, 1], ["root", "dobj"])
    with pytest.raises(InputError, match=r"50% of the words in test have relations that training lacks \(dobj\)"):
        task.labels(train, {"test": [other]})
    with pytest.raises(InputError, match="no sentence to train a parser on"):
        task.labels([], {"test": [other]})


def test_a_treebank_without_trees_is_refused(tmp_path):
    path = tmp_path / "a.conllu"
    path.write_text("\t".join(["1", "a", *"________"]) + "\n")
    with pytest.raises(InputError, match="line 1: a sentence without heads; expected a treebank"):
        Parsing().read(str(path))

"""Classes of texts: read from any table, told from the mean of the states, scored by accuracy and macro F1."""

import gzip

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import ClassScores
from hf_xlt.evaluation.tasks.classification import Classification, ClassifiedText, MeanHead
from hf_xlt.sample import sentences

LABELS = ("a", "b", "c", "d")
TASK = Classification()
TABLE = "split\tlabel\ten\ntrain\tnews\tone\ntest\tsport\ttwo\ntrain\tsport\tthree\n"

answered = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=40)


def written(tmp_path, text, name="table.tsv"):
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def texts(*labels):
    return [ClassifiedText("text", label, line) for line, label in enumerate(labels, start=1)]


@given(answered)
def test_scores_are_those_of_scikit_learn(pairs):
    predictions, references = zip(*pairs, strict=True)
    metric = ClassScores(LABELS)
    scores = metric.of_counts(metric.counts(predictions, references).sum(axis=0))
    assert scores["accuracy"] == pytest.approx(accuracy_score(references, predictions))
    assert scores["macro_f1"] == pytest.approx(f1_score(references, predictions, average="macro"))


@given(answered)
def test_scores_are_plain_definitions(pairs):
    of_classes = []
    for label in LABELS:
        right = sum(answer == gold == label for answer, gold in pairs)
        if there := sum(answer == label for answer, _ in pairs) + sum(gold == label for _, gold in pairs):
            of_classes.append(2 * right / there)
    metric = ClassScores(LABELS)
    scores = metric.of_counts(metric.counts(*zip(*pairs, strict=True)).sum(axis=0))
    assert scores["accuracy"] == pytest.approx(np.mean([answer == gold for answer, gold in pairs]))
    assert scores["macro_f1"] == pytest.approx(np.mean(of_classes))


def test_scores_of_resampled_examples_are_those_of_weighted_counts():
    metric = ClassScores(LABELS)
    counts = metric.counts(list("abca"), list("abcd"))
    scores = metric.of_counts(np.array([[1, 1, 1, 1], [2, 0, 0, 2], [0, 0, 0, 0]]) @ counts)
    np.testing.assert_allclose(scores["accuracy"], [3 / 4, 1 / 2, 0])
    np.testing.assert_allclose(scores["macro_f1"], [(2 / 3 + 1 + 1 + 0) / 4, (2 / 3 + 0) / 2, 0])


def test_the_metric_computes_as_an_evaluate_module():
    scores = ClassScores(("x", "y")).compute(predictions=["x", "y", "y"], references=["x", "y", "x"])
    assert scores == pytest.approx({"accuracy": 2 / 3, "macro_f1": 2 / 3})


def test_two_columns_are_read_without_a_header(tmp_path):
    path = written(tmp_path, "good food\tpositive\n\n bad food\tnegative \n")
    assert TASK.read(str(path)) == [
        ClassifiedText("good food", "positive", 1),
        ClassifiedText("bad food", "negative", 3),
    ]


@pytest.mark.parametrize("name", ["table.tsv", "table.tsv.gz"])
def test_columns_and_rows_are_chosen_by_name(tmp_path, name):
    path = written(tmp_path, TABLE, name)
    assert TASK.read(f"{path}:en,label@split=train") == [
        ClassifiedText("one", "news", 2),
        ClassifiedText("three", "sport", 4),
    ]


@pytest.mark.parametrize(
    ("row", "what"), [("\tpositive", "empty text"), (" \tpositive", "empty text"), ("a\t", "class")]
)
def test_empty_cells_are_refused_with_their_line(tmp_path, row, what):
    with pytest.raises(InputError, match=rf"line 2: an empty .*{what.split()[-1]}; expected both"):
        TASK.read(str(written(tmp_path, f"good\tpositive\n{row}\n")))


def test_a_table_without_rows_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no row"):
        TASK.read(str(written(tmp_path, "")))
    with pytest.raises(InputError, match="split=dev has no row"):
        TASK.read(f"{written(tmp_path, TABLE)}:en,label@split=dev")


def test_labels_are_those_of_training_sorted():
    assert TASK.labels(texts("b", "c", "a", "b"), {"dev": texts("a"), "test": texts("c", "b")}) == ("a", "b", "c")


def test_a_class_without_training_examples_is_refused():
    with pytest.raises(InputError, match="The test examples") as refused:
        TASK.labels(texts("a", "b"), {"dev": texts("a"), "test": texts("a", "c")})
    assert (refused.value.value, refused.value.line, refused.value.expected) == ("c", 2, "one of a, b")


def test_a_single_class_is_refused():
    with pytest.raises(InputError, match="'a', so there is nothing to tell apart"):
        TASK.labels(texts("a", "a"), {"test": texts("a")})


@pytest.mark.parametrize("family", ["wordpiece", "byte-level-bpe", "unigram"])
@pytest.mark.parametrize("longest", [8, 512])
def test_every_position_is_picked_and_no_token_is_lost(family, longest):
    tokenizer = tiny.tokenizer("en", family)
    frame = Frame.of(tokenizer)
    examples = [ClassifiedText(text, "ab"[i % 2], i) for i, text in enumerate(sentences("en", "held_out")[:10])]
    for example, encoded in zip(examples, TASK.encode(examples, ("a", "b"), tokenizer, longest), strict=True):
        assert ("a", "b")[int(encoded.gold["label"])] == example.label
        assert [pick.tolist() for pick in encoded.picks] == [list(range(len(window))) for window in encoded.windows]
        inner = [window[len(frame.prefix) : len(window) - len(frame.suffix)] for window in encoded.windows]
        assert np.concatenate(inner).tolist() == tokenizer(example.text, add_special_tokens=False)["input_ids"]
        assert max(map(len, encoded.windows)) <= longest


def head_and_states(count=6, length=5, width=8):
    torch.manual_seed(0)
    return MeanHead(width, len(LABELS)).eval(), torch.randn(count, length, width)


def test_a_head_sees_the_mean_of_the_states():
    head, states = head_and_states()
    mask = torch.ones(6, 5, dtype=torch.bool)
    torch.testing.assert_close(head(states, mask), head.scores(states.mean(1)))


def test_of_states_computed_once_the_mean_is_enough():
    head, states = head_and_states()
    kept = torch.stack([TASK.cached(rows) for rows in states])
    assert kept.shape == (6, 1, 8)
    whole, alone = (torch.ones(6, n, dtype=torch.bool) for n in (5, 1))
    torch.testing.assert_close(head(kept, alone), head(states, whole))


def test_padding_changes_nothing():
    head, states = head_and_states()
    gold = {"label": torch.tensor([0, 1, 2, 3, 0, 1])}
    mask = torch.ones(6, 5, dtype=torch.bool)
    padded = torch.cat([states, torch.full((6, 3, 8), 100.0)], dim=1)
    longer = torch.cat([mask, torch.zeros(6, 3, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(head(padded, longer), head(states, mask))
    torch.testing.assert_close(head.loss(head(padded, longer), longer, gold), head.loss(head(states, mask), mask, gold))
    assert head.decode(head(padded, longer), longer) == head.decode(head(states, mask), mask)


def test_a_head_learns_a_handful_of_states():
    head, states = head_and_states()
    mask = torch.ones(6, 5, dtype=torch.bool)
    gold = torch.tensor([0, 1, 2, 3, 0, 1])
    adam = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(100):
        adam.zero_grad()
        head.loss(head(states, mask), mask, {"label": gold}).backward()
        adam.step()
    answers = head.decode(head(states, mask), mask)
    assert answers == gold.tolist()
    examples = texts(*(LABELS[i] for i in gold))
    predictions = [TASK.prediction(*pair, LABELS) for pair in zip(examples, examples, answers, strict=True)]
    references = [TASK.reference(example) for example in examples]
    assert predictions == references == [example.label for example in examples]
    assert TASK.headline in TASK.metric(LABELS).compute(predictions=predictions, references=references)

"""Named entities: an entity is right if its span and its type are, counted as conlleval counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import EntityF1, entities
from hf_xlt.evaluation.tasks.classification import NER
from hf_xlt.files.conll import TaggedSentence

TASK = NER()
tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-ORG"])  # no I- need follow a B- of its type
tagged = st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=10), min_size=1, max_size=8)


def sides(sentences):
    """Predictions and references."""
    return ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))


def written(tmp_path, text):
    path = tmp_path / "file.conll"
    path.write_text(text, encoding="utf-8")
    return str(path)


def begins(sentence, place):
    """Whether an entity begins at a word: at every B, and at an I that continues no entity of its type."""
    if place == len(sentence) or sentence[place] == "O":
        return False
    return sentence[place][0] == "B" or place == 0 or sentence[place - 1][1:] != sentence[place][1:]


@given(st.lists(tags, max_size=12))
def test_an_entity_reaches_from_where_one_begins_to_before_the_next_or_a_word_outside(sentence):
    size = len(sentence)
    starts = [place for place in range(size) if begins(sentence, place)]
    ends = [
        next((p for p in range(start + 1, size) if begins(sentence, p) or sentence[p] == "O"), size) for start in starts
    ]
    expected = {(sentence[start][2:], start, end - 1) for start, end in zip(starts, ends, strict=True)}
    assert entities(sentence) == expected


@given(tagged, st.integers(0, 1000))
def test_scores_of_resampled_sentences_are_those_of_weighted_counts(sentences, seed):
    predictions, references = sides(sentences)
    drawn = np.random.default_rng(seed).integers(len(sentences), size=len(sentences))
    weights = np.bincount(drawn, minlength=len(sentences))
    metric = EntityF1()
    scores = metric.of_counts(weights[None] @ metric.counts(predictions, references))
    again = metric.counts([predictions[i] for i in drawn], [references[i] for i in drawn]).sum(axis=0)
    assert {name: score.item() for name, score in scores.items()} == metric.of_counts(again)


def test_a_sentence_counts_what_is_right_what_is_predicted_and_what_there_is():
    gold = ["B-PER", "I-PER", "O", "B-LOC", "I-ORG"]
    predicted = ["B-PER", "O", "O", "I-LOC", "I-ORG"]
    np.testing.assert_array_equal(EntityF1().counts([predicted], [gold]), [[2, 3, 3]])


def test_the_metric_computes_as_an_evaluate_module():
    scores = EntityF1().compute(predictions=[["B-X", "O"], ["O"]], references=[["B-X", "B-X"], ["O"]])
    assert scores == pytest.approx({"f1": 2 / 3, "precision": 1, "recall": 1 / 2})


def test_a_tag_too_few_is_an_error():
    with pytest.raises(ValueError, match="Sentence 1 has 2 words, 1 tags"):
        EntityF1().counts([["O"], ["O"]], [["O"], ["O", "O"]])


def test_the_task_is_scored_by_entities(tmp_path):
    examples = TASK.read(written(tmp_path, "Ada B-PER\nL. I-PER\nin O\nRom B-LOC\n\nso O\n"))
    assert examples[0] == TaggedSentence(("Ada", "L.", "in", "Rom"), ("B-PER", "I-PER", "O", "B-LOC"), 1)
    labels = TASK.labels(examples, {"test": examples[:1]})
    assert labels == ("B-LOC", "B-PER", "I-PER", "O")
    answers = [np.array([1, 3, 3, 0]), np.array([3])]
    predictions = [TASK.prediction(*pair, labels) for pair in zip(examples, examples, answers, strict=True)]
    references = [TASK.reference(example) for example in examples]
    assert predictions == [["B-PER", "O", "O", "B-LOC"], ["O"]]
    scores = TASK.metric(labels).compute(predictions=predictions, references=references)
    assert scores[TASK.headline] == pytest.approx(1 / 2)


@pytest.mark.parametrize("tag", ["PER", "B-", "b-PER", "OO", "E-PER"])
def test_a_tag_that_is_no_entity_tag_is_refused_with_its_line(tmp_path, tag):
    with pytest.raises(InputError, match=rf"has the tag '{tag}' at line 4; expected O, B-TYPE or I-TYPE"):
        TASK.read(written(tmp_path, f"Ada B-PER\n\nin O\nRom {tag}\n"))


def test_a_type_that_training_lacks_is_refused(tmp_path):
    train, test = (
        [TaggedSentence(("a", "b"), ("O", "B-PER"), 1)],
        [TaggedSentence(("a", "b"), ("O", "B-LOC"), 5)],
    )
    with pytest.raises(InputError, match=r"The test examples have the label 'B-LOC' \(line 6\)"):
        TASK.labels(train, {"test": test})


def test_training_without_entities_is_refused():
    with pytest.raises(InputError, match="'O', so there is nothing to tell apart"):
        TASK.labels([TaggedSentence(("a",), ("O",), 1)], {})

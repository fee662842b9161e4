"""Tags of words: read from CoNLL and CoNLL-U files, told from first pieces, scored by accuracy."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import TagAccuracy
from hf_xlt.evaluation.tasks.classification import POS, UPOS, TaggingHead, UPOSTagging
from hf_xlt.evaluation.tasks.task import IGNORED, encode_words
from hf_xlt.files.conll import TaggedSentence

TREEBANK = """\
# sent_id = 1
# text = Hunde im Park.
1\tHunde\tHund\tNOUN\t_\t_\t0\troot\t_\t_
2-3\tim\t_\t_\t_\t_\t_\t_\t_\t_
2\tin\tin\tADP\t_\t_\t4\tcase\t_\t_
3\tdem\tder\tDET\t_\t_\t4\tdet\t_\t_
4\tPark\tPark\tNOUN\t_\t_\t1\tnmod\t_\tSpaceAfter=No
5\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_

1\tJa\tja\tINTJ\t_\t_\t0\troot\t_\t_

"""

tags = st.sampled_from(["N", "V", "X"])
tagged = st.lists(st.lists(st.tuples(tags, tags), min_size=1, max_size=8), min_size=1, max_size=8)


def written(tmp_path, text, name="file"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def sentence(*tags, line=1):
    return TaggedSentence(tuple(f"word{i}" for i in range(len(tags))), tags, line)


@pytest.mark.slow
@given(tagged)
def test_accuracy_is_the_share_of_all_words_that_are_right(sentences):
    predictions = [[tag for tag, _ in sentence] for sentence in sentences]
    references = [[gold for _, gold in sentence] for sentence in sentences]
    metric = TagAccuracy()
    counts = metric.counts(predictions, references)
    assert counts.shape == (len(sentences), 2)
    plain = accuracy_score(sum(references, []), sum(predictions, []))
    assert metric.of_counts(counts.sum(axis=0))["accuracy"] == pytest.approx(plain)


def test_the_metric_computes_as_an_evaluate_module():
    scores = TagAccuracy().compute(predictions=[["N", "V"], ["X"]], references=[["N", "N"], ["X"]])
    assert scores == pytest.approx({"accuracy": 2 / 3})


def test_a_tag_too_few_is_no_miss_but_an_error():
    with pytest.raises(ValueError, match="longer"):
        TagAccuracy().counts([["N"]], [["N", "V"]])


def test_universal_tags_are_those_of_words_not_of_surface_tokens(tmp_path):
    assert UPOSTagging().read(written(tmp_path, TREEBANK)) == [
        TaggedSentence(("Hunde", "in", "dem", "Park", "."), ("NOUN", "ADP", "DET", "NOUN", "PUNCT"), 1),
        TaggedSentence(("Ja",), ("INTJ",), 10),
    ]


@pytest.mark.parametrize("tag", ["_", "CONJ", "noun"])
def test_a_word_without_a_universal_tag_is_refused(tmp_path, tag):
    path = written(tmp_path, TREEBANK.replace("INTJ", tag))
    with pytest.raises(
        InputError, match=rf"the word 'Ja' with the tag '{tag}' in the sentence at line 10; expected one of ADJ"
    ):
        UPOSTagging().read(path)


def test_universal_tags_need_not_all_be_in_training():
    task = UPOSTagging()
    labels = task.labels([sentence("NOUN", "VERB")], {"test": [sentence("SYM")]})
    assert labels == UPOS == tuple(sorted(UPOS))
    assert len(labels) == 17


def test_tags_of_conll_files_are_taken_as_they_are(tmp_path):
    task = POS()
    train = task.read(written(tmp_path, "di\tB-PPO\nsini\tB-PRN\n\nbuku\tB-NNO\n"))
    assert train == [
        TaggedSentence(("di", "sini"), ("B-PPO", "B-PRN"), 1),
        TaggedSentence(("buku",), ("B-NNO",), 4),
    ]
    assert task.labels(train, {"dev": train}) == ("B-NNO", "B-PPO", "B-PRN")


def test_a_tag_that_training_lacks_is_refused():
    with pytest.raises(InputError, match="The dev examples") as refused:
        POS().labels([sentence("N", "V")], {"dev": [sentence("N", "X", line=7)]})
    assert (refused.value.value, refused.value.line, refused.value.expected) == ("X", 8, "one of N, V")


def test_a_single_tag_is_refused():
    with pytest.raises(InputError, match="nothing to tell apart"):
        POS().labels([sentence("N", "N")], {})


def test_a_word_is_tagged_by_the_state_of_its_first_piece():
    tokenizer = tiny.tokenizer("en", "wordpiece")
    examples = [sentence("V", "N", "N"), sentence("N")]
    encoded = POS().encode(examples, ("N", "V"), tokenizer, 8)
    assert [one.gold["tags"].tolist() for one in encoded] == [[1, 0, 0], [0]]
    assert [one.picked for one in encoded] == [3, 1]
    for one, (windows, picks) in zip(encoded, encode_words([e.words for e in examples], tokenizer, 8), strict=True):
        np.testing.assert_equal((one.windows, one.picks), (windows, picks))


def batch(lengths=(4, 2, 5), width=8, classes=3, padding=0):
    """States, mask and gold tags of sentences, padded with noise and more of it."""
    torch.manual_seed(0)
    states = torch.randn(len(lengths), max(lengths), width)
    gold = torch.randint(classes, states.shape[:2])
    states = torch.cat([states, torch.full((len(lengths), padding, width), 100.0)], dim=1)
    mask = torch.arange(states.shape[1])[None] < torch.tensor(lengths)[:, None]
    gold = torch.nn.functional.pad(gold, (0, padding)).masked_fill(~mask, IGNORED)
    torch.manual_seed(1)
    return TaggingHead(width, classes).eval(), states, mask, gold


def test_the_loss_is_the_mean_over_words():
    head, states, mask, gold = batch()
    plain = [
        -head.scores(states[i, j]).log_softmax(-1)[gold[i, j]] for i, n in enumerate(mask.sum(1)) for j in range(n)
    ]
    torch.testing.assert_close(head.loss(head(states, mask), mask, {"tags": gold}), torch.stack(plain).mean())


def test_padding_changes_nothing():
    results = []
    for padding in (0, 4):
        head, states, mask, gold = batch(padding=padding)
        scores = head(states, mask)
        results.append((head.loss(scores, mask, {"tags": gold}), head.decode(scores, mask)))
    torch.testing.assert_close(results[0][0], results[1][0])
    np.testing.assert_equal(results[0][1], results[1][1])
    assert [len(answer) for answer in results[0][1]] == [4, 2, 5]


@pytest.mark.slow
def test_a_head_learns_a_handful_of_states():
    head, states, mask, gold = batch(width=16)
    adam = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(200):
        adam.zero_grad()
        head.loss(head(states, mask), mask, {"tags": gold}).backward()
        adam.step()
    labels = ("N", "V", "X")
    examples = [sentence(*(labels[i] for i in row[row != IGNORED])) for row in gold]
    task = POS()
    answers = head.decode(head(states, mask), mask)
    predictions = [task.prediction(*pair, labels) for pair in zip(examples, examples, answers, strict=True)]
    references = [task.reference(example) for example in examples]
    assert references == [list(example.tags) for example in examples]
    assert task.metric(labels).compute(predictions=predictions, references=references) == {task.headline: 1}

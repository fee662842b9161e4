"""Question answering: contexts are read whole, whatever their length, and the best span is found."""

import gzip
import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.question_answering import (
    LONGEST_ANSWER,
    Answer,
    Question,
    QuestionAnswering,
    SpanHead,
    is_han,
)
from hf_xlt.evaluation.tasks.task import IGNORED
from hf_xlt.sample import sentences

TASK = QuestionAnswering()
FAMILIES = ("wordpiece", "unigram", "byte-level-bpe")
CONTEXT = " ".join(sentences("de", "held_out")[:12]) + " 北京 é 🙂 ende."
ROOMY = 10_000


def question(start=0, end=5, context=CONTEXT, text="Wer?"):
    return Question(text, context, (Answer(context[start:end], start),), "here")


def encode(example, family="wordpiece", longest=ROOMY):
    return TASK.encode([example], (), tiny.tokenizer("de", family), longest)[0]


class TestWindows:
    @settings(max_examples=40)
    @given(st.sampled_from(FAMILIES), st.integers(0, 80), st.integers(0, len(CONTEXT) - 20))
    @pytest.mark.slow
    def test_every_token_of_the_context_is_picked_once_in_order_where_most_is_around_it(self, family, extra, start):
        example = question(context=CONTEXT[start:], end=1)
        whole = encode(example, family)
        (ids,), (of_context,) = whole.windows, whole.picks
        before, after = ids[: of_context[0]], ids[of_context[-1] + 1 :]
        longest = len(before) + len(after) + 2 + extra
        cut = encode(example, family, longest)

        picked = np.concatenate([w[p] for w, p in zip(cut.windows, cut.picks, strict=True)])
        np.testing.assert_array_equal(picked, ids[of_context])
        np.testing.assert_array_equal(cut.offsets, whole.offsets)
        assert cut.picked == len(cut.offsets)

        ranges, done = [], 0
        for window, picks in zip(cut.windows, cut.picks, strict=True):
            assert len(window) <= longest
            np.testing.assert_array_equal(window[: len(before)], before)
            np.testing.assert_array_equal(window[len(window) - len(after) :], after)
            first = done - (picks[0] - len(before))
            ranges.append((first, first + len(window) - len(before) - len(after) - 1))
            done += len(picks)
        owners = np.repeat(np.arange(len(cut.picks)), list(map(len, cut.picks)))
        for token, owner in enumerate(owners):
            around = [min(token - first, last - token) for first, last in ranges]
            assert around[owner] == max(around)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_what_fits_is_one_window_as_the_tokenizer_pairs_it(self, family):
        tokenizer = tiny.tokenizer("de", family)
        ids = tokenizer("Wer?", CONTEXT)["input_ids"]
        (window,) = encode(question(), family, len(ids)).windows
        assert window.tolist() == ids
        assert len(encode(question(), family, len(ids) - 1).windows) == 2

    def test_a_batch_is_encoded_as_its_examples_are(self):
        examples = [question(context=CONTEXT[:60]), question(text="Wo ist es?"), question(10, 30)]
        together = TASK.encode(examples, (), tiny.tokenizer("de", "wordpiece"), 40)
        for example, encoded in zip(examples, together, strict=True):
            alone = encode(example, longest=40)
            assert [w.tolist() for w in encoded.windows] == [w.tolist() for w in alone.windows]
            assert [p.tolist() for p in encoded.picks] == [p.tolist() for p in alone.picks]
            assert encoded.gold == alone.gold


class TestGold:
    @given(st.sampled_from(FAMILIES), st.integers(0, len(CONTEXT) - 1), st.integers(1, 60))
    def test_it_is_the_fewest_tokens_that_cover_the_answer(self, family, start, length):
        while CONTEXT[start].isspace():
            start += 1
        answer = CONTEXT[start : start + length].rstrip()
        encoded = encode(question(start, start + len(answer)), family, 40)
        first, last = int(encoded.gold["first"]), int(encoded.gold["last"])
        begins, ends = encoded.offsets[:, 0], encoded.offsets[:, 1]
        assert begins[first] <= start
        assert ends[last] >= start + len(answer)
        assert ends[first] > start
        assert begins[last] < start + len(answer)
        example = question(start, start + len(answer))
        assert answer in TASK.prediction(example, encoded, (first, last), ())
        assert TASK.reference(example) == {"texts": [answer], "han": False}

    def test_it_is_the_first_answer_and_scores_are_over_all(self):
        answers = (Answer(CONTEXT[5:9], 5), Answer(CONTEXT[30:40], 30))
        example = Question("Wer?", CONTEXT, answers, "here")
        assert encode(example).gold == encode(question(5, 9)).gold
        assert TASK.reference(example)["texts"] == [CONTEXT[5:9], CONTEXT[30:40]]

    def test_an_answer_that_no_token_covers_is_not_learned(self):
        context = "ein \x01 wort"
        assert {int(place) for place in encode(question(4, 5, context)).gold.values()} == {IGNORED}


@pytest.mark.parametrize(
    ("text", "han"),
    [
        ("北京是中国的首都。", True),
        ("NBA球员 Stephen Curry 来自", True),
        ("the name (北京) of a city", False),
        ("123", False),
    ],
)
def test_chinese_is_told_by_its_share_of_letters(text, han):
    assert is_han(text) == han


def scores_of(draw, b, n, lengths):
    mask = torch.arange(n) < torch.tensor(lengths)[:, None]
    scores = torch.randint(-6, 7, (b, n, 2), generator=draw).float()
    return scores.masked_fill(~mask[..., None], -torch.inf), mask


class TestHead:
    @given(st.lists(st.integers(1, 80), min_size=1, max_size=4), st.integers(0, 10_000))
    @pytest.mark.slow
    def test_the_best_span_is_that_of_all_pairs(self, lengths, seed):
        draw = torch.Generator().manual_seed(seed)
        scores, mask = scores_of(draw, len(lengths), max(lengths), lengths)
        answers = SpanHead(4).decode(scores, mask)
        for row, length, (first, last) in zip(scores, lengths, answers, strict=True):
            pairs = [(i, j) for i in range(length) for j in range(i, min(i + LONGEST_ANSWER, length))]
            assert (first, last) in pairs
            assert row[first, 0] + row[last, 1] == max(float(row[i, 0] + row[j, 1]) for i, j in pairs)

    def test_padding_changes_nothing(self):
        torch.manual_seed(0)
        head = SpanHead(6)
        states, gold = torch.randn(2, 7, 6), {"first": torch.tensor([2, 0]), "last": torch.tensor([4, 6])}
        padded = torch.cat([states, 50 * torch.randn(2, 9, 6)], dim=1)
        plain, mask = torch.ones(2, 7, dtype=torch.bool), torch.arange(16).expand(2, 16) < 7
        scores, wide = head(states, plain), head(padded, mask)
        assert head.decode(scores, plain) == head.decode(wide, mask)
        torch.testing.assert_close(head.loss(scores, plain, gold), head.loss(wide, mask, gold))
        head.loss(wide, mask, gold).backward()
        assert head.ends.weight.grad.isfinite().all()

    def test_the_loss_is_the_mean_cross_entropy_of_first_and_last(self):
        scores, mask = scores_of(torch.Generator().manual_seed(1), 3, 9, [9, 5, 7])
        gold = {"first": torch.tensor([3, 1, IGNORED]), "last": torch.tensor([8, 1, IGNORED])}
        likelihoods = scores.softmax(dim=1)
        expected = [likelihoods[i, int(gold[name][i]), j] for i in (0, 1) for j, name in enumerate(("first", "last"))]
        torch.testing.assert_close(SpanHead(4).loss(scores, mask, gold), -torch.stack(expected).log().mean())
        none = {name: torch.full((3,), IGNORED) for name in gold}
        assert SpanHead(4).loss(scores, mask, none) == 0

    @pytest.mark.slow
    def test_it_learns_given_states_by_heart(self):
        torch.manual_seed(0)
        states, mask = torch.randn(5, 20, 32), torch.arange(20) < torch.tensor([[20], [12], [18], [9], [20]])
        spans = [(3, 9), (0, 0), (16, 17), (2, 8), (19, 19)]
        gold = {
            name: torch.tensor(ends) for name, ends in zip(("first", "last"), zip(*spans, strict=True), strict=True)
        }
        head = SpanHead(32)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            head.loss(head(states, mask), mask, gold).backward()
            optimizer.step()
        assert head.decode(head(states, mask), mask) == spans


def squad(*contexts):
    """A file of one article a context, whose answer is each context's first word."""
    records = [
        {
            "context": c,
            "qas": [{"id": "x", "question": "What?", "answers": [{"text": c.split()[0], "answer_start": 0}]}],
        }
        for c in contexts
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [record]} for record in records]}


def written(tmp_path, content):
    path = tmp_path / "questions.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


class TestReading:
    def test_questions_come_in_order_plain_or_gzipped(self, tmp_path):
        path = written(tmp_path, squad("One two", "北京 three"))
        first, second = TASK.read(str(path))
        assert first == Question("What?", "One two", (Answer("One", 0),), f"{path}, article 1, paragraph 1, question 1")
        assert second.answers == (Answer("北京", 0),)
        packed = tmp_path / "questions.json.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert [q.context for q in QuestionAnswering().read(str(packed))] == ["One two", "北京 three"]

    def test_paragraphs_are_chosen_by_number(self, tmp_path):
        path = written(tmp_path, squad(*"abcdef"))
        parts = [QuestionAnswering().read(f"{path}#{part}") for part in ("1-2", "3-3", "4-6")]
        assert [[q.context for q in part] for part in parts] == [["a", "b"], ["c"], ["d", "e", "f"]]
        assert sum(map(len, parts)) == len(QuestionAnswering().read(str(path)))
        assert all(one != other for one, other in pairwise(parts))

    @pytest.mark.parametrize("part", ["0-2", "2-1", "1-7", "7-7"])
    def test_paragraphs_that_are_not_there_are_refused(self, tmp_path, part):
        path = written(tmp_path, squad(*"abcdef"))
        with pytest.raises(InputError, match="asks for paragraphs .*has 1 to 6"):
            QuestionAnswering().read(f"{path}#{part}")

    @pytest.mark.parametrize("part", ["#3", "#1-", "#a-b", "#1-2#3-4", "#"])
    def test_a_place_that_is_none_is_refused(self, part):
        with pytest.raises(InputError, match=r"expected PATH or PATH#FIRST-LAST"):
            QuestionAnswering().read(f"questions.json{part}")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("", "is not JSON at line 1"),
            ('{"data":\n [}', "is not JSON at line 2"),
            ([], "no 'data' that is a list"),
            ({"data": []}, "has no questions"),
            ({"data": [{"title": "t"}]}, "article 1: no 'paragraphs'"),
            ({"data": [{"paragraphs": [{"qas": []}]}]}, "article 1, paragraph 1: no 'context' that is a str"),
            ({"data": [{"paragraphs": [{"context": "c"}]}]}, "article 1, paragraph 1: no 'qas'"),
        ],
    )
    def test_a_file_that_is_no_squad_is_refused(self, tmp_path, content, message):
        with pytest.raises(InputError, match=message):
            QuestionAnswering().read(str(written(tmp_path, content)))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"answers": [{"text": "two", "answer_start": 3}]}, "'two' is not at character 3 .* where ' tw' is"),
            ({"answers": [{"text": "two", "answer_start": -3}]}, "'two' is not at character -3"),
            ({"answers": [{"text": "two", "answer_start": 99}]}, "'two' is not at character 99"),
            ({"answers": [{"text": " ", "answer_start": 3}]}, "an answer is empty"),
            ({"answers": [{"text": "two"}]}, "no 'answer_start' that is a int"),
            ({"answers": [{"answer_start": 3}]}, "no 'text' that is a str"),
            ({"answers": []}, "has no answer; expected SQuAD 1.1"),
            ({"answers": None}, "no 'answers' that is a list"),
            ({"question": 3}, "no 'question' that is a str"),
        ],
    )
    def test_a_question_that_cannot_be_used_is_refused_with_its_place(self, tmp_path, change, message):
        file = squad("One two", "One two three")
        file["data"][1]["paragraphs"][0]["qas"][0].update(change)
        with pytest.raises(InputError, match=f"article 2, paragraph 1, question 1.*{message}"):
            QuestionAnswering().read(str(written(tmp_path, file)))

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="is not a file"):
            QuestionAnswering().read(str(tmp_path / "none.json#1-2"))


class TestRefusals:
    def test_a_question_as_long_as_the_model_reads(self):
        with pytest.raises(InputError, match="here: the question has .* leaves no room for the context"):
            encode(question(text="Wer? " * 30), longest=32)

    def test_a_context_of_which_the_tokenizer_reads_nothing(self):
        with pytest.raises(InputError, match="reads nothing of the context"):
            encode(question(context="\x01\x02", end=1))

    def test_a_tokenizer_without_offsets(self):
        with pytest.raises(InputError, match="cannot tell where its tokens stand"):
            TASK.encode([question()], (), SimpleNamespace(is_fast=False), ROOMY)


def test_there_are_no_labels_to_tell_apart_and_the_headline_is_a_score():
    assert TASK.labels([question()], {"test": [question()]}) == ()
    scores = TASK.metric(()).of_counts(np.ones(3))
    assert TASK.headline in scores
    assert isinstance(TASK.head(8, ()), SpanHead)

"""Extractive question answering: the answer is a span of the context."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import HAN, AnswerOverlap, Reference
from hf_xlt.evaluation.tasks.data import Records
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, SupervisedTask, TaskHead
from hf_xlt.files.text import json_value, text_lines

LONGEST_ANSWER = 30  # tokens, as in BERT's run_squad
BATCH = 1000
HAN_SHARE = 0.2  # of a context's letters; of XQuAD's paragraphs the lowest in Chinese is 0.48, the highest else 0.01
_PLACE = re.compile(r"(?P<path>[^#]+)(?:#(?P<first>[0-9]{1,9})-(?P<last>[0-9]{1,9}))?")
_BROKEN = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class EncodedContext(Encoded):
    """A question with its context; the states picked are those of the context's tokens, in order."""

    offsets: np.ndarray = field(kw_only=True)  # int64 (n, 2), where its tokens begin and end in the context


@dataclass(frozen=True)
class Answer:
    """An answer as it stands in the context, from character `start` on."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question about a context that holds its answers."""

    text: str
    context: str
    answers: tuple[Answer, ...]
    where: str


class QuestionAnswering(SupervisedTask[Question]):
    """Find the answer to a question in a paragraph (SQuAD 1.1, XQuAD)."""

    name = "question-answering"
    headline = "f1"
    summary = "Answers found in paragraphs: exact match and F1 (SQuAD 1.1 or XQuAD, PATH or PATH#FIRST-LAST)."

    def read(self, place: str) -> list[Question]:
        """The questions at `PATH` or `PATH#FIRST-LAST`, of which only some paragraphs count, from 1 over the whole.

        The path is a JSON file of SQuAD 1.1, packed or not, or rows with `question`, `context` and `answers` (.jsonl,
        .parquet, a dataset of the Hub). Files of XQuAD hold translations of the same paragraphs, so paragraphs to learn
        from and to be asked about are told apart by their numbers. What is no such file, lacks the paragraphs or has no
        questions, and an answer that is not at its place in the context raise InputError, with article, paragraph (in
        its article) and question.
        """
        if (match := _PLACE.fullmatch(place)) is None:
            expected = "PATH or PATH#FIRST-LAST, e.g. xquad.json#1-192"
            raise InputError(f"{place!r} is no place of questions", value=place, expected=expected)
        path = match["path"]
        paragraphs = list(_paragraphs(path))
        first, last = int(match["first"] or 1), int(match["last"] or len(paragraphs))
        if match["first"] and not 1 <= first <= last <= len(paragraphs):
            problem = f"{place!r} asks for paragraphs {first} to {last}; {path} has 1 to {len(paragraphs)}."
            raise InputError(problem, value=place, path=path)
        questions = [
            question for where, record in paragraphs[first - 1 : last] for question in _questions(record, where)
        ]
        if not questions:
            raise InputError(f"{place} has no questions", expected="SQuAD 1.1", path=path)
        return questions

    def labels(self, train: Sequence[Question], others: Mapping[str, Sequence[Question]]) -> tuple[str, ...]:
        """None: an answer is a place, not a label."""
        return ()

    def encode(
        self, examples: Sequence[Question], labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> list[Encoded]:
        """Question and context as a pair; a long context in windows that overlap by half, the question in each.

        A token of the context is picked in the window that shows most of what is around it (BERT's rule of maximum
        context). The gold answer is the first; where tokens do not end as it does, the fewest tokens that cover it.
        """
        if not tokenizer.is_fast:
            raise InputError("This tokenizer cannot tell where its tokens stand in a text; a fast one can.")
        batches = (examples[i : i + BATCH] for i in range(0, len(examples), BATCH))
        return [encoded for batch in batches for encoded in _encoded(batch, tokenizer, max_length)]

    def head(self, width: int, labels: Sequence[str]) -> "SpanHead":
        return SpanHead(width)

    def metric(self, labels: Sequence[str] = ()) -> AnswerOverlap:
        return AnswerOverlap()

    def prediction(self, example: Question, encoded: Encoded, answer: tuple[int, int], labels: Sequence[str]) -> str:
        """The text from the first to the last token of the answer."""
        offsets = cast(EncodedContext, encoded).offsets
        return example.context[offsets[answer[0], 0] : offsets[answer[1], 1]].strip()

    def reference(self, example: Question) -> Reference:
        """The right answers; they are compared by characters where a fifth of the context's letters or more are Han."""
        return Reference(texts=[answer.text for answer in example.answers], han=is_han(example.context))


class SpanHead(TaskHead):
    """How much each token looks like the first and the last of the answer (Devlin et al. 2019, §4.2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ends = nn.Linear(width, 2)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Scores `(b, n, 2)` of being first and last; those of padding are `-inf`."""
        return self.ends(states).masked_fill(~mask[..., None], -torch.inf)

    def loss(self, scores: Tensor, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy of first and last token over the whole context, where some token covers the answer."""
        wanted = torch.stack([gold["first"], gold["last"]], dim=1).flatten()
        every = scores.transpose(1, 2).flatten(0, 1)
        loss = functional.cross_entropy(every, wanted, ignore_index=IGNORED, reduction="sum")
        return loss / (wanted != IGNORED).sum().clamp(min=1)

    def decode(self, scores: Tensor, mask: Tensor) -> list[tuple[int, int]]:
        """First and last token of the span of at most `LONGEST_ANSWER` tokens whose two scores add up to most."""
        following = functional.pad(scores[..., 1], (0, LONGEST_ANSWER - 1), value=-torch.inf)
        spans = scores[..., :1] + following.unfold(1, LONGEST_ANSWER, 1)  # (b, n, LONGEST_ANSWER)
        best = spans.flatten(1).argmax(dim=1)
        first = best // LONGEST_ANSWER
        return list(zip(first.tolist(), (first + best % LONGEST_ANSWER).tolist(), strict=True))


def is_han(text: str) -> bool:
    """Whether a text is in Chinese, by the share of Han characters among its letters."""
    return len(HAN.findall(text)) >= HAN_SHARE * max(1, sum(map(str.isalpha, text)))


def _encoded(
    batch: Sequence[Question], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Iterator[EncodedContext]:
    pairs = tokenizer(
        [question.text for question in batch],
        [question.context for question in batch],
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    for row, question in enumerate(batch):
        ids = np.array(pairs["input_ids"][row], dtype=np.int32)
        of_context = np.array([part == 1 for part in pairs.sequence_ids(row)])
        if not of_context.any():
            raise InputError(f"{question.where}: the tokenizer reads nothing of the context. Choose another tokenizer.")
        windows, picks = _windows(ids, np.flatnonzero(of_context), max_length, question)
        offsets = np.array(pairs["offset_mapping"][row], dtype=np.int64)[of_context]
        start, end = question.answers[0].start, question.answers[0].start + len(question.answers[0].text)
        covering = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < end))
        ends = (covering[0], covering[-1]) if len(covering) else (IGNORED, IGNORED)
        gold = {name: np.array(place, dtype=np.int64) for name, place in zip(("first", "last"), ends, strict=True)}
        yield EncodedContext(windows, picks, gold, offsets=offsets)


def _windows(
    ids: np.ndarray, context: np.ndarray, max_length: int, question: Question
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Windows on a pair, what is before and after the context around each, and which of its tokens each is to give."""
    n, before, after = len(context), ids[: context[0]], ids[context[-1] + 1 :]
    room = max_length - len(before) - len(after)
    if room < 2:
        raise InputError(
            f"{question.where}: the question has {len(before) + len(after)} of {max_length} tokens that the model "
            "reads at once, which leaves no room for the context",
            value=question.text,
            hint="Shorten it.",
        )
    starts = np.unique(np.minimum(np.arange(0, n, room // 2), max(0, n - room)))
    ends = np.minimum(starts + room, n)
    tokens = np.arange(n)
    around = np.minimum(tokens - starts[:, None], ends[:, None] - 1 - tokens)  # below 0 outside the window
    owner = around.argmax(axis=0)
    parts = [ids[context[0] + start : context[0] + end] for start, end in zip(starts, ends, strict=True)]
    windows = tuple(np.concatenate([before, part, after]) for part in parts)
    picks = tuple(np.flatnonzero(owner == i) - start + len(before) for i, start in enumerate(starts))
    return windows, picks


def _paragraphs(path: str) -> Iterator[tuple[str, Any]]:
    """Where each paragraph is, and its record as in SQuAD."""
    if (records := Records.at(path)) is not None:
        for number, (question, context, answers) in records.rows("question", "context", "answers"):
            asked = [{"question": question, "answers": _listed(answers)}]
            yield f"{path}, row {number}", {"context": context, "qas": asked}
        return
    file = json_value("\n".join(text_lines(path)), path)
    for a, article in enumerate(_field(file, "data", list, path), start=1):
        records_there = _field(article, "paragraphs", list, f"{path}, article {a}")
        yield from ((f"{path}, article {a}, paragraph {p}", record) for p, record in enumerate(records_there, start=1))


def _listed(answers: Any) -> Any:
    """Answers one by one, where a row has a list of texts and one of places."""
    texts, starts = (answers.get(key) if isinstance(answers, dict) else None for key in ("text", "answer_start"))
    if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
        return answers
    return [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]


def _questions(record: Any, where: str) -> Iterator[Question]:
    context = _field(record, "context", str, where)
    for q, question in enumerate(_field(record, "qas", list, where), start=1):
        here = f"{where}, question {q}"
        answers = tuple(_answer(answer, context, here) for answer in _field(question, "answers", list, here))
        if not answers:
            raise InputError(f"{here} has no answer", expected="SQuAD 1.1, where every question has one")
        yield Question(_field(question, "question", str, here), context, answers, here)


def _answer(record: Any, context: str, where: str) -> Answer:
    text, start = _field(record, "text", str, where), _field(record, "answer_start", int, where)
    if not text.strip():
        raise InputError(f"{where}: an answer is empty", expected="some text of the context")
    if start < 0 or not context.startswith(text, start):
        there = context[max(start, 0) : max(start, 0) + len(text)]
        raise InputError(
            f"{where}: the answer {text!r} is not at character {start} of the context, where {there!r} is; "
            "answer_start counts Unicode characters from 0."
        )
    return Answer(text, start)


def _field(record: Any, key: str, kind: type, where: str) -> Any:
    value = record.get(key) if isinstance(record, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: no {key!r} that is a {kind.__name__}", expected="SQuAD 1.1")
    if isinstance(value, str) and not value.isprintable() and _BROKEN.search(value):
        raise InputError(f"{where}: {key!r} holds NUL or half of a surrogate pair", expected="text", hint="Remove it.")
    return value

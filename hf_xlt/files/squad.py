"""Questions about paragraphs as SQuAD 1.1 and XQuAD store them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hf_xlt.errors import InputError
from hf_xlt.files.text import json_value, text_lines

_PLACE = re.compile(r"(?P<path>[^#]+)(?:#(?P<first>[0-9]{1,9})-(?P<last>[0-9]{1,9}))?")

_BROKEN = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Answer:
    """An answer as it stands in the context, from character `start` on."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question about a context that holds its answers.

    Args:
        text: The question.
        context: The paragraph.
        answers: One or more.
        where: Where in its file it is, for messages.
    """

    text: str
    context: str
    answers: tuple[Answer, ...]
    where: str


def read_questions(place: str) -> list[Question]:
    """The questions of a file.

    Args:
        place: `PATH` or `PATH#FIRST-LAST`, a JSON file of SQuAD 1.1, gzipped if its name ends in `.gz`; and of that
            only some paragraphs, counted from 1 over the whole file. Files of XQuAD hold translations of the same
            paragraphs, so paragraphs to learn from and to be asked about are told apart by their numbers.

    Raises:
        InputError: If the file cannot be read, is no SQuAD 1.1, lacks the paragraphs asked for or has no questions, or
            an answer is not at its place in the context; with article, paragraph (in its article) and question.
    """
    match = _PLACE.fullmatch(place)
    if match is None:
        raise InputError(
            f"{place!r} is no place of questions; expected PATH or PATH#FIRST-LAST, e.g. xquad.json#1-192."
        )
    path = match["path"]
    paragraphs = list(_paragraphs(_parsed(path), path))
    first, last = int(match["first"] or 1), int(match["last"] or len(paragraphs))
    if match["first"] and not 1 <= first <= last <= len(paragraphs):
        raise InputError(f"{place!r} asks for paragraphs {first} to {last}; {path} has 1 to {len(paragraphs)}.")
    questions = [question for where, record in paragraphs[first - 1 : last] for question in _questions(record, where)]
    if not questions:
        raise InputError(f"{place} has no questions; expected SQuAD 1.1.")
    return questions


def _parsed(path: str) -> Any:
    return json_value("\n".join(text_lines(path)), path)


def _paragraphs(file: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Where each paragraph is, and its record."""
    for a, article in enumerate(_field(file, "data", list, path), start=1):
        records = _field(article, "paragraphs", list, f"{path}, article {a}")
        yield from ((f"{path}, article {a}, paragraph {p}", record) for p, record in enumerate(records, start=1))


def _questions(record: Any, where: str) -> Iterator[Question]:
    context = _field(record, "context", str, where)
    for q, question in enumerate(_field(record, "qas", list, where), start=1):
        here = f"{where}, question {q}"
        answers = tuple(_answer(answer, context, here) for answer in _field(question, "answers", list, here))
        if not answers:
            raise InputError(f"{here} has no answer; expected SQuAD 1.1, where every question has one.")
        yield Question(_field(question, "question", str, here), context, answers, here)


def _answer(record: Any, context: str, where: str) -> Answer:
    text, start = _field(record, "text", str, where), _field(record, "answer_start", int, where)
    if not text.strip():
        raise InputError(f"{where}: an answer is empty; expected some text of the context.")
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
        raise InputError(f"{where}: no {key!r} that is a {kind.__name__}; expected SQuAD 1.1.")
    if isinstance(value, str) and not value.isprintable() and _BROKEN.search(value):
        raise InputError(f"{where}: {key!r} holds NUL or half of a surrogate pair; expected text. Remove it.")
    return value

"""Tasks written for lm-eval from a user's own files: a folder with the examples and a YAML file, read offline."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.data import Records, text_lines_of
from hf_xlt.files.place import Place
from hf_xlt.files.table import Table
from hf_xlt.files.text import check_text, fault

MULTIPLE_CHOICE, ROLLING, LANGUAGE_MODEL = "multiple-choice", "rolling-loglikelihood", "language-model"
NAMES = (MULTIPLE_CHOICE, ROLLING, LANGUAGE_MODEL)

_CHOICE_COLUMNS = ("question", "choices", "answer")
_CHOICE_SCORES = {"acc": True, "acc_norm": True}
_TEXT_SCORES = {"bits_per_byte": False, "byte_perplexity": False, "word_perplexity": False}


@dataclass(frozen=True)
class Choice:
    """A question with several answers, one of them right."""

    question: str
    choices: tuple[str, ...]
    answer: int  # the place of the right choice, from 0


def read_choices(place: str) -> list[Choice]:
    """The questions of a file or dataset.

    Rows of .jsonl, .parquet or a dataset of the Hub have the columns `question`, `choices` (a list of texts) and
    `answer`: the place of the right choice, from 0, or its text. Other names are given as
    `FILE:question,choices,answer`; a fourth names a text that is read before the question. Lines of any other table
    have the question, the text of the right choice, and all choices, which the right one is among; or the columns
    named so, in that order.

    Raises:
        InputError: If the file cannot be read, has other columns or no rows, a question or a choice is empty, there
            are fewer than two choices or one twice, or the answer is none of them.
    """
    records = Records.at(place)
    rows = _table_rows(place) if records is None else _record_rows(place, records)
    found = [_choice(place, *row) for row in rows]
    if not found:
        raise InputError(f"{place} has no questions", value=place, expected="a question and its choices in each row")
    return found


def _record_rows(place: str, records: Records) -> Iterator[tuple[int, str, Any, Any]]:
    with_context = len(records.columns) == len(_CHOICE_COLUMNS) + 1
    for number, (question, choices, answer, *context) in records.rows(*_CHOICE_COLUMNS, *["context"] * with_context):
        parts = [*context, question]
        if wrong := [part for part in parts if not isinstance(part, str)]:
            raise fault(place, number, "has no text to ask", unit="row", value=wrong[0], expected="a text")
        yield number, "\n".join(parts), choices, answer


def _table_rows(place: str) -> Iterator[tuple[int, str, Any, Any]]:
    local = Place.at(os.path.expanduser(place))
    columns = local.columns or next(Table.of(local.path).rows(), (1, [""]))[1]
    for number, (question, answer, *choices) in local.rows(max(len(columns), len(_CHOICE_COLUMNS) + 1)):
        yield number, question, choices, answer


def _choice(place: str, number: int, question: str, choices: Any, answer: Any) -> Choice:
    def wrong(what: str, value: Any, expected: str) -> InputError:
        return fault(place, number, what, unit="row", value=value, expected=expected)

    if not isinstance(choices, list | tuple) or not all(isinstance(choice, str) for choice in choices):
        raise wrong(f"has {type(choices).__name__} for its choices", choices, "a list of texts")
    texts = tuple(check_text(choice.strip(), place, number, "row") for choice in choices)
    if len(texts) < 2 or "" in texts or len(set(texts)) < len(texts):
        raise wrong("has choices that cannot be told apart", texts, "two or more different ones, none of them empty")
    if not question.strip():
        raise wrong("has an empty question", question, "a text")
    if isinstance(answer, str) and answer.strip() in texts:
        answer = texts.index(answer.strip())
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(texts):
        raise wrong("names no right choice", answer, f"the text of one, or a number from 0 to {len(texts) - 1}")
    return Choice(check_text(question.strip(), place, number, "row"), texts, answer)


def rows_of(name: str, place: str) -> list[dict[str, Any]]:
    """The examples of a local task, read from a file or dataset, as lm-eval gets them.

    Texts are read line by line. In "language-model" the end of a line is part of it: what it is read as is a token to
    predict, and a byte. Files that cannot be used raise InputError.
    """
    if name == MULTIPLE_CHOICE:
        return [
            {"question": choice.question, "choices": list(choice.choices), "answer": choice.answer}
            for choice in read_choices(place)
        ]
    end = "\n" if name == LANGUAGE_MODEL else ""
    rows = [{"text": line + end} for line in text_lines_of(place)]
    if not rows:
        raise InputError(f"{place} has no text", value=place, expected="a line or more of text")
    return rows


def write_task(name: str, rows: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Write a local task to an empty folder, which is then one of `include_path`; the path of its YAML file.

    `test.jsonl` has the examples, an object a line; `NAME.yaml` says how they are asked. Nothing of it needs a network,
    and what lm-eval caches stays in the folder.
    """
    examples = folder / "test.jsonl"
    examples.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    kind = (
        {"output_type": "multiple_choice", "doc_to_text": "question", "doc_to_choice": "choices",
         "doc_to_target": "answer"}
        if name == MULTIPLE_CHOICE
        else {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "text"}
    )  # fmt: skip
    scores = _CHOICE_SCORES if name == MULTIPLE_CHOICE else _TEXT_SCORES
    aggregations = {"bits_per_byte": "bits_per_byte"} | dict.fromkeys(scores.keys() & _CHOICE_SCORES.keys(), "mean")
    settings = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(examples)}, "cache_dir": str(folder / "cache")},
        "test_split": "test",
        **kind,
        "num_fewshot": 0,
        "metric_list": [
            {
                "metric": score,
                "aggregation": aggregations.get(score, "weighted_perplexity"),
                "higher_is_better": higher,
            }
            for score, higher in scores.items()
        ],
        "metadata": {"version": 1},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path

"""A user's own files as mteb takes them: rows with the columns that it expects, or a folder as BEIR has it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.classification import Classification
from hf_xlt.evaluation.tasks.data import read_pairs, text_rows
from hf_xlt.files.table import Table
from hf_xlt.files.text import fault, json_lines

BITEXT, CLASSIFICATION, STS, RETRIEVAL = "bitext", "classification", "sts", "retrieval"

ROLES: Mapping[str, Mapping[str, bool]] = {
    BITEXT: {"test": True},
    CLASSIFICATION: {"train": True, "test": True},
    STS: {"test": True},
    RETRIEVAL: {"test": True},
}
"""Local task → its roles, all of which are needed."""

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels/test.tsv"

Rows = dict[str, list[dict[str, Any]]]
"""Split → rows with the columns that mteb has for a type of task."""


@dataclass(frozen=True)
class Collection:
    """Queries, the passages of a corpus, and which of these answer which query."""

    corpus: Mapping[str, Mapping[str, str]]  # id → `title` (may be empty) and `text`
    queries: Mapping[str, str]  # id → text
    relevant: Mapping[str, Mapping[str, int]]  # query's id → passage's id → how relevant, 0 for not at all

    @classmethod
    def read(cls, folder: str) -> "Collection":
        """Read a folder in the layout of BEIR (Thakur et al. 2021, arXiv:2104.08663).

        `corpus.jsonl` has objects with `_id`, `text` and perhaps `title`, `queries.jsonl` with `_id` and `text`, and
        `qrels/test.tsv` under a header row a query's id, a passage's id and a whole number. Queries that have no
        relevant passage are left out, as mteb leaves them out.

        Raises:
            InputError: If there is no such folder or file, an object has no id or no text, an id is there twice, a row
                names an id that is not there, or no query has a relevant passage.
        """
        place = Path(folder).expanduser()
        if missing := [name for name in (CORPUS, QUERIES, QRELS) if not (place / name).is_file()]:
            raise InputError(
                f"{folder} has no {missing[0]}",
                value=folder,
                expected=f"a folder with {CORPUS}, {QUERIES} and {QRELS}, as BEIR has them",
                path=folder,
            )
        corpus = {
            id_: {"title": str(row.get("title") or ""), "text": row["text"]} for id_, row in _objects(place / CORPUS)
        }
        queries = {id_: row["text"] for id_, row in _objects(place / QUERIES)}
        relevant = _relevant(place / QRELS, queries, corpus)
        return cls(corpus, {id_: text for id_, text in queries.items() if id_ in relevant}, relevant)


def _objects(path: Path) -> list[tuple[str, dict[str, Any]]]:
    found: dict[str, dict[str, Any]] = {}
    for number, row in json_lines(path):
        if not isinstance(row, dict) or not isinstance(row.get("_id"), str) or not isinstance(row.get("text"), str):
            raise fault(path, number, "has no object with _id and text", value=row, expected="both of them texts")
        if row["_id"] in found:
            raise fault(
                path,
                number,
                f"has the id {row['_id']!r} for the second time",
                value=row["_id"],
                expected="each id once",
            )
        if not f"{row.get('title') or ''}{row['text']}".strip():
            raise fault(path, number, "has an empty text", value=row["text"], expected="a text")
        found[row["_id"]] = row
    return list(found.items())


def _relevant(path: Path, queries: Mapping[str, Any], corpus: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    _, rows = Table.of(path).named()
    for number, cells in rows:
        if len(cells) != 3:
            raise fault(
                path, number, f"has {len(cells)} cells", value=cells, expected="a query, a passage and a number"
            )
        query, passage, score = cells
        for id_, known, name in ((query, queries, QUERIES), (passage, corpus, CORPUS)):
            if id_ not in known:
                raise fault(
                    path, number, f"names {id_!r}", f", which is not in {name}", value=id_, expected="an _id of it"
                )
        if not score.strip().isdecimal():
            raise fault(path, number, f"has the relevance {score!r}", value=score, expected="a whole number, 0 or more")
        judged.setdefault(query, {})[passage] = int(score)
    relevant = {query: passages for query, passages in judged.items() if any(passages.values())}
    if not relevant:
        raise InputError(f"{path} names no relevant passage", expected="a row with a relevance above 0", path=path)
    return relevant


def read_task(name: str, places: Mapping[str, str]) -> Rows | Collection:
    """What a local task is made of, from files or datasets by role, or from a folder.

    - `bitext`: translations, `sentence1` and `sentence2`, as `read_pairs` reads them.
    - `classification`: `text` and `label`, the number of the class among all in their order, as the task
      `classification` of hf_xlt reads them; every class must be among the training examples.
    - `sts`: `sentence1`, `sentence2` and `score`, the columns named or the first three.
    - `retrieval`: a `Collection`.

    Files that cannot be used raise InputError.
    """
    if name == BITEXT:
        return {"test": [{"sentence1": one, "sentence2": other} for one, other in read_pairs(places["test"]).pairs]}
    if name == CLASSIFICATION:
        return _classified(places)
    return {"test": _scored_pairs(places["test"])} if name == STS else Collection.read(places["test"])


def _classified(places: Mapping[str, str]) -> Rows:
    task = Classification()
    examples = {role: task.read(places[role]) for role in ("train", "test")}
    labels = task.labels(examples["train"], {"test": examples["test"]})
    return {
        role: [{"text": example.text, "label": labels.index(example.label)} for example in read]
        for role, read in examples.items()
    }


def _scored_pairs(place: str) -> list[dict[str, Any]]:
    rows = []
    for number, (*texts, score) in text_rows(place, "sentence1", "sentence2", "score"):
        if not all(text.strip() for text in texts):
            raise fault(
                place, number, "has an empty sentence", value=tuple(texts), expected="two sentences and a score"
            )
        try:
            value = float(score)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            what, hint = f"has the score {score!r}", "Name the columns behind a colon where there is a header row."
            raise fault(place, number, what, value=score, expected="a number", hint=hint)
        rows.append({"sentence1": texts[0].strip(), "sentence2": texts[1].strip(), "score": value})
    if len({row["score"] for row in rows}) < 2:
        raise InputError(
            f"{place} has {len(rows)} pairs, none of which has another score than the first",
            value=place,
            expected="pairs of sentences with different scores",
        )
    return rows

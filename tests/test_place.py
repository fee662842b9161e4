"""Where examples are: files, columns, rows."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.data import parse_data
from hf_xlt.files.place import Place

NAMES = st.text("abcdefg_1", min_size=1, max_size=6)


@given(NAMES, st.lists(NAMES, min_size=1, max_size=3, unique=True), NAMES, st.text("xyz ", max_size=4))
def test_a_place_is_parsed_into_what_it_was_written_from(path, columns, column, value):
    listed = ",".join(columns)
    assert Place.parse(path) == Place(path)
    assert Place.parse(f"{path}.tsv.gz:{listed}") == Place(f"{path}.tsv.gz", tuple(columns))
    assert Place.parse(f"{path}:{listed}@{column}={value}") == Place(path, tuple(columns), column, value)


def test_rows_are_those_of_the_value_and_cells_those_of_the_columns_in_order(tmp_path):
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b"split\ten\tde\ntrain\tone\teins\ntest\ttwo\tzwei\n\ntest\tthree\tdrei\n"))
    assert list(Place.parse(f"{path}:de,en@split=test").rows(2)) == [(3, ("zwei", "two")), (5, ("drei", "three"))]
    assert [cells for _, cells in Place.parse(f"{path}:en").rows(1)] == [("one",), ("two",), ("three",)]


def test_without_columns_there_is_no_header_row(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\tc\nd\te\n", encoding="utf-8")
    assert list(Place.parse(str(path)).rows(2)) == [(1, ("a", "b")), (2, ("d", "e"))]


def test_tables_of_other_forms_have_columns_too(tmp_path):
    (tmp_path / "t.csv").write_text('text,label\n"one, two",a\n"three\nfour",b\n', encoding="utf-8")
    assert list(Place.parse(f"{tmp_path}/t.csv:label,text").rows(2)) == [
        (2, ("a", "one, two")),
        (3, ("b", "three\nfour")),
    ]
    (tmp_path / "t.jsonl").write_text('{"label": 1, "text": "one"}\n{"text": "two", "label": 0}\n', encoding="utf-8")
    assert list(Place.parse(f"{tmp_path}/t.jsonl:text,label").rows(2)) == [(1, ("one", "1")), (2, ("two", "0"))]
    with pytest.raises(InputError, match=r"columns with names \(label, text\); expected 2 of them to be chosen"):
        list(Place.parse(f"{tmp_path}/t.jsonl").rows(2))


@pytest.mark.parametrize("names", ["en,en", "en, de"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, names):
    (tmp_path / "t.tsv").write_text("en\tde\tde\none\teins\tzwei\n", encoding="utf-8")
    with pytest.raises(InputError, match="names the same column twice|has several columns 'de'"):
        list(Place.parse(f"{tmp_path}/t.tsv:{names}").rows(2))


@pytest.mark.parametrize(
    ("place", "count", "message"),
    [
        ("{}:en,xx", 2, "has no column 'xx'; its header row names split, en"),
        ("{}:en,split@part=x", 2, "has no column 'part'"),
        ("{}:en", 2, "1 columns named, 2 expected"),
        ("{}:en,en", 2, "names the same column twice"),
        ("{}", 3, "line 1: 2 cells, 3 expected"),
        ("{}@split=train", 2, "expected PATH:column,column@column=value"),
        ("missing.tsv", 2, "missing.tsv is not a file"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, place, count, message):
    path = tmp_path / "t.tsv"
    path.write_text("split\ten\ntrain\tone\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        list(Place.parse(place.format(path)).rows(count))


def test_data_comes_from_options_and_files_and_what_is_later_rules(tmp_path):
    file = tmp_path / "tasks.yaml"
    file.write_text("upos:\n  train: en.conllu\n  test: de.conllu\n", encoding="utf-8")
    assert parse_data([str(file), "upos.test=other.conllu", "retrieval.test=a.tsv:en,de"]) == {
        "upos": {"train": str(tmp_path / "en.conllu"), "test": "other.conllu"},
        "retrieval": {"test": "a.tsv:en,de"},
    }


@pytest.mark.parametrize("given", ["upos", "upos=x", "upos.=x", "upos.test=", ".test=x"])
def test_data_that_names_no_task_role_and_file_is_refused(given):
    with pytest.raises(InputError, match=r"expected TASK\.ROLE=FILE"):
        parse_data([given])


@pytest.mark.parametrize("text", ["- a\n- b\n", "upos: de.conllu\n", "upos:\n  test: [1]\n"])
def test_a_data_file_of_another_shape_is_refused(tmp_path, text):
    file = tmp_path / "tasks.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="names of tasks, under each its roles"):
        parse_data([str(file)])

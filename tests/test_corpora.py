"""Corpora: every format gives the same lines; what cannot be read is refused; splits do not overlap."""

import bz2
import gzip
import json
import lzma

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus, Split

LINES = ["Der Zug fährt ab.", "Wo ist mein Schirm?", "今天下雨。", "Er sagte: „Ja“\u2028und ging."]


def as_txt(path):
    path.write_text("\n\n".join(f"  {line}\t" for line in LINES), encoding="utf-8")


def as_gzip(path):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(LINES) + "\n")


def as_jsonl(path):
    path.write_text("".join(json.dumps({"id": 1, "text": line}) + "\n" for line in LINES), encoding="utf-8")


def as_jsonl_of_documents(path):
    path.write_text(json.dumps({"text": "\n".join(LINES)}, ensure_ascii=False) + "\n\n", encoding="utf-8")


def as_parquet(path):
    Dataset.from_dict({"text": LINES, "id": list(range(len(LINES)))}).to_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.txt", as_txt),
        ("a.txt.gz", as_gzip),
        ("a.jsonl", as_jsonl),
        ("b.jsonl", as_jsonl_of_documents),
        ("a.parquet", as_parquet),
        ("A.TXT", as_txt),
        ("packed.txt", as_gzip),
        ("a.txt.bz2", lambda path: path.write_bytes(bz2.compress("\n".join(LINES).encode()))),
        ("a.txt.xz", lambda path: path.write_bytes(lzma.compress("\n".join(LINES).encode()))),
    ],
)
def test_every_format_gives_the_same_lines(tmp_path, name, write):
    write(tmp_path / name)
    assert list(Corpus(str(tmp_path / name)).lines()) == LINES


def test_a_corpus_can_be_read_twice(tmp_path):
    as_txt(tmp_path / "a.txt")
    corpus = Corpus(str(tmp_path / "a.txt"))
    assert list(corpus.lines()) == list(corpus.lines())


def test_a_byte_order_mark_is_not_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfEins\nZwei\n")
    assert list(Corpus(str(tmp_path / "a.txt")).lines()) == ["Eins", "Zwei"]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl"])
def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path, name):
    data = b'{"text": "gut"}\n{"text": "gr\xfc\xdfe"}\n'
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(InputError, match="not UTF-8 at line 2"):
        list(Corpus(str(tmp_path / name)).lines())


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"plain text", lambda data: data[:40]])
def test_a_damaged_gzip_file_is_refused(tmp_path, damage):
    as_gzip(tmp_path / "whole.txt.gz")
    (tmp_path / "a.txt.gz").write_bytes(damage((tmp_path / "whole.txt.gz").read_bytes()))
    with pytest.raises(InputError, match="cannot be read"):
        list(Corpus(str(tmp_path / "a.txt.gz")).lines())


def test_a_damaged_parquet_file_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="cannot be read"):
        list(Corpus(str(tmp_path / "a.parquet")).lines())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "not JSON at line 2"),
        ('{"content": "x"}', "line 2: no text in column 'text'; found content"),
        ('{"text": null}', "line 2: no text in column 'text'; found null there. Take such lines out"),
        ('{"text": 3}', "line 2: no text in column 'text'; found int there"),
        ('{"text": "half \\ud83d"}', "half of a surrogate pair .* at line 2"),
        ('{"text": "a\\u0000b"}', "NUL character at line 2"),
        ('{"text": "a", "text": "b"}', "'text' is there twice"),
        ('{"a":' * 3000, "nested too deeply at line 2"),
        ("[1]", "line 2: no text in column 'text'; found list"),
    ],
)
def test_a_bad_json_line_is_refused_with_its_number(tmp_path, line, message):
    (tmp_path / "a.jsonl").write_text('{"text": "gut"}\n' + line + "\n")
    with pytest.raises(InputError, match=message) as refused:
        list(Corpus(str(tmp_path / "a.jsonl")).lines())
    assert (refused.value.path, refused.value.line) == (tmp_path / "a.jsonl", 2)


def test_a_parquet_file_without_a_text_column_is_refused(tmp_path):
    Dataset.from_dict({"content": LINES}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="no text in column 'text'; found content"):
        list(Corpus(str(tmp_path / "a.parquet")).lines())


def test_missing_files_folders_unknown_formats_and_empty_files_are_refused(tmp_path):
    (tmp_path / "empty.txt").touch()
    for name in ("a.docx", "a.txt.zst", "named.txt.gz"):
        (tmp_path / name).write_text("x")
    (tmp_path / "packed.txt").write_bytes(b"\x28\xb5\x2f\xfd")
    for name, message in [
        ("none.txt", "is not a file"),
        ("", "is not a file"),
        ("empty.txt", "is empty"),
        ("a.docx", "unknown format; expected one of .txt, .txt.gz"),
        ("a.txt.zst", "unknown format; expected one of .txt, .txt.gz"),
        ("packed.txt", "packed with zstd"),
        ("named.txt.gz", "its name ends in .gz, but it is not whole gzip"),
        ("~nobody-of-that-name/a.txt", "is not a file"),
    ]:
        with pytest.raises(InputError, match=message):
            Corpus(str(tmp_path / name))


def test_a_hub_dataset_out_of_reach_is_refused():
    with pytest.raises(InputError, match="Corpus nobody/nothing cannot be read"):
        list(Corpus("nobody/nothing").lines())


@settings(deadline=None, max_examples=30)
@given(count=st.integers(1, 60), every=st.integers(2, 9), limit=st.integers(1, 5))
def test_held_out_lines_and_training_lines_are_disjoint_and_complete(tmp_path_factory, count, every, limit):
    lines = [f"Satz {i}" for i in range(count)]
    path = tmp_path_factory.mktemp("split") / "a.txt"
    path.write_text("\n".join(lines))
    split = Split(Corpus(str(path)), every=every, limit=limit)
    training, held_out = list(split.training_lines()), list(split.held_out_lines())
    assert held_out == lines[::every][:limit]
    assert sorted(training + held_out) == sorted(lines)


def test_a_separate_held_out_file_leaves_the_corpus_whole(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(LINES))
    (tmp_path / "b.txt").write_text("Etwas anderes.")
    split = Split(Corpus(str(tmp_path / "a.txt")), Corpus(str(tmp_path / "b.txt")), every=2)
    assert list(split.training_lines()) == LINES
    assert list(split.held_out_lines()) == ["Etwas anderes."]


def test_splits_that_measure_nothing_or_what_was_trained_on_are_refused(tmp_path):
    as_txt(tmp_path / "a.txt")
    corpus = Corpus(str(tmp_path / "a.txt"))
    with pytest.raises(InputError, match="every=1"):
        Split(corpus, every=1)
    with pytest.raises(InputError, match="limit=0"):
        Split(corpus, limit=0)
    with pytest.raises(InputError, match="both trained on and held out"):
        Split(corpus, Corpus(corpus.name))

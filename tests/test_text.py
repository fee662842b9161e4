"""Bytes and lines of files: packed in any way, told by content; what is no text is refused with its place."""

import bz2
import gzip
import lzma
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.files.text import check_text, json_lines, json_value, opened, suffix_of, text_lines

PACKED = {".gz": partial(gzip.compress, mtime=0), ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("name", ["a{}", "A{}", "a.txt"])
def test_what_a_file_is_packed_with_is_told_by_its_content(tmp_path, suffix, name):
    path = tmp_path / name.format(suffix.upper() if name[0] == "A" else suffix)
    path.write_bytes(PACKED[suffix](b"eins\nzwei\n"))
    assert list(text_lines(path)) == ["eins", "zwei"]
    path.write_bytes(PACKED[suffix](b""))
    assert list(text_lines(path)) == []


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("content", [b"", b"plain text", b"BZh", PACKED[".gz"](b"text" * 99)[:15], b"\xfd7zXZ\x00 no"])
def test_a_file_that_is_not_what_its_name_says_or_not_whole_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read") as refused:
        list(text_lines(path))
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("magic", "name"), [(b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z")]
)
def test_archives_are_named(tmp_path, magic, name):
    (tmp_path / "a.txt").write_bytes(magic + b"more")
    with pytest.raises(InputError, match=f"packed with {name}; expected"), opened(tmp_path / "a.txt"):
        pass


def test_the_suffix_is_that_of_what_is_packed():
    names = ("words.CSV.gz", "a.b.txt", "a.JSONL.XZ", "noext", "a.gz")
    assert [suffix_of(name) for name in names] == [".csv", ".txt", ".jsonl", "", ""]


LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff")), max_size=8)


@given(LINES, st.sampled_from(["\n", "\r\n"]))
def test_lines_that_are_written_are_read_whatever_characters_they_hold(tmp_path_factory, lines, end):
    path = tmp_path_factory.mktemp("lines") / "a"
    path.write_bytes("".join(line + end for line in lines).encode())
    if path.read_bytes()[:3] != b"BZh" and not path.read_bytes().startswith((b"Rar!", b"PK\x03\x04")):
        assert list(text_lines(path)) == lines


def test_a_line_of_ten_megabytes_is_read(tmp_path):
    (tmp_path / "a").write_text("x" * 10_000_000)
    assert [len(line) for line in text_lines(tmp_path / "a")] == [10_000_000]


@pytest.mark.parametrize(
    ("content", "message", "line"),
    [
        (b"eins\nzw\xeb\n", r"not UTF-8 at line 2 \(byte 2 of the line\)", 2),
        (b"eins\nz\0wei\n", "NUL character at line 2", 2),
        ("eins\nzwei\n".encode("utf-16"), "NUL character at line 1", 1),
        ("eins\nzwei\n".encode("utf-16-le"), "NUL character at line 1", 1),
        (b"\xed\xa0\xbd\n", "not UTF-8 at line 1", 1),
        (b"eins\rzwei\r", "carriage returns and no line feed", 1),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(tmp_path, content, message, line):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        list(text_lines(tmp_path / "a.txt"))
    assert (refused.value.path, refused.value.line) == (tmp_path / "a.txt", line)


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d", "\udc80"])
def test_text_that_cannot_be_written_is_refused(text):
    with pytest.raises(InputError, match="at row 7") as refused:
        check_text(text, "a.parquet", 7, "row")
    assert refused.value.line == 7


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply at line 5", 5),
        ("[1,\n2,\n", "is not JSON at line 7", 7),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' is there twice", 5),
        ("9" * 5000, "cannot be read at line 5", 5),
    ],
)
def test_json_that_cannot_be_read_is_refused_with_its_line(text, message, line):
    with pytest.raises(InputError, match=message) as refused:
        json_value(text, "a.json", 5)
    assert refused.value.line == line


def test_values_have_the_numbers_of_their_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text('\n{"a": 1}\n \n[2]\n')
    assert list(json_lines(tmp_path / "a.jsonl")) == [(2, {"a": 1}), (4, [2])]

"""Every reader of files: whatever bytes a file has, it gives a value or refuses the file; it never fails otherwise."""

import gzip
import json
import struct
from contextlib import suppress

import numpy as np
import pyarrow
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.question_answering import QuestionAnswering
from hf_xlt.evidence.alignment import read_pharaoh
from hf_xlt.evidence.translations import read_dictionary, read_parallel
from hf_xlt.evidence.vectors import read_vectors, read_words
from hf_xlt.files.conll import read_conll, read_conllu
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.place import Place

FASTTEXT = struct.pack("<ii12id3i2q", 793712314, 12, 3, 5, 5, 1, 5, 1, 2, 2, 9, 1, 3, 100, 1e-4, 1, 1, 0, 9, -1)
FASTTEXT += b"der\0" + struct.pack("<qb?qq", 9, 0, False, 10, 3) + np.ones((10, 3), "<f4").tobytes()
BEGINNINGS = (
    b"", b"2 3\n", b"2 3\nder 1 2 3\n", b"2 1\nder 0000", b"der 1 2 3\n", b"99999 99999\n", FASTTEXT, FASTTEXT[:60],
    b"\xef\xbb\xbf", b"\xff\xfe", b"a\tb\n", b"en\tde\n", b"a ||| b\n", b"a,b\n", b'"a","b\n', b"1\tder Hund\n",
    b'{"text": "a"}\n', b'{"text": null}\n', b'{"text": "\\ud83d"}\n', b'{"translation": {"en": "a", "de": "b"}}\n',
    b'{"en": "a", "de": ["b"]}\n', b"[" * 5000, b"{" * 5000, b'{"a":' * 5000, b"9" * 5000, b'{"data": []}',
    b'{"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "q", "answers": [{"text": "a", "answer_start":',
    b"1\tder\t_\tDET\t_\t_\t0\troot\t_\t_\n", b"9" * 5000 + b"\tder\t_\tDET\t_\t_\t" + b"9" * 5000 + b"\troot\t_\t_\n",
    b"der DET\n\n", b"0-0 1-1\n", "٣-٣\n".encode(), b"9" * 30 + b"-1\n", b"PAR1", b"\x1f\x8b", b"BZh91AY&SY",
    b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\x93NUMPY\x01\x00",
)  # fmt: skip
CONTENT = st.builds(
    lambda beginning, rest, cut, packed: (gzip.compress if packed else bytes)((beginning + rest)[: cut or None]),
    st.sampled_from(BEGINNINGS),
    st.one_of(st.binary(max_size=60), st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))),
    st.integers(0, 200),
    st.booleans(),
)
READERS = {
    "dictionary.tsv": lambda path: read_dictionary(path),
    "dictionary.csv": lambda path: read_dictionary(path),
    "parallel.tsv": lambda path: read_parallel(path),
    "parallel.csv": lambda path: read_parallel(path),
    "parallel.jsonl": lambda path: read_parallel(path),
    "named.tsv": lambda path: read_parallel(f"{path}:en,de"),
    "named.jsonl": lambda path: read_parallel(f"{path}:en,de"),
    "both.txt": lambda path: read_parallel(path, path),
    "table.tsv": lambda path: list(Place(str(path)).rows(2)),
    "vectors.vec": lambda path: read_words(path, {"der", "die"}),
    "vectors.bin": lambda path: read_words(path, {"der", "die"}),
    "words.vec": lambda path: read_vectors(path).of_words(["der"]),
    "words.bin": lambda path: read_vectors(path).of_words(["der"]),
    "corpus.txt": lambda path: list(Corpus(str(path)).lines()),
    "corpus.jsonl": lambda path: list(Corpus(str(path)).lines()),
    "corpus.parquet": lambda path: list(Corpus(str(path)).lines()),
    "words.conll": lambda path: read_conll(path),
    "trees.conllu": lambda path: read_conllu(path),
    "questions.json": lambda path: QuestionAnswering().read(str(path)),
    "links.txt": lambda path: read_pharaoh(path, [(2, 2)]),
}


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=CONTENT)
@example(content=b"")
@pytest.mark.slow
def test_any_bytes_are_read_or_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with suppress(InputError):
        READERS[name](tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("beginning", BEGINNINGS, ids=range(len(BEGINNINGS)))
def test_every_beginning_is_read_or_refused(tmp_path, name, beginning):
    (tmp_path / name).write_bytes(beginning)
    with suppress(InputError):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_a_folder_and_a_missing_file_are_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    for path in (tmp_path / name, tmp_path / "absent" / name, tmp_path / ("x" * 300 + name)):
        with pytest.raises(InputError):
            READERS[name](path)


WORD = st.text(st.characters(codec="utf-8", categories=("L",)), min_size=1, max_size=6)
SENTENCE = st.lists(WORD, min_size=2, max_size=4).map(" ".join)
PAIRS = st.lists(st.tuples(SENTENCE, SENTENCE), min_size=2, max_size=9)


@given(PAIRS, st.sampled_from(["tsv", "csv", "jsonl", "moses"]))
@pytest.mark.slow
def test_pairs_that_are_written_are_read(tmp_path_factory, pairs, form):
    path = tmp_path_factory.mktemp("pairs") / f"a.{form}"
    write = {
        "tsv": "{0}\t{1}\n".format,
        "csv": '"{0}","{1}"\n'.format,
        "jsonl": lambda a, b: json.dumps({"translation": {"en": a, "de": b}}) + "\n",
        "moses": "{0} ||| {1}\n".format,
    }[form]
    path.write_text("".join(write(*pair) for pair in pairs), encoding="utf-8")
    assert read_parallel(path).pairs == tuple(pairs)


def test_a_row_of_parquet_without_text_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    for texts, message, row in (
        (["a", None], "row 2: no text in column 'text'; found null", 2),
        ([1, 2], "row 1: no text in column 'text'; found int", 1),
        (["a", "b", "c\0"], "NUL character at row 3", 3),
    ):
        parquet.write_table(pyarrow.table({"text": texts}), path)
        with pytest.raises(InputError, match=message) as refused:
            list(Corpus(str(path)).lines())
        assert (refused.value.path, refused.value.line) == (path, row)

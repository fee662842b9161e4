"""Static vectors: read from files in the formats in use, trained on tokens, placed into a vocabulary."""

import bz2
import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import Vectors, read_vectors, read_words, train_vectors, vector_count
from hf_xlt.evidence.vectors.vectors import first_vectors

WORDS = ("the", "Hund", "für", "日本")
TABLE = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def text(words=WORDS, table=TABLE, header=None) -> bytes:
    lines = [header or f"{len(words)} {table.shape[1]}"]
    lines += [" ".join([word, *(repr(float(x)) for x in row)]) for word, row in zip(words, table, strict=True)]
    return ("\n".join(lines) + "\n").encode()


def word2vec(separator: bytes = b"") -> bytes:
    rows = [word.encode() + b" " + row.tobytes() + separator for word, row in zip(WORDS, TABLE, strict=True)]
    return b"4 3\n" + b"".join(rows)


def fasttext(buckets: int = 50, shortest: int = 3, longest: int = 6, version: int = 12, quantised: int = 0) -> bytes:
    matrix = np.concatenate([TABLE, bucket_rows(max(buckets, 0))])
    settings = struct.pack("<12id", 3, 5, 5, 1, 5, 1, 2, 2, buckets, shortest, longest, 100, 1e-4)
    sizes = struct.pack("<3i2q", 4, 4, 0, 100, -1)
    entries = b"".join(word.encode() + b"\0" + struct.pack("<qb", 9, 0) for word in WORDS)
    head = struct.pack("<ii", 793712314, version) + settings + sizes + entries + bytes([quantised])
    return head + struct.pack("<2q", *matrix.shape) + matrix.tobytes()


def bucket_rows(buckets: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((buckets, 3)).astype(np.float32)


def name_of(value: object) -> str | None:
    return "" if isinstance(value, bytes) else None


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.vec", text()),
        ("a.vec.gz", text()),
        ("a.txt", text().replace(b"\n", b" \n")),
        ("a.bin", word2vec()),
        ("a.bin", word2vec(b"\n")),
        ("a.bin", fasttext(buckets=0, longest=0)),
    ],
    ids=name_of,
)
def test_only_the_words_wanted_are_read_in_the_order_of_the_file(tmp_path, name, content):
    vectors = read_words(written(tmp_path, name, content), ["日本", "Hund", "absent"])
    assert vectors.words == ("Hund", "日本")
    torch.testing.assert_close(vectors.table, torch.tensor(TABLE[[1, 3]]))


def test_a_fasttext_word_is_the_mean_of_its_row_and_its_ngrams(tmp_path):
    # The buckets are those that fastText's own hash gives: FNV-1a with signed bytes, worked out below in another way.
    def bucket(ngram: str) -> int:
        value = np.uint32(2166136261)
        with np.errstate(over="ignore"):
            for byte in np.frombuffer(ngram.encode(), dtype=np.int8):
                value = np.uint32((value ^ np.uint32(int(byte) & 0xFFFFFFFF)) * np.uint32(16777619))
        return int(value) % 50

    path = written(tmp_path, "a.bin", fasttext(longest=4))
    vectors = read_words(path, ["für", "oß"])
    ngrams = bucket_rows(50)
    for_known = np.stack([TABLE[2], *(ngrams[bucket(n)] for n in ("<fü", "<für", "für", "für>", "ür>"))]).mean(0)
    for_unknown = np.stack([ngrams[bucket(n)] for n in ("<oß", "<oß>", "oß>")]).mean(0)
    assert vectors.words == ("für", "oß")
    torch.testing.assert_close(vectors.table, torch.tensor(np.stack([for_known, for_unknown])))


def test_the_first_of_equal_words_counts(tmp_path):
    content = text(("a", "a", "b", "c"))
    vectors = read_words(written(tmp_path, "a.vec", content), ["a"])
    torch.testing.assert_close(vectors.table, torch.tensor(TABLE[:1]))


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.vec", text(header="4 5"), "has 3 numbers at line 2; expected 5"),
        ("a.vec", text(header="nothing"), "does not begin with the number and the width"),
        ("a.vec", text().replace(b"the ", b"the x"), "no number at line 2"),
        ("a.vec", text(table=np.array([[np.nan] * 3, *TABLE[1:]])), "'the' holds NaN or infinity"),
        ("a.vec", text(("w", "x", "y", "z")), "none of the 2 words"),
        ("a.vec.gz", b"", "does not begin"),
        ("a.bin", word2vec()[:-9], "breaks off at entry 3 of 4"),
        ("a.bin", word2vec()[:12], "breaks off at entry 0 of 4"),
        ("a.bin", fasttext(version=11), "version 11; expected 12"),
        ("a.bin", fasttext(quantised=1), "quantised"),
        ("a.bin", fasttext()[:-4], "breaks off before its vectors end"),
        ("a.bin", fasttext()[:100], "breaks off in its dictionary"),
        ("a.bin", fasttext()[:30], "cannot be read"),
    ],
    ids=name_of,
)
def test_files_that_are_not_whole_vectors_are_refused(tmp_path, name, content, match):
    with pytest.raises(InputError, match=match):
        read_words(written(tmp_path, name, content), ["the", "日本"])


@pytest.mark.parametrize("separator", [b"", b"\n"])
@pytest.mark.parametrize("name", ["a.bin", "a.bin.gz", "a.w2v", "a.BIN"])
def test_word2vec_is_told_by_its_content_and_read_to_its_end(tmp_path, name, separator):
    vectors = first_vectors(written(tmp_path, name, word2vec(separator)), 50_000)
    assert vectors.words == WORDS
    assert torch.equal(vectors.table, torch.tensor(TABLE))
    assert first_vectors(tmp_path / name, 2).words == WORDS[:2]
    assert vector_count(tmp_path / name) == 4


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", ["a.vec", "a.bin", "a.txt.gz"])
def test_what_gensim_writes_is_read(tmp_path, binary, name):
    models = pytest.importorskip("gensim.models", reason="the extra `vectors` is not installed")
    keyed = models.KeyedVectors(3)
    keyed.add_vectors(list(WORDS), TABLE)
    keyed.save_word2vec_format(str(tmp_path / name), binary=binary)
    vectors = first_vectors(tmp_path / name, 9)
    assert vectors.words == WORDS
    torch.testing.assert_close(vectors.table, torch.tensor(TABLE))


SPACED = ("der", "New York", ". . .", "Windows 95", " ", "1995", "a\u2028b", "New\u00a0York")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content,
        lambda content: content.split(b"\n", 1)[1],
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content.replace(b"\n", b" \n"),
        lambda content: b"\xef\xbb\xbf" + content,
        gzip.compress,
        bz2.compress,
        lambda content: content + b"\n\n",
    ],
    ids=["header", "glove", "crlf", "trailing", "bom", "gzip", "bzip2", "blank"],
)
def test_words_with_spaces_are_read_in_every_form_of_text(tmp_path, change):
    table = np.random.default_rng(3).standard_normal((len(SPACED), 4)).astype(np.float32)
    (tmp_path / "a.txt").write_bytes(change(text(SPACED, table)))
    vectors = first_vectors(tmp_path / "a.txt", 99)
    assert vectors.words == SPACED
    assert torch.equal(vectors.table, torch.tensor(table))


def test_tabs_may_stand_between_word_and_numbers(tmp_path):
    vectors = first_vectors(written(tmp_path, "a.vec", b"2\t2\nNew York\t1\t2\ndie\t3 4\n"), 9)
    assert vectors.words == ("New York", "die")
    assert vectors.table.tolist() == [[1, 2], [3, 4]]


def test_words_that_are_there_again_or_not_utf8_are_left_out_and_told(tmp_path, caplog):
    path = written(
        tmp_path, "a.vec", "6 1\nder 1\nder 2\nfür 3\n\udcfc 4\ndie 5\nder 6\n".encode("utf-8", "surrogateescape")
    )
    assert first_vectors(path, 9).words == ("der", "für", "die")
    assert "2 vectors are left out, whose words were there before: lines 3, 7" in caplog.text
    assert "1 vectors are left out, whose words are not UTF-8: lines 5" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message", "line"),
    [
        ("a.vec", text(header="5 3"), "has 4 vectors; expected 5", None),
        ("a.vec", text(header="3 3"), "has 4 vectors; expected 3", None),
        ("a.vec", text(header="4 2"), "has 3 numbers at line 2; expected 2", 2),
        ("a.vec", text().rsplit(b" ", 1)[0], "has 2 numbers at line 5; expected 3", 5),
        ("a.vec", text().replace(b".", b","), "no number at line 2", 2),
        ("a.vec", text(table=np.array([*TABLE[:3], [0, np.inf, 0]])), "NaN or infinity, at line 5", 5),
        ("a.txt", "3 1\nStraße 1\nHündin 2\ndie 3\n".encode("latin-1"), "is not UTF-8 at line 2", 2),
        ("a.txt", b"der 1 2\ndie 3 x\n", "nor with a word and its numbers", None),
        ("a.npy", b"\x93NUMPY\x01\x00" + bytes(200), "does not begin with", None),
        ("a.bin", b"", "does not begin with", None),
        ("a.bin", b"0 3\n", "does not begin with", None),
        ("a.bin", b"4 999999999999\n", "does not begin with", None),
        ("a.bin", word2vec() + b"more", "goes on behind its 4 entries", 4),
        ("a.bin", word2vec().replace(b"Hund", b"a b"), "has no word at entry 3 of 4", None),
        ("a.bin.gz", fasttext(), "is a packed fastText model", None),
        ("a.bin", fasttext(buckets=-1), "settings make no sense", None),
        ("a.bin", fasttext(shortest=5, longest=2), "settings make no sense", None),
    ],
    ids=name_of,
)
def test_files_that_would_be_misread_are_refused(tmp_path, name, content, message, line):
    path = written(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as refused:
        read_vectors(path).of_words(["der"])
    assert refused.value.path == path
    assert line is None or refused.value.line == line


@pytest.mark.parametrize(
    ("name", "content"), [("a.vec", text()), ("a.bin", word2vec()), ("a.bin", fasttext())], ids=name_of
)
def test_vectors_of_another_width_are_refused(tmp_path, name, content):
    path = written(tmp_path, name, content)
    assert read_words(path, WORDS, width=3).table.shape == (4, 3)
    with pytest.raises(InputError, match="are 3 wide; expected 300"):
        read_words(path, WORDS, width=300)


def test_a_missing_file_and_one_that_is_not_gzipped_are_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_words(tmp_path / "absent.vec", WORDS)
    (tmp_path / "a.vec.gz").write_bytes(text())
    with pytest.raises(InputError, match="cannot be read"):
        read_words(tmp_path / "a.vec.gz", WORDS)


def test_vectors_are_placed_by_token_and_ordered_by_frequency():
    vectors = Vectors(WORDS, torch.tensor(TABLE))
    table, order = vectors.placed(["[PAD]", "日本", "the", "für", "[UNK]"])
    torch.testing.assert_close(
        table, torch.tensor(np.stack([0 * TABLE[0], TABLE[3], TABLE[0], TABLE[2], 0 * TABLE[0]]))
    )
    assert order.tolist() == [2, 3, 1]


def test_vectors_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="4 words and vectors of shape"):
        Vectors(WORDS, torch.zeros(3, 2))
    with pytest.raises(InputError, match="given twice"):
        Vectors(("a", "a"), torch.zeros(2, 2))
    with pytest.raises(InputError, match="'b' holds NaN or infinity"):
        Vectors(("a", "b"), torch.tensor([[1.0], [torch.inf]]))


def sentences() -> list[list[str]]:
    """Two topics whose words never meet."""
    draw = np.random.default_rng(0)
    topics = [[f"{topic}{i}" for i in range(8)] for topic in "ab"]
    return [list(draw.choice(topics[line % 2], 12)) for line in range(600)]


class TestTraining:
    @pytest.fixture(autouse=True)
    def _gensim(self):
        pytest.importorskip("gensim", reason="the extra `vectors` is not installed")

    @pytest.mark.parametrize("ngrams", [None, (1, 2)])
    def test_words_of_like_context_are_near(self, ngrams):
        vectors = train_vectors(sentences(), 16, epochs=60, ngrams=ngrams)
        table, _ = vectors.placed([f"{topic}{i}" for topic in "ab" for i in range(8)])
        units = torch.nn.functional.normalize(table - table.mean(0))
        cosines = units @ units.T
        assert cosines[:8, :8].mean() > cosines[:8, 8:].mean() + 0.2

    def test_the_same_seed_gives_the_same_vectors_whatever_the_form_of_the_text(self):
        first = train_vectors(sentences(), 8, epochs=2, seed=3)
        again = train_vectors(tuple(tuple(line) for line in sentences()), 8, epochs=2, seed=3)
        assert first.words == again.words
        assert torch.equal(first.table, again.table)

    def test_words_come_by_falling_frequency_and_rare_ones_not_at_all(self):
        text = [["a"] * 9 + ["b"] * 7 + ["c"] * 3] * 2
        assert train_vectors(text, 4, epochs=1, least_count=10).words == ("a", "b")

    def test_a_long_sequence_is_read_to_its_end(self):
        assert set(train_vectors([["a", "b"] * 6000 + ["z"] * 50], 4, epochs=1).words) == {"a", "b", "z"}

    def test_a_text_of_rare_words_is_refused(self):
        with pytest.raises(InputError, match="No token occurs 5 times"):
            train_vectors([["a", "b"]], 4)


@pytest.mark.parametrize(
    ("sequences", "options", "match"),
    [
        (iter([["a"]]), {}, "are an iterator"),
        ([["a"]], {"width": 0}, "width=0, epochs=5"),
        ([["a"]], {"epochs": 0}, "epochs=0"),
        ([["a"]], {"ngrams": (6, 3)}, r"ngrams=\(6, 3\)"),
    ],
)
def test_settings_out_of_range_are_refused(sequences, options, match):
    with pytest.raises(InputError, match=match):
        train_vectors(sequences, **options)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(InputError, match=r'pip install "hf-xlt\[vectors\]"'):
        train_vectors([["a"] * 9])

"""Parallel text is read whole, and what cannot be read is refused with its place."""

import gzip

import pytest

from hf_xlt.data.target_side import TargetSide
from hf_xlt.errors import InputError
from hf_xlt.evidence.parallel import read_parallel

PAIRS = (("The dog", "Der Hund"), ("a cat", "eine Katze"))


def write(path, text):
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_two_columns_are_pairs(tmp_path, name):
    text = read_parallel(write(tmp_path / name, "The dog\tDer Hund\r\na cat\t eine Katze \tmore\n"))
    assert text.pairs == PAIRS
    assert (text.skipped, text.notice, len(text)) == ((), "", 2)


def test_columns_are_found_by_name_or_by_position(tmp_path):
    path = write(tmp_path / "a.tsv", "\ufeffde\tid\ten\nDer Hund\t1\tThe dog\neine Katze\t2\ta cat\n")
    assert read_parallel(f"{path}:en,de").pairs == PAIRS
    assert read_parallel(f"{path}:en,de@id=2").pairs == PAIRS[1:]
    assert read_parallel(path, columns=(2, 0)).pairs == (("en", "de"), *PAIRS)


def test_a_file_may_be_called_like_columns_of_another(tmp_path):
    write(tmp_path / "a.tsv", "de\ten\n")
    for name in ("a.tsv:en,de", "a@split=dev.tsv"):
        assert read_parallel(write(tmp_path / name, "The dog\tDer Hund\na cat\teine Katze\n")).pairs == PAIRS


def test_the_target_side_of_columns_is_a_corpus(tmp_path):
    path = write(tmp_path / "a.tsv", "de\ten\nDer Hund\tThe dog\neine Katze\ta cat\n")
    corpus = TargetSide(f"{path}:en,de")
    assert list(corpus.lines()) == ["Der Hund", "eine Katze"]
    assert corpus.path == path


def test_two_files_are_pairs_line_by_line(tmp_path):
    source, target = write(tmp_path / "a.en", "The dog\na cat"), write(tmp_path / "a.de.gz", "Der Hund\neine Katze\n")
    assert read_parallel(source, target).pairs == PAIRS


def test_quotes_and_unusual_line_separators_stay_inside_a_line(tmp_path):
    path = write(tmp_path / "a.tsv", 'The "dog\u2028\tDer Hund"\x85!\n')
    assert read_parallel(path).pairs == (('The "dog', 'Der Hund"\x85!'),)


def test_lines_with_an_empty_side_are_left_out_counted_and_named(tmp_path):
    text = read_parallel(write(tmp_path / "a.tsv", "x\ty\n\t\n \tz\nonly one side\nx\t\nu\tv\n\n\n"))
    assert text.pairs == (("x", "y"), ("u", "v"))
    assert text.skipped == (2, 3, 4, 5, 7, 8)
    assert text.notice == "6 lines with an empty side left out of 8: 2, 3, 4, 5, 7, …"


def test_an_empty_line_of_one_file_leaves_out_its_translation(tmp_path):
    text = read_parallel(write(tmp_path / "a", "x\n\nu\n"), write(tmp_path / "b", "y\nz\nv\n"))
    assert text.pairs == (("x", "y"), ("u", "v"))
    assert text.notice == "1 line with an empty side left out of 3: 2"


def test_files_of_unequal_lengths_are_refused_with_both_counts(tmp_path):
    source, target = write(tmp_path / "a.en", "x\ny\nz\n"), write(tmp_path / "a.de", "x\ny\n")
    with pytest.raises(InputError, match=r"a\.en has 3 lines and .*a\.de has 2; expected equal numbers"):
        read_parallel(source, target)


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path, name):
    path = write(tmp_path / name, b"x\ty\nH\xfcndin\tz\n")
    with pytest.raises(InputError, match=r"not UTF-8 at line 2 \(byte 1 of the line\)"):
        read_parallel(path)


def test_what_is_missing_or_damaged_or_holds_no_pair_is_refused(tmp_path):
    damaged = tmp_path / "b.gz"
    damaged.write_bytes(gzip.compress(b"x\ty\n" * 999)[:-20])
    headed = write(tmp_path / "e.tsv", "en\tde\nx\ty\n")
    for path, message in [
        (tmp_path / "none.tsv", "is not a file"),
        (f"{tmp_path}/none.tsv:en,de", "none.tsv is not a file"),
        (tmp_path, "is not a file"),
        (damaged, "cannot be read"),
        (write(tmp_path / "c.tsv", "one column\n"), "holds no sentence pair"),
        (write(tmp_path / "d.tsv", ""), "holds no sentence pair"),
        (f"{headed}:en,fr", "no column 'fr'; its header row names en, de"),
        (f"{headed}:en", "1 columns named, 2 expected"),
    ]:
        with pytest.raises(InputError, match=message):
            read_parallel(path)

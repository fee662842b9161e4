"""CoNLL files: words and tags by sentence, whatever separates columns; what is wrong is told with its line."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.files.conll import TaggedSentence, read_conll

cells = st.text(st.characters(blacklist_categories=("Z", "C")), min_size=1).filter(lambda t: "-DOCSTART-" not in t)
tagged = st.lists(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), min_size=1, max_size=5)


def read(tmp_path, text):
    path = tmp_path / "file.conll"
    path.write_bytes(text.encode())
    return read_conll(path)


@pytest.mark.slow
@given(tagged, st.sampled_from([" ", "\t"]), st.sampled_from(["\n", "\n\n\n", "\n-DOCSTART- -X- O\n\n"]))
def test_what_is_written_is_read(tmp_path_factory, sentences, separator, between):
    text = between.join("".join(f"{word}{separator}{tag}\n" for word, tag in sentence) for sentence in sentences)
    found = read(tmp_path_factory.mktemp("conll"), text)
    assert [list(zip(sentence.words, sentence.tags, strict=True)) for sentence in found] == sentences
    lines = text.split("\n")
    for sentence in found:
        rows = lines[sentence.line - 1 :][: len(sentence.words)]
        assert rows == [f"{word}{separator}{tag}" for word, tag in zip(sentence.words, sentence.tags, strict=True)]


def test_the_first_column_is_the_word_and_the_last_its_tag(tmp_path):
    text = "-DOCSTART- -X- -X- O\n\nU.N. NNP I-NP B-ORG\nofficial NN I-NP O \n   \n10 000\tCD\tO\r\n"
    assert read(tmp_path, text) == [
        TaggedSentence(("U.N.", "official"), ("B-ORG", "O"), 3),
        TaggedSentence(("10 000",), ("O",), 6),
    ]


def test_gzipped_files_are_read(tmp_path):
    path = tmp_path / "file.conll.gz"
    path.write_bytes(gzip.compress(b"a O\nb B-X\n"))
    assert read_conll(path) == [TaggedSentence(("a", "b"), ("O", "B-X"), 1)]


@pytest.mark.parametrize("line", ["alone", "alone\t", "\tO", " \tO", "alone "])
def test_a_line_without_word_or_tag_is_refused_with_its_number(tmp_path, line):
    with pytest.raises(InputError, match=r"file\.conll, line 3: .* lacks a word or a tag"):
        read(tmp_path, f"a O\n\n{line}\n")


@pytest.mark.parametrize("text", ["", "\n\n", "-DOCSTART- -X- O\n\n"])
def test_a_file_without_sentences_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="holds no sentence"):
        read(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_conll(tmp_path / "none.conll")

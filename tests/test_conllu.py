"""Sentences come out of a CoNLL-U file as they went in; what is no tree, or no CoNLL-U, is refused by its line."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.files.conll import read_conllu


def line(number, form="a", upos="X", head=0, deprel="root"):
    return "\t".join([str(number), form, "_", upos, "_", "_", str(head), deprel, "_", "_"])


def written(path, *lines):
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_words_are_kept_and_comments_surface_tokens_and_empty_nodes_left_out(tmp_path):
    path = written(
        tmp_path / "a.conllu",
        "# newpar",
        "# sent_id = s1",
        "# text = Im 8 000er.",
        line("1-2", "Im", "_", "_", "_"),
        line(1, "In", "ADP", 3, "case"),
        line(2, "dem", "DET", 3, "det:def"),
        line(3, "8 000er", "NUM"),
        line("3.1", "Berg", "NOUN", "_", "_"),
        line(4, ".", "PUNCT", 3, "punct"),
        "",
        "",
        line("0.1", "e", "X", "_", "_"),
        line(1, "#", "SYM"),
    )
    first, second = read_conllu(path)
    assert first.words == ("In", "dem", "8 000er", ".")
    assert (first.upos, first.heads) == (("ADP", "DET", "NUM", "PUNCT"), (3, 3, 0, 3))
    assert first.deprels == ("case", "det:def", "root", "punct")
    assert (first.line, second.words, second.line) == (1, ("#",), 12)


@st.composite
def trees(draw):
    """Heads of a random tree: each word hangs on one that comes before it in a random order."""
    order = draw(st.permutations(range(1, draw(st.integers(1, 12)) + 1)))
    above = {word: order[draw(st.integers(0, i - 1))] if i else 0 for i, word in enumerate(order)}
    return tuple(above[word] for word in sorted(order))


@given(st.lists(trees(), min_size=1, max_size=5))
def test_every_tree_is_read(tmp_path_factory, forest):
    path = tmp_path_factory.mktemp("trees") / "a.conllu.gz"
    blocks = [[line(i, head=head) for i, head in enumerate(heads, start=1)] + [""] for heads in forest]
    path.write_bytes(gzip.compress("\n".join(sum(blocks, [])).encode()))
    assert [sentence.heads for sentence in read_conllu(path)] == forest


def test_a_sentence_without_any_heads_is_read_without(tmp_path):
    path = written(tmp_path / "a.conllu", line(1, head="_", deprel="_"), line(2, head="_", deprel="_"))
    (sentence,) = read_conllu(path)
    assert (sentence.words, sentence.heads) == (("a", "a"), ())


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1\ta\t_\t_"], "line 1: 4 columns; expected 10"),
        (["# c", line(1), "    ", line(1)], "line 3: 1 columns; expected 10"),
        ([line(1, form="")], "line 1: a word without form"),
        ([line(1), line(3, head=1)], "line 2: the id '3' is out of order; expected 2"),
        ([line(2)], "line 1: the id '2' is out of order; expected 1"),
        ([line("x")], "line 1: the id 'x' is out of order"),
        ([line(1), line("2.1")], "line 2: the id '2.1' is out of order"),
        ([line(1), line("1-2"), line(2, head=1)], "line 2: the id '1-2' is out of order"),
        ([line("1-2"), line("1-2"), line(1), line(2, head=1)], "line 2: the id '1-2' is out of order"),
        ([line("2-1"), line(1), line(2, head=1)], "line 1: the id '2-1' is out of order"),
        ([line("1-3", "ab"), line(1), line(2, head=1)], r"line 2: the token 1-3 \('ab'\) ends after the sentence"),
        ([line(1, head="_"), line(2)], "line 1: the head '_' is no number"),
        ([line(1), line(2, head="-1")], "line 2: the head '-1' is no number"),
        ([line(1), line(2, head="²")], "line 2: the head '²' is no number"),
        ([line(1), line(2, head=3)], "line 2: the head 3 is outside the sentence, which has 2 words"),
        ([line(1), "", line(1), line(2, head=3), line(3, head=2)], "line [45]: word [23] depends on itself"),
        ([line(1, head=1)], "line 1: word 1 depends on itself"),
        (["# c", line(1), line(2)], "line 1: a sentence with 2 roots; expected one"),
        (["# only a comment", "", line(1)], "line 1: a sentence without words"),
        (["", ""], "holds no sentence; expected CoNLL-U"),
    ],
)
def test_what_is_no_treebank_is_refused_by_its_line(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        read_conllu(written(tmp_path / "a.conllu", *lines))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        read_conllu(tmp_path / "none.conllu")

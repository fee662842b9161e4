"""Mining: what is found is what a dense computation finds, and a table of it is read as translation pairs."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_cli import call
from transformers import BertModel

from hf_xlt import mine_pairs, read_parallel
from hf_xlt.evaluation.retrieval import MARGIN_NEIGHBORS, margin_matches
from hf_xlt.mining import sentences_of
from hf_xlt.sample import sentences

LINES = list(dict.fromkeys(sentences("de", "train")))[:60]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    german = tiny.tokenizer("de", "wordpiece")
    config = tiny.model("bert", german, seed=3, initializer_range=0.5).config
    return tiny.save(BertModel(config), german, tmp_path_factory.mktemp("mining") / "model")


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 1000))
def test_matches_and_margins_are_those_of_a_dense_computation(rows, columns, seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(count, 6, generator=draw) + 0.5 for count in (rows, columns))
    cosines = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1)
    near_a = cosines.topk(min(MARGIN_NEIGHBORS, columns), dim=1).values.mean(1)
    near_b = cosines.topk(min(MARGIN_NEIGHBORS, rows), dim=0).values.mean(0)
    margins = cosines / ((near_a[:, None] + near_b) / 2).clamp(min=1e-6)
    pairs, found = margin_matches(a, b)
    expected = {
        (i, j) for i in range(rows) for j in range(columns) if margins[i].argmax() == j and margins[:, j].argmax() == i
    }
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    torch.testing.assert_close(found, margins[pairs[:, 0], pairs[:, 1]], rtol=1e-3, atol=1e-4)


def test_sentences_find_themselves_in_any_order_and_the_threshold_cuts(model):
    mined = mine_pairs(model, LINES, LINES[::-1], threshold=1e-3)
    assert {pair for pair in mined.pairs if pair[0] == pair[1]} == {(line, line) for line in LINES}
    assert list(mined.margins) == sorted(mined.margins, reverse=True)
    least = mined.margins[20]
    fewer = mine_pairs(model, LINES, LINES[::-1], threshold=least)
    assert all(margin >= least for margin in fewer.margins)
    assert len(fewer.pairs) == sum(margin >= least for margin in mined.margins)
    assert fewer.mutual == mined.mutual


def test_a_side_without_sentences_and_a_threshold_of_nothing_are_refused(model):
    assert tiny.refusal(mine_pairs, model, [], LINES).value == 0
    assert tiny.refusal(mine_pairs, model, LINES, LINES, threshold=0).value == 0


def test_lines_that_are_short_long_or_repeated_are_left_out(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(["kurz", LINES[0], "x" * 400, LINES[0], LINES[1], LINES[2]]), encoding="utf-8")
    assert sentences_of(str(path)) == [line for line in LINES[:3] if len(line) >= 10]
    assert sentences_of(str(path), 1) == [next(line for line in LINES[:3] if len(line) >= 10)]


def test_the_command_writes_a_table_that_is_read_as_pairs(model, tmp_path, monkeypatch, capsys):
    text, table = tmp_path / "de.txt", tmp_path / "mined.tsv"
    text.write_text("\n".join(LINES), encoding="utf-8")
    words = ("mine", model, "--corpus", text, "--source-corpus", text, "--output", table, "--threshold", "0.9")
    code, out, err = call(monkeypatch, capsys, *words)
    assert code == 0, err
    assert "margin at least" in out
    pairs = read_parallel(f"{table}:source,target").pairs
    assert pairs
    assert all(source == target for source, target in pairs)
    assert call(monkeypatch, capsys, *words)[0] == 2  # it is there
    assert call(monkeypatch, capsys, *words, "--overwrite")[0] == 0

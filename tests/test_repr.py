"""Every public object shows itself in one line; tables show themselves in notebooks."""

import numpy as np
import pytest
import tiny
import torch

import hf_xlt
from hf_xlt.checkpoint.fit import FittedTokenizer
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.vectors import Vectors, WordAverages, read_vectors
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.vocabulary import Vocabulary, overlap


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown")
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    tiny.save(tiny.model("bert", english, seed=1), english, folder / "source")
    (folder / "d.vec").write_text("2 3\nthe 1 2 3\nHaus 1 0 1\n", encoding="utf-8")
    (folder / "d.tsv").write_text("house\taus\n", encoding="utf-8")
    pairs = list(zip(sentences("en", "train")[:30], sentences("de", "train")[:30], strict=True))
    table = torch.randn(600, 16, generator=torch.Generator().manual_seed(0))
    counted = hf_xlt.DictionaryInitializer(folder / "source", german, dictionary=folder / "d.tsv")
    return {
        "initializer": counted,
        "transport": counted.transport(),
        "mixture": counted.transport().mixture,
        "health": counted.health(),
        "overlap": overlap(english, german),
        "vocabulary": Vocabulary.of(german),
        "checkpoint": Checkpoint.open(folder / "source"),
        "fitted": FittedTokenizer.of(Checkpoint.open(folder / "source"), german),
        "counts": TokenCounts.of_pairs(np.arange(99), np.arange(99), (500, 600)),
        "dictionary": hf_xlt.read_dictionary(folder / "d.tsv"),
        "parallel": hf_xlt.ParallelText(tuple(pairs)),
        "vectors": read_vectors(folder / "d.vec"),
        "frequencies": WordAverages(Vectors(["a", "b"], table[:2]), "frequency", torch.ones(2)),
        "aligner": hf_xlt.WordAligner.train([(a.split(), b.split()) for a, b in pairs], "ibm2", 1),
        "alignment": hf_xlt.align_spaces(
            table, table, source_order=torch.arange(600), target_order=torch.arange(600),
            dictionary=torch.arange(600)[:, None].repeat(1, 2),
        ),
    }  # fmt: skip


NAMES = (
    "initializer", "transport", "mixture", "health", "overlap", "vocabulary", "checkpoint", "fitted", "counts",
    "dictionary", "parallel", "vectors", "frequencies", "aligner", "alignment",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_public_object_shows_itself_in_a_line(name, made):
    shown = repr(made[name])
    assert len(shown) < 200
    assert "\n" not in shown
    assert "tensor(" not in shown


def test_a_transport_tells_its_sizes_and_where_its_rows_come_from(made):
    counts = made["transport"].counts
    assert repr(made["transport"]) == (
        f"Transport(600 -> 500 rows: {counts.copied} copied, {counts.mixed} mixed, {counts.drawn} drawn; sparse)"
    )


def test_tables_show_themselves_in_notebooks(made):
    page = made["health"]._repr_html_()
    assert page.count("<table>") >= 2
    assert "<th>origin</th>" in page
    explained = made["transport"].explain("aus", k=3)
    assert explained == list(explained)
    assert explained._repr_html_().startswith("<table><tr><th>source token</th><th>weight</th></tr><tr><td>")

"""The initializers whose evidence is counts: dictionary, RAMEN and pooled."""

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForMaskedLM

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import WordAligner
from hf_xlt.evidence.token_ids import token_pairs
from hf_xlt.evidence.translations import Dictionary, ParallelText
from hf_xlt.geometry.similarity import top_k_softmax
from hf_xlt.initializers.counted import DictionaryInitializer
from hf_xlt.initializers.other_model import CLPInitializer
from hf_xlt.initializers.pooled import WEIGHTS, PooledInitializer, at_source_length
from hf_xlt.initializers.ramen import RamenInitializer, RamenVectorsInitializer
from hf_xlt.sample import sentences
from hf_xlt.transport.mixture import SparseMixture

TEXT = ParallelText(tuple(zip(sentences("en", "train")[:60], sentences("de", "train")[:60], strict=True)))
WORDS = Dictionary((("dog", "Hund"), ("children", "Kinder"), ("in the garden", "Garten"), ("and", "und")))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    tok = tiny.tokenizer("en", "wordpiece")
    model = tiny.model("bert", tok, seed=1)
    with torch.no_grad():
        model.cls.predictions.bias.normal_()
    return tiny.save(model, tok, tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def german():
    return tiny.tokenizer("de", "wordpiece", 500)


def all_of(source, german):
    sizes = len(german), len(tiny.tokenizer("en", "wordpiece"))
    near = top_k_softmax(torch.randn(sizes[0], 4), torch.randn(sizes[1], 4), torch.arange(sizes[1]), sizes[1], k=3)
    return [
        DictionaryInitializer(source, german, dictionary=WORDS),
        RamenInitializer(source, german, parallel=TEXT),
        PooledInitializer(source, german, dictionary=WORDS, parallel=TEXT, similarity=near),
        RamenVectorsInitializer(
            source, german, vectors=torch.randn(sizes[0], 4), source_vectors=torch.randn(sizes[1], 4)
        ),
    ]


@pytest.mark.slow
def test_rows_are_finite_specials_copied_and_weights_sum_to_one(source, german):
    english = tiny.tokenizer("en", "wordpiece")
    for initializer in all_of(source, german):
        rows, transport = initializer.source.input_rows(), initializer.transport()
        table = transport.apply(rows)
        assert table.shape == (500, rows.shape[1])
        assert table.isfinite().all(), initializer.label
        for role in ("pad", "unk", "cls", "sep", "mask"):
            ids = (getattr(tok, f"{role}_token_id") for tok in (german, english))
            assert torch.equal(table[next(ids)], rows[next(ids)])
        assert transport.counts.copied == 5
        assert transport.counts.mixed > 0
        ones = transport.mixture.apply(torch.ones(len(rows), 1))[transport.mixture.finite]
        if not isinstance(initializer, PooledInitializer):
            assert torch.allclose(ones, torch.ones_like(ones), atol=1e-5)


def test_ramen_is_relative_frequencies_of_links_for_rows_and_bias(source, german):
    ramen = RamenInitializer(source, german, parallel=TEXT, aligner="ibm2")
    pairs = token_pairs(TEXT.pairs, ramen.source.tokenizer(), german)
    counts = np.zeros(ramen.shape)
    for (first, second), links in zip(pairs, WordAligner.train(pairs, "ibm2").align(pairs), strict=True):
        for i, j in links:
            counts[second[j], first[i]] += 1
    seen = np.flatnonzero(counts.sum(1))
    model, before = ramen.build_model(), AutoModelForMaskedLM.from_pretrained(source)
    for found, given in (
        (model.get_input_embeddings().weight, before.get_input_embeddings().weight),
        (model.cls.predictions.bias, before.cls.predictions.bias),
    ):
        expected = counts[seen] / counts[seen].sum(1, keepdims=True) @ given.detach().double().numpy()
        assert np.allclose(found.detach().numpy()[seen], expected, atol=1e-5)
    assert ramen.transport().counts.drawn == 500 - 5 - len(seen)


def test_a_dictionary_row_is_the_mean_of_the_translations_tokens_else_the_overlap(source, german):
    one = DictionaryInitializer(source, german, dictionary=Dictionary((("the and", "und"),)))
    english, rows = one.source.tokenizer(), one.source.input_rows()
    ids = english("the and", add_special_tokens=False)["input_ids"]
    table, (und,) = one.transport().apply(rows), german("und", add_special_tokens=False)["input_ids"]
    assert torch.allclose(table[und], rows[ids].mean(0), atol=1e-6)
    stop = [tok.convert_tokens_to_ids(".") for tok in (german, english)]
    assert torch.allclose(table[stop[0]], rows[stop[1]])
    assert dict(one.transport().explain("und")) == pytest.approx({"the": 0.5, "and": 0.5})


def test_pooled_adds_weighted_evidence(source, german):
    given = {"dictionary": WORDS, "parallel": TEXT}
    pooled = PooledInitializer(source, german, **given, weights={"overlap": 2}, keep_length=False)
    assert pooled.label == "pooled (links, dictionary, overlap)"
    tables = pooled.evidence()
    assert tables.keys() == {"links", "dictionary", "overlap", "relatives"}
    assert set(tables["overlap"].values.tolist()) == {2.0}
    assert np.allclose(np.unique(tables["dictionary"].target_totals.round(6)), [0, WEIGHTS["dictionary"]])
    assert not set(tables["relatives"].rows) & set((tables["links"] + tables["overlap"]).rows)
    summed = np.zeros(pooled.shape)
    for table in tables.values():
        summed[table.target_ids, table.source_ids] += table.values
    rows, transport = pooled.source.input_rows(), pooled.transport()
    seen = np.flatnonzero(summed.sum(1) * ~np.isin(np.arange(500), transport.copied_target.numpy()))
    expected = summed[seen] / summed[seen].sum(1, keepdims=True) @ rows.double().numpy()
    assert np.allclose(transport.apply(rows).numpy()[seen], expected, atol=1e-5)
    without = PooledInitializer(source, german, **given, weights={"links": 0, "dictionary": 0})
    assert without.label == "pooled (overlap)"


def test_pooled_counts_the_tokens_near_each_in_a_helper_as_clp_does(source, german, tmp_path):
    helper = tiny.save(tiny.model("gpt2", german, rows=504, seed=2, width=8), german, tmp_path / "helper")
    pooled = PooledInitializer(source, german, helper=helper, weights={"helper": 3.0})
    assert pooled.label == "pooled (helper, overlap)"
    table = pooled.evidence()["helper"]
    assert np.allclose(table.target_totals[table.rows], 3.0, atol=1e-5)
    clp = CLPInitializer(source, helper, "sparsemax", ignore_case=True)
    for place, row in list(enumerate(clp.overlap().missing_ids))[::50]:
        ids, weights = clp.transport().mixture.weights(place)
        order, here = ids.argsort(), table.target_ids == row
        assert np.array_equal(table.source_ids[here], ids[order].numpy())
        assert np.allclose(table.values[here], 3.0 * weights[order].numpy(), atol=1e-5)


def test_a_helper_of_another_vocabulary_is_no_evidence(source, german, tmp_path):
    other = tiny.tokenizer("de", "wordpiece", 400)
    helper = tiny.save(tiny.model("bert", other), other, tmp_path / "helper")
    with pytest.raises(InputError, match=r"another vocabulary than the target tokenizer.* Leave out --tokenizer"):
        PooledInitializer(source, german, helper=helper)


@pytest.mark.slow
def test_pooled_rows_keep_the_length_of_their_parts(source, german):
    pooled = PooledInitializer(source, german, dictionary=WORDS, parallel=TEXT)
    plain = PooledInitializer(source, german, dictionary=WORDS, parallel=TEXT, keep_length=False)
    rows = pooled.source.input_rows()
    long, short = (initializer.transport().mixture for initializer in (pooled, plain))
    lengths = short.apply(rows.norm(dim=1, keepdim=True)).squeeze(1)
    assert torch.allclose(long.apply(rows).norm(dim=1), lengths, rtol=1e-4)
    assert torch.allclose(torch.cosine_similarity(long.apply(rows), short.apply(rows))[long.finite], torch.ones(1))
    opposite = SparseMixture(torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([0.5, 0.5]), 2)
    assert torch.equal(at_source_length(opposite, torch.tensor([[1.0], [-1.0]])).values, opposite.values)


def test_ramen_from_vectors_is_the_sparsemax_of_cosines(source, german):
    vectors = {"vectors": torch.randn(500, 4), "source_vectors": torch.randn(600, 4)}
    ramen = RamenVectorsInitializer(source, german, **vectors)
    row = int(ramen.overlap().missing_ids[7])
    cosines = torch.cosine_similarity(vectors["vectors"][row], vectors["source_vectors"])
    cosines[ramen.source.tokenizer().all_special_ids] = -1
    ids, weights = ramen.transport().mixture.weights(7)
    falling = cosines.sort(descending=True).values
    support = int((1 + torch.arange(1, 601) * falling > falling.cumsum(0)).sum())
    threshold = (falling[:support].sum() - 1) / support
    assert torch.allclose(weights, cosines[ids] - threshold, atol=1e-5)
    assert len(ids) == support


def test_the_order_of_entries_does_not_matter(source, german):
    plain, turned = (
        PooledInitializer(source, german, dictionary=Dictionary(entries))
        for entries in (WORDS.pairs, WORDS.pairs[::-1])
    )
    rows = plain.source.input_rows()
    assert torch.allclose(plain.transport().apply(rows), turned.transport().apply(rows), atol=1e-6)


def test_methods_require_their_evidence(source, german):
    for method, name in ((DictionaryInitializer, "dictionary"), (RamenInitializer, "parallel")):
        with pytest.raises(TypeError, match=name):
            method(source, german)
    for name, other, rows in (("vectors", "source_vectors", 600), ("source_vectors", "vectors", 500)):
        with pytest.raises(TypeError, match=f"'{name}'"):
            RamenVectorsInitializer(source, german, **{other: torch.ones(rows, 2)})
    assert "--helper" in tiny.refusal(PooledInitializer, source, german).hint


def test_bad_settings_are_refused(source, german):
    weighed = {"dictionary": WORDS, "weights": {"magic": 1}}
    assert tiny.refusal(PooledInitializer, source, german, **weighed).value == "magic"
    weighed["weights"] = {"links": -1}
    assert tiny.refusal(PooledInitializer, source, german, **weighed).value == -1
    assert tiny.refusal(RamenInitializer, source, german, parallel=TEXT, aligner="best").value == "best"
    for sizes, fault in (
        (((499, 2), (600, 2)), (499, 2)),
        (((500, 2), (599, 2)), (599, 2)),
        (((500, 2), (600, 3)), (3, 2)),
    ):
        tables = dict(zip(("vectors", "source_vectors"), map(torch.ones, sizes), strict=True))
        value = tiny.refusal(RamenVectorsInitializer, source, german, **tables).value
        assert getattr(value, "shape", value) == fault
    wide = SparseMixture(torch.tensor([0, 1]), torch.tensor([600]), torch.ones(1), 601)
    with pytest.raises(InputError, match=r"1 target rows of 601 source ids; expected at most \(500, 600\)"):
        PooledInitializer(source, german, similarity=wide)

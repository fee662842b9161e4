"""Retrieval as a task: directions, margin, layers, which checkpoint reads which side, and what is left out."""

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.metrics import PrecisionAt1
from hf_xlt.evaluation.retrieval import nearest, nearest_by_margin, retrieval, sentence_vectors
from hf_xlt.evaluation.tasks import retrieval as task_module
from hf_xlt.evaluation.tasks.retrieval import SentenceRetrieval
from hf_xlt.sample import sentences
from hf_xlt.transport import mixture
from hf_xlt.trelm import TreLMForMaskedLM

PAIRS = list(zip(sentences("en", "held_out")[:40], sentences("de", "held_out")[:40], strict=True))
TASK = SentenceRetrieval()


def dense(a, b, k=4):
    """What is found by cosine and by margin, each way, from all pairs in float64."""
    cosines = torch.nn.functional.cosine_similarity(a.double()[:, None], b.double()[None], dim=2)
    of_a = cosines.sort(1, descending=True).values[:, :k].mean(1)
    of_b = cosines.sort(0, descending=True).values[:k].mean(0)
    margins = cosines / ((of_a[:, None] + of_b[None]) / 2).clamp(min=mixture.NEAR_ZERO)
    return cosines, margins


def table(path, pairs, header=None):
    rows = ["\t".join(row) for row in ([header] if header else []) + list(pairs)]
    path.write_text("\n".join(rows), encoding="utf-8")
    return str(path)


def saved(folder, language="de", seed=0, **overrides):
    tokenizer = tiny.tokenizer(language, "wordpiece")
    overrides = {"max_position_embeddings": 256} | overrides
    return str(tiny.save(tiny.model("bert", tokenizer, seed=seed, **overrides).bert, tokenizer, folder)), tokenizer


def vectors(folder, texts, layer=-1):
    return sentence_vectors(AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), texts)[layer]


def scores(outcome):
    return {name: float(score) for name, score in TASK.metric().of_counts(outcome.counts.sum(0)).items()}


def expected(sources, targets):
    """Hits of each pair, as the measures on vectors find them."""
    gold = torch.arange(len(sources))
    found = [*nearest(sources, targets), *nearest_by_margin(sources, targets)]
    return torch.stack([of_way == gold for of_way in found], dim=1).double().tolist()


def assert_hits(hits, scores):
    """A hit where gold, on the diagonal, scores higher than all others, none where lower; either if rounding tells."""
    gold = scores.diagonal()
    best_other = scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -torch.inf).amax(1)
    assert hits[gold > best_other + 1e-5].all()
    assert not hits[gold < best_other - 1e-5].any()


@pytest.mark.slow
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 999))
def test_what_is_found_is_what_all_pairs_tell_whatever_the_blocks(n, m, rows_a_block, seed):
    draw = torch.Generator().manual_seed(seed)
    a, b = torch.rand(n, 9, generator=draw), torch.rand(m, 9, generator=draw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixture, "_BLOCK_BYTES", 4 * m * rows_a_block)
        found = [nearest(a, b), nearest_by_margin(a, b)]
    for (forward, backward), scores in zip(found, dense(a, b), strict=True):
        torch.testing.assert_close(scores.gather(1, forward[:, None])[:, 0], scores.amax(1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(scores.gather(0, backward[None])[0], scores.amax(0), rtol=1e-4, atol=1e-5)


def test_all_that_is_found_among_many_is_what_all_pairs_tell():
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(300, 48, generator=draw)
    b = a + 1.5 * torch.randn(300, 48, generator=draw)
    for (forward, backward), scores in zip([nearest(a, b), nearest_by_margin(a, b)], dense(a, b), strict=True):
        assert forward.tolist() == scores.argmax(1).tolist()
        assert backward.tolist() == scores.argmax(0).tolist()


@pytest.mark.parametrize("rows_a_block", [1, 3, 100])
@pytest.mark.parametrize("find", [nearest, nearest_by_margin])
def test_of_equally_near_sentences_the_first_is_found(monkeypatch, find, rows_a_block):
    monkeypatch.setattr(mixture, "_BLOCK_BYTES", 4 * 6 * rows_a_block)
    twice = torch.eye(3)[[0, 0, 1, 1, 2, 2]]
    forward, backward = find(twice, twice)
    assert forward.tolist() == backward.tolist() == [0, 0, 2, 2, 4, 4]


def test_the_margin_is_defined_where_neighbours_cancel_out():
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert [found.tolist() for found in nearest_by_margin(opposite, opposite)] == [[0, 1], [0, 1]]


def test_the_margin_finds_what_a_hub_hides():
    words = torch.cat([torch.eye(30), torch.ones(30, 1)], dim=1)
    hub = torch.cat([torch.zeros(1, 30), torch.ones(1, 1)], dim=1)
    keys = torch.cat([hub, words + 0.3 * torch.randn(30, 31, generator=torch.Generator().manual_seed(3))])
    right = torch.arange(1, 31)
    by_cosine, by_margin = ((find(words, keys)[0] == right).sum() for find in (nearest, nearest_by_margin))
    assert by_margin > by_cosine


def test_scores_are_those_of_a_dense_computation(tmp_path):
    folder, _ = saved(tmp_path / "model")
    outcome = TASK.measure(ModelSpec(folder), {"test": table(tmp_path / "p.tsv", PAIRS)})
    count, *hits = torch.from_numpy(outcome.counts).T
    assert count.tolist() == [1] * len(PAIRS)
    cosines, margins = dense(*(vectors(folder, side) for side in zip(*PAIRS, strict=True)))
    for of_way, scored in zip(hits, (cosines, cosines.T, margins, margins.T), strict=True):
        assert_hits(of_way.bool(), scored)
    shares = [float(of_way.mean()) for of_way in hits]
    assert scores(outcome) == pytest.approx(
        {
            "p@1": sum(shares[:2]) / 2,
            "forward": shares[0],
            "backward": shares[1],
            "margin_p@1": sum(shares[2:]) / 2,
        }
    )
    assert outcome.notes["layer"] == "the last, as there is no dev file"
    assert outcome.notes["source sentences by"] == folder


def test_identical_sides_are_all_found(tmp_path):
    folder, _ = saved(tmp_path / "model")
    same = [(line, line) for line in dict.fromkeys(sentences("de", "held_out")[:40])]
    outcome = TASK.measure(ModelSpec(folder), {"test": table(tmp_path / "p.tsv", same)})
    found = scores(outcome)
    assert found["p@1"] == found["forward"] == found["backward"] == 1


@pytest.mark.slow
def test_the_layer_is_the_best_on_dev_and_the_test_file_has_no_say(tmp_path):
    folder, _ = saved(tmp_path / "model")
    dev, test = PAIRS[:20], PAIRS[20:]
    places = {"dev": table(tmp_path / "d.tsv", dev), "test": table(tmp_path / "t.tsv", test)}
    outcome = TASK.measure(ModelSpec(folder), places)
    found = [retrieval(*(vectors(folder, side, layer) for side in zip(*dev, strict=True))) for layer in range(3)]
    layer = max(range(3), key=lambda layer: (found[layer].forward + found[layer].backward, layer))
    assert outcome.notes["layer"] == f"{layer}, the best on dev"
    of_layer = (vectors(folder, side, layer) for side in zip(*test, strict=True))
    assert outcome.counts[:, 1:].tolist() == expected(*of_layer)


def test_of_equally_good_layers_the_last_is_taken():
    one = torch.eye(4).expand(3, 4, 4)
    assert task_module._best_layer(one, one) == slice(2, 3)
    worse_later = torch.stack([torch.eye(4), torch.eye(4), torch.eye(4).roll(1, 0)])
    assert task_module._best_layer(one, worse_later) == slice(1, 2)


@pytest.mark.slow
def test_a_source_encodes_its_side_itself_with_its_last_layer(tmp_path):
    english, _ = saved(tmp_path / "en", "en", seed=1)
    german, _ = saved(tmp_path / "de", "de", seed=2)
    test, dev = table(tmp_path / "t.tsv", PAIRS[:20]), table(tmp_path / "d.tsv", PAIRS[20:])
    asked = ModelSpec(german, source=english)
    outcome = TASK.measure(asked, {"test": test})
    sources = vectors(english, [source for source, _ in PAIRS[:20]])
    targets = [target for _, target in PAIRS[:20]]
    assert outcome.counts[:, 1:].tolist() == expected(sources, vectors(german, targets))
    assert outcome.notes["source sentences by"] == english
    with_dev = TASK.measure(asked, {"test": test, "dev": dev})
    layer = int(with_dev.notes["layer"].split(",")[0])
    assert with_dev.counts[:, 1:].tolist() == expected(sources, vectors(german, targets, layer))


@pytest.mark.slow
def test_a_model_that_is_its_own_source_is_measured_alike(tmp_path):
    folder, _ = saved(tmp_path / "model")
    test = {"test": table(tmp_path / "p.tsv", PAIRS)}
    alone, with_source = (TASK.measure(ModelSpec(folder, source=source), test) for source in (None, folder))
    assert (alone.counts == with_source.counts).all()


def test_a_trelm_reads_each_side_in_its_language(tmp_path):
    tokenizer = tiny.tokenizer("de", "wordpiece")
    model = TreLMForMaskedLM.from_encoder(
        tiny.model("bert", tokenizer, max_position_embeddings=256),
        languages=["en", "de"],
        tokenizer=tokenizer,
        source_tokenizer=tokenizer,
    )
    torch.nn.init.normal_(model.trelm.embeddings.language_embeddings.weight, generator=torch.Generator().manual_seed(0))
    folder = str(tiny.save(model, tokenizer, tmp_path / "trelm"))
    outcome = TASK.measure(ModelSpec(folder, languages=("en", "de")), {"test": table(tmp_path / "p.tsv", PAIRS)})
    sides = []
    for language, side in zip(("en", "de"), zip(*PAIRS, strict=True), strict=True):
        model.set_language(language)
        sides.append(sentence_vectors(model.base_model, tokenizer, side)[-1])
    assert outcome.counts[:, 1:].tolist() == expected(*sides)


def test_what_is_left_out_is_counted(tmp_path):
    folder, _ = saved(tmp_path / "model", max_position_embeddings=20)
    long = (" ".join(source for source, _ in PAIRS[:9]), " ".join(target for _, target in PAIRS[:9]))
    pairs = [("a", "b"), ("c", "d"), long, ("only", " "), ("", "nur")]
    notes = TASK.measure(ModelSpec(folder), {"test": table(tmp_path / "p.tsv", pairs)}).notes
    assert (notes["skipped"], notes["truncated"]) == (2, 2)


def test_named_columns_are_taken_from_a_table(tmp_path):
    folder, _ = saved(tmp_path / "model")
    rows = [("x", target, source) for source, target in PAIRS]
    place = table(tmp_path / "t.tsv", rows, header=("id", "de", "en")) + ":en,de"
    named, plain = (
        TASK.measure(ModelSpec(folder), {"test": where}) for where in (place, table(tmp_path / "p.tsv", PAIRS))
    )
    assert (named.counts == plain.counts).all()


def test_bad_input_is_refused(tmp_path):
    folder, _ = saved(tmp_path / "model")
    test = {"test": table(tmp_path / "p.tsv", PAIRS[:3])}
    one = {"test": table(tmp_path / "one.tsv", [PAIRS[0], ("alone", "")])}
    with pytest.raises(InputError, match="1 pairs and 1 lines with an empty side; expected two pairs or more"):
        TASK.measure(ModelSpec(folder), one)
    (tmp_path / "flat.tsv").write_text("no tab here\n")
    with pytest.raises(InputError, match="one column only from line 1 on"):
        TASK.measure(ModelSpec(folder), {"test": str(tmp_path / "flat.tsv")})
    tokenizer = tiny.tokenizer("de", "byte-level-bpe")
    decoder = str(tiny.save(tiny.model("gpt2", tokenizer), tokenizer, tmp_path / "gpt2"))
    for asked in (ModelSpec(decoder), ModelSpec(folder, source=decoder)):
        with pytest.raises(InputError, match="is a decoder; expected an encoder"):
            TASK.measure(asked, test)
    wide, _ = saved(tmp_path / "wide", width=32)
    with pytest.raises(InputError, match="have width 32, those of .* 16"):
        TASK.measure(ModelSpec(folder, source=wide), test)


def test_precision_is_the_share_of_queries_with_a_right_answer():
    metric = PrecisionAt1({"both": (0, 1), "first": (0,)})
    predictions, references = [[1, 2], [3, 3], [0, 5]], [[1], [3, 4], [7, 5]]
    assert metric.counts(predictions, references).tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 1]]
    found = metric.compute(predictions=predictions, references=references)
    assert found == pytest.approx({"both": 4 / 6, "first": 2 / 3})
    assert metric.of_counts(torch.zeros(2, 3).numpy())["both"].tolist() == [0, 0]

"""WECHSEL: words aligned by a dictionary, rows mixed from the nearest source tokens."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForMaskedLM

from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import Dictionary
from hf_xlt.evidence.vectors import Vectors, WordAverages
from hf_xlt.initializers.wechsel import WechselInitializer, dictionary_map
from hf_xlt.sample import sentences

WIDTH = 12
ENGLISH, GERMAN = (
    tuple(sorted({word for line in sentences(language, "train")[:80] for word in line.split()}))
    for language in ("en", "de")
)
DICTIONARY = [*zip(ENGLISH[:60], GERMAN[20:80], strict=True), ("no such word", "Hund")]


def of(*entries):
    return Dictionary(tuple(entries))


def words(language, seed=0):
    of = ENGLISH if language == "en" else GERMAN
    return Vectors(of, torch.randn(len(of), WIDTH, generator=torch.Generator().manual_seed(seed)))


def evidence(**changes):
    given_evidence = {
        "source_vectors": WordAverages(words("en"), "unweighted"),
        "vectors": WordAverages(words("de", 1), "rank"),
        "dictionary": of(*DICTIONARY),
    }
    return given_evidence | changes


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    tok = tiny.tokenizer("en", "wordpiece")
    return tiny.save(tiny.model("bert", tok, seed=1), tok, tmp_path_factory.mktemp("wechsel") / "source")


def german():
    return tiny.tokenizer("de", "byte-level-bpe", 500)


def plain_map(dictionary):
    """Pair by pair, each in nine spellings, as the paper's code has it."""
    spaces = [dict(zip(v.words, v.table.double().numpy(), strict=True)) for v in (words("en"), words("de", 1))]
    pairs = [
        (spaces[0][s], spaces[1][t])
        for word, translation in dictionary
        for s in (word, word.lower(), word.title())
        for t in (translation, translation.lower(), translation.title())
        if s in spaces[0] and t in spaces[1]
    ]
    rows, images = map(np.stack, zip(*pairs, strict=True))
    left, _, right = np.linalg.svd(rows.T @ images)
    return left @ right


def test_the_map_is_procrustes_over_all_spellings():
    given_evidence = evidence()
    found = dictionary_map(given_evidence["source_vectors"], given_evidence["vectors"], DICTIONARY)
    np.testing.assert_allclose(found.numpy(), plain_map(DICTIONARY), atol=1e-5)


def test_rows_are_those_of_the_paper(source):
    wechsel = WechselInitializer(source, german(), **evidence(), k=7, temperature=0.3)
    table = wechsel.source.input_rows()
    made = wechsel.transport().apply(table).double().numpy()
    keys = evidence()["source_vectors"].of_tokens(wechsel.source.tokenizer()).double().numpy() @ plain_map(DICTIONARY)
    queries = evidence()["vectors"].of_tokens(german()).double().numpy()
    lengths = np.linalg.norm(keys, axis=1)
    checked = 0
    for row, token in enumerate(wechsel.overlap().missing_ids):
        ids, weights = (part.numpy() for part in wechsel.transport().mixture.weights(row))
        if not queries[token].any():
            assert not len(ids)
            continue
        cosines = keys @ queries[token] / np.where(lengths > 0, lengths, np.inf) / np.linalg.norm(queries[token])
        # Tokens of the same words have the same vector: which of them is taken is open, their cosines are not.
        np.testing.assert_allclose(np.sort(cosines[ids]), np.sort(cosines)[-7:], atol=1e-6)
        exponentials = np.exp(cosines[ids] / 0.3)
        np.testing.assert_allclose(weights, exponentials / exponentials.sum(), atol=1e-5)
        np.testing.assert_allclose(made[token], weights @ table.double().numpy()[ids], atol=1e-6)
        checked += 1
    assert checked == wechsel.transport().counts.mixed > 100


def test_only_special_tokens_are_copied_unless_asked(source):
    wechsel = WechselInitializer(source, german(), **evidence())
    assert wechsel.transport().counts.copied == 5
    assert WechselInitializer(source, german(), **evidence(), overlap="exact").transport().counts.copied > 50
    queries = evidence()["vectors"].of_tokens(german())
    assert wechsel.transport().counts.mixed == int(queries.any(dim=1).sum())


def test_words_that_are_rotated_find_their_counterparts(source):
    """With German vectors that are turned English ones, a token of one word takes the row of its translation."""
    tok = tiny.tokenizer("en", "wordpiece")
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3)))[0]
    foreign = Vectors([f"{word}x" for word in ENGLISH], words("en").table @ turn)
    given_evidence = {
        "source_vectors": WordAverages(words("en"), "unweighted"),
    }
    translated = [(word, f"{word}x") for word in ENGLISH]
    map_ = dictionary_map(given_evidence["source_vectors"], WordAverages(foreign), translated)
    torch.testing.assert_close(map_, turn, rtol=0, atol=1e-5)
    same = WordAverages(Vectors(ENGLISH, words("en").table @ turn), "unweighted")
    wechsel = WechselInitializer(
        source, tok, **given_evidence, dictionary=of(*((w, w) for w in ENGLISH)), vectors=same, k=1
    )
    weights = wechsel.transport().mixture
    own = [wechsel.overlap().missing_ids[row] for row in range(weights.n_rows) if weights.finite[row]]
    nearest = [int(weights.weights(row)[0][0]) for row in range(weights.n_rows) if weights.finite[row]]
    assert np.mean(np.array(own) == np.array(nearest)) > 0.8


@pytest.mark.slow
@settings(max_examples=6)
@given(st.integers(1, 30), st.floats(0.05, 2))
def test_weights_sum_to_one_and_rows_are_finite(source, k, temperature):
    transport = WechselInitializer(source, german(), **evidence(), k=k, temperature=temperature).transport()
    finite = transport.mixture.finite
    sums = torch.stack([transport.mixture.weights(row)[1].sum() for row in range(len(finite))])
    torch.testing.assert_close(sums[finite], torch.ones(int(finite.sum())))
    assert transport.apply(torch.randn(transport.source_size, 3)).isfinite().all()


@settings(max_examples=5)
@given(st.permutations(range(len(DICTIONARY))))
def test_the_order_of_the_dictionary_does_not_matter(order):
    spaces = evidence()["source_vectors"], evidence()["vectors"]
    found = dictionary_map(*spaces, [DICTIONARY[i] for i in order])
    torch.testing.assert_close(found, dictionary_map(*spaces, DICTIONARY), rtol=0, atol=1e-4)


def test_the_built_folder_equals_the_model_in_memory(source, tmp_path):
    wechsel = WechselInitializer(source, german(), **evidence())
    reopened = AutoModelForMaskedLM.from_pretrained(wechsel.build(tmp_path / "out"))
    for name, tensor in wechsel.build_model().state_dict().items():
        assert torch.equal(reopened.state_dict()[name], tensor), name


def test_what_cannot_be_used_is_refused(source):
    for name in ("dictionary", "source_vectors", "vectors"):
        with pytest.raises(TypeError, match=name):
            WechselInitializer(source, german(), **{key: value for key, value in evidence().items() if key != name})
    assert tiny.refusal(of).value == ()
    assert tiny.refusal(of, ("dog", " ")).value == ("dog", " ")
    with pytest.raises(InputError, match="None of the 1 dictionary entries has a vector on both sides"):
        WechselInitializer(source, german(), **evidence(dictionary=of(("zzz", "yyy")))).transport()
    assert tiny.refusal(WechselInitializer, source, german(), **evidence(), overlap="some").value == "some"
    assert tiny.refusal(WechselInitializer, source, german(), **evidence(), k=0).value == 0
    chinese = Vectors(["日本", "中国"], torch.randn(2, WIDTH))
    wordpiece = tiny.tokenizer("de", "wordpiece", 500)
    lost = evidence(vectors=WordAverages(chinese), dictionary=of((ENGLISH[0], "日本")))
    with pytest.raises(InputError, match="The target vectors have none for any of the 500 target tokens"):
        WechselInitializer(source, wordpiece, **lost).transport()

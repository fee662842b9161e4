"""Vectors of tokens, made of the words they are part of or of their own character n-grams."""

import gzip

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import Vectors, read_words
from hf_xlt.evidence.vectors.subword import NgramVectors, WordAverages, read_vectors, token_texts, word_average
from hf_xlt.sample import sentences

FAMILIES = ("byte-level-bpe", "unigram", "wordpiece")
WORDS = tuple(sorted({word for line in sentences("de", "train")[:60] for word in line.split()}))


def vectors(words=WORDS, seed=0):
    return Vectors(words, torch.randn(len(words), 5, generator=torch.Generator().manual_seed(seed)))


def counts(words=WORDS):
    return torch.arange(len(words), 0, -1)


def plain_average(given_vectors, tokenizer, weights):
    """Word by word, in float64."""
    sums, totals = np.zeros((len(tokenizer), 5)), np.zeros(len(tokenizer))
    for word, row, weight in zip(given_vectors.words, given_vectors.table.double().numpy(), weights, strict=True):
        for text in (word, " " + word):
            for id_ in set(tokenizer(text, add_special_tokens=False)["input_ids"]) - set(tokenizer.all_special_ids):
                sums[id_] += weight * row
                totals[id_] += weight
    return sums / np.where(totals > 0, totals, 1)[:, None]


WEIGHTS = {
    "frequency": np.arange(len(WORDS), 0, -1.0),
    "rank": 1 / np.arange(1, len(WORDS) + 1),
    "unweighted": np.ones(len(WORDS)),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weighting", WEIGHTS)
def test_a_token_is_the_weighted_mean_of_its_words(family, weighting):
    tok = tiny.tokenizer("de", family)
    found = word_average(vectors(), tok, weighting, counts())
    expected = plain_average(vectors(), tok, WEIGHTS[weighting])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assert not found[tok.all_special_ids].any()
    assert 50 < int(found.any(dim=1).sum()) < len(tok)


@settings(max_examples=10)
@given(st.permutations(range(12)))
def test_the_order_of_words_does_not_matter_where_rank_does_not(order):
    tok = tiny.tokenizer("de", "wordpiece")
    words, table = WORDS[:12], vectors().table[:12]
    turned = Vectors([words[i] for i in order], table[list(order)])
    expected = word_average(Vectors(words, table), tok, "unweighted")
    torch.testing.assert_close(word_average(turned, tok, "unweighted"), expected)


def test_words_that_never_occur_leave_their_tokens_without_a_vector():
    tok = tiny.tokenizer("de", "wordpiece")
    assert not word_average(vectors(), tok, "frequency", torch.zeros(len(WORDS))).any()


def test_texts_of_tokens_have_no_marks():
    for family in FAMILIES:
        tok = tiny.tokenizer("de", family)
        texts = token_texts(tok)
        assert len(texts) == len(tok)
        assert "und" in texts
        assert not any(text.startswith(("##", "▁", "Ġ")) or text != text.strip() for text in texts)
        assert not any(texts[id_] for id_ in tok.all_special_ids)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A fastText model and its `.bin`, both written by gensim."""
    fasttext = pytest.importorskip("gensim.models.fasttext")
    text = [line.split() for line in sentences("de", "train")[:200]]
    made = fasttext.FastText(
        text, vector_size=5, min_count=2, min_n=2, max_n=4, bucket=500, epochs=1, seed=1, workers=1
    )
    path = tmp_path_factory.mktemp("model") / "de.bin"
    fasttext.save_facebook_model(made, str(path))
    return made, path


def test_tokens_get_the_ngram_vectors_of_their_texts(model):
    made, path = model
    tok = tiny.tokenizer("de", "wordpiece")
    opened = read_vectors(path)
    assert opened == NgramVectors(path)
    found = opened.of_tokens(tok)
    for id_, text in enumerate(token_texts(tok)):
        expected = made.wv.get_vector(text) if text else np.zeros(5)
        np.testing.assert_allclose(found[id_].numpy(), expected, atol=1e-6)
    assert int(found.any(dim=1).sum()) > 400


def test_only_words_of_the_dictionary_are_words(model):
    made, path = model
    found = NgramVectors(path).of_words(["und", "undundund", made.wv.index_to_key[3]])
    assert found.any(dim=1).tolist() == [True, False, True]
    np.testing.assert_allclose(found[0].numpy(), made.wv["und"], atol=1e-6)
    with pytest.raises(InputError, match="knows none of the 1 words"):
        NgramVectors(path).of_words(["undundund"])


@pytest.mark.parametrize("name", ["de.vec", "de.vec.gz"])
def test_the_first_words_of_a_text_file_are_read(tmp_path, name):
    lines = [f"{len(WORDS)} 5"] + [
        " ".join([word, *map(str, row)]) for word, row in zip(WORDS, vectors().table.tolist(), strict=True)
    ]
    content = "\n".join(lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    opened = read_vectors(tmp_path / name, most_words=20)
    assert isinstance(opened, WordAverages)
    assert opened.vectors.words == WORDS[:20]
    torch.testing.assert_close(opened.of_words(["absent", WORDS[4]])[1], vectors().table[4])
    expected = word_average(read_words(tmp_path / name, WORDS[:20]), tiny.tokenizer("de", "unigram"), "rank")
    torch.testing.assert_close(opened.of_tokens(tiny.tokenizer("de", "unigram")), expected)


def test_what_cannot_be_weighed_is_refused(tmp_path):
    tok = tiny.tokenizer("de", "wordpiece")
    assert tiny.refusal(word_average, vectors(), tok, "best").value == "best"
    with pytest.raises(InputError, match="needs their frequencies"):
        WordAverages(vectors(), "frequency")
    with pytest.raises(InputError, match=rf"expected {len(WORDS)} numbers from 0"):
        word_average(vectors(), tok, "frequency", torch.ones(3))
    with pytest.raises(InputError, match="numbers from 0"):
        word_average(vectors(), tok, "frequency", -counts())
    with pytest.raises(InputError, match=r"absent\.vec is not a file"):
        read_vectors(tmp_path / "absent.vec")

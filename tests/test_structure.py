"""CKA, alignment and retrieval agree with plain dense computations, on any two encoders; bad input is refused."""

import json
import shutil

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel

from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import sentence_vectors
from hf_xlt.evaluation.structure import CKA, Level, Structure, structure
from hf_xlt.evaluation.structure.cka import cka_map
from hf_xlt.evaluation.structure.sample import Sample, Side, word_pairs
from hf_xlt.evaluation.structure.states import LayerEncoder, encode
from hf_xlt.evaluation.structure.structure import aligned_precision, least_squares, paired_layers, precision
from hf_xlt.sample import sentences
from hf_xlt.trelm import TreLMForMaskedLM

PAIRS = list(zip(*(sentences(language, "train")[:80] for language in ("en", "de")), strict=True))
SHAPES = st.tuples(st.integers(5, 30), st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))


def randn(*shape, seed=0, mean=0.0):
    return mean + torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rotation(width, seed=0):
    return torch.linalg.qr(randn(width, width, seed=seed).double())[0].float()


def related(n, d1, d2, seed=0, mean=5.0):
    """Rows and noisy images of them, both with a mean far from zero."""
    x = randn(n, d1, seed=seed, mean=mean)
    return x, x @ randn(d1, d2, seed=seed + 1) + randn(n, d2, seed=seed + 2)


def dense_hsic(x, y):
    centre = np.eye(len(x)) - 1 / len(x)
    return np.trace(x @ x.T @ centre @ y @ y.T @ centre) / (len(x) - 1) ** 2


def dense_unbiased(x, y):
    n, k, m = len(x), x @ x.T, y @ y.T
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    total = np.trace(k @ m) + k.sum() * m.sum() / (n - 1) / (n - 2) - 2 / (n - 2) * (k @ m).sum()
    return total / (n * (n - 3))


def dense_cka(x, y, hsic):
    x, y = (side.double().numpy() for side in (x, y))
    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def whole(x, y):
    cka = CKA()
    cka.update(x, y)
    return cka


class TestCKA:
    @given(SHAPES)
    def test_it_is_what_whole_kernels_give(self, shape):
        x, y = related(*shape)
        cka = whole(x.double(), y.double())
        assert cka.value() == pytest.approx(dense_cka(x, y, dense_hsic), abs=1e-8)
        assert cka.debiased() == pytest.approx(dense_cka(x, y, dense_unbiased), abs=1e-6)

    @pytest.mark.parametrize(("n", "d1", "d2", "mean"), [(300, 40, 24, 0), (300, 40, 24, 100), (50, 60, 90, 5)])
    def test_single_precision_is_enough_even_far_from_zero(self, n, d1, d2, mean):
        x, y = related(n, d1, d2, mean=mean)
        assert whole(x, y).value() == pytest.approx(dense_cka(x, y, dense_hsic), abs=1e-5)
        assert whole(x, y).debiased() == pytest.approx(dense_cka(x, y, dense_unbiased), abs=1e-5)

    @given(SHAPES, st.integers(1, 7))
    def test_in_blocks_it_is_the_same(self, shape, size):
        x, y = (side.double() for side in related(*shape))
        streamed, at_once = CKA(), whole(x, y)
        for blocks in zip(x.split(size), y.split(size), strict=True):
            streamed.update(*blocks)
        assert streamed.value() == pytest.approx(at_once.value(), abs=1e-9)
        assert streamed.debiased() == pytest.approx(at_once.debiased(), abs=1e-7)

    def test_turning_moving_and_scaling_change_nothing(self):
        x, y = related(60, 12, 8)
        moved = 7 * x @ rotation(12) + randn(12, seed=3)
        for name in ("value", "debiased"):
            assert getattr(whole(moved, y), name)() == pytest.approx(getattr(whole(x, y), name)(), abs=1e-5)
            assert getattr(whole(x, moved), name)() == pytest.approx(1, abs=1e-5)

    def test_unrelated_rows_fewer_than_their_width_are_unlike_only_without_bias(self):
        cka = whole(randn(100, 400, seed=1), randn(100, 400, seed=2))
        assert cka.value() > 0.5
        assert abs(cka.debiased()) < 0.1

    def test_a_map_of_layers_holds_each_pair(self):
        xs, ys = randn(2, 40, 6), randn(3, 40, 9, seed=1)
        plain, debiased = cka_map(xs, ys)
        assert plain.shape == debiased.shape == (2, 3)
        for i, x in enumerate(xs):
            for j, y in enumerate(ys):
                assert float(plain[i, j]) == pytest.approx(whole(x, y).value())
                assert float(debiased[i, j]) == pytest.approx(whole(x, y).debiased())

    def test_half_precision_is_read(self):
        x, y = (side.half() for side in related(50, 6, 6, mean=0))
        assert whole(x, y).value() == pytest.approx(whole(x.float(), y.float()).value())

    def test_what_it_cannot_compare_is_refused(self):
        x = randn(6, 4)
        for call in (lambda: whole(x, x[:5]), lambda: cka_map([x], [x[:5]]), lambda: whole(x[0], x[0])):
            with pytest.raises(InputError, match="expected two matrices with as many rows"):
                call()
        started = whole(x, x)
        with pytest.raises(InputError, match="blocks of the same two representations"):
            started.update(x[:, :3], x)
        with pytest.raises(InputError, match="asked of 1 rows; expected at least 2"):
            whole(x[:1], x[:1]).value()
        with pytest.raises(InputError, match="asked of 3 rows; expected at least 4"):
            whole(x[:3], x[:3]).debiased()
        with pytest.raises(InputError, match="asked of 0 rows"):
            CKA().value()
        for broken in (torch.ones(6, 4), x.clone().fill_(float("nan"))):
            with pytest.raises(InputError, match="CKA is not defined"):
                whole(x, broken).value()


class TestAlignment:
    def test_the_orthogonal_map_recovers_a_rotation(self):
        a = randn(300, 16)
        test = torch.arange(300) < 60
        found = aligned_precision(a, a @ rotation(16), test)
        assert found["unaligned"].cosine.forward < 0.5
        for way in ("orthogonal", "least_squares"):
            assert found[way] == precision(a[test], a[test])
            assert found[way].csls.backward == 1

    @given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
    def test_least_squares_is_numpys(self, n, k, d, seed):
        rows, images = randn(n, k, seed=seed).double(), randn(n, d, seed=seed + 1).double()
        plain = np.linalg.lstsq(rows.numpy(), images.numpy(), rcond=None)[0]
        np.testing.assert_allclose(least_squares(rows, images).numpy(), plain, rtol=1e-5, atol=1e-8)

    def test_least_squares_is_computed_in_double_precision(self):
        rows, images = randn(40, 8) * torch.logspace(0, -3, 8), randn(40, 5, seed=1)
        exact = np.linalg.lstsq(rows.double().numpy(), images.double().numpy(), rcond=None)[0]
        np.testing.assert_allclose(least_squares(rows, images).numpy(), exact, rtol=1e-5)

    @pytest.mark.parametrize(("n", "width"), [(1, 3), (7, 4), (60, 8), (200, 16)])
    def test_precision_is_that_of_a_plain_dense_computation(self, n, width):
        a = randn(n, width)
        b = a + randn(n, width, seed=1)
        cosines = torch.nn.functional.cosine_similarity(a[:, None].double(), b[None].double(), dim=2).numpy()
        r_a, r_b = (np.sort(cosines, axis=axis) for axis in (1, 0))
        csls = 2 * cosines - r_a[:, -10:].mean(1, keepdims=True) - r_b[-10:].mean(0)
        found, own = precision(a, b), np.arange(n)
        for scores, ours in ((cosines, found.cosine), (csls, found.csls)):
            assert ours.forward == pytest.approx((scores.argmax(1) == own).mean())
            assert ours.backward == pytest.approx((scores.argmax(0) == own).mean())

    def test_models_of_different_width_are_aligned_but_not_compared_as_they_are(self):
        a = randn(200, 6)
        wide = a @ rotation(10)[:6]
        test = torch.arange(200) < 50
        for pair in ((a, wide), (wide, a)):
            found = aligned_precision(*pair, test)
            assert set(found) == {"orthogonal", "least_squares"}
            assert found["orthogonal"].cosine.forward == found["least_squares"].csls.backward == 1

    def test_maps_are_learned_from_the_other_pairs_alone(self):
        a = randn(120, 8)
        turned = torch.where(torch.arange(120)[:, None] < 60, a @ rotation(8), a @ rotation(8, seed=1))
        test = torch.arange(120) < 30
        mixed, own = (aligned_precision(a[:n], turned[:n], test[:n]) for n in (120, 60))
        for way in ("orthogonal", "least_squares"):
            assert own[way].cosine.forward == 1 > mixed[way].cosine.forward
        others = turned.clone()
        others[test] = a[test] @ rotation(8, seed=2)  # the rotation that tests would teach
        assert aligned_precision(a[:60], others[:60], test[:60])["orthogonal"].cosine.forward < 1

    def test_least_squares_takes_the_smallest_of_several_maps(self):
        rows, images = randn(30, 4).double().repeat(1, 2), randn(30, 3, seed=1).double()
        plain = np.linalg.lstsq(rows.numpy(), images.numpy(), rcond=None)[0]
        np.testing.assert_allclose(least_squares(rows, images).numpy(), plain, atol=1e-10)

    def test_sides_that_do_not_fit_are_refused(self):
        with pytest.raises(InputError, match="5 and 4 states with 5 marks"):
            aligned_precision(randn(5, 3), randn(4, 3), torch.ones(5, dtype=torch.bool))
        for rows, images in ((randn(5, 3), randn(4, 3)), (randn(0, 3), randn(0, 3))):
            with pytest.raises(InputError, match="as many of one as of the other"):
                least_squares(rows, images)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (3, 3, [0, 1, 2]),
        (13, 7, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]),
        (3, 5, [0, 2, 4]),
        (1, 4, [0]),
        (4, 1, [0] * 4),
    ],
)
def test_layers_are_paired_by_relative_depth(first, second, expected):
    assert paired_layers(first, second) == tuple(enumerate(expected))


class TestSample:
    def test_parts_share_no_sentence_and_no_pair_of_spellings_comes_twice_in_one(self):
        sample = Sample.of(PAIRS, words=200)
        source, target = sample.sides
        assert int(sample.sentence_test.sum()) == round(0.2 * len(source.sentences))
        assert 4 < len(source.words) == len(target.words) == len(sample.word_test) <= 200
        torch.testing.assert_close(sample.word_test, sample.sentence_test[torch.from_numpy(source.words[:, 0])])
        spelled = [
            [side.sentences[i][first:last].lower() for i, first, last in side.words.tolist()]
            for side in (source, target)
        ]
        for part in (sample.word_test, ~sample.word_test):
            pairs = [pair for pair, inside in zip(zip(*spelled, strict=True), part.tolist(), strict=True) if inside]
            assert len(pairs) == len(set(pairs))
        assert all(any(map(str.isalnum, word)) for side in spelled for word in side)

    def test_the_same_seed_draws_the_same(self):
        first, again, other = (Sample.of(PAIRS, words=50, seed=seed) for seed in (1, 1, 2))
        assert np.array_equal(first.sides[1].words, again.sides[1].words)
        assert torch.equal(first.sentence_test, again.sentence_test)
        assert not torch.equal(first.sentence_test, other.sentence_test)

    def test_repetitions_are_left_out_and_no_more_than_wanted_drawn(self):
        sentences = [(f"a {i}", f"b {i}") for i in range(20)]
        repeated = [*sentences, ("a 3", "b 3"), ("a 4", "new"), ("new", "b 5")]
        sample = Sample.of(repeated, words=0)
        assert (sample.repeated, len(sample.sides[0].sentences)) == (3, 20)
        fewer = Sample.of(repeated, sentences=10, words=0)
        assert (fewer.repeated, len(fewer.sides[1].sentences)) == (3, 10)
        assert set(zip(*(side.sentences for side in fewer.sides), strict=True)) < set(sentences)

    def test_links_of_the_caller_count_between_white_space(self):
        pairs = [("don't stop now", "hör nicht auf !"), ("yes , yes", "ja ja"), ("one two", "eins zwei")]
        links = [[(0, 1), (1, 0), (1, 2)], [(1, 0), (0, 1)], []]
        found = word_pairs(pairs, links)
        assert found.sentences.tolist() == [0, 1]
        words = [
            [pairs[i][side][first:last] for i, (first, last) in zip(found.sentences, spans.tolist(), strict=True)]
            for side, spans in enumerate(found.spans)
        ]
        assert words == [["don't", "yes"], ["nicht", "ja"]]

    def test_words_are_found_in_plain_text(self):
        pairs = [("(Yes!)", "我喜"), ("Hi, you", "喜 abc。")] * 5
        found = word_pairs(pairs)
        assert {pairs[i][0][a:b] for i, (a, b) in zip(found.sentences, found.spans[0], strict=True)} <= {
            "Yes",
            "Hi",
            "you",
        }
        assert {pairs[i][1][a:b] for i, (a, b) in zip(found.sentences, found.spans[1], strict=True)} <= {
            "我",
            "喜",
            "abc",
        }

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"pairs": [*PAIRS, ("one", " ")]}, r"these \(from 0\) have an empty side: 80"),
            ({"pairs": [*PAIRS, ("one",)]}, r"these \(from 0\) have not two sides: 80"),
            ({"pairs": []}, "There are 0 different sentence pairs: 0 to learn"),
            ({"pairs": PAIRS[:5]}, "5 different sentence pairs: 4 to learn a map from and 1 to test"),
            ({"pairs": PAIRS, "test_share": 1.0}, "test_share=1.0; expected"),
            ({"pairs": PAIRS, "words": -1}, "words=-1"),
            ({"pairs": PAIRS, "sentences": 0}, "sentences=0"),
            ({"pairs": PAIRS, "links": [[(0, 0)]]}, "80 pairs and 1 sets of links"),
            ({"pairs": PAIRS, "links": [[(0, 99)]] * 80}, "Pair 0 has a link to word 99"),
            ({"pairs": PAIRS, "links": [[]] * 80}, "There are 0 word pairs: .* or ask for 0 words"),
        ],
    )
    def test_what_cannot_be_used_is_refused(self, given, message):
        with pytest.raises(InputError, match=message):
            Sample.of(**given)


def words_in(texts, *spans):
    return Side(tuple(texts), np.array(spans, np.int64).reshape(-1, 3))


class TestStates:
    @pytest.mark.parametrize(
        ("kind", "family"), [("bert", "wordpiece"), ("roberta", "byte-level-bpe"), ("bert", "unigram")]
    )
    def test_they_are_means_over_the_tokens_of_sentences_and_of_words(self, kind, family):
        tokenizer = tiny.tokenizer("en", family, 1200)  # so that every sentence is within the model's positions
        model = tiny.model(kind, tokenizer).base_model
        texts = sentences("en", "held_out")[:12]
        spans = []
        for i, text in enumerate(texts):
            start = 0
            for word in text.split():
                spans.append((i, text.index(word, start), text.index(word, start) + len(word)))
                start = spans[-1][2]
        side = words_in(texts, *spans[::-1])
        states = encode(model, tokenizer, side)
        torch.testing.assert_close(states.sentences, sentence_vectors(model, tokenizer, texts), rtol=1e-4, atol=1e-5)
        assert states.words.shape == (3, len(spans), 16)
        assert states.found.all()
        for i, text in enumerate(texts):
            read = tokenizer(text, return_offsets_mapping=True)
            with torch.no_grad():
                layers = model(torch.tensor([read["input_ids"]]), output_hidden_states=True).hidden_states
            of_text = torch.stack(layers)[:, 0]
            for at in np.flatnonzero(side.words[:, 0] == i):
                _, first, last = side.words[at]
                tokens = [k for k, (a, b) in enumerate(read["offset_mapping"]) if a < last and b > first]
                torch.testing.assert_close(states.words[:, at], of_text[:, tokens].mean(1), rtol=1e-4, atol=1e-5)

    def test_words_behind_the_last_position_are_not_found(self):
        tokenizer = tiny.tokenizer("en", "wordpiece")
        model = tiny.model("bert", tokenizer).base_model
        text = "yes " * 200
        states = encode(model, tokenizer, words_in([text, "no"], (0, 0, 3), (0, 796, 799), (1, 0, 2)))
        assert states.found.tolist() == [True, False, True]
        assert not states.words[:, 1].any()

    def test_no_sentence_is_refused(self):
        tokenizer = tiny.tokenizer("en", "wordpiece")
        with pytest.raises(InputError, match="no sentence to read"):
            encode(tiny.model("bert", tokenizer).base_model, tokenizer, words_in([]))


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """An English and a German encoder of different width and depth, a decoder, an encoder-decoder and a TreLM."""
    folder = tmp_path_factory.mktemp("structure")
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "byte-level-bpe")
    tiny.save(tiny.model("bert", english), english, folder / "english")
    deeper = {"hidden_size": 24, "num_hidden_layers": 4}
    tiny.save(tiny.model("roberta", german, seed=1, **deeper), german, folder / "german")
    for kind in ("gpt2", "t5"):
        tokenizer = tiny.tokenizer("en", "byte-level-bpe" if kind == "gpt2" else "unigram")
        tiny.save(tiny.model(kind, tokenizer), tokenizer, folder / kind)
    both = tiny.tokenizer("de", "wordpiece")
    trelm = TreLMForMaskedLM.from_encoder(folder / "english", languages=["en", "de"], tokenizer=both)
    tiny.save(trelm, both, folder / "trelm")
    return {path.name: str(path) for path in folder.iterdir()}


def same(texts):
    return [(text, text) for text in dict.fromkeys(texts)]


class TestStructure:
    def test_an_encoder_against_itself_is_alike_layer_by_layer(self, places):
        found = structure(places["english"], places["english"], same(sentences("en", "train")[:60]), words=100)
        assert found.layers == ((0, 0), (1, 1), (2, 2))
        for level in (found.sentences, found.words):
            for i in range(3):
                assert level.cka[i][i] == pytest.approx(1, abs=1e-5)
                assert level.debiased_cka[i][i] == pytest.approx(1, abs=1e-4)
        assert [layer.cosine.forward for layer in found.sentences.precision["unaligned"]] == [1, 1, 1]

    def test_two_different_encoders_are_compared(self, places):
        found = structure(places["english"], places["german"], PAIRS, words=60)
        assert found.layers == ((0, 0), (1, 2), (2, 4))
        for level in (found.sentences, found.words):
            assert (len(level.cka), len(level.debiased_cka[0])) == (3, 5)
            assert set(level.precision) == {"orthogonal", "least_squares"}
            assert all(len(layers) == 3 for layers in level.precision.values())
        assert found.sentences.learned + found.sentences.tested == len(Sample.of(PAIRS, words=0).sentence_test)
        assert Structure.from_json(found.to_json()) == found
        assert json.loads(found.to_json())["sentences"]["precision"]["orthogonal"][2]["csls"]["forward"] >= 0

    @pytest.mark.slow
    def test_the_whole_is_its_parts(self, places):
        found = structure(places["english"], places["english"], PAIRS, words=0, test_share=0.5, seed=3)
        sample = Sample.of(PAIRS, words=0, test_share=0.5, seed=3)
        tokenizer = tiny.tokenizer("en", "wordpiece")
        model = AutoModel.from_pretrained(places["english"])
        a, b = (encode(model, tokenizer, side) for side in sample.sides)
        again = Structure.of((places["english"],) * 2, a, b, sample)
        assert found.words is again.words is None
        for level in (again.sentences, Level.of(a.sentences, b.sentences, sample.sentence_test)):
            np.testing.assert_allclose(level.cka, found.sentences.cka, atol=1e-5)
            np.testing.assert_allclose(level.debiased_cka, found.sentences.debiased_cka, atol=1e-5)
            assert (level.learned, level.tested) == (40, 40)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["gpt2", "t5"])
    def test_other_kinds_of_models_are_read_too(self, places, kind):
        found = structure(places[kind], places["english"], same(sentences("en", "train")[:60]), words=50)
        assert len(found.sentences.cka) >= 3

    def test_code_of_its_own_may_open_a_model_with_its_head_alone(self, places, tmp_path):
        folder = shutil.copytree(places["english"], tmp_path / "own")
        (folder / "configuration_own.py").write_text(
            "from transformers import BertConfig\nclass OwnConfig(BertConfig):\n    model_type = 'own-bert'\n"
        )
        (folder / "modeling_own.py").write_text(
            "from transformers import BertForMaskedLM\nfrom .configuration_own import OwnConfig\n"
            "class OwnForMaskedLM(BertForMaskedLM):\n    config_class = OwnConfig\n"
        )
        code = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForMaskedLM": "modeling_own.OwnForMaskedLM"}
        own = {"model_type": "own-bert", "architectures": ["OwnForMaskedLM"], "auto_map": code}
        (folder / "config.json").write_text(json.dumps(json.loads((folder / "config.json").read_text()) | own))
        side = Sample.of(PAIRS[:20], words=0).sides[0]
        found = LayerEncoder.open(str(folder), trust_remote_code=True).encode(side)
        assert torch.equal(found.sentences, LayerEncoder.open(places["english"]).encode(side).sentences)

    @pytest.mark.slow
    def test_a_trelm_reads_each_side_in_its_language(self, places):
        sample = Sample.of(PAIRS, words=0)
        states = LayerEncoder.open(places["trelm"], "en").encode(sample.sides[1])
        again = LayerEncoder.open(places["trelm"], "en").encode(sample.sides[1])
        assert torch.equal(states.sentences, again.sentences)
        found = structure(places["trelm"], places["trelm"], PAIRS, words=0, languages=("en", "de"))
        assert len(found.layers) == len(states.sentences)
        with pytest.raises(InputError, match="has the languages en, de; expected to be told"):
            structure(places["trelm"], places["english"], PAIRS)
        with pytest.raises(InputError, match="has no language 'fr'; expected one of en, de"):
            structure(places["trelm"], places["english"], PAIRS, languages=("fr", None))
        with pytest.raises(InputError, match="has no languages to choose from, but is to read de"):
            structure(places["english"], places["english"], PAIRS, languages=(None, "de"))

    def test_a_trelm_of_two_vocabularies_reads_each_with_its_own(self, places, tmp_path):
        english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
        given = {"languages": ["en", "de"], "tokenizers": [english, german], "tri_layer_index": None}
        trelm = TreLMForMaskedLM.from_encoder(places["english"], **given)
        folder = str(tiny.save(trelm, german, tmp_path / "trelm"))
        with pytest.raises(InputError, match="no tokenizer for 'en'; expected that of 'de' beside the weights"):
            LayerEncoder.open(folder, "en")
        english.save_pretrained(tmp_path / "trelm" / "source_tokenizer")
        side = words_in(sentences("en", "held_out")[:9])
        states, source = (
            LayerEncoder.open(*place).encode(side).sentences for place in ((folder, "en"), (places["english"],))
        )
        torch.testing.assert_close(states, source, rtol=1e-4, atol=1e-5)
        assert LayerEncoder.open(folder, "de").tokenizer.get_vocab() == german.get_vocab()

    @pytest.mark.slow
    def test_words_that_a_model_does_not_reach_are_left_out(self, places):
        lengths = [i for i in range(1, 200) if not 10 < i < 90]
        pairs = [(f"{'yes ' * i}w{i}", f"x {'ja ' * i}w{i}") for i in lengths]
        links = [np.array([(i, i + 1)]) for i in lengths]
        found = structure(places["english"], places["english"], pairs, links=links, test_share=0.5)
        assert found.sentences.learned + found.sentences.tested == len(pairs)
        assert found.words.learned + found.words.tested == 10
        with pytest.raises(InputError, match="There are 0 word pairs within the models' lengths"):
            structure(places["english"], places["english"], pairs[10:], links=links[10:])

    @pytest.mark.slow
    def test_tables_show_every_pair_of_layers(self, places):
        found = structure(places["english"], places["german"], PAIRS, words=60)
        of_sentences, of_words = found.tables()
        assert [line[0] for line in of_sentences.lines] == ["embeddings", "1 / 2", "2 / 4"]
        assert "word pairs" in of_words.caption
        assert "by chance" in of_sentences.caption
        assert all(len(line) == len(table.header) == 7 for table in (of_sentences, of_words) for line in table.lines)
        itself = structure(places["english"], places["english"], same(sentences("en", "train")[:60]), words=0)
        (table,) = itself.tables()
        assert table.lines[1][:4] == ("1", "1.000", "1.000", "100.0%")
        assert len(table.header) == 9

    def test_what_cannot_be_used_is_refused_before_anything_is_loaded(self, places, monkeypatch):
        monkeypatch.setattr(LayerEncoder, "encode", lambda *_: pytest.fail("a model was loaded"))
        with pytest.raises(InputError, match="does not exist"):
            structure(places["english"], "./nowhere", PAIRS)
        with pytest.raises(InputError, match="to learn a map from"):
            structure(places["english"], places["german"], PAIRS[:3])

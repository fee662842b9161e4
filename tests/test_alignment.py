"""A word aligner learns, links text old and new, and comes back from disk as it was; links are read from elsewhere."""

import gzip

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment import MODELS, WordAligner, read_pharaoh, write_pharaoh

EVERY_MODEL = pytest.mark.parametrize("model", MODELS)
WORDS = 40


def toy(pairs=600, seed=0):
    """Sentences of different words, their word-for-word translations with neighbours swapped, and the links."""
    rng = np.random.default_rng(seed)
    translation = rng.permutation(WORDS)
    corpus, links = [], []
    for _ in range(pairs):
        length = rng.integers(2, 9)
        source = rng.choice(WORDS, size=length, replace=False)
        order = np.arange(length)
        if rng.random() < 0.5:
            order[[0, 1]] = order[[1, 0]]
        corpus.append(([f"s{w}" for w in source], [f"t{translation[w]}" for w in source[order]]))
        links.append(sorted(zip(order.tolist(), range(length), strict=True)))
    return corpus, links


def as_lists(links):
    return [[tuple(link) for link in pair.tolist()] for pair in links]


@pytest.fixture(scope="module", params=MODELS)
def trained(request):
    return WordAligner.train(toy()[0], request.param)


def test_a_permuted_vocabulary_is_learned_exactly(trained):
    pairs, links = toy()
    assert as_lists(trained.align(pairs)) == links


def test_text_it_was_not_trained_on_is_linked(trained):
    pairs, links = toy(pairs=800)
    assert pairs[:600] == toy()[0]
    assert as_lists(trained.align(pairs[600:])) == links[600:]


def test_unknown_words_are_linked_by_their_place_and_break_nothing(trained):
    source, target = toy()[0][0]
    found = trained.align([(source, target), (["new", *source], ["neu", *target]), (["new"], ["neu"])])
    assert (0, 0) in as_lists(found)[1]
    assert as_lists(found)[2] == [(0, 0)]
    assert as_lists(found)[0] == as_lists(trained.align([(source, target)]))[0]


def test_links_do_not_depend_on_what_other_pairs_are_aligned_with(trained):
    pairs = toy()[0][:40]
    alone = [trained.align([pair])[0].tolist() for pair in pairs]
    assert [links.tolist() for links in trained.align(pairs)] == alone
    assert trained.align([]) == []


@EVERY_MODEL
def test_ids_are_aligned_as_their_words_are(model):
    pairs = toy()[0]
    ids = [tuple(np.array([int(word[1:]) + 7 for word in side]) for side in pair) for pair in pairs]
    by_word, by_id = WordAligner.train(pairs, model), WordAligner.train(ids, model)
    assert as_lists(by_word.align(pairs)) == as_lists(by_id.align(ids))
    listed = [(list(source), torch.from_numpy(target)) for source, target in ids]
    assert as_lists(by_id.align(listed)) == as_lists(by_id.align(ids))


def test_a_saved_aligner_comes_back_equal_to_the_bit(trained, tmp_path):
    path = trained.save(tmp_path / "aligner.safetensors")
    loaded = WordAligner.load(path)
    assert (loaded.source, loaded.target) == (trained.source, trained.target)
    assert torch.equal(loaded.pairs.source, trained.pairs.source)
    assert torch.equal(loaded.pairs.target, trained.pairs.target)
    for k in (0, 1):
        ours, theirs = trained.model[k].lexicon, loaded.model[k].lexicon
        assert torch.equal(ours.values, theirs.values)
        assert torch.equal(ours.null, theirs.null)
        for name, value in vars(trained.model[k].distortion).items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(getattr(loaded.model[k].distortion, name)))
    pairs = toy(pairs=50, seed=3)[0]
    assert as_lists(loaded.align(pairs)) == as_lists(trained.align(pairs))
    assert [file.name for file in tmp_path.iterdir()] == ["aligner.safetensors"]


def test_an_aligner_of_ids_keeps_them_as_ids(tmp_path):
    aligner = WordAligner.train([([np.int64(3), np.int64(4)], np.array([5])), ([3], ["Hund"])])
    assert WordAligner.load(aligner.save(tmp_path / "a")).source == (3, 4)
    assert WordAligner.load(tmp_path / "a").target == (5, "Hund")


def test_files_that_exist_or_are_no_aligner_are_refused(trained, tmp_path):
    path = trained.save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="exists; expected a new file"):
        trained.save(path)
    assert trained.save(path, overwrite=True) == path
    with pytest.raises(InputError, match="is not a folder"):
        trained.save(tmp_path / "none" / "a.safetensors")
    with pytest.raises(InputError, match="is not a file; expected a word aligner"):
        WordAligner.load(tmp_path / "none")
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        WordAligner.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="is not a word aligner"):
        WordAligner.load(path)


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([], {}, "There is no sentence pair"),
        ([(["a"], ["b"]), (["a"], [])], {}, "The target of pair 1 has no token"),
        ([(["a"], ["b"]), ("a b", ["c"])], {}, "The source of pair 1 is the string 'a b'"),
        ([(["a"], ["b"])], {"model": "ibm5"}, "model is 'ibm5'"),
        ([(["a"], ["b"])], {"iterations": 0}, "iterations is 0"),
        ([(["a"], ["b"])], {"alpha": -1.0}, r"alpha is -1\.0"),
        ([(["a"], ["b"])], {"alpha": float("nan")}, "alpha is nan"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(pairs, options, message):
    with pytest.raises(InputError, match=message):
        WordAligner.train(pairs, **options)


def test_what_cannot_be_aligned_is_refused(trained):
    with pytest.raises(InputError, match="The source of pair 0 has no token"):
        trained.align([([], ["t1"])])
    with pytest.raises(InputError, match="symmetrization is 'both'"):
        trained.align([(["s1"], ["t1"])], "both")


def test_maximum_likelihood_learns_the_toy_corpus_too():
    pairs, links = toy()
    assert as_lists(WordAligner.train(pairs, "ibm2", iterations=8, alpha=0).align(pairs, "intersection")) == links


def test_torch_has_its_threads_back_afterwards():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        WordAligner.train(toy(pairs=5)[0], iterations=1)
        with pytest.raises(InputError):
            WordAligner.train([])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


LENGTHS = [(3, 2), (1, 1), (2, 4)]


def test_links_are_written_and_read_in_pharaohs_format(tmp_path):
    links = [np.array([[0, 0], [2, 1]]), np.empty((0, 2), dtype=np.int64), np.array([[1, 3]])]
    path = write_pharaoh(tmp_path / "a.align", links)
    assert path.read_text() == "0-0 2-1\n\n1-3\n"
    (tmp_path / "a.align.gz").write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, tmp_path / "a.align.gz"):
        read = read_pharaoh(file, LENGTHS)
        assert [pair.tolist() for pair in read] == [pair.tolist() for pair in links]
        assert all(pair.shape[1] == 2 and pair.dtype == np.int64 for pair in read)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-0\n0-0\n0-0 1-4\n", r"pair 3: the link 1-4 in place 2 is out of range; the pair has 2 source and 4 target"),
        ("0-0 3-0\n\n\n", r"pair 1: the link 3-0 in place 2 is out of range; the pair has 3 source"),
        ("0-0\n0-0 0_1\n\n", r"pair 2: '0_1' in place 2 is not a link; expected the format 0-0 1-2"),
        ("0-0\n-1-0\n\n", r"pair 2: '-1-0' in place 1 is not a link"),
        ("0-0\n0-0\n", r"has 2 lines for 3 pairs"),
    ],
)
def test_links_that_do_not_fit_are_refused_with_pair_and_place(tmp_path, text, message):
    (tmp_path / "a").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pharaoh(tmp_path / "a", LENGTHS)

"""EM over batches of sentence pairs agrees with loops over sentences, words and whole alignments."""

import math
from collections import defaultdict
from itertools import product

import numpy as np
import pytest
import torch
from tqdm import tqdm

from hf_xlt.errors import InputError
from hf_xlt.evidence.alignment.aligner import Corpus, Direction, expectation, maximization, train_ibm2
from hf_xlt.evidence.alignment.bitext import Bitext
from hf_xlt.evidence.alignment.distortion import Diagonal, Jumps, expected_distances
from hf_xlt.evidence.alignment.lexicon import FLOOR, Lexicon

TEXT = ("abc=xyz", "aadef=yx", "b=yzwv", "cd=z", "efab=vwxyu")
PAIRS = [tuple(map(list, line.split("="))) for line in TEXT]  # a letter is a word
QUIET = tqdm(disable=True)


def digamma(x):
    return float(torch.digamma(torch.tensor(x, dtype=torch.float64)))


def diagonal_prior(tension, m, n, j, first=1):
    """p(a_j = i) up to the factor 1 − p0, and the distances, for target position j counted from 1."""
    weights = [math.exp(-tension * abs(i / m - j / n)) for i in range(1, m + 1)]
    distances = [abs(i / m - (j - 1 + first) / n) for i in range(1, m + 1)]
    return [w / sum(weights) for w in weights], distances


def looped_ibm2(pairs, iterations, alpha=0.01, p0=0.08):
    """EM for IBM-2 from the formulas, a word at a time."""
    together = {(s, t) for source, target in pairs for s in source for t in target}
    words = {t for _, target in pairs for t in target}
    values, null = dict.fromkeys(together, 1 / len(words)), dict.fromkeys(words, 1 / len(words))
    tension, total = 4.0, sum(len(target) for _, target in pairs)
    for _ in range(iterations):
        counts, null_counts, observed = defaultdict(float), defaultdict(float), 0.0
        for source, target in pairs:
            for j, t in enumerate(target, start=1):
                prior, _ = diagonal_prior(tension, len(source), len(target), j)
                _, distances = diagonal_prior(tension, len(source), len(target), j, first=0)
                joint = [(1 - p0) * p * values[s, t] for p, s in zip(prior, source, strict=True)]
                evidence = sum(joint) + p0 * null[t]
                null_counts[t] += p0 * null[t] / evidence
                for s, p, distance in zip(source, joint, distances, strict=True):
                    counts[s, t] += p / evidence
                    observed -= distance * p / evidence
        for _ in range(8):
            tension += 20 * (observed - looped_expected_distances(tension, pairs)) / total
            tension = min(max(tension, 0.1), 14.0)
        sums = defaultdict(float)
        for s, t in together:
            sums[s] += counts[s, t] + alpha
        values = {(s, t): max(math.exp(digamma(counts[s, t] + alpha) - digamma(sums[s])), FLOOR) for s, t in together}
        null_sum = sum(null_counts.values()) + alpha * len(words)
        null = {t: max(math.exp(digamma(null_counts[t] + alpha) - digamma(null_sum)), FLOOR) for t in words}
    return values, null, tension


def looped_expected_distances(tension, pairs):
    total = 0.0
    for source, target in pairs:
        for j in range(1, len(target) + 1):
            prior, distances = diagonal_prior(tension, len(source), len(target), j)
            total -= sum(p * d for p, d in zip(prior, distances, strict=True))
    return total


@pytest.mark.parametrize("iterations", [1, 4])
def test_em_for_ibm2_agrees_with_a_loop_over_words_in_both_directions(iterations):
    corpus = Corpus.of(Bitext.encode(PAIRS))
    model = train_ibm2(corpus, iterations, alpha=0.01)
    pairs, names = corpus.pairs, (corpus.bitext.source.vocabulary, corpus.bitext.target.vocabulary)
    for side, texts in enumerate((PAIRS, [(target, source) for source, target in PAIRS])):
        values, null, tension = looped_ibm2(texts, iterations)
        known = [(names[0][s], names[1][t])[:: 1 - 2 * side] for s, t in zip(pairs.source, pairs.target, strict=True)]
        lexicon, distortion = model[side].lexicon, model[side].distortion
        assert set(known) == set(values)
        np.testing.assert_allclose(lexicon.values[:-2], [values[pair] for pair in known], rtol=2e-4, atol=1e-9)
        np.testing.assert_allclose(lexicon.null[:-2], [null[t] for t in names[1 - side]], rtol=2e-4, atol=1e-9)
        assert distortion.tension == pytest.approx(tension, rel=1e-4)


@pytest.mark.parametrize("tension", [0.1, 1.0, 4.0, 14.0])
def test_expected_distances_in_closed_form_agree_with_the_sum_over_positions(tension):
    lengths = [(m, n) for m in (1, 2, 3, 7, 12, 150) for n in (1, 2, 3, 7, 9, 149)]
    pairs = [(range(m), range(n)) for m, n in lengths] + [(range(7), range(9))]
    shapes = torch.tensor([[m, n, 1 + ((m, n) == (7, 9))] for m, n in lengths])
    assert expected_distances(tension, shapes) == pytest.approx(looped_expected_distances(tension, pairs), rel=1e-9)


def random_lexicons(corpus, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pairs = corpus.pairs
    rand = lambda size: torch.rand(size, generator=generator)  # noqa: E731
    return tuple(Lexicon.of(rand(len(pairs)), rand(size)) for size in (pairs.target_size, pairs.source_size))


def random_model(corpus, distortion):
    return tuple(Direction(lexicon, distortion) for lexicon in random_lexicons(corpus))


def enumerated_hmm(jumps, lexicon, entries, targets):
    """Posteriors, jump counts and likelihood of a pair from every sequence of states, real and NULL.

    Args:
        jumps: A `Jumps`.
        lexicon: A `Lexicon`.
        entries: Entries of the pair's cells `(n, m)`.
        targets: Target ids `(n,)`.
    """
    n, m = entries.shape
    c, w = jumps.widths.double(), len(jumps.widths) // 2
    allowed = lambda i: sum(c[w + k - i] for k in range(m))  # noqa: E731
    links, counts, likelihood = torch.zeros(n, m).double(), torch.zeros(len(c)).double(), 0.0
    for states in product(range(2 * m), repeat=n):
        probability, before, taken = 1.0, -1, []
        for j, state in enumerate(states):
            i, real = state % m, state < m
            if real:
                probability *= (1 - jumps.null) * c[w + i - before] / allowed(before) * lexicon.values[entries[j, i]]
                taken.append(w + i - before)
            else:
                remembered = 1 / m if j == 0 else float(i == before)
                probability *= jumps.null * remembered * lexicon.null[targets[j]]
            before = i
        likelihood += float(probability)
        for width in taken:
            counts[width] += probability
        for j, state in enumerate(states):
            if state < m:
                links[j, state] += probability
    return links / likelihood, counts / likelihood, likelihood


def test_forward_backward_agrees_with_the_enumeration_of_all_alignments():
    corpus = Corpus.of(Bitext.encode([(["c"], ["z", "x"]), PAIRS[0], (["a", "b"], list("yyxw"))]))
    assert len(corpus.batches) == 1, "the pairs should be padded to one another's lengths"
    batch, cells = corpus.batches[0], corpus.cells[0]
    lexicon = random_lexicons(corpus)[0]
    jumps = Jumps(torch.rand(121, generator=torch.Generator().manual_seed(1)), null=0.3)
    found = jumps.posteriors(batch, cells, lexicon)
    counts, likelihood = torch.zeros(121).double(), 0.0
    for row in range(len(batch.pairs)):
        m, n = int(batch.source_lengths[row]), int(batch.target_lengths[row])
        links, jumped, p = enumerated_hmm(jumps, lexicon, cells[:n, row, :m].long(), batch.targets[row, :n])
        torch.testing.assert_close(found.links[:n, row, :m].double(), links, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(found.null[:n, row].double(), 1 - links.sum(1), rtol=1e-4, atol=1e-6)
        assert not found.links[n:, row].any()
        assert not found.links[:, row, m:].any()
        counts += jumped
        likelihood += math.log(p)
    torch.testing.assert_close(found.statistics, counts, rtol=1e-5, atol=1e-7)
    assert float(found.log_likelihood) == pytest.approx(likelihood, rel=1e-6)


def test_jumps_wider_than_the_widest_count_as_the_widest():
    corpus = Corpus.of(Bitext.encode([([f"s{i}" for i in range(90)], ["t", "u"])]))
    found = Jumps.start().posteriors(corpus.batches[0], corpus.cells[0], random_lexicons(corpus)[0])
    assert float(found.links.sum(2).max()) <= 1 + 1e-5
    assert float(found.statistics.sum()) == pytest.approx(float(found.links.sum()), rel=1e-5)


@pytest.mark.parametrize("distortion", [Diagonal(), Jumps.start()])
def test_without_a_prior_no_iteration_lowers_the_likelihood(distortion):
    corpus = Corpus.of(Bitext.encode(PAIRS * 3))
    model = random_model(corpus, distortion)
    seen = []
    for _ in range(8):
        expected = expectation(corpus, model, False, QUIET)
        seen.append([float(direction.log_likelihood) for direction in expected])
        improved = maximization(corpus, model, expected, alpha=0)
        model = tuple(Direction(direction.lexicon, distortion) for direction in improved)
    # The first step leaves tables that are no probabilities; a float32 forward pass leaves the rest.
    assert (np.diff(seen[1:], axis=0) >= -1e-5 * np.abs(seen[1:-1])).all()
    assert (np.array(seen[-1]) > np.array(seen[1])).all()


@pytest.mark.parametrize("distortion", [Diagonal(), Jumps.start()])
def test_padding_changes_nothing(distortion):
    corpus = Corpus.of(Bitext.encode(PAIRS))
    batches = list(corpus.bitext.batches(cells=1))
    assert [len(batch.pairs) for batch in batches] == [1] * len(PAIRS)
    single = Corpus(corpus.bitext, corpus.pairs, batches, [corpus.pairs.find(batch) for batch in batches])
    model = random_model(corpus, distortion)
    for agree in (False, True):
        padded, whole = (expectation(c, model, agree, QUIET) for c in (corpus, single))
        for ours, theirs in zip(padded, whole, strict=True):
            torch.testing.assert_close(ours.pairs[:-1], theirs.pairs[:-1], rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(ours.null[:-1], theirs.null[:-1], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(ours.statistics, theirs.statistics, rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(ours.log_likelihood, theirs.log_likelihood)


@pytest.mark.slow
def test_long_sentences_give_what_short_ones_do_and_in_another_way(monkeypatch):
    draw = np.random.default_rng(0)
    pairs = [(draw.integers(0, 50, m), draw.integers(0, 50, n)) for m, n in ((150, 140), (149, 160), (150, 3))]
    corpus = Corpus.of(Bitext.encode(pairs))
    jumps = Jumps(torch.rand(121, generator=torch.Generator().manual_seed(1)) + 0.01, null=0.3)
    lexicon = random_lexicons(corpus)[0]
    by_table = [
        jumps.posteriors(batch, cells, lexicon) for batch, cells in zip(corpus.batches, corpus.cells, strict=True)
    ]
    monkeypatch.setattr("hf_xlt.evidence.alignment.distortion._LONG", 100)
    for batch, cells, expected in zip(corpus.batches, corpus.cells, by_table, strict=True):
        found = jumps.posteriors(batch, cells, lexicon)
        torch.testing.assert_close(found.links, expected.links, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(found.null, expected.null, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(found.statistics, expected.statistics, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(found.log_likelihood, expected.log_likelihood, atol=1e-3, rtol=1e-5)


def test_a_pair_whose_links_would_not_fit_is_refused():
    with pytest.raises(InputError, match="Pair 1 has 5000 and 4000 tokens, too many to be aligned; expected at most"):
        Bitext.encode([(["a"], ["b"]), (["a"] * 5000, ["b"] * 4000)])


def test_a_short_sentence_beside_one_two_hundred_times_as_long_keeps_finite_statistics():
    corpus = Corpus.of(Bitext.encode([(["a"], ["x"]), (["b"], [f"y{i}" for i in range(200)])]))
    model = train_ibm2(corpus, iterations=3, alpha=0.01)
    for direction in model:
        assert direction.lexicon.values.isfinite().all()
        assert math.isfinite(direction.distortion.tension)


def test_directions_that_agree_give_the_same_counts_to_the_same_word_pairs():
    corpus = Corpus.of(Bitext.encode(PAIRS))
    expected = expectation(corpus, random_model(corpus, Jumps.start()), True, QUIET)
    torch.testing.assert_close(expected[0].pairs[:-2], expected[1].pairs[:-2])
    words = [corpus.bitext.target.lengths.sum(), corpus.bitext.source.lengths.sum()]
    for counts, total in zip(expected, words, strict=True):
        assert float(counts.pairs.sum() + counts.null[:-1].sum()) == pytest.approx(total, rel=1e-6)


def test_distortions_are_estimated_for_each_direction_from_its_own_statistics():
    corpus = Corpus.of(Bitext.encode(PAIRS))
    model = random_model(corpus, Diagonal())
    expected = expectation(corpus, model, False, QUIET)
    found = maximization(corpus, model, expected, alpha=0.01)
    swapped = Corpus.of(Bitext.encode([(target, source) for source, target in PAIRS]))
    for direction, bitext, counts in zip(found, (corpus.bitext, swapped.bitext), expected, strict=True):
        assert direction.distortion == Diagonal().estimate(counts.statistics, bitext.shapes)

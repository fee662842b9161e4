"""Sampling languages: shares are exact, examples come in epochs, and a position alone decides what stands there."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, SequentialSampler

from hf_xlt.data.sampling import BLOCK, MixedStream, Schedule, language_probabilities
from hf_xlt.errors import InputError

sizes = st.lists(st.integers(1, 10**9), min_size=1, max_size=8)
alphas = st.floats(0, 1)
seeds = st.integers(0, 10**6)
PROPERTY = settings(deadline=None, max_examples=60)


def probabilities(sizes, alpha):
    return tuple(language_probabilities({f"l{i}": size for i, size in enumerate(sizes)}, alpha).values())


class TestProbabilities:
    @given(sizes=sizes, alpha=alphas)
    @PROPERTY
    def test_they_are_the_smoothed_sizes(self, sizes, alpha):
        weights = np.array(sizes, dtype=float) ** alpha
        assert probabilities(sizes, alpha) == pytest.approx(weights / weights.sum())

    def test_alpha_0_takes_all_alike_and_alpha_1_by_size(self):
        assert probabilities([1, 30, 969], 0) == pytest.approx([1 / 3] * 3)
        assert probabilities([1, 30, 969], 1) == pytest.approx([0.001, 0.03, 0.969])

    @pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
    def test_another_alpha_is_refused(self, alpha):
        with pytest.raises(InputError, match=rf"alpha is {alpha}; expected a number from 0 to 1"):
            language_probabilities({"en": 3}, alpha)

    def test_a_language_without_data_is_refused_by_name(self):
        with pytest.raises(InputError, match="Language 'yo' has no data"):
            language_probabilities({"en": 3, "yo": 0}, 0.5)


class TestSchedule:
    @given(sizes=sizes, alpha=alphas, seed=seeds, block=st.integers(0, 9))
    @PROPERTY
    def test_every_block_holds_each_parts_share_rounded_up_or_down(self, sizes, alpha, seed, block):
        p = np.array(probabilities(sizes, alpha))
        schedule = Schedule(tuple(p), 10 * BLOCK, seed)
        counts = schedule.counts((block + 1) * BLOCK) - schedule.counts(block * BLOCK)
        assert counts.sum() == BLOCK
        assert (abs(counts - BLOCK * p) < 1 + 1e-9).all()

    @given(sizes=sizes, alpha=alphas, seed=seeds)
    @PROPERTY
    def test_roundings_even_out_over_blocks(self, sizes, alpha, seed):
        p = np.array(probabilities(sizes, alpha))
        length = 2000 * BLOCK
        assert (abs(Schedule(tuple(p), length, seed).counts(length) - length * p) < 8).all()

    def test_over_seeds_a_block_holds_what_is_expected_even_of_a_share_below_one_example(self):
        p = (0.0007, 0.0913, 0.908)
        first = [Schedule(p, BLOCK, seed).counts(BLOCK) for seed in range(1000)]
        assert np.mean(first, axis=0) == pytest.approx(BLOCK * np.array(p), abs=0.06)

    @given(sizes=sizes, alpha=alphas, seed=seeds, length=st.integers(1, 4 * BLOCK), cut=st.floats(0, 1))
    @PROPERTY
    def test_from_any_position_it_goes_on_as_if_it_had_never_stopped(self, sizes, alpha, seed, length, cut):
        p = probabilities(sizes, alpha)
        places = Schedule(p, length, seed).places(range(length))
        position = int(cut * length)
        resumed = Schedule(p, length, seed)
        assert resumed.places(range(position, length)).tolist() == places[position:].tolist()
        before = np.bincount(places[:position, 0], minlength=len(p))
        assert resumed.counts(position).tolist() == before.tolist()

    @given(sizes=sizes, alpha=alphas, seed=seeds, length=st.integers(1, 4 * BLOCK))
    @PROPERTY
    def test_a_parts_examples_are_numbered_in_the_order_of_use(self, sizes, alpha, seed, length):
        places = Schedule(probabilities(sizes, alpha), length, seed).places(range(length))
        for part in range(len(sizes)):
            numbers = places[places[:, 0] == part, 1]
            assert numbers.tolist() == list(range(len(numbers)))

    def test_the_beginning_does_not_depend_on_the_length(self):
        short, long = (Schedule((0.3, 0.7), length, 5).places(range(300)) for length in (300, 5000))
        assert short.tolist() == long.tolist()

    def test_seeds_and_blocks_differ_in_order(self):
        orders = [Schedule((0.5, 0.5), 2 * BLOCK, seed).places(range(2 * BLOCK))[:, 0] for seed in (0, 1)]
        halves = {tuple(half) for order in orders for half in (order[:BLOCK], order[BLOCK:])}
        assert len(halves) == 4

    @pytest.mark.parametrize("position", [-1, 10])
    def test_it_ends(self, position):
        with pytest.raises(IndexError):
            Schedule((1.0,), 10, 0).places([position])


def corpus(language: int, size: int) -> Dataset:
    rows = {"input_ids": [[language, i] for i in range(size)], "lang_ids": [language] * size}
    return Dataset.from_dict(rows).with_format("numpy")


def seen(examples):
    return [(tuple(example["input_ids"].tolist()), int(example["lang_ids"]), example["key"]) for example in examples]


class TestStream:
    P = (0.15, 0.6, 0.25)
    SIZES = (7, 40, 40)
    LENGTH = 700

    def stream(self, seed=3):
        return MixedStream([corpus(i, size) for i, size in enumerate(self.SIZES)], self.P, self.LENGTH, seed)

    def test_every_example_of_a_language_is_seen_once_an_epoch_in_a_new_order(self):
        examples = list(self.stream())
        for language, size in enumerate(self.SIZES):
            rows = [int(example["input_ids"][1]) for example in examples if example["lang_ids"] == language]
            epochs = [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
            assert len(epochs) > 3
            assert all(sorted(epoch) == list(range(size)) for epoch in epochs)
            assert len(set(map(tuple, epochs))) == len(epochs)

    def test_languages_have_their_shares(self):
        languages = [int(example["lang_ids"]) for example in self.stream()]
        whole = self.LENGTH // BLOCK * BLOCK
        assert abs(np.bincount(languages[:whole]) - whole * np.array(self.P)).max() < 4

    @pytest.mark.parametrize("position", [0, 1, BLOCK, 611])
    @pytest.mark.slow
    def test_a_resumed_stream_equals_an_uninterrupted_one(self, position):
        whole = seen(self.stream())
        resumed = self.stream()
        assert seen(resumed[i] for i in range(position, self.LENGTH)) == whole[position:]

    def test_a_batch_read_at_once_holds_the_same_examples(self):
        loader = DataLoader(self.stream(), batch_size=16, sampler=SequentialSampler(self.stream()), collate_fn=list)
        assert [row for batch in loader for row in seen(batch)] == seen(self.stream())

    def test_keys_tell_positions_apart(self):
        assert len({key for _, _, key in seen(self.stream())}) == self.LENGTH

    @pytest.mark.slow
    def test_corpora_of_equal_length_are_read_in_different_orders(self):
        orders = [
            [int(example["input_ids"][1]) for example in self.stream() if example["lang_ids"] == language][:40]
            for language in (1, 2)
        ]
        assert sorted(orders[0]) == sorted(orders[1])
        assert orders[0] != orders[1]

    @pytest.mark.slow
    def test_seeds_differ(self):
        assert seen(self.stream(0)) != seen(self.stream(1))

    def test_it_ends(self):
        assert len(self.stream()) == self.LENGTH
        with pytest.raises(IndexError):
            self.stream()[self.LENGTH]

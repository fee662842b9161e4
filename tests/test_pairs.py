"""Translation pairs become rows of a model's inputs, and cross-lingual batches hold what their objectives say."""

from copy import deepcopy

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.data.objectives import IGNORED, DataCollatorForCdLM, DataCollatorForTLM
from hf_xlt.data.pairs import aligned_pairs, target_to_source, tokenized
from hf_xlt.errors import InputError
from hf_xlt.sample import sentences

PROPERTY = settings(deadline=None, max_examples=40)
LENGTH = 24


@pytest.fixture(scope="module")
def joint():
    return tiny.tokenizer("de", "wordpiece")


@pytest.fixture
def dataset(joint, tmp_path):
    english, german = (tokenized(sentences(language, "train")[:30], joint, LENGTH) for language in ("en", "de"))
    pairs = list(zip(english, german, strict=True))
    links = [np.array([[i, i] for i in range(min(len(e), len(g), 4))]) for e, g in pairs]
    return aligned_pairs(pairs, links, joint, (0, 1), tmp_path)


@PROPERTY
@given(st.data())
def test_a_target_token_comes_from_its_leftmost_link(data):
    source, target = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    link = st.tuples(st.integers(0, source - 1), st.integers(0, target - 1))
    links = data.draw(st.lists(link, max_size=12))
    alignment = target_to_source(np.array(links), source, target)
    assert alignment.tolist() == [min((i for i, j in links if j == position), default=-1) for position in range(target)]


def test_rows_are_the_models_inputs_and_special_tokens_meet_their_counterparts(dataset, joint):
    row = dataset[3]
    assert set(row) == {"input_ids", "labels", "alignment", "lang_ids", "target_lang_ids"}
    assert len(row["alignment"]) == len(row["labels"]) <= LENGTH
    assert len(row["input_ids"]) <= LENGTH
    assert row["alignment"][0] == 0
    assert row["alignment"][-1] == len(row["input_ids"]) - 1
    assert row["alignment"][1:5].tolist() == [1, 2, 3, 4]
    assert (row["alignment"][5:-1] == -1).all()
    assert (row["lang_ids"], row["target_lang_ids"]) == (0, 1)
    assert joint.decode(row["labels"], skip_special_tokens=True) == joint.decode(
        joint(sentences("de", "train")[3])["input_ids"], skip_special_tokens=True
    )


def test_the_same_pairs_are_written_once_and_other_links_anew(dataset, joint, tmp_path):
    pair = (np.array([5, 6, 7]), np.array([8, 9]))
    made = [
        aligned_pairs([pair], [np.array(links)], joint, (0, 1), tmp_path) for links in ([[0, 1]], [[0, 1]], [[2, 1]])
    ]
    assert made[0][0]["alignment"].tolist() == [0, -1, 1, 4]
    assert made[2][0]["alignment"].tolist() == [0, -1, 3, 4]
    assert made[0].cache_files == made[1].cache_files != made[2].cache_files


def test_cdlm_reads_the_source_unmasked_and_predicts_every_target_token(dataset, joint):
    examples = [dataset[i] | {"key": (0, i)} for i in range(4)]
    batch = DataCollatorForCdLM(joint)(examples)
    for i, example in enumerate(examples):
        n, m = len(example["input_ids"]), len(example["labels"])
        assert batch["input_ids"][i, :n].tolist() == example["input_ids"].tolist()
        assert batch["attention_mask"][i].sum() == n
        assert batch["labels"][i, :m].tolist() == example["labels"].tolist()
        assert batch["alignment"][i, :m].tolist() == example["alignment"].tolist()
        assert batch["target_attention_mask"][i].sum() == m
        assert (batch["labels"][i, m:] == IGNORED).all()
        assert (batch["alignment"][i, m:] == -1).all()
    assert batch["lang_ids"].tolist() == [0] * 4 + [1] * 4
    assert batch["target_lang_ids"].tolist() == [1] * 8


def test_each_pair_brings_its_translation_masked_and_aligned_with_itself(dataset, joint):
    examples = [dataset[i] | {"key": (0, i)} for i in range(4)]
    batch = DataCollatorForCdLM(joint)(examples)
    for row, example in enumerate(examples, start=4):
        m = len(example["labels"])
        inputs, labels = batch["input_ids"][row, :m], batch["labels"][row, :m]
        predicted = labels != IGNORED
        translation = torch.tensor(example["labels"])
        assert 0 < predicted.sum() <= 0.25 * m
        assert torch.equal(labels[predicted], translation[predicted])
        assert torch.equal(inputs[~predicted], translation[~predicted])
        assert batch["alignment"][row, :m].tolist() == list(range(m))
        assert batch["attention_mask"][row].sum() == batch["target_attention_mask"][row].sum() == m


def test_tlm_masks_both_sides_of_one_row(dataset, joint):
    examples = [dataset[i] | {"key": (0, i)} for i in range(6)]
    batch = DataCollatorForTLM(joint)(examples)
    sides = set()
    for i, example in enumerate(examples):
        n, m = len(example["input_ids"]), len(example["labels"])
        both = torch.tensor(np.concatenate([example["input_ids"], example["labels"]]))
        predicted = batch["labels"][i, : n + m] != IGNORED
        assert torch.equal(batch["labels"][i, : n + m][predicted], both[predicted])
        assert batch["lang_ids"][i, : n + m].tolist() == [0] * n + [1] * m
        assert batch["position_ids"][i, : n + m].tolist() == [*range(n), *range(m)]
        assert batch["attention_mask"][i].sum() == n + m
        sides |= {bool(predicted[:n].any()), 2 + bool(predicted[n:].any())}
    assert {1, 3} <= sides
    moved = DataCollatorForTLM(joint, position_offset=2)(examples)  # of RoBERTa and its kin
    inside = batch["attention_mask"].bool()
    assert torch.equal(moved["position_ids"][inside], batch["position_ids"][inside] + 2)


@pytest.mark.parametrize("collator", [DataCollatorForCdLM, DataCollatorForTLM])
def test_without_a_key_the_seed_of_torch_decides(collator, dataset, joint):
    def batch(seed: int):
        torch.manual_seed(seed)
        return collator(joint)([dataset[i] for i in range(4)])["labels"]

    assert torch.equal(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))


def test_a_link_that_leaves_its_pair_is_refused_by_name(joint, tmp_path):
    pairs = [(np.array([5, 6]), np.array([7, 8, 9]))] * 2
    good = np.array([[1, 2]])
    with pytest.raises(InputError, match="Pair 1 links source token 2 with target token 0, but has 2 and 3 tokens"):
        aligned_pairs(pairs, [good, np.array([[0, 0], [2, 0]])], joint, (0, 1), tmp_path)
    assert not list(tmp_path.glob("*.arrow"))
    with pytest.raises(InputError, match="2 pairs and 1 sets of links"):
        aligned_pairs(pairs, [good], joint, (0, 1), tmp_path)
    with pytest.raises(InputError, match="no translation pair"):
        aligned_pairs([], [], joint, (0, 1), tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"alignment": np.array([0, 9, 2, 3])}, "Pair 0 of the batch aligns target position 1 with source position 9"),
        ({"alignment": np.array([0, -2, 2, 3])}, "source position -2; expected one of 0 to 4, or -1"),
        ({"alignment": np.array([0, 1])}, "2 alignments for 4 target tokens"),
    ],
)
def test_a_wrong_alignment_is_refused_in_the_batch(changed, message, joint):
    row = {
        "input_ids": np.arange(5),
        "labels": np.arange(4),
        "alignment": np.arange(4),
        "lang_ids": 0,
        "target_lang_ids": 1,
    }
    with pytest.raises(InputError, match=message):
        DataCollatorForCdLM(joint)([row | changed])


def test_a_tokenizer_without_padding_or_mask_is_refused(joint):
    bare = deepcopy(joint)
    bare.mask_token = None
    with pytest.raises(InputError, match="no mask token"):
        DataCollatorForTLM(bare)
    bare.pad_token = None
    with pytest.raises(InputError, match="pad token"):
        DataCollatorForCdLM(bare)

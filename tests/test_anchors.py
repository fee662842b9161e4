"""Anchors: no id shared, ids as found, or words replaced by their translations, the same line always alike."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.data.anchors import (
    ANCHORS,
    AnchoredSplit,
    DataCollatorForTokenIds,
    ExtraAnchors,
    SeparateIds,
    token_ids,
)
from hf_xlt.data.objectives import IGNORED, DataCollatorForMultilingualMLM, MaskedLM
from hf_xlt.data.packing import blocks, pack
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import Dictionary
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.sample import sentences

TOKENIZER = tiny.tokenizer("de", "wordpiece")
LANGUAGES = ("en", "de", "id")
SPECIAL = set(TOKENIZER.all_special_ids)
PROPERTY = settings(deadline=None, max_examples=60)
rows = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.integers(0, len(TOKENIZER) - 1), min_size=4, max_size=4)),
    min_size=1,
    max_size=6,
)


def none() -> SeparateIds:
    return token_ids("none", TOKENIZER, LANGUAGES)


def joint_ids(ids: torch.Tensor) -> torch.Tensor:
    """The ids that the joint tokenizer gave them, whatever their language."""
    return torch.where(ids < 0, ids, ids % len(TOKENIZER))


class TestNone:
    def test_no_ordinary_id_is_shared_and_every_special_one_is(self):
        joint = torch.arange(len(TOKENIZER)).repeat(3, 1)
        ids = none().of_languages(joint, torch.arange(3))
        sets = [set(row.tolist()) for row in ids]
        for a in range(3):
            for b in range(a):
                assert sets[a] & sets[b] == SPECIAL
        assert max(max(ids) for ids in sets) < none().vocab_size == 3 * len(TOKENIZER)

    @given(rows)
    @PROPERTY
    def test_the_way_back_leads_to_the_joint_ids(self, rows):
        lang_ids, joint = (torch.tensor(column) for column in zip(*rows, strict=True))
        ids = none().of_languages(joint, lang_ids)
        assert joint_ids(ids).equal(joint)
        assert none().of_languages(joint, lang_ids[:, None].expand_as(joint)).equal(ids)

    def test_each_token_may_have_its_own_language(self):
        ordinary = next(i for i in range(len(TOKENIZER)) if i not in SPECIAL)
        ids = none().of_languages(torch.tensor([[ordinary] * 3]), torch.tensor([[2, 0, 1]]))
        assert ids.tolist() == [[ordinary + language * len(TOKENIZER) for language in (2, 0, 1)]]

    def test_what_is_not_predicted_stays_so(self):
        labels = torch.full((2, 3), IGNORED)
        assert none().of_languages(labels, torch.tensor([0, 2])).equal(labels)
        assert joint_ids(labels).equal(labels)

    def test_every_row_tells_which_joint_row_it_copies(self):
        copied = joint_ids(torch.arange(none().vocab_size))
        assert copied.tolist() == list(range(len(TOKENIZER))) * 3

    def test_ids_that_are_none_are_refused(self):
        with pytest.raises(InputError, match=f"Token id {len(TOKENIZER)} is not one of the joint tokenizer's"):
            none().of_languages(torch.tensor([[len(TOKENIZER)]]), torch.tensor([0]))
        with pytest.raises(InputError, match="Language id 3 is not one of the languages', 0 to 2"):
            none().of_languages(torch.tensor([[7]]), torch.tensor([3]))


@pytest.mark.parametrize("anchors", ["default", "extra"])
def test_ids_as_found_stay_as_they_are(anchors):
    ids = token_ids(anchors, TOKENIZER, LANGUAGES)
    joint = torch.tensor([[5, 6, IGNORED]])
    assert ids.vocab_size == len(TOKENIZER)
    assert ids.of_languages(joint, torch.tensor([1])).equal(joint)


def test_other_anchors_are_refused():
    with pytest.raises(InputError, match=f"anchors is 'some'; expected one of {', '.join(ANCHORS)}"):
        token_ids("some", TOKENIZER, LANGUAGES)


def examples() -> list[dict]:
    texts = list(blocks(sentences("de", "train"), TOKENIZER, 32))[:12]
    return [{"input_ids": row, "lang_ids": i % 3, "key": (0, i)} for i, row in enumerate(texts)]


class TestCollator:
    def test_it_masks_as_the_objective_does_and_each_text_stays_in_its_language(self):
        joint = MaskedLM(TOKENIZER)(examples())
        batch = DataCollatorForTokenIds(MaskedLM(TOKENIZER), none())(examples())
        for name in ("input_ids", "labels"):
            assert joint_ids(batch[name]).equal(joint[name])
            special = torch.isin(batch[name], torch.tensor(sorted(SPECIAL))) | (batch[name] == IGNORED)
            languages = (batch[name] // len(TOKENIZER)).masked_fill(special, -1)
            assert ((languages == batch["lang_ids"][:, None]) | special).all()
        assert batch["attention_mask"].equal(joint["attention_mask"])

    def test_both_sides_of_a_translation_pair_have_their_own_ids(self):
        pair = {"input_ids": np.arange(20, 26), "labels": np.arange(20, 24), "lang_ids": 2, "target_lang_ids": 1}
        objective = DataCollatorForMultilingualMLM(TOKENIZER)
        batch = DataCollatorForTokenIds(objective, none())([pair | {"key": (0, 1)}, *examples()[:2]])
        joint = objective([pair | {"key": (0, 1)}, *examples()[:2]])
        kept = (joint["labels"][0] == IGNORED)[:10]
        expected = torch.tensor([2] * 6 + [1] * 4) * len(TOKENIZER)
        assert (batch["input_ids"] - joint["input_ids"])[0, :10][kept].equal(expected[kept])
        assert joint_ids(batch["labels"]).equal(joint["labels"])
        assert (batch["input_ids"][0, 10:] == TOKENIZER.pad_token_id).all()

    def test_ids_as_found_make_the_objectives_own_batch(self):
        own = MaskedLM(TOKENIZER)
        batch = DataCollatorForTokenIds(own, token_ids("default", TOKENIZER, LANGUAGES))(examples())
        assert all(batch[name].equal(tensor) for name, tensor in own(examples()).items())

    def test_texts_that_do_not_tell_their_language_are_refused(self):
        bare = [{"input_ids": example["input_ids"]} for example in examples()]
        with pytest.raises(InputError, match="no lang_ids"):
            DataCollatorForTokenIds(MaskedLM(TOKENIZER), none())(bare)


DICTIONARY = Dictionary(
    (
        ("Hund", "dog"),
        ("kleine", "small"),
        ("kleine", "little"),
        ("guten Morgen", "good morning"),
        ("Morgen", "dawn"),
        ("E-Mail", "e-mail"),
        ("Weg", "way"),
        ("weg", "away"),
    )
)


def replaced(line: str, probability: float = 1.0, number: int = 0, seed: int = 0) -> str:
    return ExtraAnchors(DICTIONARY, probability, seed).line(line, number)


class TestExtra:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("Der Hund schläft, der  Hund!", "Der dog schläft, der  dog!"),
            ("Guten  Morgen, Hund.", "Good morning, dog."),
            ("Am Morgen.", "Am dawn."),
            ("Die E-Mail vom Hundehaus", "Die e-mail vom Hundehaus"),
            ("Er ist weg. Weg da, HUND!", "Er ist away. way da, dog!"),
            ("nichts davon", "nichts davon"),
            ("", ""),
        ],
    )
    def test_words_are_replaced_the_longest_entry_first_and_nothing_else_changes(self, line, expected):
        assert replaced(line) == expected

    def test_one_of_several_translations_is_drawn(self):
        drawn = {replaced("kleine Kleine", number=number) for number in range(60)}
        assert drawn == {"small Small", "small Little", "little Small", "little Little"}

    @given(words=st.lists(st.sampled_from(["aa", "bb", "cc", "dd"]), max_size=30), number=st.integers(0, 10**6))
    @PROPERTY
    def test_with_probability_1_every_word_of_the_dictionary_is_replaced_and_with_0_none(self, words, number):
        dictionary = Dictionary((("aa", "xx"), ("cc", "zz")))
        line = " ".join(words)
        assert ExtraAnchors(dictionary, 0.0).line(line, number) == line
        expected = " ".join({"aa": "xx", "cc": "zz"}.get(word, word) for word in words)
        assert ExtraAnchors(dictionary, 1.0).line(line, number) == expected

    def test_about_the_given_share_is_replaced(self):
        words = " ".join(replaced("Hund " * 20, 0.3, number) for number in range(500)).split()
        assert np.mean([word == "dog" for word in words]) == pytest.approx(0.3, abs=0.02)

    def test_a_line_depends_on_seed_and_number_alone(self):
        lines = ["der Hund am Morgen auf dem Weg, kleine E-Mail"] * 40
        anchors = ExtraAnchors(DICTIONARY, 0.5, seed=7)
        whole = list(anchors.lines(lines))
        assert [anchors.line(lines[i], i) for i in reversed(range(40))][::-1] == whole
        assert len(set(whole)) > 5
        assert list(ExtraAnchors(DICTIONARY, 0.5, seed=8).lines(lines)) != whole

    @pytest.mark.parametrize("probability", [-0.5, 1.1])
    def test_another_probability_is_refused(self, probability):
        with pytest.raises(InputError, match=rf"probability of extra anchors is {probability}; expected a number"):
            ExtraAnchors(DICTIONARY, probability)


class TestAnchoredSplit:
    @pytest.fixture
    def split(self, tmp_path):
        (tmp_path / "de.txt").write_text("Der Hund am Morgen.\n" * 200, encoding="utf-8")
        return Split(Corpus(str(tmp_path / "de.txt")), every=10, limit=5)

    def test_training_lines_are_replaced_and_held_out_lines_are_not(self, split):
        anchored = AnchoredSplit.of(split, ExtraAnchors(DICTIONARY, 1.0))
        assert set(anchored.training_lines()) == {"Der dog am dawn."}
        assert len(list(anchored.training_lines())) == len(list(split.training_lines()))
        assert list(anchored.held_out_lines()) == list(split.held_out_lines())

    def test_other_anchors_are_packed_anew(self, split, tmp_path):
        def packed(made):
            return pack(made, TOKENIZER, 16, 100, tmp_path / "cache")["input_ids"][:].tolist()

        plain = packed(split)
        half = packed(AnchoredSplit.of(split, ExtraAnchors(DICTIONARY, 0.5)))
        assert plain != half != packed(AnchoredSplit.of(split, ExtraAnchors(DICTIONARY, 1.0)))
        assert packed(AnchoredSplit.of(split, ExtraAnchors(DICTIONARY, 0.5))) == half

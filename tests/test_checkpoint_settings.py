"""Token counts and special ids in config.json and generation_config.json follow the new tokenizer by role."""

import copy
import json

import pytest
import tiny
from test_checkpoint import change_config, copying
from tokenizers import AddedToken
from transformers import (
    AutoConfig,
    BartConfig,
    GenerationConfig,
    GPT2Config,
    Idefics3Config,
    LlavaConfig,
    SmolVLMConfig,
    XLMConfig,
)

from hf_xlt import MeanInitializer
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary
from hf_xlt.checkpoint.settings import SpecialIds, recounted, renumbered, token_ids
from hf_xlt.initializers.health import Health

UNIGRAM = {"bos": 0, "pad": 1, "eos": 2, "unk": 3, "mask": 4}  # ids in tiny's tokenizers
WORDPIECE = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}


def ids(new, **old):
    return SpecialIds.of(new, old=[{f"{role}_token_id": held for role, held in old.items()}])


@pytest.fixture
def wordpiece():
    return tiny.tokenizer("de", "wordpiece", 500)


@pytest.fixture
def unigram():
    return tiny.tokenizer("de", "unigram", 500)


def test_settings_named_by_role_take_the_id_of_the_role(unigram):
    settings = {"pad_token_id": 100, "bos_token_id": None, "eos_token_id": [101, 102], "mask_token_id": 103}
    expected = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": [2], "mask_token_id": 4}
    assert renumbered(settings, None, ids(unigram)).settings == expected


def test_cls_and_sep_stand_in_for_bos_and_eos_that_were_in_use(wordpiece):
    settings = {"bos_token_id": 100, "eos_token_id": 101}
    assert renumbered(settings, None, ids(wordpiece)).settings == {"bos_token_id": 2, "eos_token_id": 3}


def test_a_role_that_the_new_tokenizer_lacks_becomes_none(wordpiece):
    assert renumbered({"bos_token_id": None}, None, ids(wordpiece)).settings == {"bos_token_id": None}
    wordless = tiny.tokenizer("de", "byte-level-bpe", 500)
    assert renumbered({"cls_token_id": None}, None, ids(wordless)).settings == {"cls_token_id": None}


@pytest.mark.parametrize(
    ("start", "expected"), [("pad", "pad"), ("bos", "bos"), ("cls", "bos"), ("eos", "eos"), ("sep", "eos")]
)
def test_the_decoder_starts_with_the_same_role_as_before(start, expected, unigram):
    old = {"pad": 50, "bos": 51, "cls": 52, "eos": 53, "sep": 54}
    result = renumbered({"decoder_start_token_id": old[start]}, None, ids(unigram, **old)).settings
    assert result == {"decoder_start_token_id": UNIGRAM[expected]}


def test_an_id_of_no_role_is_forgotten(unigram):
    result = renumbered(
        {"forced_bos_token_id": 250_004, "forced_eos_token_id": 53}, None, ids(unigram, eos=53)
    ).settings
    assert result == {"forced_bos_token_id": None, "forced_eos_token_id": 2}


def test_lists_of_old_ids_are_dropped_and_unknown_keys_survive(unigram):
    settings = {"suppress_tokens": [5], "bad_words_ids": [[7]], "tokenizer_class": "X", "top_k": 5, "mine": {"a": 1}}
    assert renumbered(settings, None, ids(unigram)).settings == {"top_k": 5, "mine": {"a": 1}}


def test_ids_left_to_the_default_are_written(wordpiece):
    """A GPT-2 configuration without ids means 50256, an id of the old vocabulary."""
    result = renumbered({}, GPT2Config(), ids(wordpiece)).settings
    assert result == {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}


@pytest.mark.parametrize("config", [Idefics3Config(), SmolVLMConfig()])
def test_a_role_that_a_configuration_keeps_under_a_private_name_follows_too(config, unigram):
    settings = renumbered(json.loads(config.to_json_string()), config, ids(unigram)).settings
    assert type(config)(**settings).pad_token_id == UNIGRAM["pad"]


def test_nested_settings_follow_too(unigram):
    result = renumbered({"text_config": {"eos_token_id": 9, "width": 3}}, None, ids(unigram)).settings
    assert result == {"text_config": {"eos_token_id": 2, "width": 3}}


def test_an_id_with_two_roles_moves_as_the_first_of_them(unigram):
    assert ids(unigram, eos=7, pad=7).moved == {7: UNIGRAM["pad"]}


def test_token_ids_are_read_by_role(wordpiece):
    expected = {f"{role}_token_id": WORDPIECE.get(role) for role in ("pad", "unk", "bos", "eos", "cls", "sep", "mask")}
    assert token_ids(wordpiece) == expected


def test_token_counts_follow_under_every_name():
    old = {"n_words": 90, "hidden_size": 90}
    assert recounted(old, XLMConfig(vocab_size=90), 90, 70) == {"n_words": 70, "hidden_size": 90, "vocab_size": 70}


def test_bart_is_configured_for_its_new_tokenizer(tmp_path, wordpiece):
    tok = tiny.tokenizer("en", "byte-level-bpe")
    source = tiny.save(tiny.model("bart", tok), tok, tmp_path / "source")
    change_config(source, my_own_key=[1, "ü"], forced_bos_token_id=599)
    generation = source / "generation_config.json"
    held = {**json.loads(generation.read_text()), "eos_token_id": [1, 77], "suppress_tokens": [4, 77]}
    held |= {"num_beams": 3}
    generation.write_text(json.dumps(held))
    target = revocabulary(Checkpoint.open(source), copying(range(500), 600), wordpiece, tmp_path / "target")
    config = AutoConfig.from_pretrained(target)
    assert isinstance(config, BartConfig)
    assert (config.vocab_size, config.pad_token_id, config.bos_token_id, config.eos_token_id) == (500, 0, 2, 3)
    assert config.decoder_start_token_id == WORDPIECE["sep"]
    assert config.my_own_key == [1, "ü"]
    assert "ü" in (target / "config.json").read_text(encoding="utf-8")
    generation = GenerationConfig.from_pretrained(target)
    assert (generation.pad_token_id, generation.bos_token_id, generation.eos_token_id) == (0, 2, [3])
    assert generation.decoder_start_token_id == WORDPIECE["sep"]
    assert generation.suppress_tokens == [WORDPIECE["mask"]]
    assert generation.num_beams == 3


def test_t5_starts_its_decoder_with_the_new_padding(tmp_path, wordpiece):
    tok = tiny.tokenizer("en", "unigram")
    source = tiny.save(tiny.model("t5", tok), tok, tmp_path / "source")
    target = revocabulary(Checkpoint.open(source), copying(range(500), 600), wordpiece, tmp_path / "target")
    config = AutoConfig.from_pretrained(target)
    assert AutoConfig.from_pretrained(source).decoder_start_token_id == UNIGRAM["pad"]
    assert config.decoder_start_token_id == config.pad_token_id == WORDPIECE["pad"]


def spelled(*special, family="unigram", language="de"):
    """A tokenizer of tiny's with more special tokens."""
    tokenizer = copy.deepcopy(tiny.tokenizer(language, family, 500))
    tokenizer.add_tokens([AddedToken(token, special=True) for token in special], special_tokens=True)
    return tokenizer


OLD = ("<|turn|>", "<|call|>", "<img>", "de_DE", "en_XX")  # ids 500 to 504
NEW = ("de_DE", "<|turn|>", "<img>")  # ids 500 to 502


@pytest.fixture(scope="module")
def both():
    return SpecialIds.of(spelled(*NEW), [], spelled(*OLD, language="en"))


def test_stop_ids_are_kept_by_their_spelling_beside_the_role(both):
    found = renumbered({"eos_token_id": [2, 500, 501]}, None, both)
    assert found.settings == {"eos_token_id": [2, 501]}
    assert found.removed == {"eos_token_id": ("'<|call|>' (501)",)}


def test_one_stop_id_that_is_not_the_tokenizers_own_keeps_its_spelling(both):
    assert renumbered({"eos_token_id": 500}, None, both).settings == {"eos_token_id": 501}
    assert renumbered({"eos_token_id": 501}, None, both).settings == {"eos_token_id": 2}


@pytest.mark.parametrize(
    ("name", "held", "expected"),
    [
        ("forced_bos_token_id", 503, 500),
        ("decoder_start_token_id", 503, 500),
        ("image_token_id", 502, 502),
        ("image_token_index", 502, 502),
        ("suppress_tokens", [500, 501, 17], [501]),
        ("begin_suppress_tokens", [2, 503], [2, 500]),
        ("bad_words_ids", [[500, 502], [500, 501], [17]], [[501, 502]]),
        ("force_words_ids", [[[500], [502]], [[501]]], [[[501], [502]]]),
        ("forced_decoder_ids", [[1, 503], [2, 501]], [[1, 500]]),
        ("sequence_bias", [[[500], -1.0], [[17], 2.0]], [[[501], -1.0]]),
        ("lang_to_id", {"de": 503, "en": 504}, {"de": 500}),
        ("pad_index", 1, 1),
    ],
)
def test_ids_follow_the_spelling_of_special_tokens(name, held, expected, both):
    assert renumbered({name: held}, None, both).settings == {name: expected}


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("label2id", {"NEGATIVE": 0, "POSITIVE": 1}),
        ("lang2id", {"de": 0, "en": 1}),
        ("num_image_tokens", 500),
        ("vision_config", {"width": 500}),
        ("token_type_ids_size", 500),
    ],
)
def test_numbers_that_are_no_token_ids_stay(name, held, both):
    assert renumbered({name: held}, None, both).settings == {name: held}


def test_lists_of_which_nothing_is_left_go_and_are_named(both):
    found = renumbered({"suppress_tokens": [501], "bad_words_ids": [[17]]}, None, both)
    assert found.settings == {}
    assert found.removed == {"suppress_tokens": ("'<|call|>' (501)",), "bad_words_ids": ("17",)}


def test_an_image_token_that_is_gone_is_an_id_that_no_token_has(both):
    config = LlavaConfig(image_token_index=501)
    found = renumbered({"image_token_index": 501}, config, both)
    assert found.settings["image_token_index"] == -1
    assert found.removed["image_token_index"] == ("'<|call|>' (501)",)


def test_what_is_lost_is_told(tmp_path, caplog):
    english = spelled(*OLD, language="en")
    model = tiny.model("llama", english, rows=len(english))
    model.generation_config.eos_token_id = [2, 500, 501]
    source = tiny.save(model, english, tmp_path / "source")
    initializer = MeanInitializer(source, spelled(*NEW))
    assert "eos_token_id held '<|call|>' (501)" in caplog.text
    out = initializer.build(tmp_path / "out")
    assert GenerationConfig.from_pretrained(out).eos_token_id == [2, 501]
    assert any("'<|call|>' (501)" in notice for notice in Health.load(out).notices)
    assert "(501), for which the new tokenizer has no token" in (out / "README.md").read_text()

"""Extended tokenizers: what was there stays, and what is new is used."""

import copy
import json
from collections import Counter
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import (
    AutoTokenizer,
    BertTokenizer,
    ByT5Tokenizer,
    GPT2Tokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from hf_xlt.errors import InputError
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer, learn_merges
from hf_xlt.tokenizers.vocabulary import Vocabulary

ENGLISH, GERMAN = sentences("en", "train"), sentences("de", "train")
HELD_OUT = sentences("de", "held_out")
ADDED = 300
few = settings(deadline=None, max_examples=50)  # the first example trains a tokenizer


def uncased_wordpiece():
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer(lowercase=True)
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained.train_from_iterator(
        ENGLISH, trainers.WordPieceTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    )
    return BertTokenizer(vocab=trained.get_vocab(), do_lower_case=True)


def character_bpe(byte_fallback):
    """BPE of characters with `▁` for spaces and no pre-tokenizer, as in Llama; its letters are English ones."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(ENGLISH, trainers.BpeTrainer(vocab_size=500, show_progress=False))
    learned = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256 * byte_fallback)), *learned["vocab"]]
    vocab, merges = {piece: i for i, piece in enumerate(pieces)}, list(map(tuple, learned["merges"]))
    if byte_fallback:
        return LlamaTokenizer(vocab=vocab, merges=merges)
    backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def unigram_with_added_tokens():
    tokenizer = copy.deepcopy(tiny.tokenizer("en", "unigram"))
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|user|>"]})
    tokenizer.add_tokens(["nicht", "Straße"])
    return tokenizer


def byte_level_with_added_tokens():
    """Tokens beside the model's vocabulary: special and ordinary ones, which German text has."""
    tokenizer = tiny.tokenizer("en", "byte-level-bpe")
    own = GPT2Tokenizer(
        vocab=tokenizer.get_vocab(),
        merges=[tuple(merge) for merge in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]],
        pad_token="<pad>",
    )
    own.add_special_tokens({"extra_special_tokens": ["<|user|>", "<|end|>"]})
    own.add_tokens(["nicht", AddedToken("schön", single_word=True)])
    return own


def pieces(family):
    return [
        tuple(piece) for piece in json.loads(tiny.tokenizer("en", family).backend_tokenizer.to_str())["model"]["vocab"]
    ]


def t5():
    sentinels = [(f"<extra_id_{i}>", 0.0) for i in range(99, -1, -1)]
    ordinary = [piece for piece in pieces("unigram") if piece[0] not in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    return T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *ordinary, *sentinels])


def xlm_roberta():
    ordinary = [piece for piece in pieces("unigram") if piece[0] not in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    head = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    return XLMRobertaTokenizer(vocab=[*head, *ordinary, ("<mask>", 0.0)])


SOURCES = {
    "wordpiece": lambda: tiny.tokenizer("en", "wordpiece"),
    "uncased wordpiece": uncased_wordpiece,
    "byte-level BPE": lambda: tiny.tokenizer("en", "byte-level-bpe"),
    "byte-level BPE with added tokens": byte_level_with_added_tokens,
    "unigram with added tokens": unigram_with_added_tokens,
    "character BPE": lambda: character_bpe(byte_fallback=False),
    "Llama": lambda: character_bpe(byte_fallback=True),
    "unigram": lambda: tiny.tokenizer("en", "unigram"),
    "T5": t5,
    "XLM-R": xlm_roberta,
}
BPES = [name for name in SOURCES if "BPE" in name or name == "Llama"]
every_source = pytest.mark.parametrize("name", SOURCES)


@cache
def source(name):
    return SOURCES[name]()


@cache
def extended(name):
    return extend_tokenizer(source(name), iter(GERMAN), ADDED)


@cache
def new_tokens(name):
    """Id by spelling."""
    return dict(extended(name).get_vocab().items() - source(name).get_vocab().items())


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def settings_of(tokenizer):
    return json.loads(tokenizer.backend_tokenizer.to_str())


texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(HELD_OUT + sentences("en", "held_out")),
    st.text("aeinrstuähßÄ ,.19▁\n", max_size=30),
)


@every_source
class TestWhatStays:
    def test_every_token_keeps_its_id_and_new_ones_follow(self, name):
        old, new = source(name).get_vocab(), extended(name).get_vocab()
        assert old.items() < new.items()
        first = max(old.values()) + 1
        assert sorted(new_tokens(name).values()) == list(range(first, first + ADDED))
        before, after = Vocabulary.of(source(name)), Vocabulary.of(extended(name))
        assert after.extends(before)
        assert not before.extends(after)
        assert not before.extends(before)

    def test_all_but_the_model_is_the_sources(self, name):
        old, new = settings_of(source(name)), settings_of(extended(name))
        assert {key: value for key, value in old.items() if key != "model"} == {
            key: value for key, value in new.items() if key != "model"
        }
        assert type(extended(name)) is type(source(name))
        assert extended(name).special_tokens_map == source(name).special_tokens_map
        assert extended(name).all_special_ids == source(name).all_special_ids
        assert extended(name).added_tokens_decoder == source(name).added_tokens_decoder

    @few
    @given(text=texts)
    def test_a_text_without_new_tokens_is_cut_as_before(self, name, text):
        after = ids(extended(name), text)
        if not set(after) & set(new_tokens(name).values()):
            assert after == ids(source(name), text)

    def test_it_comes_back_from_its_folder(self, name, tmp_path):
        extended(name).save_pretrained(tmp_path)
        opened = AutoTokenizer.from_pretrained(tmp_path)
        assert opened.get_vocab() == extended(name).get_vocab()
        assert opened(HELD_OUT)["input_ids"] == extended(name)(HELD_OUT)["input_ids"]
        assert settings_of(opened) == settings_of(extended(name))

    def test_what_tokens_stand_for_stays(self, name):
        old, new = Vocabulary.of(source(name)), Vocabulary.of(extended(name))
        assert (old.roles, old.extras, old.marks_words) == (new.roles, new.extras, new.marks_words)
        assert old.names.items() < new.names.items()
        assert all(new.forms[id_] == form for id_, form in old.forms.items())


@every_source
class TestWhatIsNew:
    def test_words_become_fewer_tokens(self, name):
        words = sum(len(line.split()) for line in HELD_OUT)
        before, after = (
            sum(len(ids(tokenizer, line)) for line in HELD_OUT) for tokenizer in (source(name), extended(name))
        )
        assert after / words < 0.85 * before / words

    def test_every_new_token_comes_up(self, name):
        used = {id_ for line in GERMAN for id_ in ids(extended(name), line)}
        for token, id_ in new_tokens(name).items():
            own = extended(name).backend_tokenizer.model.tokenize(token)
            assert id_ in used or [piece.id for piece in own] == [id_] or len(token.removeprefix("##")) == 1

    @pytest.mark.slow
    def test_what_the_source_has_is_not_added_again(self, name):
        forms = Vocabulary.of(extended(name)).forms
        new = [forms[id_] for id_ in new_tokens(name).values()]
        assert set(Vocabulary.of(source(name)).forms.values()).isdisjoint(new)
        assert len(set(new)) == len(new)

    def test_new_tokens_are_letters(self, name):
        forms = Vocabulary.of(extended(name)).forms
        for id_ in new_tokens(name).values():
            assert all(character.isalpha() for character in forms[id_].text.decode(errors="ignore"))

    def test_letters_that_the_source_could_not_spell_are_known(self, name):
        unknown = source(name).unk_token_id
        lost = [line for line in HELD_OUT if unknown in ids(source(name), line)]
        still = [line for line in HELD_OUT if unknown in ids(extended(name), line)]
        assert len(still) <= 0.02 * len(HELD_OUT) or not lost

    def test_the_same_text_gives_the_same_tokens(self, name):
        again = extend_tokenizer(source(name), GERMAN, ADDED)
        assert again.get_vocab() == extended(name).get_vocab()


@pytest.mark.parametrize("name", BPES)
@few
@given(text=texts)
def test_bpe_cuts_only_where_the_source_cuts(name, text):
    if "<" in text:
        return
    before, after = (
        {end for _, end in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]}
        for tokenizer in (source(name), extended(name))
    )
    assert after <= before


def test_a_unigram_token_is_as_likely_as_its_rarest_part():
    known = {"<unk>": 0.0, "▁": -4.0, "▁a": -2.0, "a": -6.0, "b": -5.0, "c": -3.0}
    backend = Tokenizer(models.Unigram(list(known.items()), unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer = extend_tokenizer(
        PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>"), ["acc acb ac"] * 2, 3
    )
    after = dict(settings_of(tokenizer)["model"]["vocab"])
    assert after == known | {"▁ac": -3.0, "▁acc": -3.0, "▁acb": -5.0}
    assert tokenizer.tokenize("acc acb ac cb") == ["▁acc", "▁acb", "▁ac", "▁", "c", "b"]


@settings(deadline=None)
@given(
    words=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=8), size=st.integers(1, 6)
)
def test_each_merge_is_of_a_most_frequent_pair(words, size):
    """Against counting by hand; token 5 is not to be merged."""
    joined = np.array([True] * 5 + [False])
    times = list(range(1, len(words) + 1))
    flat, lengths = np.array([id_ for word in words for id_ in word]), np.array([len(word) for word in words])
    merges = learn_merges(flat, lengths, times, joined, size)
    text = [[(id_,) for id_ in word] for word in words]
    for left, right in merges:
        pairs = Counter()
        for word, count in zip(text, times, strict=True):
            for pair in pairwise(word):
                pairs[pair] += count * all(part != (5,) for part in pair)
        assert pairs[left, right] == max(pairs.values()) >= 2
        text = [merged(word, left, right) for word in text]
    assert len({left + right for left, right in merges}) <= size


def merged(word, left, right):
    parts = []
    for part in word:
        if parts and (parts[-1], part) == (left, right):
            parts[-1] = left + right
        else:
            parts.append(part)
    return parts


def test_the_source_is_left_as_it_is():
    tokenizer = tiny.tokenizer("en", "byte-level-bpe")
    before = tokenizer.backend_tokenizer.to_str()
    extend_tokenizer(tokenizer, GERMAN, 20)
    assert tokenizer.backend_tokenizer.to_str() == before


class TestRefused:
    def test_too_little_text(self):
        with pytest.raises(
            InputError, match=r"The text has \d+ new tokens that occur twice .*; expected 5000. Give more"
        ):
            extend_tokenizer(source("wordpiece"), GERMAN[:50], 5000)
        with pytest.raises(InputError, match="The text has 0 new tokens"):
            extend_tokenizer(source("unigram"), ["", "1 2 3", "!"], 5)

    def test_a_number_that_is_none(self):
        with pytest.raises(InputError, match="added is 0; expected a whole number from 1"):
            extend_tokenizer(source("wordpiece"), GERMAN, 0)

    def test_other_kinds(self):
        words = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        with pytest.raises(
            InputError, match="A WordLevel tokenizer cannot be extended; expected WordPiece, BPE, Unigram"
        ):
            extend_tokenizer(PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>"), GERMAN, 5)
        ending = Tokenizer(models.BPE({"a</w>": 0, "a": 1}, [], end_of_word_suffix="</w>"))
        with pytest.raises(InputError, match="mark the inside or the end of words cannot be extended"):
            extend_tokenizer(PreTrainedTokenizerFast(tokenizer_object=ending), GERMAN, 5)
        with pytest.raises(InputError, match="ByT5Tokenizer .* has no fast backend"):
            extend_tokenizer(ByT5Tokenizer(), GERMAN, 5)

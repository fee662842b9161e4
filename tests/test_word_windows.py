"""Words as windows: each word is picked once, at its first piece, and read as in a text with spaces."""

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from hf_xlt.data.token_stream import Frame
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.task import encode_words
from hf_xlt.sample import sentences

SOFT_HYPHEN = "\u00ad"
ODD = [SOFT_HYPHEN, "10 000", "don't", "n't", "漢字", "...", "é", "Straßenbahnhaltestellen"]
WORDS = sorted({word for sentence in sentences("en", "held_out") for word in sentence.split()})


def roberta():
    """A byte-level tokenizer with RoBERTa's special tokens, which marks no first word."""
    plain = tiny.tokenizer("en", "byte-level-bpe")
    backend = Tokenizer.from_str(plain.backend_tokenizer.to_str())
    frame = [(token, backend.token_to_id(token)) for token in ("</s>", "<s>")]
    backend.post_processor = processors.RobertaProcessing(*frame, trim_offsets=True, add_prefix_space=False)
    names = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def bert():
    return tiny.tokenizer("en", "wordpiece")


def t5():
    return tiny.tokenizer("en", "unigram")


TOKENIZERS = {"bert": bert(), "roberta": roberta(), "t5": t5()}
every_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)


def content(windows, tokenizer):
    """The tokens of windows without special ones, joined."""
    frame = Frame.of(tokenizer)
    return [int(i) for window in windows for i in window[len(frame.prefix) : len(window) - len(frame.suffix)]]


@pytest.mark.slow
@every_tokenizer
@given(st.lists(st.lists(st.sampled_from(WORDS + ODD), max_size=25), min_size=1, max_size=4), st.integers(4, 40))
def test_each_word_is_picked_once_at_its_first_piece_over_all_windows(tokenizer, texts, longest):
    encoded = encode_words(texts, tokenizer, longest)
    assert len(encoded) == len(texts)
    for (windows, picks), words in zip(encoded, texts, strict=True):
        spaced = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
        pieces = [tokenizer(word, add_special_tokens=False)["input_ids"] or [tokenizer.unk_token_id] for word in spaced]
        picked = [int(i) for window, places in zip(windows, picks, strict=True) for i in window[places]]
        assert picked == [ids[0] for ids in pieces]
        assert content(windows, tokenizer) == [i for ids in pieces for i in ids]
        assert max(map(len, windows)) <= longest
        assert all((np.diff(places) > 0).all() for places in picks)


@every_tokenizer
def test_words_are_read_as_the_text_they_make_up(tokenizer):
    texts = sentences("en", "held_out")[:20]
    for text, (windows, _) in zip(texts, encode_words([text.split() for text in texts], tokenizer, 512), strict=True):
        assert [window.tolist() for window in windows] == [tokenizer(text)["input_ids"]]


def test_picks_go_on_where_a_window_ends_within_a_word():
    tokenizer = TOKENIZERS["bert"]
    words = ["a", SOFT_HYPHEN, "e" * 50, "a"]
    windows, picks = encode_words([words], tokenizer, 6)[0]
    assert len(windows) > 2
    assert sum(map(len, picks)) == len(words)
    assert [window[0] for window in windows] == [tokenizer.cls_token_id] * len(windows)
    assert windows[0][2] == tokenizer.unk_token_id
    assert windows[-1][picks[-1][-1]] == tokenizer.convert_tokens_to_ids("a")


def test_truncation_saved_with_a_tokenizer_cuts_nothing_off():
    cutting = deepcopy(TOKENIZERS["bert"])
    cutting.backend_tokenizer.enable_truncation(4)
    cutting.backend_tokenizer.enable_padding(length=4)
    ((windows, picks),) = encode_words([["a"] * 30], cutting, 64)
    assert [len(window) for window in windows] == [32]
    assert picks[0].tolist() == list(range(1, 31))


def test_no_sentences_are_no_windows():
    assert encode_words([], TOKENIZERS["bert"], 64) == []


def test_a_dropped_word_needs_an_unknown_token():
    without = deepcopy(TOKENIZERS["bert"])
    without.unk_token = None
    with pytest.raises(InputError, match=r"no piece for the word '\\xad', and no unknown token"):
        encode_words([["a", SOFT_HYPHEN]], without, 64)


def test_a_slow_tokenizer_is_refused():
    with pytest.raises(InputError, match="a fast one can"):
        encode_words([["a"]], SimpleNamespace(is_fast=False), 64)

"""Packing: no padding, nothing lost, the tokenizer's own frame; the stream is decided by seed and position."""

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, processors
from transformers import PreTrainedTokenizerFast

from hf_xlt.data.packing import blocks, pack
from hf_xlt.data.sampling import ShuffledStream
from hf_xlt.data.token_stream import Frame, token_stream
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.sample import sentences

FAMILIES = ("wordpiece", "unigram", "byte-level-bpe")


def llama_like():
    """A tokenizer that begins every sequence with bos, as Llama's does."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny.tokenizer("de", "byte-level-bpe").backend_tokenizer.from_str(
            tiny.tokenizer("de", "byte-level-bpe").backend_tokenizer.to_str()
        ),
        bos_token="<s>",
        eos_token="</s>",
    )
    bos = [("<s>", tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=bos)
    return tokenizer


@pytest.fixture
def split(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(sentences("de", "train")[:200]), encoding="utf-8")
    return Split(Corpus(str(tmp_path / "a.txt")), every=50)


def test_the_frame_is_what_the_tokenizer_puts_around_a_text():
    bert, t5, gpt2, llama = (*(tiny.tokenizer("de", family) for family in FAMILIES), llama_like())
    assert Frame.of(bert) == Frame((bert.cls_token_id,), (bert.sep_token_id,), (bert.sep_token_id,))
    assert Frame.of(t5) == Frame((), (t5.eos_token_id,), (t5.eos_token_id,))
    assert Frame.of(gpt2) == Frame((), (), (gpt2.eos_token_id,))
    assert Frame.of(llama) == Frame((llama.bos_token_id,), (), (llama.eos_token_id,))


def test_a_left_to_right_text_begins_after_bos_or_else_after_the_end_of_another():
    llama, gpt2 = llama_like(), tiny.tokenizer("de", "byte-level-bpe")
    assert Frame.of(llama).opening == (llama.bos_token_id,)
    assert Frame.of(gpt2).opening == (gpt2.eos_token_id,)


@pytest.mark.parametrize("family", FAMILIES)
@given(
    lines=st.lists(st.text("abc äöü,.", min_size=1, max_size=30), min_size=1, max_size=30), length=st.integers(4, 20)
)
@settings(deadline=None, max_examples=30)
def test_blocks_are_the_token_stream_but_for_the_last_incomplete_sequence(family, lines, length):
    tokenizer = tiny.tokenizer("de", family)
    frame = Frame.of(tokenizer)
    stream = np.concatenate(list(token_stream(lines, tokenizer)))
    rows = list(blocks(lines, tokenizer, length))
    assert {len(row) for row in rows} <= {length}
    begin, end = len(frame.prefix), length - len(frame.suffix)
    assert all(tuple(row[:begin]) == frame.prefix and tuple(row[end:]) == frame.suffix for row in rows)
    packed = np.concatenate([np.empty(0, int), *(row[begin:end] for row in rows)])
    assert packed.tolist() == stream[: len(packed)].tolist()
    assert len(stream) - len(packed) < end - begin


def test_the_stream_keeps_every_line_and_ends_each_with_the_separator():
    tokenizer = tiny.tokenizer("de", "byte-level-bpe")
    lines = sentences("de", "train") + sentences("de", "held_out")
    ids = np.concatenate(list(token_stream(lines, tokenizer)))
    assert tokenizer.decode(ids).split("</s>")[:-1] == lines


def test_a_packed_corpus_has_full_rows_of_training_lines_only(split, tmp_path):
    tokenizer = tiny.tokenizer("de", "wordpiece")
    packed = pack(split, tokenizer, 16, 1000, tmp_path / "cache")
    expected = list(blocks(split.training_lines(), tokenizer, 16))
    assert np.array_equal(packed["input_ids"][:], np.stack(expected))


def test_a_second_call_reads_the_same_rows_without_the_text_being_tokenised_again(split, tmp_path, monkeypatch):
    tokenizer = tiny.tokenizer("de", "wordpiece")
    first = pack(split, tokenizer, 16, 1000, tmp_path / "cache")[:]["input_ids"]
    monkeypatch.setattr("hf_xlt.data.packing.token_stream", lambda *_: pytest.fail("tokenised again"))
    assert np.array_equal(pack(split, tokenizer, 16, 1000, tmp_path / "cache")[:]["input_ids"], first)


def test_a_changed_corpus_length_limit_or_tokenizer_is_packed_anew(split, tmp_path):
    cased = tiny.tokenizer("de", "wordpiece")
    uncased = PreTrainedTokenizerFast.from_pretrained(cased.save_pretrained(tmp_path / "tok") and tmp_path / "tok")
    uncased.backend_tokenizer.normalizer = normalizers.Lowercase()
    first = pack(split, cased, 16, 1000, tmp_path / "cache")[:]["input_ids"]

    def differs(tokenizer=cased, length=16, limit=1000):
        return not np.array_equal(pack(split, tokenizer, length, limit, tmp_path / "cache")[:]["input_ids"], first)

    assert not differs()
    assert differs(length=20)
    assert differs(limit=3)
    assert differs(tokenizer=uncased)
    split.corpus.path.write_text("\n".join(sentences("de", "held_out")), encoding="utf-8")
    assert differs()


def test_the_limit_stops_the_reading(split, tmp_path):
    assert len(pack(split, tiny.tokenizer("de", "wordpiece"), 16, 3, tmp_path / "cache")) == 3


def test_a_corpus_shorter_than_a_sequence_is_refused(split, tmp_path):
    with pytest.raises(InputError, match="shorter than one sequence of 100000 tokens"):
        pack(split, tiny.tokenizer("de", "wordpiece"), 100_000, 10, tmp_path / "cache")


def test_a_length_without_room_for_text_is_refused(split, tmp_path):
    with pytest.raises(InputError, match="sequence_length 3 leaves no room"):
        pack(split, tiny.tokenizer("de", "wordpiece"), 3, 10, tmp_path / "cache")


def test_an_unreadable_line_is_refused_as_such_and_leaves_no_cache_to_reuse(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"gut\n" * 5000 + b"gr\xfc\xdfe\n")
    split = Split(Corpus(str(path)))
    for _ in range(2):
        with pytest.raises(InputError, match="not UTF-8 at line 5001"):
            pack(split, tiny.tokenizer("de", "wordpiece"), 8, 10**6, tmp_path / "cache")


class TestStream:
    @pytest.fixture
    def packed(self, split, tmp_path):
        return pack(split, tiny.tokenizer("de", "wordpiece"), 16, 11, tmp_path / "cache")

    def test_an_example_depends_on_its_position_alone(self, packed):
        forwards = list(ShuffledStream(packed, 40, seed=3))
        other = ShuffledStream(packed, 40, seed=3)
        backwards = [other[i] for i in reversed(range(40))][::-1]
        batched = other.__getitems__(list(range(40)))
        for a, b, c in zip(forwards, backwards, batched, strict=True):
            assert a["key"] == b["key"] == c["key"]
            assert a["input_ids"].tolist() == b["input_ids"].tolist() == c["input_ids"].tolist()

    def test_each_epoch_visits_every_row_once_in_a_new_order(self, packed):
        rows = [tuple(example["input_ids"]) for example in ShuffledStream(packed, 33, seed=0)]
        epochs = [rows[i : i + 11] for i in (0, 11, 22)]
        assert {tuple(sorted(epoch)) for epoch in epochs} == {tuple(sorted(map(tuple, packed[:]["input_ids"])))}
        assert len(set(map(tuple, epochs))) == 3

    def test_keys_never_repeat_and_seeds_differ(self, packed):
        streams = [list(ShuffledStream(packed, 33, seed)) for seed in (0, 1)]
        assert len({example["key"] for stream in streams for example in stream}) == 66
        first, second = ([tuple(example["input_ids"]) for example in stream] for stream in streams)
        assert first != second

    def test_it_ends(self, packed):
        assert len(list(ShuffledStream(packed, 5, seed=0))) == 5

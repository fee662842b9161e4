"""Tokenizers like a source's: they keep any text that the source would, and its frame, tokens and roles."""

import json
import unicodedata
from functools import cache

import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast

from hf_xlt.errors import InputError
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer, train_tokenizer_like

GERMAN = sentences("de", "train")[:600]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def wrapped(backend: Tokenizer, **roles) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def llama(pre_tokenizer=None) -> PreTrainedTokenizerFast:
    """Falls back to bytes, spells spaces as `▁` in its normalizer, and cuts nothing unless it is given what cuts."""
    vocab = {token: id_ for id_, token in enumerate(["<unk>", "<s>", "</s>", *BYTES, "▁", "a", "▁a"])}
    backend = Tokenizer(models.BPE(vocab, [("▁", "a")], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    return wrapped(backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def bert(normalizer: normalizers.Normalizer) -> PreTrainedTokenizerFast:
    """BERT with some normalizer."""
    backend = Tokenizer.from_str(tiny.tokenizer("en", "wordpiece").backend_tokenizer.to_str())
    backend.normalizer = normalizer
    roles = tiny.tokenizer("en", "wordpiece").special_tokens_map
    return wrapped(backend, **roles, model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def byte_level(post_processor=None, special=()) -> PreTrainedTokenizerFast:
    """GPT-2 with some post-processor and more special tokens."""
    backend = Tokenizer.from_str(tiny.tokenizer("en", "byte-level-bpe").backend_tokenizer.to_str())
    backend.normalizer = None
    backend.add_special_tokens(list(special))
    if post_processor is not None:
        backend.post_processor = post_processor
    return wrapped(backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


@cache
def like_llama(cut: bool) -> PreTrainedTokenizerFast:
    cutting = pre_tokenizers.Split(" ", "merged_with_previous") if cut else None
    return train_tokenizer_like(llama(cutting), iter(GERMAN), 800)


def written(tokenizer: PreTrainedTokenizerFast, text: str) -> str:
    return tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"])


class TestBytes:
    @pytest.mark.parametrize("cut", [False, True])
    @given(text=TEXT)
    @settings(deadline=None, max_examples=60)
    def test_any_text_survives(self, cut, text):
        assert written(like_llama(cut), text) == text

    @pytest.mark.parametrize("cut", [False, True])
    def test_entries_are_words_or_their_parts_and_no_more_than_asked(self, cut):
        vocab = like_llama(cut).get_vocab()
        assert len(vocab) <= 800
        assert vocab.keys() >= {*BYTES, "▁und", "▁der", "▁nicht"}
        words = [entry for entry in vocab if entry not in BYTES and not entry.startswith("<")]
        assert not [entry for entry in words if entry.strip("▁") and "▁" in entry[1:]]
        assert not [entry for entry in words if any(map(str.isalpha, entry)) and any(c in ".,;:!?\"'" for c in entry)]

    @given(text=TEXT)
    @settings(deadline=None, max_examples=60)
    def test_the_families_with_bytes_keep_any_text_up_to_composition(self, text):
        for family in ("byte-level-bpe", "unigram"):
            tokenizer = tiny.tokenizer("de", family)
            ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            assert tokenizer.decode(ids).removeprefix(" ") == unicodedata.normalize("NFC", text).removeprefix(" ")

    def test_a_text_that_spells_a_byte_stays_as_it_is(self):
        for tokenizer in (like_llama(False), tiny.tokenizer("de", "unigram")):
            assert written(tokenizer, "x <0x41> y") == "x <0x41> y"

    def test_a_model_that_would_drop_text_gets_its_unknown_token_or_is_refused(self):
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.Whitespace()
        with pytest.raises(InputError) as refused:
            train_tokenizer_like(wrapped(backend, pad_token="<pad>"), GERMAN, 400)
        assert "unknown token" in refused.value.expected
        tokenizer = train_tokenizer_like(wrapped(backend, unk_token="<unk>"), GERMAN, 400)
        assert tokenizer.unk_token_id in tokenizer("犬")["input_ids"]


class TestAround:
    def test_the_frame_has_the_new_ids_wherever_they_are_written(self):
        template = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
        )
        for processor in (
            template,
            processors.Sequence([processors.ByteLevel(trim_offsets=False), template]),
            processors.RobertaProcessing(("</s>", 1), ("<s>", 0)),
            processors.BertProcessing(("</s>", 1), ("<s>", 0)),
        ):
            source = byte_level(processor, special=["<a>", "<b>"])
            source.backend_tokenizer.post_processor = processor
            new = train_tokenizer_like(source, GERMAN, 500)
            ids = new("ja")["input_ids"]
            assert (ids[0], ids[-1]) == (new.bos_token_id, new.eos_token_id)
            assert new.decode(ids) == "<s>ja</s>"

    def test_few_unnamed_tokens_are_kept_and_many_are_left_out_unless_the_template_names_them(self, caplog):
        reserved = [f"<|reserved_{number}|>" for number in range(30)]
        source = byte_level(special=reserved)
        source.chat_template = "{{ '<|reserved_7|>' }}"
        small, large = (train_tokenizer_like(source, GERMAN, size) for size in (500, 900))
        assert [token for token in reserved if token in small.get_vocab()] == ["<|reserved_7|>"]
        assert "31 added tokens of the source are left out" in caplog.text  # <unk> and <mask> have no role here
        assert large.get_vocab().keys() >= set(reserved)
        assert small.chat_template == source.chat_template

    def test_it_opens_the_same_beside_a_model_whose_class_would_build_another(self, tmp_path):
        new = like_llama(False)
        new.save_pretrained(tmp_path)
        LlamaConfig(vocab_size=len(new)).save_pretrained(tmp_path)
        opened = AutoTokenizer.from_pretrained(tmp_path)
        assert opened(GERMAN[:20])["input_ids"] == new(GERMAN[:20])["input_ids"]
        assert opened.special_tokens_map == llama().special_tokens_map

    def test_settings_and_padding_follow(self):
        source = bert(normalizers.BertNormalizer())
        source.model_max_length = 77
        source.backend_tokenizer.enable_padding(pad_id=0, pad_token="[PAD]", length=6)
        new = train_tokenizer_like(source, GERMAN, 500)
        assert (new.model_max_length, new.model_input_names) == (77, source.model_input_names)
        assert new("ja", padding="max_length", max_length=6)["input_ids"][-1] == new.pad_token_id

    @pytest.mark.slow
    @pytest.mark.parametrize("family", ["byte-level-bpe", "unigram", "wordpiece"])
    def test_a_family_puts_around_a_text_what_the_source_does(self, family):
        source = tiny.tokenizer("en", "wordpiece")
        new = train_tokenizer(GERMAN, 600, family, framed_like=source)
        assert new.cls_token_id is not None
        assert new.sep_token_id is not None
        encoded = new("ja", "nein")
        frame = [id_ for id_ in encoded["input_ids"] if id_ in new.all_special_ids]
        assert frame == [new.cls_token_id, new.sep_token_id, new.sep_token_id]
        assert encoded["input_ids"][0] == new.cls_token_id


STRIPPING = {
    "BERT": normalizers.BertNormalizer(lowercase=True),
    "ALBERT": normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]),
    "replaced": normalizers.Sequence([normalizers.NFD(), normalizers.Replace(Regex(r"\p{Mn}"), "")]),
}
WORDS = ["tiếng Việt", "ọ̀rọ̀ Yorùbá", "किताब", "น้ำ ไม้", "über", "می\u200cخواهم"]


class TestAccents:
    @pytest.mark.parametrize("stripping", STRIPPING)
    def test_marks_are_kept_and_both_spellings_of_a_letter_are_read_alike(self, stripping):
        new = train_tokenizer_like(bert(STRIPPING[stripping]), GERMAN + 20 * WORDS, 900)
        for word in WORDS:
            alike = {tuple(new(unicodedata.normalize(form, word))["input_ids"]) for form in ("NFC", "NFD")}
            assert len(alike) == 1
            back = new.decode(new(word, add_special_tokens=False)["input_ids"])
            assert unicodedata.normalize("NFKD", back).lower() == unicodedata.normalize("NFKD", word).lower()

    def test_case_follows_the_source_unless_something_else_is_asked(self):
        for name, lowercase, written_as in (("BERT", None, "haus"), ("ALBERT", None, "haus"), ("BERT", False, "Haus")):
            new = train_tokenizer_like(bert(STRIPPING[name]), GERMAN, 600, lowercase=lowercase)
            assert written(new, "Haus") == written_as
        cased = bert(normalizers.BertNormalizer(lowercase=False))
        assert written(train_tokenizer_like(cased, GERMAN, 600, lowercase=True), "Haus") == "haus"

    @pytest.mark.slow
    def test_accents_are_stripped_where_that_is_asked(self):
        cased = bert(normalizers.BertNormalizer(lowercase=False))
        for source in (cased, bert(STRIPPING["BERT"]), llama()):
            new = train_tokenizer_like(source, GERMAN, 800, strip_accents=True)
            assert written(new, "über").lower() == "uber"
        for family in ("byte-level-bpe", "unigram", "wordpiece"):
            new = train_tokenizer(GERMAN, 600, family, strip_accents=True, lowercase=True)
            assert written(new, "Über").strip() == "uber"

    @pytest.mark.parametrize("family", ["byte-level-bpe", "unigram", "wordpiece"])
    @pytest.mark.slow
    def test_the_families_read_both_spellings_alike_and_make_whole_words_of_marked_letters(self, family):
        new = train_tokenizer(GERMAN + 60 * WORDS, 900, family)
        assert len({tuple(new(unicodedata.normalize(form, "tiếng"))["input_ids"]) for form in ("NFC", "NFD")}) == 1
        assert len(new("किताब", add_special_tokens=False)["input_ids"]) <= 2


class TestVocabulary:
    def test_a_letter_seen_at_the_beginning_of_words_alone_is_known_inside_words_too(self):
        new = train_tokenizer([*GERMAN, "Ömür Ömür"], 500, "wordpiece")
        assert new.unk_token_id not in new("XÖX IQÖ Q7q")["input_ids"]

    def test_a_script_of_many_letters_gets_no_more_entries_than_asked(self):
        chinese = [chr(0x4E00 + number) * 2 for number in range(3000)]
        for family in ("byte-level-bpe", "unigram", "wordpiece"):
            assert len(train_tokenizer(chinese, 700, family)) <= 700
        assert len(train_tokenizer_like(llama(), chinese, 700)) <= 700

    @pytest.mark.parametrize("family", ["byte-level-bpe", "unigram", "wordpiece"])
    @pytest.mark.slow
    def test_what_is_rare_becomes_no_entry_and_a_vocabulary_smaller_than_asked_says_why(self, family, caplog):
        text = [*GERMAN[:300], "Quastenflosserforschung"]
        sizes = [len(train_tokenizer(text, 5000, family, min_frequency=times)) for times in (1, 3, 20)]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > sizes[-1]
        assert f"{sizes[-1]:,} entries, 5,000 were asked for" in caplog.text
        assert "at least 20 times" in caplog.text

    @pytest.mark.parametrize("family", ["byte-level-bpe", "unigram", "wordpiece"])
    def test_a_line_without_a_space_is_trained_on(self, family):
        assert len(train_tokenizer(["abcdefghij" * 20_000], 400, family)) > 100

    def test_numbers_out_of_range_are_refused_before_the_text_is_read(self):
        def unread():
            raise AssertionError("the text was read")
            yield

        for size, times, value in ((10**10, 1, 10**10), (-5, 1, -5), (500, -1, -1)):
            for train in (
                lambda *given, **options: train_tokenizer(*given, "unigram", **options),
                lambda *given, **options: train_tokenizer_like(llama(), *given, **options),
            ):
                with pytest.raises(InputError) as refused:
                    train(unread(), size, min_frequency=times)
                assert refused.value.value == value

    def test_special_tokens_that_leave_no_room_are_refused(self):
        source = byte_level(special=[AddedToken(f"<|{number}|>", special=True) for number in range(300)])
        source.chat_template = "".join(f"<|{number}|>" for number in range(300))
        with pytest.raises(InputError) as refused:
            train_tokenizer_like(source, GERMAN, 400)
        assert "at least" in refused.value.expected

    def test_word_level_tokenizers_learn_words(self):
        backend = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        new = train_tokenizer_like(wrapped(backend, unk_token="[UNK]"), ["ein, ein, zwei"], 300)
        assert new.get_vocab().keys() == {"[UNK]", "ein,", "zwei"}

    def test_the_saved_file_says_all(self, tmp_path):
        new = like_llama(False)
        new.save_pretrained(tmp_path)
        saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
        assert saved["model"]["byte_fallback"]
        assert saved["model"]["unk_token"] == "<unk>"
        assert [token["content"] for token in saved["added_tokens"]] == ["<unk>", "<s>", "</s>"]


@pytest.mark.parametrize("text", ["Tôi đã đọc quyển sách này.", "ฉันอ่านหนังสือ", "मैंने किताब पढ़ी।"])
def test_a_small_vocabulary_has_the_letters_of_its_text(text):
    tokenizer = train_tokenizer([text] * 30, 400, "wordpiece")
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]

"""New tokenizers: of each family, or like an existing one; what cannot be trained or opened is refused."""

import pytest
import tiny

from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import FAMILIES, train_tokenizer, train_tokenizer_like

GERMAN = sentences("de", "train")


@pytest.mark.parametrize("family", FAMILIES)
class TestFamilies:
    def test_it_has_the_size_and_the_roles_a_language_model_needs(self, family):
        tokenizer = tiny.tokenizer("de", family)
        assert len(tokenizer) == 600
        assert None not in (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id)
        assert tokenizer.eos_token_id is not None or tokenizer.sep_token_id is not None

    def test_held_out_text_survives_a_round_trip(self, family):
        tokenizer = tiny.tokenizer("de", family)
        for line in sentences("de", "held_out")[:20]:
            ids = tokenizer(line, add_special_tokens=False)["input_ids"]
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids).replace(" ", "") == line.replace(" ", "")

    def test_it_comes_back_from_its_folder(self, family, tmp_path):
        tokenizer = tiny.tokenizer("de", family)
        tokenizer.save_pretrained(tmp_path)
        opened = open_tokenizer(str(tmp_path))
        assert opened(GERMAN[:50])["input_ids"] == tokenizer(GERMAN[:50])["input_ids"]
        assert opened.special_tokens_map == tokenizer.special_tokens_map

    @pytest.mark.slow
    def test_one_like_it_keeps_its_roles_and_learns_the_other_language(self, family):
        english = tiny.tokenizer("en", family)
        german = train_tokenizer_like(english, iter(GERMAN), 600)
        assert german.special_tokens_map == english.special_tokens_map
        assert len(german.tokenize("Schwester und Bruder")) < len(english.tokenize("Schwester und Bruder"))


def test_the_same_text_gives_the_same_byte_level_tokenizer():
    first, second = (train_tokenizer(GERMAN[:200], 400, "byte-level-bpe") for _ in range(2))
    assert first.get_vocab() == second.get_vocab()


def test_byte_level_tokenizers_know_every_text():
    tokenizer = tiny.tokenizer("de", "byte-level-bpe")
    text = "漢字 🙂 \u0000 ẞ"
    assert tokenizer.decode(tokenizer(text)["input_ids"], clean_up_tokenization_spaces=False) == text


def test_an_unknown_family_is_refused():
    with pytest.raises(InputError, match="family is 'bpe'; expected one of byte-level-bpe, unigram"):
        train_tokenizer(GERMAN, 600, "bpe")


def test_a_vocabulary_too_small_for_bytes_is_refused():
    with pytest.raises(InputError, match="vocab_size is 299; expected at least 300"):
        train_tokenizer(GERMAN, 299, "unigram")
    with pytest.raises(InputError, match="vocab_size is 10"):
        train_tokenizer_like(tiny.tokenizer("en", "unigram"), iter(GERMAN), 10)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_corpus_is_refused(family):
    with pytest.raises(InputError, match="no text"):
        train_tokenizer(iter(["", "  "]), 600, family)
    with pytest.raises(InputError, match="no text"):
        train_tokenizer_like(tiny.tokenizer("en", family), iter([]), 600)


def test_a_tokenizer_that_cannot_be_retrained_is_refused():
    class Slow:
        pass

    with pytest.raises(InputError, match="Slow cannot be retrained: it has no fast backend"):
        train_tokenizer_like(Slow(), iter(GERMAN), 600)

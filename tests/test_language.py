"""Models of several languages: each is read by its own tokenizer, whichever side it is on."""

import pytest
import tiny

from hf_xlt import TreLMForMaskedLM
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.models import SOURCE_TOKENIZER, Encoder, LanguageModel, check_languages, tokenizer_of

TOKENIZERS = {"en": tiny.tokenizer("en", "wordpiece", 500), "de": tiny.tokenizer("de", "wordpiece", 600)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """English and German with a vocabulary each, German the default; as a recipe leaves it."""
    folder = tmp_path_factory.mktemp("bilingual")
    model = TreLMForMaskedLM.from_encoder(
        tiny.model("bert", TOKENIZERS["en"]),
        languages=["en", "de"],
        tokenizers=[*TOKENIZERS.values()],
        separate_embeddings=True,
    )
    model.set_language("de")
    tiny.save(model, TOKENIZERS["de"], folder)
    TOKENIZERS["en"].save_pretrained(folder / SOURCE_TOKENIZER)
    return folder


@pytest.mark.parametrize("languages", [("en", "de"), ("de", "en")])
def test_each_side_is_read_by_its_languages_tokenizer_and_rows(folder, languages):
    encoder = Encoder.open(ModelSpec(str(folder), languages=languages))
    assert encoder.switches
    for side, language in zip(("source", "target"), languages, strict=True):
        assert encoder.switch_to(side).get_vocab() == TOKENIZERS[language].get_vocab()
        assert encoder.model.get_input_embeddings().weight.shape[0] == len(TOKENIZERS[language])
    opened = LanguageModel.open(ModelSpec(str(folder), languages=languages))
    assert opened.tokenizer.get_vocab() == TOKENIZERS[languages[1]].get_vocab()


def test_a_language_that_is_not_there_is_refused(folder):
    with pytest.raises(InputError) as refused:
        check_languages(Checkpoint.open(folder), ("en", "fr"))
    assert (refused.value.value, refused.value.expected) == ("fr", "one of en, de")


def test_a_language_without_its_tokenizer_is_refused(folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in folder.glob("*.*"):
        (bare / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="no tokenizer for 'en'; expected that of 'de' beside the weights"):
        tokenizer_of(Checkpoint.open(bare), "en")

"""What tokens stand for, against the tokenizers themselves, and what two vocabularies share."""

import json
import unicodedata
from functools import cache

import numpy as np
import pytest
import tiny
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from hf_xlt.errors import InputError
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.vocabulary import Form, Overlap, Vocabulary, overlap

MIXED = "aeimnrstzäöüßÄÖÜ ,.(-)19\t\néçñяж中文日本語字👍🏽é"
without_deadline = settings(deadline=None)  # the first example trains a tokenizer
NO_SPECIALS = st.characters(exclude_characters="<", exclude_categories=["Cs"])  # or `<s>` would be special
WORD = Form(b"Hund", starts_word=True)
PART = Form(b"Hund", starts_word=False)


def wrap(backend, **specials):
    return PreTrainedTokenizerFast(tokenizer_object=backend, **specials)


def wordpiece(words, **kwargs):
    backend = Tokenizer(models.WordPiece({w: i for i, w in enumerate(["[UNK]", *words])}, unk_token="[UNK]", **kwargs))
    backend.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return wrap(backend, unk_token="[UNK]")


def metaspace(pieces, **specials):
    backend = Tokenizer(models.Unigram([(p, -float(i)) for i, p in enumerate(["<unk>", *pieces])], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return wrap(backend, **{"unk_token": "<unk>"} | specials)


def byte_level(pieces, **specials):
    backend = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return wrap(backend, **specials)


def word_level(words, pre_tokenizer):
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizer
    return wrap(backend, unk_token="<unk>")


@cache
def fallback_bpe(style):
    """BPE as in Llama or Gemma: spaces as `▁`, unknown characters as bytes."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=500, max_token_length=8, show_progress=False)
    trained.train_from_iterator(sentences("de", "train")[:300], trainer)
    learned = json.loads(trained.to_str())["model"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [piece for piece in learned["vocab"] if piece not in pieces]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = [tuple(merge) for merge in learned["merges"]]
    backend = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace, prepend = normalizers.Replace(" ", "▁"), normalizers.Prepend("▁")
    match style:
        case "llama":
            backend.normalizer = normalizers.Sequence([prepend, replace])
        case "llama-metaspace":
            backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        case "gemma":
            backend.normalizer = replace
            backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return wrap(backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@cache
def characters(language):
    alphabet = sorted(set("".join(sentences(language, "train"))))
    return word_level(alphabet, pre_tokenizers.Split(Regex("."), "isolated"))


@cache
def vocabulary(tokenizer):
    return Vocabulary.of(tokenizer)


def spell_out(tokenizer, text):
    """The text of the tokens of `text`, by their forms alone; None where a token is unknown."""
    forms = [vocabulary(tokenizer).forms.get(i) for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    return None if None in forms else b"".join(b" " * form.starts_word + form.text for form in forms)


def form_of(tokenizer, token):
    return vocabulary(tokenizer).forms[tokenizer.get_vocab()[token]]


def pairs(source, target, **kwargs):
    """Overlap as pairs of spellings."""
    found = overlap(source, target, **kwargs)
    return {
        (source.convert_ids_to_tokens(int(s)), target.convert_ids_to_tokens(int(t)))
        for s, t in zip(found.source_ids, found.target_ids, strict=True)
    }


def trained_text(language):
    return st.text("".join(sorted(set("".join(sentences(language, "train"))))), max_size=40)


# The forms of a text, joined with spaces where words start, are the text.


@without_deadline
@given(text=st.one_of(st.text(MIXED, max_size=40), st.text(NO_SPECIALS, max_size=20)))
def test_forms_of_byte_level_bpe_spell_any_text(text):
    assert spell_out(tiny.tokenizer("de", "byte-level-bpe"), text) == unicodedata.normalize("NFC", text).encode()


@without_deadline
@given(text=st.text(MIXED, min_size=1, max_size=40))
@pytest.mark.parametrize("style", ["llama", "llama-metaspace", "gemma"])
def test_forms_of_byte_fallback_bpe_spell_any_text(style, text):
    normal = text.encode() if style == "gemma" else b" " + text.encode()
    if style == "llama-metaspace" and text.startswith((" ", "▁")):
        normal = text.encode()  # Metaspace puts no second space in front
    assert spell_out(fallback_bpe(style), text) == normal


@pytest.mark.parametrize("language", ["de", "zh"])
@without_deadline
@given(data=st.data())
@pytest.mark.slow
def test_forms_of_unigram_spell_the_normalised_text(language, data):
    tokenizer = tiny.tokenizer(language, "unigram", 3000 if language == "zh" else 600)
    text = data.draw(trained_text(language))
    spelled = spell_out(tokenizer, text)
    assume(spelled is not None)
    normal = tokenizer.backend_tokenizer.normalizer.normalize_str(text)
    assert spelled == (normal if normal.startswith(" ") or not normal else f" {normal}").encode()


@without_deadline
@given(text=trained_text("zh"))
def test_forms_of_characters_spell_the_text(text):
    assert spell_out(characters("zh"), text) == text.encode()


@pytest.mark.parametrize("language", ["de", "zh"])
@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much])  # much of what is drawn is unknown
@given(data=st.data())
@pytest.mark.slow
def test_forms_of_wordpiece_spell_the_text_without_its_spaces(language, data):
    text = data.draw(trained_text(language))
    spelled = spell_out(tiny.tokenizer(language, "wordpiece", 3000 if language == "zh" else 600), text)
    assume(spelled is not None)
    assert spelled.replace(b" ", b"") == "".join(text.split()).encode()


@without_deadline
@given(words=st.lists(st.text("aeinrstdäöüß", min_size=1, max_size=8), min_size=1, max_size=6))
@pytest.mark.parametrize("family", ["wordpiece", "unigram", "byte-level-bpe"])
def test_words_of_letters_start_where_spaces_are(family, words):
    text = " ".join(words)
    spelled = spell_out(tiny.tokenizer("de", family), text)
    assert spelled == (text if family == "byte-level-bpe" else f" {text}").encode()


# Each spelling on its own


def test_wordpiece_starts_words_where_there_is_no_prefix():
    tokenizer = wordpiece(["Hund", "##Hund", "##", "für"])
    assert form_of(tokenizer, "Hund") == WORD
    assert form_of(tokenizer, "##Hund") == PART
    assert form_of(tokenizer, "##") == Form(b"##", True)
    assert form_of(tokenizer, "für") == Form("für".encode(), True)


def test_wordpiece_prefix_is_read_from_the_model():
    tokenizer = wordpiece(["Hund", "@@Hund", "##Hund"], continuing_subword_prefix="@@")
    assert form_of(tokenizer, "@@Hund") == PART
    assert form_of(tokenizer, "##Hund") == Form(b"##Hund", True)


def test_characters_cut_out_of_words_tell_nothing_of_a_space():
    bert = wordpiece(["Hund", ",", "中", "a", "x"])
    assert [form_of(bert, c).starts_word for c in (",", "中", "a", "x")] == [False, False, True, True]
    spaces_only = word_level(["Hund", ",", "中"], pre_tokenizers.WhitespaceSplit())
    assert [form_of(spaces_only, c).starts_word for c in (",", "中")] == [True, True]


def test_metaspace_marks_spaces_with_whatever_character_it_is_set_to():
    backend = Tokenizer(models.Unigram([("_Hund", -1.0), ("Hund", -2.0), ("▁Hund", -3.0), ("_zu_Haus", -4.0)]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="_")
    tokenizer = wrap(backend)
    assert form_of(tokenizer, "_Hund") == WORD
    assert form_of(tokenizer, "Hund") == PART
    assert form_of(tokenizer, "▁Hund") == Form("▁Hund".encode(), False)
    assert form_of(tokenizer, "_zu_Haus") == Form(b"zu Haus", True)


def test_byte_level_tokens_are_bytes_and_may_be_half_a_character():
    tokenizer = byte_level(["Ġ", "ĠHund", "fÃ¼r", "Ã", "ä¸", "Ċ", "ĠĠ", "中"])
    expected = {
        "Ġ": Form(b"", True),
        "ĠHund": WORD,
        "fÃ¼r": Form("für".encode(), False),
        "Ã": Form(b"\xc3", False),
        "ä¸": Form("中".encode()[:2], False),
        "Ċ": Form(b"\n", False),
        "ĠĠ": Form(b" ", True),
        "中": Form("中".encode(), False),  # no letter of the byte alphabet: plain text
    }
    assert {token: form_of(tokenizer, token) for token in expected} == expected


def test_every_byte_has_its_letter_in_the_byte_alphabet():
    forms = vocabulary(byte_level(sorted(pre_tokenizers.ByteLevel.alphabet()))).forms.values()
    assert {b" " * form.starts_word + form.text for form in forms} == {bytes([b]) for b in range(256)}


def test_end_of_word_suffixes_are_no_text():
    backend = Tokenizer(
        models.BPE({"hund</w>": 0, "hund": 1, ",</w>": 2, "fÃ¼r</w>": 3}, [], end_of_word_suffix="</w>")
    )
    split = pre_tokenizers.Split(Regex(r"\p{L}+|[^\s\p{L}]+"), "removed", invert=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer = wrap(backend)
    assert form_of(tokenizer, "hund</w>") == form_of(tokenizer, "hund") == Form(b"hund", True)
    assert form_of(tokenizer, ",</w>") == Form(b",", False)
    assert form_of(tokenizer, "fÃ¼r</w>") == Form("für".encode(), True)


def test_byte_pieces_are_bytes_only_with_byte_fallback():
    assert form_of(fallback_bpe("llama"), "<0x0A>") == Form(b"\n", False)
    assert form_of(fallback_bpe("llama"), "<0xC3>") == Form(b"\xc3", False)
    assert form_of(metaspace(["<0x0A>"]), "<0x0A>") == Form(b"<0x0A>", False)


@pytest.mark.parametrize("where", ["model", "decoder"])
def test_byte_fallback_is_declared_by_model_or_decoder(where):
    pieces = [("<unk>", 0.0), ("<0x0A>", -1.0)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=where == "model"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.ByteFallback() if where == "decoder" else decoders.Metaspace()
    assert form_of(wrap(backend, unk_token="<unk>"), "<0x0A>") == Form(b"\n", False)


def test_names_are_readable():
    bpe = byte_level(["ĠHund", "en", "Ã", "ĠfÃ¼r", "Ġ", "Ċ", ",", "<s>"], bos_token="<s>")
    names = ["Hund", "-en", "\\xc3", "für", "▁", "\\n", ",", "<s>"]
    assert list(vocabulary(bpe).names.values()) == names


# Added and special tokens


def test_added_tokens_are_plain_text():
    bpe = byte_level(["Ġ", "a", "▁"], bos_token="<s>")
    bpe.add_tokens(["Größe", " Haus"])
    assert form_of(bpe, "Größe") == Form("Größe".encode(), False)
    assert form_of(bpe, " Haus") == Form(b"Haus", True)
    bert = wordpiece(["Hund"])
    bert.add_tokens(["Größe", "##Haus"])
    assert form_of(bert, "Größe") == Form("Größe".encode(), True)
    assert form_of(bert, "##Haus") == Form(b"##Haus", True)


def test_added_tokens_of_the_models_own_vocabulary_keep_its_spelling():
    tokenizer = metaspace(["▁▁", "▁a"])
    tokenizer.add_tokens([AddedToken("▁▁", normalized=False)])
    assert form_of(tokenizer, "▁▁") == Form(b" ", True)


def test_special_tokens_have_no_form():
    tokenizer = metaspace(["▁a", "<s>", "<extra_id_0>"], bos_token="<s>", extra_special_tokens=["<extra_id_0>"])
    tokenizer.add_tokens([AddedToken("<reserved>", special=True)])
    found = vocabulary(tokenizer)
    assert list(found.forms.values()) == [Form(b"a", True)]
    assert found.roles == {"unk": 0, "bos": 2}
    assert found.extras == {"<extra_id_0>": 3, "<reserved>": 4}


# Overlap


@pytest.mark.slow
def test_german_umlaut_words_are_shared_by_byte_level_bpe_and_unigram():
    bpe, unigram = tiny.tokenizer("de", "byte-level-bpe", 3000), tiny.tokenizer("de", "unigram", 3000)

    def umlaut_words(tokenizer):
        words = {tokenizer.backend_tokenizer.decoder.decode(["a", t]) for t in tokenizer.get_vocab()}
        return {word[2:] for word in words if word.startswith("a ") and set(word) & set("äöüßÄÖÜ")}

    found = overlap(bpe, unigram)
    names, other = vocabulary(unigram).names, vocabulary(bpe).names
    assert all(names[t] == other[s] for s, t in zip(found.source_ids, found.target_ids, strict=True) if t > 4)
    common = umlaut_words(bpe) & umlaut_words(unigram)
    assert {"für", "über", "Brötchen"} <= common
    assert common <= {names[i] for i in found.target_ids}


@pytest.mark.parametrize("source", ["byte-level-bpe", "unigram", "wordpiece"])
@pytest.mark.parametrize("target", ["byte-level-bpe", "unigram", "wordpiece"])
def test_overlap_is_every_shared_form_and_the_rest_is_missing(source, target):
    a, b = tiny.tokenizer("en", source), tiny.tokenizer("de", target)
    found = overlap(a, b)
    forms_a, forms_b = vocabulary(a).forms, vocabulary(b).forms
    shared = {t: s for s, t in zip(found.source_ids, found.target_ids, strict=True) if t in forms_b}
    assert all(forms_a[s] == forms_b[t] for t, s in shared.items())
    assert shared.keys() == {t for t, form in forms_b.items() if form in set(forms_a.values())}
    assert sorted([*found.target_ids, *found.missing_ids]) == sorted(b.get_vocab().values())
    assert (np.diff(found.target_ids) > 0).all()
    assert (np.diff(found.missing_ids) > 0).all()
    assert {a.dtype for a in (found.source_ids, found.target_ids, found.missing_ids)} == {np.dtype("int64")}


@without_deadline
@given(data=st.data())
def test_a_vocabulary_overlaps_with_itself_whole(data):
    tokens = data.draw(st.lists(st.text("abäÄ▁", min_size=1, max_size=5), min_size=1, unique=True))
    tokenizer = metaspace(tokens)
    found = overlap(tokenizer, tokenizer, ignore_case=data.draw(st.booleans()))
    assert np.array_equal(found.source_ids, found.target_ids)
    assert len(found.missing_ids) == 0


def test_differently_spelled_special_tokens_match_by_role():
    bert = tiny.tokenizer("en", "wordpiece")  # [CLS], [SEP], [PAD], [UNK], [MASK]
    roberta = tiny.tokenizer("de", "byte-level-bpe")  # <s>, </s>, <pad>, <unk>, <mask>
    expected = {("[CLS]", "<s>"), ("[SEP]", "</s>"), ("[PAD]", "<pad>"), ("[UNK]", "<unk>"), ("[MASK]", "<mask>")}
    assert expected <= pairs(bert, roberta)
    assert {(b, a) for a, b in expected} <= pairs(roberta, bert)


def test_a_role_is_preferred_to_its_stand_in():
    source = metaspace(["▁a", "<bos>", "<cls>"], bos_token="<bos>", cls_token="<cls>")
    target = metaspace(["▁a", "<c>", "<b>"], bos_token="<b>", cls_token="<c>")
    assert {("<bos>", "<b>"), ("<cls>", "<c>")} <= pairs(source, target)


def test_one_token_may_have_several_roles():
    end = "<|endoftext|>"
    gpt2 = byte_level(["Ġa", end], bos_token=end, eos_token=end, unk_token=end)
    bert = tiny.tokenizer("en", "wordpiece")
    bert_to_gpt2 = pairs(bert, gpt2)
    assert ("[SEP]", end) in bert_to_gpt2
    assert {(end, "[CLS]"), (end, "[SEP]"), (end, "[UNK]")} <= pairs(gpt2, bert)
    assert "[MASK]" not in {target for _, target in pairs(gpt2, bert)}
    padded_with_end = metaspace(["▁a", "</s>"], pad_token="</s>", eos_token="</s>")
    assert ("[SEP]", "</s>") in pairs(bert, padded_with_end)


def test_special_tokens_never_match_ordinary_ones():
    ordinary = metaspace(["▁a", "<s>", "<mask>"])
    special = metaspace(["▁a", "<s>"], bos_token="<s>", extra_special_tokens=["<mask>"])
    assert pairs(ordinary, special) == pairs(special, ordinary) == {("▁a", "▁a"), ("<unk>", "<unk>")}


def test_special_tokens_without_a_shared_role_match_by_spelling():
    source = metaspace(["▁a", "<m>"], mask_token="<m>", extra_special_tokens=["<extra_id_0>", "<extra_id_1>"])
    target = metaspace(["▁a"], extra_special_tokens=["<extra_id_1>", "<extra_id_2>", "<m>"])
    assert {t for _, t in pairs(source, target)} == {"<unk>", "▁a", "<extra_id_1>", "<m>"}


def test_special_tokens_never_match_ordinary_ones_of_their_spelling():
    source = metaspace(["▁a", "<m>"])
    target = metaspace(["▁a"], extra_special_tokens=["<m>"])
    assert {t for _, t in pairs(source, target)} == {"<unk>", "▁a"}


@pytest.mark.parametrize("missing", [True, False])
def test_a_missing_role_matches_no_token_called_none(missing):
    with_mask, without = metaspace(["▁a", "None", "<m>"], mask_token="<m>"), metaspace(["▁a", "None"])
    source, target = (without, with_mask) if missing else (with_mask, without)
    assert ("None", "None") in pairs(source, target)
    assert not {("None", "<m>"), ("<m>", "None")} & pairs(source, target)


def test_holes_in_the_ids_are_neither_shared_nor_missing():
    source = metaspace(["▁a"])
    target = wrap(Tokenizer(models.WordPiece({"a": 7, "b": 2, "[UNK]": 0}, unk_token="[UNK]")), unk_token="[UNK]")
    target.backend_tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found = overlap(source, target)
    assert found.target_ids.tolist() == [0, 7]
    assert found.source_ids.tolist() == [0, 1]
    assert found.missing_ids.tolist() == [2]
    assert found.target_size == vocabulary(target).size == 8


def test_the_lowest_source_id_stands_for_a_form():
    source = wordpiece(["##中", "中", "a"])
    assert pairs(source, metaspace(["中", "▁a"])) == {("[UNK]", "<unk>"), ("##中", "中"), ("a", "▁a")}


def test_a_byte_piece_stands_only_for_what_no_other_token_spells():
    llama, bpe = fallback_bpe("llama"), tiny.tokenizer("de", "byte-level-bpe")
    found = pairs(llama, bpe)
    assert {("a", "a"), ("▁", "Ġ"), ("<0x0A>", "Ċ"), ("<0xC3>", "Ã")} <= found
    assert ("<0x61>", "a") not in found


def test_case_is_ignored_only_where_nothing_matches_exactly():
    source = metaspace(["▁hund", "▁Hund", "▁strasse", "katze"])
    target = metaspace(["▁Hund", "▁HUND", "▁Straße", "▁Katze"])
    exact = {("<unk>", "<unk>"), ("▁Hund", "▁Hund")}
    assert pairs(source, target) == exact
    assert pairs(source, target, ignore_case=True) == exact | {("▁hund", "▁HUND"), ("▁strasse", "▁Straße")}


def test_half_characters_survive_ignoring_case():
    source, target = byte_level(["Ã", "a"]), byte_level(["A", "Ã", "Â"])
    assert pairs(source, target, ignore_case=True) == {("Ã", "Ã"), ("a", "A")}


def test_tokenizers_without_a_marker_match_on_text_but_prefer_word_starts():
    unmarked = word_level(["Hund", "heit", "Katze"], pre_tokenizers.WhitespaceSplit())
    assert not vocabulary(unmarked).marks_words
    marked = metaspace(["Hund", "▁Hund", "heit", "▁katze"])
    expected = {("<unk>", "<unk>"), ("▁Hund", "Hund"), ("heit", "heit")}
    assert pairs(marked, unmarked) == expected
    assert pairs(marked, unmarked, ignore_case=True) == expected | {("▁katze", "Katze")}


def test_characters_match_characters_and_the_space_matches_the_space_marker():
    found = pairs(characters("de"), tiny.tokenizer("de", "unigram"))
    assert {("ä", "ä"), (",", ","), (" ", "▁")} <= found


@pytest.mark.slow
def test_punctuation_and_cjk_match_across_families():
    assert {(",", ","), (".", ".")} <= pairs(tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "wordpiece"))
    found = pairs(tiny.tokenizer("zh", "unigram", 3000), tiny.tokenizer("zh", "wordpiece", 3000))
    assert {("我", "我"), ("。", "。")} <= found


# Refused


def test_no_shared_token_is_refused():
    with pytest.raises(InputError, match="no overlapping token .* expected at least one"):
        overlap(metaspace(["▁дом"]), metaspace(["▁Haus"]))


def test_a_tokenizer_without_a_fast_backend_is_refused():
    with pytest.raises(InputError, match="ByT5Tokenizer .* has no fast backend"):
        overlap(tiny.tokenizer("de", "unigram"), ByT5Tokenizer())


def test_a_tokenizer_without_ordinary_tokens_is_refused():
    with pytest.raises(InputError, match="no ordinary token"):
        Vocabulary.of(metaspace([]))


@pytest.mark.parametrize(
    ("source", "target", "missing", "size"),
    [([0], [0, 1], [], 2), ([0, 1], [1, 1], [], 2), ([0], [1], [1], 2), ([0], [2], [], 2)],
)
def test_an_overlap_that_contradicts_itself_is_refused(source, target, missing, size):
    ids = [np.array(ids, dtype=np.int64) for ids in (source, target, missing)]
    with pytest.raises(InputError, match="does not fit together"):
        Overlap(*ids, target_size=size)

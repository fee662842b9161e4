"""Dictionaries: reading them in their formats, and counting their entries token by token."""

import gzip

import numpy as np
import pytest
import tiny
from tokenizers import normalizers

from hf_xlt.errors import InputError
from hf_xlt.evidence import counting, token_ids
from hf_xlt.evidence.counting import dictionary_counts
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.translations import Dictionary, read_dictionary
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer


def row(counts: TokenCounts, target_id: int) -> dict[int, float]:
    of_row = counts.target_ids == target_id
    return dict(zip(counts.source_ids[of_row].tolist(), counts.values[of_row].tolist(), strict=True))


def ids(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def uncased_german():
    tokenizer = train_tokenizer([text.lower() for text in sentences("de", "train")], 500, "wordpiece")
    tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    return tokenizer


@pytest.mark.parametrize(
    ("lines", "entries"),
    [
        ("dog\tHund\nfree of charge\tumsonst\n", [("dog", "Hund"), ("free of charge", "umsonst")]),
        ("dog hund\nthe der\nthe die\n", [("dog", "hund"), ("the", "der"), ("the", "die")]),
        ("dog\thund\ttrain\n", [("dog", "hund")]),
        ("dog\tHund\n\ndog\tHund\r\n", [("dog", "Hund")]),
    ],
    ids=["tab", "muse", "muse-split", "repeated"],
)
def test_formats(tmp_path, lines, entries):
    (tmp_path / "d.txt").write_text(lines)
    with gzip.open(tmp_path / "d.gz", "wt") as file:
        file.write(lines)
    for name in ("d.txt", "d.gz"):
        dictionary = read_dictionary(tmp_path / name)
        assert list(dictionary.pairs) == entries
        assert dictionary.notice == ""
    turned = read_dictionary(tmp_path / "d.txt", source_column=1)
    assert list(turned.pairs) == [(target, source) for source, target in entries]


def test_bad_lines_are_counted_and_named(tmp_path):
    (tmp_path / "d.tsv").write_text("dog\tHund\nalone\ncat\t\nfree of charge umsonst\n")
    dictionary = read_dictionary(tmp_path / "d.tsv")
    assert dictionary.skipped == (2, 3, 4)
    assert dictionary.notice == "3 lines that are no entries left out of the dictionary: 2, 3, 4"
    (tmp_path / "d.tsv").write_text("dog\tHund\n" + "alone\n" * 9)
    assert read_dictionary(tmp_path / "d.tsv").notice.endswith("dictionary: 2, 3, 4, 5, 6, …")
    assert Dictionary((("a", "b"),), (7,)).notice == "1 line that is no entry left out of the dictionary: 7"


def test_empty_and_one_sided_dictionaries_are_refused(tmp_path):
    (tmp_path / "empty.tsv").write_text("\n")
    with pytest.raises(InputError, match="no dictionary entry .0 lines"):
        read_dictionary(tmp_path / "empty.tsv")
    (tmp_path / "one.tsv").write_text("dog\t\ncat\t\n")
    with pytest.raises(InputError, match=r"no two columns of texts \(column 1: texts, column 2: nothing\)"):
        read_dictionary(tmp_path / "one.tsv")
    with pytest.raises(InputError, match="source_column is 2; expected 0 or 1"):
        read_dictionary(tmp_path / "one.tsv", source_column=2)
    with pytest.raises(InputError, match="not a file"):
        read_dictionary(tmp_path / "none.tsv")
    with pytest.raises(InputError, match="dictionary is empty"):
        Dictionary(())
    with pytest.raises(InputError, match=r"\('dog', ' '\) is one-sided"):
        Dictionary((("dog", " "),))


def test_an_entry_is_one_count_shared_by_its_tokens():
    english, german = tiny.tokenizer("en", "wordpiece"), uncased_german()
    counts = dictionary_counts(Dictionary((("children", "Kinder"), ("the children", "Kinder"))), english, german)
    assert counts.shape == (500, 600)
    sources, targets = [ids(english, text) for text in ("children", "the children")], ids(german, "Kinder")
    expected = np.zeros(600)
    for source in sources:
        for id_ in source:
            expected[id_] += 1 / len(source) / len(targets)
    found = np.zeros(600)
    for id_, value in row(counts, targets[0]).items():
        found[id_] = value
    assert np.allclose(found, expected)


@pytest.mark.parametrize("family", ["byte-level-bpe", "unigram"])
def test_case_and_a_leading_space_count_where_the_target_tells_them(family):
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", family, 500)
    counts = dictionary_counts(Dictionary((("dog", "Hund"),)), english, german)
    for text in ("Hund", " Hund", "hund", " hund"):
        assert set(ids(german, text)) - {german.unk_token_id} <= set(counts.rows.tolist()), text


def test_an_uncased_target_counts_an_entry_once():
    english = tiny.tokenizer("en", "wordpiece")
    german = uncased_german()
    counts = dictionary_counts(Dictionary((("dog", "Hund"),)), english, german)
    assert counts.values.sum() == pytest.approx(1)


def test_a_dictionary_that_no_token_spells_is_refused():
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    with pytest.raises(InputError, match="None of the 1 dictionary entries is spelled in tokens of both"):
        dictionary_counts(Dictionary((("狗", "犬"),)), english, german)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("d.csv", "dog,Hund\ncat,Katze\n"),
        ("d.txt", "dog,Hund\ncat,Katze\n"),
        ("d.txt", "dog;Hund\ncat;Katze\n"),
        ("d.txt", "dog ||| Hund\ncat ||| Katze\n"),
        ("d.txt", "dog Hund 0.9\ncat Katze 0.8\n"),
        ("d.txt", "1 dog Hund\n2 cat Katze\n"),
        ("d.txt", "0.9\tdog\tHund\n0.8\tcat\tKatze\n"),
        ("d.txt", "dog\u3000Hund\ncat\u3000Katze\n"),
        ("d.txt", "dog Hund\ncat\tKatze\n"),
        ("d.tsv", "source\ttarget\ndog\tHund\ncat\tKatze\n"),
        ("d.tsv", '"dog"\t"Hund"\n"cat"\t"Katze"\n'),
        ("d.jsonl", '{"en": "dog", "de": "Hund"}\n{"en": "cat", "de": "Katze"}\n'),
    ],
)
def test_words_are_found_in_other_formats(tmp_path, name, lines):
    (tmp_path / name).write_text(lines)
    dictionary = read_dictionary(tmp_path / name)
    assert dictionary.pairs == (("dog", "Hund"), ("cat", "Katze"))
    assert dictionary.skipped == ()


def test_columns_of_a_dictionary_are_chosen_by_name(tmp_path):
    (tmp_path / "d.tsv").write_text("de\tpart\ten\nHund\tnoun\tdog\n")
    assert read_dictionary(f"{tmp_path / 'd.tsv'}:en,de").pairs == (("dog", "Hund"),)


def test_a_comment_and_a_phrase_without_a_tab_are_no_entries(tmp_path):
    (tmp_path / "d.tsv").write_text("# comment\ndog house\tHundehütte\nfree of charge umsonst\ncat\tKatze\n")
    dictionary = read_dictionary(tmp_path / "d.tsv")
    assert dictionary.pairs == (("dog house", "Hundehütte"), ("cat", "Katze"))
    assert dictionary.skipped == (1, 3)


def test_a_space_that_does_not_break_is_part_of_a_word(tmp_path):
    (tmp_path / "d.txt").write_text("dog\u00a0house Hundehütte\n")
    assert read_dictionary(tmp_path / "d.txt").pairs == (("dog\u00a0house", "Hundehütte"),)


def test_a_file_of_phrases_that_are_not_separated_is_refused(tmp_path):
    (tmp_path / "d.txt").write_text("dog hund\n" + "free of charge ganz umsonst\n" * 10)
    with pytest.raises(InputError, match="10 of 11 lines|no two columns") as refused:
        read_dictionary(tmp_path / "d.txt")
    assert refused.value.path == tmp_path / "d.txt"


@pytest.mark.slow
def test_exchanged_sides_are_refused_where_they_are_many():
    english, german = tiny.tokenizer("en", "unigram", 2000), tiny.tokenizer("de", "unigram", 2000)
    entries = list(dict.fromkeys(zip(sentences("en", "train")[:120], sentences("de", "train")[:120], strict=True)))
    dictionary_counts(Dictionary(tuple(entries)), english, german)
    exchanged = Dictionary(tuple((german, english) for english, german in entries))
    with pytest.raises(InputError, match="with source and target exchanged"):
        dictionary_counts(exchanged, english, german)
    dictionary_counts(Dictionary(exchanged.pairs[:99]), english, german)


def test_one_object_of_words_is_refused(tmp_path):
    (tmp_path / "d.json").write_text('{"dog": "Hund", "cat": "Katze"}')
    with pytest.raises(InputError, match="is one object; expected one for each entry"):
        read_dictionary(tmp_path / "d.json")


@pytest.mark.parametrize("family", ["wordpiece", "byte-level-bpe", "unigram"])
def test_counts_are_the_same_in_however_many_blocks(monkeypatch, family):
    english, german = tiny.tokenizer("en", family), tiny.tokenizer("de", family)
    words = [sorted(set(" ".join(sentences(language, "held_out")).split()))[:60] for language in ("en", "de")]
    entries = Dictionary(tuple(zip(*words, strict=True)))
    whole = dictionary_counts(entries, english, german)
    monkeypatch.setattr(counting, "_PAIRS_AT_A_TIME", 7)
    monkeypatch.setattr(token_ids, "_TEXTS_AT_A_TIME", 5)
    parts = dictionary_counts(entries, english, german)
    assert (parts.target_ids == whole.target_ids).all()
    assert (parts.source_ids == whole.source_ids).all()
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-12)


def test_many_texts_have_the_ids_that_each_has(monkeypatch):
    tokenizer = tiny.tokenizer("de", "byte-level-bpe")
    texts = ["ein Haus", "", "Wasser", "ein Haus", "das Wasser war kalt"]
    monkeypatch.setattr(token_ids, "_TEXTS_AT_A_TIME", 2)
    found, lengths = token_ids.flat_token_ids(tokenizer, texts)
    assert [part.tolist() for part in np.split(found, lengths.cumsum()[:-1])] == [
        ids(tokenizer, text) for text in texts
    ]
    assert [len(part) for part in token_ids.flat_token_ids(tokenizer, [])] == [0, 0]

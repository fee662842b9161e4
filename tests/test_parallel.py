"""Parallel text is read whole, and what cannot be read is refused with its place."""

import gzip

import pytest

from hf_xlt.data.pairs import TargetSide
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import read_parallel

PAIRS = (("The dog", "Der Hund"), ("a cat", "eine Katze"))


def write(path, text):
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_two_columns_are_pairs(tmp_path, name):
    text = read_parallel(write(tmp_path / name, "The dog\tDer Hund\tmore\r\na cat\t eine Katze \tand more\n"))
    assert text.pairs == PAIRS
    assert (text.skipped, text.notice, len(text)) == ((), "", 2)


def test_columns_are_found_by_name_or_by_position(tmp_path):
    path = write(tmp_path / "a.tsv", "\ufeffde\tid\ten\nDer Hund\t1\tThe dog\neine Katze\t2\ta cat\n")
    assert read_parallel(f"{path}:en,de").pairs == PAIRS
    assert read_parallel(f"{path}:en,de@id=2").pairs == PAIRS[1:]
    assert read_parallel(path, columns=(2, 0)).pairs == (("en", "de"), *PAIRS)


def test_a_file_may_be_called_like_columns_of_another(tmp_path):
    write(tmp_path / "a.tsv", "de\ten\n")
    for name in ("a.tsv:en,de", "a@split=dev.tsv"):
        assert read_parallel(write(tmp_path / name, "The dog\tDer Hund\na cat\teine Katze\n")).pairs == PAIRS


def test_the_target_side_of_columns_is_a_corpus(tmp_path):
    path = write(tmp_path / "a.tsv", "de\ten\nDer Hund\tThe dog\neine Katze\ta cat\n")
    corpus = TargetSide(f"{path}:en,de")
    assert list(corpus.lines()) == ["Der Hund", "eine Katze"]
    assert corpus.path == path


def test_two_files_are_pairs_line_by_line(tmp_path):
    source, target = write(tmp_path / "a.en", "The dog\na cat"), write(tmp_path / "a.de.gz", "Der Hund\neine Katze\n")
    assert read_parallel(source, target).pairs == PAIRS


def test_quotes_and_unusual_line_separators_stay_inside_a_line(tmp_path):
    path = write(tmp_path / "a.tsv", 'The "dog\u2028\tDer Hund"\x85!\n')
    assert read_parallel(path).pairs == (('The "dog', 'Der Hund"\x85!'),)


def test_lines_with_an_empty_side_are_left_out_counted_and_named(tmp_path):
    text = read_parallel(write(tmp_path / "a.tsv", "x\ty\n\t\n \tz\nonly one side\nx\t\nu\tv\n\n\n"))
    assert text.pairs == (("x", "y"), ("u", "v"))
    assert text.skipped == (2, 3, 4, 5, 7, 8)
    assert text.notice == "6 lines with an empty side or a cell too many left out of 8: 2, 3, 4, 5, 7, …"


def test_an_empty_line_of_one_file_leaves_out_its_translation(tmp_path):
    text = read_parallel(write(tmp_path / "a", "x\n\nu\n"), write(tmp_path / "b", "y\nz\nv\n"))
    assert text.pairs == (("x", "y"), ("u", "v"))
    assert text.notice == "1 line with an empty side or a cell too many left out of 3: 2"


def test_files_of_unequal_lengths_are_refused_with_both_counts(tmp_path):
    source, target = write(tmp_path / "a.en", "x\ny\nz\n"), write(tmp_path / "a.de", "x\ny\n")
    with pytest.raises(InputError, match=r"a\.en has 3 lines and .*a\.de has 2; expected equal numbers"):
        read_parallel(source, target)


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path, name):
    path = write(tmp_path / name, b"x\ty\nH\xfcndin\tz\n")
    with pytest.raises(InputError, match=r"not UTF-8 at line 2 \(byte 1 of the line\)"):
        read_parallel(path)


def test_what_is_missing_or_damaged_or_holds_no_pair_is_refused(tmp_path):
    damaged = tmp_path / "b.gz"
    damaged.write_bytes(gzip.compress(b"x\ty\n" * 999)[:-20])
    headed = write(tmp_path / "e.tsv", "en\tde\nx\ty\n")
    for path, message in [
        (tmp_path / "none.tsv", "is not a file"),
        (f"{tmp_path}/none.tsv:en,de", "none.tsv is not a file"),
        (tmp_path, "is not a file"),
        (damaged, "cannot be read"),
        (write(tmp_path / "c.tsv", "one column\n"), "one column only from line 1 on"),
        (write(tmp_path / "d.tsv", ""), "holds no sentence pair"),
        (f"{headed}:en,fr", "no column 'fr'; its header row names en, de"),
        (f"{headed}:en", "1 columns named, 2 expected"),
    ]:
        with pytest.raises(InputError, match=message):
            read_parallel(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scored.tsv", "1.07\tThe dog\tDer Hund\n1.02\ta cat\teine Katze\n"),
        ("scored-behind.tsv", "The dog\tDer Hund\t1.07\na cat\teine Katze\t.9\n"),
        ("scored-between.tsv", "The dog\t1e-3\tDer Hund\na cat\t99%\teine Katze\n"),
        ("numbered.tsv", "12\tThe dog\t34\tDer Hund\n13\ta cat\t35\teine Katze\n"),
        ("named.tsv", "doc_1.3\tThe dog\tDer Hund\ndoc_1.4\ta cat\teine Katze\n"),
        ("constant.tsv", "news\tThe dog\tDer Hund\nnews\ta cat\teine Katze\n"),
        ("codes.tsv", "en\tThe dog\tde\tDer Hund\nen\ta cat\tde\teine Katze\n"),
        ("headed.tsv", "en\tde\nThe dog\tDer Hund\na cat\teine Katze\n"),
        ("headed-scores.tsv", "Similarity\tA\tB\n1.07\tThe dog\tDer Hund\n1.02\ta cat\teine Katze\n"),
        ("index.csv", ",en,de\n0,The dog,Der Hund\n1,a cat,eine Katze\n"),
        ("moses.txt", "The dog ||| Der Hund\na cat ||| eine Katze\n"),
        ("moses-scored.txt", "The dog ||| Der Hund ||| 0.5 0.25\na cat ||| eine Katze ||| 1 0.1\n"),
        ("comma.csv", 'source,target\nThe dog,"Der Hund"\n"a cat",eine Katze\n'),
        ("semicolon.CSV.gz", "The dog;Der Hund\na cat;eine Katze\n"),
        ("quoted.tsv", '"The dog"\t"Der Hund"\n"a cat"\t"eine Katze"\n'),
        ("nested.jsonl", '{"translation": {"en": "The dog", "de": "Der Hund"}}\n'
                         '{"translation": {"de": "eine Katze", "en": "a cat"}}\n'),
        ("flat.jsonl", '{"id": 3, "en": "The dog", "de": "Der Hund", "tags": ["x"]}\n\n'
                       '{"id": 4, "en": "a cat", "de": "eine Katze", "tags": []}\n'),
        ("unnamed", '{"en": "The dog", "de": "Der Hund"}\n{"en": "a cat", "de": "eine Katze"}\n'),
        ("marked.tsv", "\ufeffThe dog\tDer Hund\n\ufeffa cat\teine Katze\n"),
    ],
)  # fmt: skip
def test_texts_are_told_from_scores_numbers_names_and_codes(tmp_path, name, text):
    assert read_parallel(write(tmp_path / name, text)).pairs == PAIRS


def test_labels_and_names_of_columns_are_told_from_texts(tmp_path):
    pairs = tuple((f"The {word} sleeps.", f"Das {word} schläft.") for word in "abcdefghij" for _ in range(12))
    for name in ("eng\tdeu", "english\tgerman"):
        path = write(tmp_path / "a.tsv", name + "".join(f"\n{a}\t{b}" for a, b in pairs))
        assert read_parallel(path).pairs == pairs
    rows = "".join(f"\n{'train' if i % 2 else 'test'}\t{a}\t{b}" for i, (a, b) in enumerate(pairs))
    for header in ("split\ten\tde", "part\tenglish_text\tgerman_text"):
        text = read_parallel(write(tmp_path / "b.tsv", header + rows))
        assert text.pairs == pairs
        assert "column 1 holds labels" in text.notice


def test_a_first_pair_of_single_words_is_a_pair_where_others_are_alike(tmp_path):
    assert read_parallel(write(tmp_path / "a.tsv", "yes\tja\nno\tnein\ndog\tHund\n")).pairs[0] == ("yes", "ja")


def test_what_is_not_plain_is_told(tmp_path):
    text = read_parallel(write(tmp_path / "a.tsv", "id\ten\tde\n7\tThe dog\tDer Hund\n8\ta cat\teine Katze\n9\tb\n"))
    assert text.lines == (2, 3)
    assert text.notice == (
        "column 2 ('en') is read as the source, column 3 ('de') as the target; column 1 holds numbers; "
        "1 line with an empty side or a cell too many left out of 3: 4"
    )


def test_columns_of_objects_and_of_csv_are_chosen_by_name(tmp_path):
    objects = write(tmp_path / "a.jsonl", '{"translation": {"en": "x", "de": "y", "fr": "z"}}\n')
    assert read_parallel(f"{objects}:de,fr").pairs == (("y", "z"),)
    commas = write(tmp_path / "a.csv", "en,de,fr\nx,y,z\n")
    assert read_parallel(f"{commas}:fr,en").pairs == (("z", "x"),)


def test_a_tab_inside_a_sentence_leaves_its_line_out(tmp_path):
    text = read_parallel(write(tmp_path / "a.tsv", "A\tdog\tEin Hund\nThe dog\tDer Hund\na cat\teine Katze\n"))
    assert (text.pairs, text.skipped) == (PAIRS, (1,))


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("1.5\tThe dog\n1.2\ta cat\n", r"no two columns of texts \(column 1: numbers, column 2: texts\)", 1),
        ("The dog, a cat\nDer Hund, eine Katze\n", "one column only", 1),
        (
            "".join(f"en\tsentence number {i}\n" for i in range(10)),
            "'en' in column 1 of each of its first 10 rows",
            None,
        ),
        ("x\ty\n" + "alone\t\n" * 10, "10 of 11 lines have an empty side", 2),
        ("\n" + "alone\n" * 10, "one column only from line 2 on", 2),
        ('{"en": "x", "de": "y", "fr": "z"}\n', r"3 columns of texts \(en, de, fr\)", 1),
        ('{"en": "x", "de": "y"}\n[1]\n', "no object at line 2 but a list", 2),
        ('{"en": "x", "de": "y"}\n' * 1000 + '{"en": "x", "de": ["y"]}\n', "a list as 'de' at line 1001", 1001),
        ('{"en": "x", "en": "y"}\n', "the key 'en' is there twice", 1),
        ('{"id": 1, "translation": {"id": 2, "en": "x", "de": "y"}}\n', r"has the key 'id' twice at line 1\.$", 1),
        ('{"en": "x", "de": "\\ud83d"}\n', "half of a surrogate pair", 1),
        ("x\ty\nNUL\0\tz\n", "NUL character at line 2", 2),
        ("The dog\tDer Hund\ra cat\teine Katze\r", "carriage returns and no line feed", 1),
    ],
)
def test_what_is_no_parallel_text_is_refused_by_its_line(tmp_path, text, message, line):
    path = write(tmp_path / "a.txt", text)
    with pytest.raises(InputError, match=message) as refused:
        read_parallel(path)
    assert (refused.value.path, refused.value.line) == (path, line)


def test_a_csv_whose_commas_are_not_quoted_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", "A dog.,Ein Hund.\nYes, sir.,Ja, Herr.\n")
    with pytest.raises(InputError, match="4 cells for the 2 of its first row") as refused:
        read_parallel(path)
    assert refused.value.line == 2


@pytest.mark.parametrize("columns", [(0, 0), (-1, 0)])
def test_positions_that_are_no_two_columns_are_refused(tmp_path, columns):
    with pytest.raises(InputError, match="two different positions"):
        read_parallel(write(tmp_path / "a.tsv", "x\ty\n"), columns=columns)

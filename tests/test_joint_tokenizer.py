"""A joint tokenizer is trained on text whose languages have their smoothed shares, to a line."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_xlt.data.multilingual import smoothed_lines, train_joint_tokenizer
from hf_xlt.data.sampling import language_probabilities
from hf_xlt.errors import InputError
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.sample import sentences


def split(path, lines) -> Split:
    """A split whose training lines are all of these."""
    path.write_text("\n".join(lines), encoding="utf-8")
    held_out = path.with_name("held_out.txt")
    held_out.write_text("held out", encoding="utf-8")
    return Split(Corpus(str(path)), Corpus(str(held_out)))


def language_of(line: str) -> str:
    return line.split()[0]


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    alpha=st.floats(0, 1),
)
@settings(deadline=None, max_examples=40)
def test_languages_have_their_smoothed_shares_and_lines_are_taken_evenly(tmp_path_factory, sizes, alpha):
    folder = tmp_path_factory.mktemp("corpora")
    lines = {f"l{i}": [f"l{i} {number:03}" for number in range(size)] for i, size in enumerate(sizes)}
    splits = {language: split(folder / f"{language}.txt", text) for language, text in lines.items()}
    taken = Counter(smoothed_lines(splits, alpha))
    shares = language_probabilities(dict(zip(lines, sizes, strict=True)), alpha)
    for language, text in lines.items():
        counts = [taken[line] for line in text]
        assert abs(sum(counts) - shares[language] * sum(sizes)) <= 0.5 + 1e-6
        assert max(counts) - min(counts) <= 1
    assert {language_of(line) for line in taken} <= set(lines)


def test_alpha_1_is_the_corpora_as_they_are(tmp_path):
    lines = {"en": sentences("en", "train"), "de": sentences("de", "train")[:37]}
    splits = {language: split(tmp_path / f"{language}.txt", text) for language, text in lines.items()}
    assert list(smoothed_lines(splits, 1.0)) == lines["en"] + lines["de"]


def test_size_is_told_by_characters_not_by_lines(tmp_path):
    text = {"long": ["l " + "x" * 38] * 10, "short": ["s " + "x" * 8] * 40}
    splits = {language: split(tmp_path / f"{language}.txt", lines) for language, lines in text.items()}
    assert Counter(map(language_of, smoothed_lines(splits, 0.0))) == {"l": 10, "s": 40}


def test_held_out_lines_are_not_trained_on(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(f"line {i:03}" for i in range(100)), encoding="utf-8")
    apart = Split(Corpus(str(tmp_path / "a.txt")), every=10)
    assert not set(smoothed_lines({"en": apart}, 0.5)) & set(apart.held_out_lines())


def test_text_is_streamed(tmp_path):
    splits = {language: split(tmp_path / f"{language}.txt", ["a b", "c d"]) for language in ("en", "de")}
    lines = smoothed_lines(splits, 0.5)
    assert next(lines) == "a b"
    assert not isinstance(lines, list)


def test_a_small_language_gets_more_of_the_vocabulary_when_it_is_smoothed(tmp_path):
    splits = {
        "en": split(tmp_path / "en.txt", sentences("en", "train")),
        "de": split(tmp_path / "de.txt", sentences("de", "train")[:100]),
    }
    uniform, proportional = (train_joint_tokenizer(splits, alpha, 600, "byte-level-bpe") for alpha in (0.0, 1.0))

    def tokens(tokenizer) -> int:
        return sum(map(len, tokenizer(sentences("de", "train")[:100])["input_ids"]))

    assert len(uniform) == len(proportional) == 600
    assert tokens(uniform) < 0.9 * tokens(proportional)


def test_bad_input_is_refused(tmp_path):
    english = split(tmp_path / "en.txt", ["one line"])
    empty = split(tmp_path / "yo.txt", ["  ", "\t"])
    with pytest.raises(InputError, match=r"alpha is 1\.01; expected a number from 0 to 1"):
        smoothed_lines({"en": english}, 1.01)
    with pytest.raises(InputError, match="Language 'yo' has no data; give it text"):
        train_joint_tokenizer({"en": english, "yo": empty}, 0.5, 600, "wordpiece")
    with pytest.raises(InputError, match="family is 'bpe'"):
        train_joint_tokenizer({"en": english}, 0.5, 600, "bpe")

"""The data of a task comes from a file of any usual kind or from a dataset of the Hub."""

import json

import datasets
import pytest

from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks import data as module
from hf_xlt.evaluation.tasks.classification import NER, Classification, UPOSTagging
from hf_xlt.evaluation.tasks.data import content_at, parse_data, read_pairs, text_lines_of, text_rows
from hf_xlt.evaluation.tasks.question_answering import QuestionAnswering

TOPICS = datasets.Dataset.from_dict(
    {"text": ["a dog", "a table", "ein Hund"], "label": [0, 1, 0], "lang": ["en", "en", "de"]},
    features=datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["animal", "thing"]),
            "lang": datasets.Value("string"),
        }
    ),
)


@pytest.fixture
def parquet(tmp_path):
    path = tmp_path / "topics.parquet"
    TOPICS.to_parquet(path)
    return str(path)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that stands for a dataset of the Hub, `me/topics`."""
    folder = tmp_path / "me" / "topics"
    folder.mkdir(parents=True)
    TOPICS.to_parquet(folder / "test-00000-of-00001.parquet")
    monkeypatch.chdir(tmp_path)
    return "me/topics@test"


@pytest.mark.parametrize("place", ["parquet", "hub"])
def test_a_column_of_classes_is_read_by_its_names(place, request):
    found = Classification().read(request.getfixturevalue(place))
    assert [(one.text, one.label, one.line) for one in found] == [
        ("a dog", "animal", 1),
        ("a table", "thing", 2),
        ("ein Hund", "animal", 3),
    ]


@pytest.mark.parametrize("place", ["parquet", "hub"])
def test_columns_and_rows_are_chosen(place, request):
    place = request.getfixturevalue(place)
    assert list(text_rows(f"{place}:lang,text@label=animal", "text", "label")) == [
        (1, ("en", "a dog")),
        (3, ("de", "ein Hund")),
    ]
    assert list(text_lines_of(f"{place}:text")) == ["a dog", "a table", "ein Hund"]
    assert read_pairs(f"{place}:text,lang").pairs[2] == ("ein Hund", "de")


@pytest.mark.parametrize(
    ("columns", "value"), [(":text,topic", "topic"), (":text", ("text",)), (":text,label@split=test", "split")]
)
def test_columns_that_are_not_there_are_refused(parquet, columns, value):
    with pytest.raises(InputError) as refused:
        list(text_rows(f"{parquet}{columns}", "text", "label"))
    assert refused.value.value == value


def test_a_split_that_is_not_there_is_refused(hub):
    with pytest.raises(InputError, match="cannot be read"):
        Classification().read("me/topics@validation")
    with pytest.raises(InputError, match="cannot be read"):
        Classification().read("me/nothing@test")


def test_sentences_come_from_lists_of_words_and_tags(tmp_path):
    path = tmp_path / "ner.jsonl"
    path.write_text('{"tokens": ["Ada", "in"], "tags": ["B-PER", "O"]}\n', encoding="utf-8")
    (sentence,) = NER().read(str(path))
    assert (sentence.words, sentence.tags, sentence.line_of(1)) == (("Ada", "in"), ("B-PER", "O"), 1)
    for row in (
        '{"tokens": ["Ada"], "tags": ["B-PER", "O"]}',
        '{"tokens": "Ada", "tags": ["O"]}',
        '{"tokens": [], "tags": []}',
    ):
        path.write_text(f"{row}\n", encoding="utf-8")
        with pytest.raises(InputError) as refused:
            NER().read(str(path))
        assert refused.value.line == 1
    path.write_text('{"words": ["Ada"], "upos": ["PROPN"]}\n', encoding="utf-8")
    assert UPOSTagging().read(f"{path}:words,upos")[0].tags == ("PROPN",)


def test_questions_come_one_a_row(tmp_path):
    path = tmp_path / "questions.jsonl"
    row = {"question": "Wer?", "context": "Ada war da.", "answers": {"text": ["Ada"], "answer_start": [0]}}
    path.write_text(f"{json.dumps(row)}\n" * 3, encoding="utf-8")
    first, second = QuestionAnswering().read(f"{path}#2-3")
    assert (first.text, first.answers[0].text, second.where) == ("Wer?", "Ada", f"{path}, row 3, question 1")
    path.write_text(json.dumps(row | {"answers": {"text": ["war"], "answer_start": [0]}}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="row 1, question 1: the answer 'war' is not at character 0"):
        QuestionAnswering().read(str(path))


def test_content_is_that_of_the_file_or_the_commit_of_the_dataset(parquet, hub, monkeypatch):
    assert content_at(f"{parquet}:text,label") == content_at(f"{parquet}#1-2") == content_at(parquet) != ""
    monkeypatch.setattr(module.Corpus, "pinned", lambda self: type("Pinned", (), {"name": f"{self.name}@abc"}))
    assert content_at("me/topics@main:en@test") == "me/topics@main@abc"


def test_a_dataset_in_a_file_of_data_is_not_sought_beside_it(tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text("upos: {train: a.conllu, test: me/topics@test}", encoding="utf-8")
    assert parse_data([str(file)]) == {"upos": {"train": str(tmp_path / "a.conllu"), "test": "me/topics@test"}}

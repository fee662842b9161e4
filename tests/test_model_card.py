"""What the card tells of the rows: where they come from, what they were made of, and what they were like."""

import re
import shlex
from dataclasses import replace

import pytest

from hf_xlt.hub.card import (
    CardFacts,
    CardTable,
    EvidenceFacts,
    RowCounts,
    public_command,
    public_names,
    render_card,
    without_paths,
)

FACTS = CardFacts(
    title="german", kind="encoder", auto_class="AutoModelForMaskedLM", method="pooled", base_model="someone/english"
)


def vocabulary(rows: RowCounts) -> str:
    return re.search(r"\*\*Vocabulary:\*\* (.*)", str(render_card(replace(FACTS, rows=rows))))[1]


def test_rows_are_told_by_their_origin():
    assert vocabulary(RowCounts(copied=1200, mixed=6790, drawn=10)) == (
        "8,000 rows: 1,200 copied from the source, 6,790 mixed out of its rows, 10 drawn at random around its mean row."
    )


def test_projected_rows_are_not_called_mixed():
    told = vocabulary(RowCounts(copied=5, mixed=0, drawn=10, projected=985))
    assert told == (
        "1,000 rows: 5 copied from the source, 985 static vectors mapped into its space, "
        "10 drawn at random around its mean row."
    )


def test_evidence_is_named_with_its_size_and_without_its_folder(tmp_path):
    evidence = (
        EvidenceFacts("a dictionary", str(tmp_path / "en-de.tsv"), "1,234 entries"),
        EvidenceFacts("a donor checkpoint", "someone/donor"),
    )
    card = str(render_card(replace(FACTS, evidence=evidence)))
    assert "- **Evidence:** a dictionary, `en-de.tsv` (1,234 entries); a donor checkpoint, `someone/donor`." in card
    assert str(tmp_path) not in card


def test_columns_of_a_table_are_named_without_its_folder(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pairs.tsv").write_text("en\tde\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    evidence = (EvidenceFacts("parallel text", "mine/pairs.tsv:en,de", "12 pairs"),)
    assert "parallel text, `pairs.tsv:en,de` (12 pairs)" in str(render_card(replace(FACTS, evidence=evidence)))


def test_health_is_shown_as_tables_whose_text_is_not_taken_for_markdown():
    table = CardTable("Source tokens near", ("word", "near"), (("Haus", "house 0.71, | 0.60"), ("s", "<s> 1.00, _* 0")))
    card = str(render_card(replace(FACTS, health=(table, table))))
    lines = [line for line in card.splitlines() if line.startswith("|")]
    assert lines[:4] == [
        "| word | near |",
        "| --- | --- |",
        "| Haus | house 0.71, \\| 0.60 |",
        "| s | \\<s\\> 1.00, \\_\\* 0 |",
    ]
    assert lines[4:] == lines[:4]
    assert card.count("\n\nSource tokens near:\n\n| word") == 2


@pytest.mark.parametrize(("fact", "nothing"), [("rows", None), ("evidence", ()), ("health", ()), ("retrieval", ())])
def test_what_is_absent_leaves_no_gap(fact, nothing):
    full = replace(
        FACTS,
        rows=RowCounts(1, 2, 3),
        evidence=(EvidenceFacts("a dictionary", "d.tsv"),),
        health=(CardTable("Rows", ("origin",), (("copied",),)),),
        retrieval=(CardTable("Pairs found", ("method",), (("pooled",),)),),
    )
    absent = str(render_card(replace(full, **{fact: nothing})))
    assert absent != str(render_card(full))
    assert not re.findall(r"None|\n\n\n|\*\*:\*\*", absent)


@pytest.mark.parametrize(
    ("word", "public"),
    [
        ("--source=/home/me/model", "--source=model"),
        ("--set=data.corpus=/home/me/my texts/de.txt", "--set=data.corpus=de.txt"),
        ("/data/a=b/de.txt", "de.txt"),
        ("~/texts/de.txt", "de.txt"),
        ("~me/texts/de.txt", "de.txt"),
        ("file:///home/me/de.txt", "de.txt"),
        ("file:@/home/me/de.txt", "file:@de.txt"),
        ("/home/me/pairs.tsv:en,de", "pairs.tsv:en,de"),
        ("upos.test=/home/me/t.tsv:word,tag@split=test", "upos.test=t.tsv:word,tag@split=test"),
        ("C:\\Users\\me\\de.txt", "de.txt"),
        ("corpus=C:/Users/me/de.txt", "corpus=de.txt"),
        ("\\\\server\\share\\de.txt", "de.txt"),
        ("data.corpora={de: /home/me/my de.txt, en: en.txt}", 'data.corpora={"de": "my de.txt", "en": "en.txt"}'),
        ("[/home/me/a, b/c]", '["a", "b/c"]'),
        ("read from /home/me/a.txt, then", "read from a.txt, then"),
    ],
)
def test_no_place_on_this_machine_is_told(word, public):
    assert shlex.split(public_command(shlex.join(["hf-xlt", word]))) == ["hf-xlt", public]
    assert without_paths({"a": [word, {word: 1}], "b": (word,)}) == {"a": [public, {public: 1}], "b": [public]}


@pytest.mark.parametrize(
    "word",
    ["texts/de.txt", "../de.txt", "someone/model", "https://example.org/a/b/c", "hf://datasets/a/b", "and/or 1/2",
     "--x=1", "{a: 1, b: [c/d]}", "[MASK] {x", "Die Sonne"],
)  # fmt: skip
def test_what_tells_no_place_stays(word):
    assert public_command(shlex.join(["hf-xlt", word])) == shlex.join(["hf-xlt", word])


def test_models_of_one_name_are_told_apart_by_as_few_folders_as_that_takes():
    assert public_names(["/a/x/model", "/a/y/model", "/b/y/other", "me/model"]) == {
        "/a/x/model": "x/model",
        "/a/y/model": "y/model",
        "/b/y/other": "other",
        "me/model": "me/model",
    }

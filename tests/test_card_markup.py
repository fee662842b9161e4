"""Whatever names, tokens, labels and texts hold, a card is the card that was meant: no markup comes from data."""

import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hf_xlt.errors import InputError
from hf_xlt.hub.card import CardFacts, CardTable, CorpusFacts, EvidenceFacts, ResultRow, RowCounts, Score, render_card

PARSER = MarkdownIt("commonmark").enable("table")
NASTY = (
    "a | b",
    "`` ` ```",
    "![x](http://evil/x.png)",
    "[x](javascript:alert(1))",
    "<script>alert(1)</script><img src=x onerror=y>",
    "\n# heading\n",
    "\n---\nlicense: mit\n---\n",
    "```\n```bash\nrm -rf /\n```",
    "~~~\n",
    "&lt;b&gt; &#60;",
    "\u202egnp.exe",
    "\x1b[31mred\x1b[0m\r",
    "- a\n- b",
    "1. x",
    "    indented",
    "a\\",
    "{{ facts }} {% raw %}",
    "key: value # no comment",
    "'\"",
    "\ud800",
    "\u2028\x85",
    "x" * 3000,
)
anything = st.one_of(st.sampled_from(NASTY), st.text(max_size=40)).filter(str.strip)


def card_of(text: str) -> CardFacts:
    """A card that holds a text wherever data may be."""
    line = " ".join(text.split()) or "x"
    return CardFacts(
        title=line,
        kind="decoder",
        auto_class="AutoModelForCausalLM",
        method=text,
        base_model=text,
        helper=text,
        languages=("de",),
        license="other",
        license_name=text,
        recipe_name=text,
        recipe_description=text,
        recipe=yaml.safe_dump({"name": text, text: [text]}),
        command="hf-xlt run clp",
        rows=RowCounts(1, 2, 3),
        evidence=(EvidenceFacts(text, text, text),),
        health=(CardTable(text, (text, text), ((text, text),)),),
        datasets=(text,),
        corpus=CorpusFacts(text, 1, 2, 3, 4),
        results=(ResultRow(text, 2.0, steps_saved={text: 0.5}),),
        scores=(Score("translation", "accuracy", 0.5, line, text.strip() or "x"),),
        retrieval=(CardTable(text, (text,), ((text,),)),),
        pictures={text: "curves.png"},
        continuations={text: {text: text}},
        versions={"python": "3"},
        hardware=text,
        citation=text,
    )


def outline(card: str) -> dict:
    """What Markdown makes of a card's body: headings, cells of tables, fenced blocks, pictures, and other markup."""
    tokens = PARSER.parse(card.split("\n---\n", 1)[1])
    inner = [child for token in tokens for child in token.children or ()]
    return {
        "headings": [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"][1:],
        "cells": sum(token.type in ("th_open", "td_open") for token in tokens),
        "tables": sum(token.type == "table_open" for token in tokens),
        "fences": [token.info for token in tokens if token.type == "fence"],
        "images": [child.attrs["src"] for child in inner if child.type == "image"],
        "items": sum(token.type == "list_item_open" for token in tokens),
        "markup": [
            token.type for token in (*tokens, *inner) if token.type in ("html_block", "html_inline", "link_open")
        ],
    }


@settings(max_examples=40, deadline=None)
@given(anything)
@example("plain")
@pytest.mark.slow
def test_markdown_of_a_card_is_what_was_meant(text):
    assert outline(str(render_card(card_of(text)))) == outline(str(render_card(card_of("plain"))))


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(anything)
def test_front_matter_of_a_card_has_the_intended_keys(text):
    card = str(render_card(card_of(text)))
    metadata = yaml.safe_load(card.split("\n---\n", 1)[0].removeprefix("---\n"))
    metadata.pop("base_model", None), metadata.pop("base_model_relation", None), metadata.pop("datasets", None)
    expected = yaml.safe_load(str(render_card(card_of("\n"))).split("\n---\n", 1)[0].removeprefix("---\n"))
    assert set(metadata) == set(expected) - {"base_model", "base_model_relation", "datasets"}
    assert (metadata["language"], metadata["license"]) == ("de", "other")
    assert all(result["dataset"]["name"] for result in metadata["model-index"][0]["results"])
    assert render_card(card_of(text)).data.to_dict()["license"] == "other"


@settings(max_examples=40, deadline=None)
@given(anything)
def test_a_card_can_be_written_and_holds_nothing_that_a_terminal_obeys(text):
    card = str(render_card(card_of(text)))
    card.encode()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", card.replace("\r\n", "\n"))


def test_ordinary_text_stays_as_it_is():
    facts = replace(card_of("plain"), hardware="x86_64, 2 cores", recipe_description="Größe 5-10 (ok).")
    card = str(render_card(facts))
    assert "- **Hardware:** x86_64, 2 cores\n" in card
    assert ". Größe 5-10 (ok).\n" in card


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"languages": ("../../x",)}, "language"),
        ({"languages": ("de", "<script>")}, "language"),
        ({"languages": ("de\u202e",)}, "language"),
        ({"languages": ("a" * 10_000,)}, "language"),
        ({"languages": ("embeddings",)}, "language"),
        ({"license": "apache2"}, "Did you mean 'apache-2.0'"),
        ({"license": "a\n---\nb", "license_name": None}, "license"),
        ({"license": "mit"}, "license_name"),
    ],
)
def test_what_the_hub_would_not_take_is_refused(wrong, told):
    with pytest.raises(InputError, match=re.escape(told)) as raised:
        replace(card_of("plain"), **wrong)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("code", ["de", "yor", "pt-BR", "zh-Hans", "deu_Latn", "multilingual", "code", "x-mine"])
def test_codes_that_the_hub_uses_are_taken(code):
    metadata = render_card(replace(card_of("plain"), languages=(code,))).data
    assert metadata.language == code.replace("_", "-")


@pytest.mark.parametrize("empty", ["task", "metric", "name", "dataset"])
def test_a_score_without_a_name_is_refused(empty):
    names = {"task": "a", "metric": "b", "name": "c", "dataset": "d"} | {empty: " "}
    with pytest.raises(InputError, match=f"score's {empty} is empty"):
        Score(value=1.0, **names)

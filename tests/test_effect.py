"""What would have no effect is refused before work starts; public arguments are checked."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from test_cli import call, places  # noqa: F401

from hf_xlt.arguments import checked, require_seeds
from hf_xlt.cli.app import app
from hf_xlt.cli.options import EFFECT
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.data import parse_data
from hf_xlt.recipes import Stage, load_recipe, shipped_recipes
from hf_xlt.recipes.settings import SettingError
from hf_xlt.runs import check_recipe


def test_every_rule_is_about_an_option_that_the_command_has():
    commands = {info.callback.__name__: info.callback for info in app.registered_commands}
    for command, options in EFFECT.items():
        there = set(commands[command].__annotations__)
        assert set(options) <= there


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "x", "--corpus", "t", "--probe"), "--probe has an effect only without --corpus"),
        (("evaluate", "x", "--corpus", "t", "--output", "o"), "--output has an effect only without --corpus"),
        (("evaluate", "x", "--tasks", "retrieval", "--length", "9"), "--length has an effect only with --corpus"),
        (("evaluate", "x", "--tasks", "retrieval", "--seeds", "1"), "--seeds has an effect only for tasks that are"),
        (("evaluate", "x", "--tasks", "retrieval", "--zero-shot"), "--zero-shot has an effect only for tasks that"),
        (("evaluate", "x", "--tasks", "upos", "--source", "y"), "--source has an effect only where a task reads"),
        (("evaluate", "x", "--tasks", "upos", "--probe", "--dropout", "0"), "--dropout has an effect only without"),
        (("compare", "x", "y", "--tasks", "retrieval", "--layer", "1", "--output", "o"), "--layer has an effect only"),
        (("merge", "x", "--recipe", "linear", "--output", "o"), "--recipe has an effect only with ORIGINAL"),
        (("merge", "x", "--chat-template", "source", "--output", "o"), "--chat-template has an effect only with"),
        (("structure", "x", "y", "--parallel", "p", "--overwrite"), "--overwrite has an effect only with --output"),
        (("tokenizer", "--corpus", "t", "--added", "5", "--output", "o"), "--added has an effect only with --extend"),
        (("tokenizer", "--corpus", "t", "--like", "x", "--family", "wordpiece", "--output", "o"), "--family has"),
        (("initialize", "clp", "--set", "seed=1", "--set", "seed=2", "--output", "o"), "seed is set twice"),
        (("initialize", "clp", "--k", "3", "--set", "k=2", "--output", "o"), "k is set twice"),
        (("run", "clp", "--source", "x", "--set", "source=y", "--output", "o"), "source is set twice"),
        (("run", "clp", "--languages", "en", "de", "--output", "o"), "--languages is for recipes of two languages"),
        (("run", "scratch", "--source", "x", "--output", "o"), "source has no effect in a recipe of the kind"),
    ],
)  # fmt: skip
def test_an_option_without_effect_is_refused(monkeypatch, capsys, words, message):
    code, _, err = call(monkeypatch, capsys, *words)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "changes", "key"),
    [
        ("scratch", ["source=x"], "source"),
        ("scratch", ["helper=x"], "helper"),
        ("scratch", ["data.parallel=x"], "data.parallel"),
        ("clp", ["helper=x", "data.dictionary=d"], "data.dictionary"),
        ("clp", ["helper=x", "data.source_corpus=d"], "data.source_corpus"),
        ("pooled", ["data.dictionary=d", "data.source_vectors=v"], "data.source_vectors"),
        ("trelm", ["data.vectors=v"], "data.vectors"),
        ("clp", ["helper=x", "alternatives=[{method: magic}]"], "initializer.method"),
    ],
)
def test_a_part_of_a_recipe_without_effect_is_refused(name, changes, key):
    with pytest.raises(SettingError) as raised:
        check_recipe(load_recipe(name, changes))
    assert raised.value.key == key


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_have_no_part_without_effect(name):
    check_recipe(load_recipe(name))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("clp", ["source=x", "helper=y"]),
        ("sentence", ["source=x", "data.parallel=p", "data.dictionary=d"]),
        ("ramen", ["source=x", "data.parallel=p", "data.source_corpus=c", "helper=y"]),
        ("clp", ["helper=y", "alternatives=[{method: focus}]", "data.vectors=v"]),
    ],
)
def test_what_a_recipe_uses_is_taken(name, changes):
    check_recipe(load_recipe(name, changes), compare=True)


def test_a_new_model_is_compared_with_nothing():
    with pytest.raises(InputError, match="compared with nothing"):
        check_recipe(load_recipe("scratch"), compare=True)


def test_a_role_is_named_once_but_may_replace_that_of_a_file(tmp_path):
    (tmp_path / "data.yaml").write_text("upos: {test: a.conllu}")
    assert parse_data([str(tmp_path / "data.yaml"), "upos.test=b.conllu"]) == {"upos": {"test": "b.conllu"}}
    with pytest.raises(InputError, match="the file of upos.test twice"):
        parse_data(["upos.test=a", "upos.test=b"])


class TestArguments:
    @staticmethod
    @checked
    def asked(
        name: str,
        number: float = 0.5,
        count: int | None = None,
        texts: Iterable[str] = (),
        pair: tuple[str, str] = ("a", "b"),
        sizes: Mapping[str, int] = {},
        rows: Sequence[Sequence[int]] = (),
        place: str | Path = "",
        **options: object,
    ) -> str:
        """What any public function is like."""
        return name

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"name": None}, "name is None; expected a text"),
            ({"name": "x", "number": "1"}, "number is '1'; expected a number"),
            ({"name": "x", "number": True}, "number is True; expected a number"),
            ({"name": "x", "count": 1.0}, "count is 1.0; expected a whole number or None"),
            ({"name": "x", "texts": "abc"}, "texts is 'abc'; expected Iterable[str]"),
            ({"name": "x", "pair": ("a",)}, "pair is ('a',); expected tuple[str, str]"),
            ({"name": "x", "sizes": {"a": "b"}}, "sizes is {'a': 'b'}; expected Mapping[str, int]"),
            ({"name": "x", "rows": [[1], "a"]}, "rows is [[1], 'a']"),
            ({"name": "x", "place": 3}, "place is 3; expected a text or a Path"),
        ],
    )
    def test_a_wrong_type_is_refused_by_the_arguments_name(self, given, message):
        with pytest.raises(InputError, match=re.escape(message)):
            self.asked(**given)

    def test_what_fits_is_taken(self):
        assert self.asked("x", 1, None, iter("ab"), ("a", "b"), {"a": 1}, [[1], (2,)], Path(), other=object()) == "x"

    def test_a_dataclass_is_checked_with_its_bases(self):
        @dataclass(frozen=True)
        class Base:
            first: int

        @checked
        @dataclass(frozen=True)
        class Derived(Base):
            second: str = ""

        assert replace(Derived(1), second="x").second == "x"
        with pytest.raises(InputError, match="first is 'x'; expected a whole number"):
            Derived("x")

    def test_a_long_value_is_cut(self):
        with pytest.raises(InputError) as refused:
            self.asked(list(range(1000)))
        assert len(str(refused.value)) < 150

    @pytest.mark.parametrize("seeds", [(), (1, 1), (-1,), (2**32,), (0.5,), (True,)])
    def test_seeds_are_what_all_generators_take(self, seeds):
        with pytest.raises(InputError, match="seeds"):
            require_seeds("seeds", seeds)

    def test_numbers_of_a_stage_are_finite(self):
        for name in ("learning_rate", "temperature", "weight_decay", "warmup"):
            for value in (float("nan"), float("inf"), -1.0):
                with pytest.raises(InputError, match=name):
                    Stage(**{name: value})

"""Recipes are data: shipped ones load, YAML comes back equal, and what is wrong is named before work starts."""

from pathlib import Path

import pytest

from hf_xlt.checkpoint.kind import DECODER, ENCODER
from hf_xlt.errors import InputError
from hf_xlt.recipes import Data, NewTokenizer, Recipe, Stage, load_recipe, recipe_from, shipped_recipes

CLP = {"name": "mine", "initializer": {"method": "clp"}}
MANY = {"name": "mine", "model": {"model_type": "trelm"}, "multilingual": {}}


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


class TestShipped:
    def test_clp_and_scratch_are_among_them(self):
        assert {"clp", "scratch"} <= set(shipped_recipes())

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_each_loads_under_its_own_name_with_a_description(self, name):
        recipe = load_recipe(name)
        assert recipe.name == name
        assert recipe.description

    @pytest.mark.parametrize("name", shipped_recipes())
    def test_the_resolved_recipe_comes_back_equal_from_its_yaml(self, name, tmp_path):
        recipe = load_recipe(
            name, ["language=no", "stages.0.learning_rate=1e-5", "seeds=[0, 1]", "prompts=['1e5', 'no']"]
        )
        assert load_recipe(written(tmp_path, recipe.to_yaml())) == recipe


class TestYaml:
    def test_a_recipe_of_ones_own(self, tmp_path):
        text = """
            name: mine
            language: no
            initializer: {method: clp, weighting: top-k}
            data: {corpus: a.txt, held_out_every: 7}
            stages:
              - {name: rows, steps: 10, trains: embeddings, learning_rate: 5e-4, warmup: 0}
              - {name: all, steps: 20}
            seeds: [3, 4]
        """
        recipe = load_recipe(written(tmp_path, text))
        assert recipe.language == "no"
        assert recipe.initializer == {"method": "clp", "weighting": "top-k"}
        assert recipe.data == Data(corpus="a.txt", held_out_every=7)
        assert recipe.stages[0] == Stage("rows", 10, trains="embeddings", learning_rate=0.0005, warmup=0.0)
        assert recipe.total_steps == 30
        assert recipe.seeds == (3, 4)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name: [", "is not valid YAML"),
            ("name: &a !!python/object:os.system x", "is not valid YAML"),
            ("- a\n- b", "must be a mapping"),
            ("", "must be a mapping"),
        ],
    )
    def test_what_is_no_recipe_is_refused(self, tmp_path, text, message):
        with pytest.raises(InputError, match=message):
            load_recipe(written(tmp_path, text))

    def test_a_file_in_another_encoding_is_refused(self, tmp_path):
        (tmp_path / "mine.yaml").write_bytes(b"name: gr\xfc\xdfe")
        with pytest.raises(InputError, match="is not valid YAML"):
            load_recipe(tmp_path / "mine.yaml")

    def test_a_missing_recipe_is_refused_with_the_names_there_are(self, tmp_path):
        for name in ("clq", tmp_path / "none.yaml", tmp_path):
            with pytest.raises(InputError, match=r"expected one of clp, .*scratch.* or a \.yaml file"):
                load_recipe(name)


class TestOverrides:
    def test_they_reach_every_depth(self):
        overrides = ["stages.0.steps=7", "data.corpus=a.txt", "source=me/model", "initializer.weighting=positive"]
        recipe = load_recipe("clp", [*overrides, "seeds=[1, 2]"])
        assert (recipe.stages[0].steps, recipe.data.corpus, recipe.source) == (7, "a.txt", "me/model")
        assert (recipe.initializer["weighting"], recipe.seeds) == ("positive", (1, 2))

    def test_the_last_one_wins(self):
        assert load_recipe("clp", ["stages.0.steps=7", "stages.0.steps=8"]).stages[0].steps == 8

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("stages.0.steps", "is not of the form key=value"),
            ("stages.3.steps=1", r"no item 3; the list has 1"),
            ("stages.x.steps=1", r"no item x; the list has 1"),
            ("name.x=1", "'clp' has no part x"),
            ("name=[", "the value is not YAML"),
            ("stages.0.stepz=1", "Unknown key 'stepz' in recipe.stages.0; did you mean 'steps'"),
        ],
    )
    def test_what_they_cannot_reach_is_refused(self, override, message):
        with pytest.raises(InputError, match=message):
            load_recipe("clp", [override])


class TestWrongValues:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"stagez": []}, "Unknown key 'stagez' in recipe; did you mean 'stages'"),
            ({"qqq": 1}, "Unknown key 'qqq' in recipe; known keys: alternatives, chat_template, data"),
            ({"data": {"corpsu": "a"}}, "Unknown key 'corpsu' in recipe.data; did you mean 'corpus'"),
            ({"name": 3}, "recipe.name is 3; expected a text"),
            ({"seeds": 3}, "recipe.seeds is 3; expected a list"),
            ({"seeds": ["a"]}, "recipe.seeds.0 is 'a'; expected a whole number"),
            ({"seeds": [-1]}, "seeds is -1; expected a whole number from 0"),
            ({"seeds": []}, "at least one stage and one seed"),
            ({"stages": []}, "at least one stage and one seed"),
            ({"stages": {}}, "recipe.stages is {}; expected a list"),
            ({"stages": [3]}, "recipe.stages.0 is 3; expected a mapping"),
            ({"stages": [{"name": "a"}, {"name": "a"}]}, "stage names must differ"),
            ({"stages": [{"name": "a"}, {"name": "b", "sequence_length": 64}]}, "one sequence_length"),
            ({"data": "a.txt"}, "recipe.data is 'a.txt'; expected a mapping"),
            ({"data": {"max_sequences": 0}}, "max_sequences is 0"),
            ({"model": {"model_type": "llama"}}, "either `initializer` or `model`"),
            ({"initializer": None}, "either `initializer` or `model`"),
            ({"initializer": {}}, "needs a `method`"),
            ({"initializer": None, "model": {"hidden_size": 3}}, "needs a `model_type`"),
            ({"dtype": "float8"}, "dtype is 'float8'; expected one of source, float32"),
            ({"tokenizer": {"family": "bpe"}}, "family is 'bpe'; expected one of byte-level-bpe"),
        ],
    )
    def test_in_a_recipe(self, changes, message):
        with pytest.raises(InputError, match=message):
            recipe_from(CLP | changes)

    def test_a_recipe_without_a_name(self):
        with pytest.raises(InputError, match="recipe lacks the key 'name'"):
            recipe_from({"initializer": {"method": "clp"}})

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("steps", 0, "steps is 0; expected a number > 0"),
            ("steps", -5, "steps is -5; expected a number > 0"),
            ("steps", "many", "stages.0.steps is 'many'; expected a whole number"),
            ("steps", 1.5, "steps is 1.5; expected a whole number"),
            ("steps", True, "steps is True; expected a whole number"),
            ("steps", None, "steps is None; expected a whole number"),
            ("compile", "yes", "compile is 'yes'; expected true or false"),
            ("learning_rate", "fast", "learning_rate is 'fast'; expected a number"),
            ("learning_rate", 0, "learning_rate is 0.0; expected a finite number > 0"),
            ("learning_rate", float("nan"), "learning_rate is nan; expected a finite number > 0"),
            ("warmup", 1, "warmup is 1.0; expected a number of at least 0 and below 1"),
            ("weight_decay", -0.1, "weight_decay is -0.1"),
            ("checkpoints", -1, "checkpoints is -1"),
            ("schedule", "cosinus", "schedule is 'cosinus'; expected one of linear, cosine"),
            ("objective", "mln", "objective is 'mln'; expected one of auto, clm, mlm, denoise"),
            ("trains", "head", "trains is 'head'; expected one of all, embeddings, lora"),
            ("precision", "float8", "precision is 'float8'; expected one of float32, bfloat16"),
            ("name", "../x", "stage name is '../x'"),
        ],
    )
    def test_in_a_stage(self, key, value, message):
        with pytest.raises(InputError, match=message):
            recipe_from(CLP | {"stages": [{key: value}]})

    def test_no_corpus(self):
        with pytest.raises(InputError, match="No corpus given; name one with --corpus"):
            recipe_from(CLP).data.split()


def test_the_defaults_of_nested_parts():
    recipe = recipe_from({"name": "new", "model": {"model_type": "llama"}, "tokenizer": {"vocab_size": 500}})
    assert recipe == Recipe("new", model={"model_type": "llama"}, tokenizer=NewTokenizer(vocab_size=500))


def test_a_stage_takes_the_objective_its_model_was_made_for_unless_it_names_one():
    assert [Stage().objective_for(kind) for kind in (ENCODER, DECODER)] == ["mlm", "clm"]
    assert Stage(objective="clm").objective_for(ENCODER) == "clm"


@pytest.mark.parametrize(("steps", "evaluate", "save"), [(1000, 100, 200), (3, 1, 1), (10, 1, 2)])
def test_evaluations_and_checkpoints_are_spread_evenly(steps, evaluate, save):
    stage = Stage(steps=steps)
    assert (stage.evaluate_every, stage.save_every) == (evaluate, save)
    assert Stage(steps=steps, checkpoints=0).save_every is None


class TestStagesOfTwoLanguages:
    STAGES = (
        {"name": "common", "steps": 4, "objective": "mlm", "frozen": ["lower"]},
        {"name": "above", "steps": 2, "objective": "cdlm", "languages": ["source", "target"], "starts_from": "common"},
        {"name": "below", "steps": 2, "objective": "cdlm", "languages": ["target", "source"], "starts_from": "common"},
        {"name": "combine", "combine": {"lower": "below", "upper": "above"}},
        {"name": "target", "steps": 3, "objective": "mlm", "languages": ["target"]},
    )

    def recipe(self, **changed: object) -> Recipe:
        given = {"trelm": {"languages": ["en", "de"]}, "data": {"parallel": "p.tsv"}, "stages": self.STAGES}
        return recipe_from(CLP | given | changed)

    def stages(self, index: int, **changed: object) -> list[dict]:
        return [stage | (changed if i == index else {}) for i, stage in enumerate(self.STAGES)]

    def test_a_combination_takes_no_steps(self):
        recipe = self.recipe()
        assert recipe.total_steps == 11
        assert [stage.follows for stage in recipe.stages] == [(), ("common",), ("common",), ("below", "above"), ()]

    @pytest.mark.parametrize(
        ("index", "changed", "message"),
        [
            (1, {"starts_from": "below"}, r"stage 'above' follows is 'below'; expected an earlier stage \(common\)"),
            (0, {"starts_from": "common"}, r"an earlier stage \(none before it\)"),
            (3, {"combine": {"lower": "target", "upper": "above"}}, "stage 'combine' follows is 'target'"),
            (3, {"combine": {"lower": "below"}}, "lacks the key 'upper'"),
            (4, {"languages": ["fr"]}, "language is 'fr'; expected one of source, target"),
            (1, {"languages": ["source"]}, r"languages is \['source'\]; expected two for cdlm"),
            (1, {"languages": ["source", "source"]}, "expected two for cdlm"),
        ],
    )
    def test_what_does_not_fit_together_is_named(self, index, changed, message):
        with pytest.raises(InputError, match=message):
            self.recipe(stages=self.stages(index, **changed))

    def test_pairs_and_parts_need_a_trelm(self):
        with pytest.raises(InputError, match="stage 'common' needs a TreLM"):
            self.recipe(trelm=None)
        with pytest.raises(InputError, match=r"trelm: languages is \['en'\]; expected two"):
            self.recipe(trelm={"languages": ["en"]})
        with pytest.raises(InputError, match="tri_layer_index is 'top'; expected middle, none or a number"):
            self.recipe(trelm={"languages": ["en", "de"], "tri_layer_index": "top"})


NOT_A_LANGUAGE = (
    "../../x", "<script>", "de\u202e", "a" * 10_000, "", "german", "embeddings", "__class__", "lower", "source",
    "target", "tri_layer", "de\nlicense: mit", "xx",
)  # fmt: skip


class TestWhatReachesTheHub:
    @pytest.mark.parametrize("code", NOT_A_LANGUAGE)
    @pytest.mark.parametrize(
        "recipe",
        [
            lambda code: CLP | {"language": code},
            lambda code: {"name": "mine", "initializer": {"method": "ramen"}, "trelm": {"languages": ["en", code]}},
            lambda code: MANY | {"data": {"corpora": {"en": "a.txt", code: "b.txt"}}},
        ],
        ids=["language", "trelm.languages", "data.corpora"],
    )
    def test_a_language_is_one(self, code, recipe):
        with pytest.raises(InputError, match="expected a language code") as raised:
            recipe_from(recipe(code))
        assert raised.value.value == code
        assert len(str(raised.value)) < 300

    @pytest.mark.parametrize("code", ["de", "no", "yor", "pt-BR", "zh-Hans", "deu_Latn", "multilingual", "x-mine"])
    def test_codes_that_are_in_use_are_taken(self, code):
        assert recipe_from(CLP | {"language": code}).language == code
        assert list(recipe_from(MANY | {"data": {"corpora": {"en": "a", code: "b"}}}).data.corpora) == ["en", code]

    @pytest.mark.parametrize(
        ("license", "meant"),
        [("apache2", "'apache-2.0'"), ("MIT License", "'mit'"), ("CC BY-SA 4.0", "'cc-by-sa-4.0'"), ("<script>", None)],
    )
    def test_a_license_is_one_that_the_hub_knows(self, license, meant):
        with pytest.raises(InputError, match="expected an identifier of the Hub's") as raised:
            recipe_from(CLP | {"license": license})
        assert (f"Did you mean {meant}?" == raised.value.hint) == (meant is not None)

    def test_a_license_of_ones_own_has_a_name(self):
        assert recipe_from(CLP | {"license": "other", "license_name": "mine"}).license_name == "mine"
        with pytest.raises(InputError, match="license is 'mit'; expected 'other'"):
            recipe_from(CLP | {"license": "mit", "license_name": "mine"})

    @pytest.mark.parametrize(
        "name", ["../../x", "a/b", "a\\b", "", ".", "CON", "nul.txt", "x" * 300, "a\nb", ".hidden", "a ", "\u202ex"]
    )
    def test_a_name_is_one_for_a_file(self, name):
        with pytest.raises(InputError, match="name is .*expected up to 100 letters"):
            recipe_from(CLP | {"name": name})

    @pytest.mark.parametrize("name", ["CON", "x" * 300])
    def test_so_is_a_stages_name(self, name):
        with pytest.raises(InputError, match="stage name is .*expected up to 100 letters"):
            Stage(name)

    @pytest.mark.parametrize("name", ["clp", "my recipe no. 2", "Deutsch_v1.2+x", "größer"])
    def test_ordinary_names_are_taken(self, name):
        assert recipe_from(CLP | {"name": name}).name == name

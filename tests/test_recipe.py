"""Recipes are data: shipped ones load, YAML comes back equal, and what is wrong is named before work starts."""

import pickle
from pathlib import Path

import pytest

from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.recipes import Data, NewTokenizer, Recipe, Stage, load_recipe, recipe_from, recipe_schema, shipped_recipes
from hf_xlt.recipes.settings import SettingError
from hf_xlt.runs import Results, Run, check_recipe
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.kinds import kind_of_run

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


class TestShown:
    @pytest.mark.parametrize("name", shipped_recipes())
    def test_a_recipe_is_one_short_line(self, name):
        recipe = load_recipe(name, [f"description={'x' * 500}", "source=me/model"])
        assert len(repr(recipe)) < 200
        assert name in repr(recipe)
        assert "me/model" in repr(recipe)

    def test_a_part_of_one_shows_what_is_not_as_by_default(self):
        assert repr(Stage(max_steps=7, optim="sgd")) == "Stage(max_steps=7, optim='sgd')"
        assert repr(Data()) == "Data()"

    def test_results_are_one_line_and_a_table_in_a_notebook(self):
        point = {"step": 1, "loss": 1.0, "perplexity": 2.0, "bits_per_byte": 3.0}
        runs = tuple(Run(Curve(name, 0, (Point(**point),), 1.0), None, 10, {}) for name in ("CLP", "<b>"))
        results = Results({}, "x", "decoder", "CLP", runs, {}, {}, "x")
        assert repr(results) == "Results(CLP, <b>; 1 seed)"
        assert repr(runs[0]) == "Run('CLP', seed 0, 10 parameters)"
        assert "<td>CLP</td>" in results._repr_html_()
        assert "<b>" not in results._repr_html_()


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
        assert recipe.stages[0] == Stage(
            name="rows", max_steps=10, trains="embeddings", learning_rate=0.0005, warmup_ratio=0.0
        )
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
            with pytest.raises(InputError, match=r"expected one of auto, clp, .*scratch.* or a \.yaml file"):
                load_recipe(name)


class TestOverrides:
    def test_they_reach_every_depth(self):
        overrides = ["stages.0.steps=7", "data.corpus=a.txt", "source=me/model", "initializer.weighting=positive"]
        recipe = load_recipe("clp", [*overrides, "seeds=[1, 2]"])
        assert (recipe.stages[0].max_steps, recipe.data.corpus, recipe.source) == (7, "a.txt", "me/model")
        assert (recipe.initializer["weighting"], recipe.seeds) == ("positive", (1, 2))

    def test_the_last_one_wins(self):
        assert load_recipe("clp", ["stages.0.steps=7", "stages.0.steps=8"]).stages[0].max_steps == 8

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("stages.0.steps", "is not of the form key=value"),
            ("stages.3.steps=1", r"no item 3; the list has 1"),
            ("stages.x.steps=1", r"no item x; the list has 1"),
            ("name.x=1", "'clp' has no part x"),
            ("name=[", "the value is not YAML"),
        ],
    )
    def test_what_they_cannot_reach_is_refused(self, override, message):
        with pytest.raises(InputError, match=message):
            load_recipe("clp", [override])

    @pytest.mark.parametrize(
        ("former", "name", "value"),
        [
            ("steps", "max_steps", 7),
            ("batch_size", "per_device_train_batch_size", 3),
            ("accumulation", "gradient_accumulation_steps", 2),
            ("warmup", "warmup_ratio", 0.5),
            ("schedule", "lr_scheduler_type", "linear"),
            ("compile", "torch_compile", True),
        ],
    )
    def test_a_stage_knows_its_settings_by_their_former_names_too(self, former, name, value):
        overridden = load_recipe("clp", [f"stages.0.{name}={value}"]).stages[0]
        assert load_recipe("clp", [f"stages.0.{former}={value}"]).stages[0] == overridden
        assert getattr(Stage(**{former: value}), name) == value
        with pytest.raises(SettingError) as raised:
            Stage(**{former: value, name: value})
        assert raised.value.key == former

    def test_an_override_replaces_a_setting_that_a_file_has_by_its_former_name(self, tmp_path):
        path = written(tmp_path, "{name: mine, initializer: {method: clp}, stages: [{steps: 3, warmup: 0.5}]}")
        stage = load_recipe(path, ["stages.0.steps=7", "stages.0.warmup_ratio=0.2"]).stages[0]
        assert (stage.max_steps, stage.warmup_ratio) == (7, 0.2)

    def test_a_stage_knows_its_precision_by_its_former_name_too(self):
        assert Stage(precision="bfloat16").bf16
        assert not Stage(precision="float32").bf16
        assert Stage().replace(precision="bfloat16", steps=7) == Stage(bf16=True, max_steps=7)
        assert load_recipe("clp", ["stages.0.bf16=false", "stages.0.precision=bfloat16"]).stages[0].bf16
        assert not load_recipe("clp", ["stages.0.precision=bfloat16", "stages.0.bf16=false"]).stages[0].bf16
        with pytest.raises(SettingError) as raised:
            Stage(bf16=True, precision="float32")
        assert raised.value.key == "precision"
        assert Stage(precision=None) == Stage()  # as recipes once left it open


class TestWrongValues:
    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"stagez": []}, "stagez"),
            ({"qqq": 1}, "qqq"),
            ({"stages[0]": 1}, "stages[0]"),
            ({"data": {"corpsu": "a"}}, "data.corpsu"),
            ({"name": 3}, "name"),
            ({"seeds": 3}, "seeds"),
            ({"seeds": ["a"]}, "seeds.0"),
            ({"seeds": [-1]}, "seeds.0"),
            ({"seeds": [1, 1]}, "seeds"),
            ({"seeds": []}, "seeds"),
            ({"stages": []}, "stages"),
            ({"stages": {}}, "stages"),
            ({"stages": [3]}, "stages.0"),
            ({"stages": [{"name": "a"}, {"name": "a"}]}, "stages.1.name"),
            ({"stages": [{"name": "a"}, {"name": "b", "sequence_length": 64}]}, "stages.1.sequence_length"),
            ({"data": "a.txt"}, "data"),
            ({"data": {"max_sequences": 0}}, "data.max_sequences"),
            ({"data": {"corpus": 3}}, "data.corpus"),
            ({"data": {"corpus": ["a", 4]}}, "data.corpus"),
            ({"data": {"corpora": {"en": 3}}}, "data.corpora.en"),
            ({"initializer": {}}, "initializer"),
            ({"initializer": "clp"}, "initializer"),
            ({"alternatives": [{"method": "mean"}, {}]}, "alternatives.1"),
            ({"model": {"hidden_size": 3}}, "model"),
            ({"dtype": "float8"}, "dtype"),
            ({"tokenizer": {"family": "bpe"}}, "tokenizer.family"),
            ({"tokenizer": {"vocab_size": True}}, "tokenizer.vocab_size"),
        ],
    )
    def test_in_a_recipe(self, changes, key):
        with pytest.raises(SettingError) as raised:
            recipe_from(CLP | changes)
        assert raised.value.key == key

    @pytest.mark.parametrize(
        ("given", "meant"),
        [({"stagez": []}, "stages"), ({"data": {"corpsu": "a"}}, "corpus"), ({"stages": [{"stepz": 1}]}, "steps")],
    )
    def test_a_key_that_is_not_known_is_told_from_one_that_is(self, given, meant):
        with pytest.raises(SettingError) as raised:
            recipe_from(CLP | given)
        assert raised.value.hint == f"Did you mean {meant!r}?"

    def test_a_recipe_without_a_name(self):
        with pytest.raises(SettingError) as raised:
            recipe_from({"initializer": {"method": "clp"}})
        assert (raised.value.key, raised.value.hint) == ("name", "Add it.")

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("max_steps", 0, "a number > 0"),
            ("max_steps", -5, "a number > 0"),
            ("max_steps", "many", "a whole number"),
            ("max_steps", 1.5, "a whole number"),
            ("max_steps", True, "a whole number"),
            ("max_steps", None, "a whole number"),
            ("torch_compile", "yes", "true or false"),
            ("learning_rate", "fast", "a number"),
            ("learning_rate", 0, "a number > 0"),
            ("learning_rate", float("nan"), "a finite number"),
            ("warmup_ratio", 1, "a number < 1"),
            ("weight_decay", -0.1, "a number ≥ 0"),
            ("checkpoints", -1, "a number ≥ 0"),
            ("lr_scheduler_type", "cosinus", "one of linear, cosine"),
            ("objective", "mln", "one of auto, clm, mlm, denoise"),
            ("trains", "head", "'all', 'embeddings', 'lora' or 'new-rows'"),
            ("precision", "float8", "one of float32, bfloat16"),
            ("name", "../x", "up to 100 letters"),
            ("lora_rank", 8, "it only where trains is 'lora'"),
            ("temperature", 0.2, "it only where a stage distils"),
        ],
    )
    def test_in_a_stage(self, key, value, expected):
        with pytest.raises(SettingError) as raised:
            recipe_from(CLP | {"stages": [{key: value}]})
        assert raised.value.key == f"stages.0.{key}"
        assert raised.value.expected.startswith(expected)


def test_a_recipe_without_a_corpus_says_how_to_name_one():
    with pytest.raises(InputError) as raised:
        Inputs(recipe_from(CLP)).split  # noqa: B018
    assert raised.value.key == "data.corpus"
    assert "data.corpus" in raised.value.hint


class TestTrainingArguments:
    def test_whatever_they_take_passes_through_and_comes_back_from_yaml(self, tmp_path):
        given = {"gradient_checkpointing": True, "optim": "adamw_torch", "max_grad_norm": 0.5, "report_to": "none"}
        recipe = recipe_from(CLP | {"stages": [given]})
        assert given.items() <= recipe.stages[0].training_arguments.items()
        assert load_recipe(written(tmp_path, recipe.to_yaml())) == recipe

    @pytest.mark.parametrize("key", ["output_dir", "seed", "eval_steps", "num_train_epochs", "push_to_hub"])
    def test_what_a_run_sets_itself_is_refused(self, key):
        with pytest.raises(SettingError) as raised:
            recipe_from(CLP | {"stages": [{key: 1}]})
        assert raised.value.key == f"stages.0.{key}"

    def test_what_transformers_refuses_is_refused_before_anything_is_opened(self):
        recipe = recipe_from(CLP | {"stages": [{"optim": "nothing"}]})
        with pytest.raises(SettingError) as raised:
            check_recipe(recipe)
        assert raised.value.key == "stages.0"

    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("max_grad_norm", "abc", "a number"),
            ("adam_beta1", True, "a number"),
            ("log_on_each_node", 1, "true or false"),
        ],
    )
    def test_a_value_of_another_type_is_refused_by_its_key(self, key, value, expected):
        with pytest.raises(SettingError) as raised:
            Stage(**{key: value})
        assert (raised.value.key, raised.value.expected) == (key, expected)

    def test_what_cannot_be_opened_is_refused_too(self):
        with pytest.raises(SettingError) as raised:
            check_recipe(recipe_from(CLP | {"stages": [{"accelerator_config": "none.json"}]}))
        assert raised.value.key == "stages.0"

    def test_the_warmup_is_a_share_of_the_steps(self):
        assert Stage(max_steps=50, warmup_ratio=0.1).training_arguments["warmup_steps"] == 5

    def test_only_new_rows_are_trained_without_weight_decay(self):
        assert Stage(trains="new-rows").training_arguments["weight_decay"] == 0


class TestKinds:
    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({}, "transfer"),
            ({"stages": [{"objective": "distill"}]}, "distillation"),
            ({"initializer": None, "model": {"model_type": "llama"}}, "new_model"),
            ({"trelm": {"languages": ["en", "de"]}}, "trelm"),
            ({"trelm": {"languages": ["en", "de"], "separate_embeddings": True}}, "bilingual"),
            ({"multilingual": {}}, "multilingual"),
            ({"multilingual": {}, "source": "x"}, "multilingual_continued"),
        ],
    )
    def test_the_parts_of_a_recipe_tell_its_kind(self, changes, kind):
        assert kind_of_run(recipe_from(CLP | changes)).name == kind

    def test_a_recipe_of_no_kind_is_refused(self):
        with pytest.raises(SettingError) as raised:
            kind_of_run(recipe_from({"name": "mine"}))
        assert raised.value.key == "initializer"

    def test_so_is_one_of_a_kind_that_there_is_not(self):
        with pytest.raises(SettingError) as raised:
            kind_of_run(recipe_from(CLP | {"kind": "other"}))
        assert raised.value.key == "kind"

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"model": {"model_type": "llama"}}, "initializer"),
            ({"vector_epochs": 2}, "vector_epochs"),
            ({"data": {"corpora": {"en": "a"}}}, "data.corpora"),
            ({"multilingual": {}}, "initializer"),
            ({"trelm": {"languages": ["en", "de"]}, "helper": "x"}, "helper"),
        ],
    )
    def test_what_a_kind_makes_no_use_of_is_refused(self, changes, key):
        with pytest.raises(SettingError) as raised:
            check_recipe(recipe_from(CLP | changes))
        assert raised.value.key == key


def test_the_defaults_of_nested_parts():
    recipe = recipe_from({"name": "new", "model": {"model_type": "llama"}, "tokenizer": {"vocab_size": 500}})
    assert recipe == Recipe(name="new", model={"model_type": "llama"}, tokenizer=NewTokenizer(vocab_size=500))


@pytest.mark.parametrize(("steps", "evaluate", "save"), [(1000, 100, 200), (3, 1, 1), (10, 1, 2)])
def test_evaluations_and_checkpoints_are_spread_evenly(steps, evaluate, save):
    stage = Stage(max_steps=steps)
    assert (stage.evaluate_every, stage.save_every) == (evaluate, save)
    assert Stage(max_steps=steps, checkpoints=0).save_every is None


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

    def test_a_combination_has_no_sequences(self):
        stages = [stage if "combine" in stage else stage | {"sequence_length": 16} for stage in self.STAGES]
        assert self.recipe(stages=stages).stages[0].sequence_length == 16

    def test_a_combination_takes_no_steps(self):
        recipe = self.recipe()
        assert recipe.total_steps == 11
        assert [stage.follows for stage in recipe.stages] == [(), ("common",), ("common",), ("below", "above"), ()]

    @pytest.mark.parametrize(
        ("index", "changed", "key"),
        [
            (1, {"starts_from": "below"}, "stages.1"),
            (0, {"starts_from": "common"}, "stages.0"),
            (3, {"combine": {"lower": "target", "upper": "above"}}, "stages.3"),
            (3, {"combine": {"lower": "below"}}, "stages.3.combine.upper"),
            (4, {"languages": ["fr"]}, "stages.4.languages.0"),
            (1, {"languages": ["source"]}, "stages.1.languages"),
            (1, {"languages": ["source", "source"]}, "stages.1.languages"),
        ],
    )
    def test_what_does_not_fit_together_is_named(self, index, changed, key):
        with pytest.raises(SettingError) as raised:
            self.recipe(stages=self.stages(index, **changed))
        assert raised.value.key == key

    def test_pairs_and_parts_need_a_trelm(self):
        with pytest.raises(SettingError) as raised:
            check_recipe(self.recipe(trelm=None))
        assert raised.value.key == "stages.0.frozen"
        with pytest.raises(SettingError) as raised:
            self.recipe(trelm={"languages": ["en"]})
        assert raised.value.key == "trelm.languages"
        with pytest.raises(SettingError) as raised:
            self.recipe(trelm={"languages": ["en", "de"], "tri_layer_index": "top"})
        assert raised.value.key == "trelm.tri_layer_index"


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
        with pytest.raises(InputError) as raised:
            recipe_from(recipe(code))
        assert raised.value.value == code
        assert raised.value.expected.startswith("a language code")
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
        with pytest.raises(SettingError) as raised:
            recipe_from(CLP | {"license": "mit", "license_name": "mine"})
        assert raised.value.key == "license"

    @pytest.mark.parametrize(
        "name", ["../../x", "a/b", "a\\b", "", ".", "CON", "nul.txt", "x" * 300, "a\nb", ".hidden", "a ", "\u202ex"]
    )
    def test_a_name_is_one_for_a_file(self, name):
        with pytest.raises(InputError, match="name is .*expected up to 100 letters"):
            recipe_from(CLP | {"name": name})

    @pytest.mark.parametrize("name", ["CON", "x" * 300])
    def test_so_is_a_stages_name(self, name):
        with pytest.raises(InputError, match="name is .*expected up to 100 letters"):
            Stage(name=name)

    @pytest.mark.parametrize("name", ["clp", "my recipe no. 2", "Deutsch_v1.2+x", "größer"])
    def test_ordinary_names_are_taken(self, name):
        assert recipe_from(CLP | {"name": name}).name == name


def test_a_refusal_reaches_another_process_as_it_was():
    with pytest.raises(SettingError) as raised:
        recipe_from(CLP | {"stages": [{"max_steps": 0}]})
    told = pickle.loads(pickle.dumps(raised.value))
    assert (type(told), str(told), vars(told)) == (SettingError, str(raised.value), vars(raised.value))


def test_documentation_and_schema_tell_what_each_setting_is_for():
    schema = recipe_schema()
    for kind, properties in ((Recipe, schema["properties"]), (Stage, schema["$defs"]["Stage"]["properties"])):
        for name in kind.model_fields:
            assert f"    {name}: {properties[name]['description']}" in kind.__doc__
    assert "Args:" not in schema["$defs"]["Halves"]["description"]  # none of its settings has a word of its own

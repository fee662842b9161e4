"""Meta-pretraining on tiny models: which phase reads what, equal budgets, resuming, a source, what is refused."""

import shutil

import pytest
import tiny
import torch
from huggingface_hub import ModelCard
from transformers import AutoModelForMaskedLM, AutoTokenizer

from hf_xlt.data.anchors import token_ids
from hf_xlt.errors import InputError
from hf_xlt.recipes import load_recipe, recipe_from
from hf_xlt.recipes.recipe import MultilingualOptions
from hf_xlt.recipes.settings import SettingError
from hf_xlt.runs import Results, check_recipe, run_recipe
from hf_xlt.runs.kinds.multilingual import (
    CONTINUED,
    IN_PHASES,
    Continued,
    Multilingual,
    one_phase,
    vocabulary_of,
    with_own_tables,
)
from hf_xlt.runs.languages import TextReader
from hf_xlt.runs.prepared import prepare
from hf_xlt.runs.results import FROM_SCRATCH, ONE_PHASE
from hf_xlt.runs.training.variant import train_stage
from hf_xlt.sample import sentences
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM

STEPS = [f"stages.{stage}.{key}={value}" for stage in (0, 1) for key, value in
         {"steps": 3, "batch_size": 4, "evaluations": 1, "checkpoints": 1, "sequence_length": 24}.items()]  # fmt: skip
SMALL = ["model.hidden_size=16", "model.intermediate_size=32", "model.num_hidden_layers=2",
         "model.num_attention_heads=2", "tokenizer.vocab_size=500", "data.held_out_every=20"]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("languages")
    for language in ("en", "de", "id"):
        text = "\n".join(sentences(language, "train")[:200]) + "\n"
        (folder / f"{language}.txt").write_text(text, encoding="utf-8")
    for language in ("de", "id"):
        pairs = zip(sentences("en", "train")[200:300], sentences(language, "train")[200:300], strict=True)
        (folder / f"en-{language}.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    (folder / "dictionary.tsv").write_text("the\tdas\nand\tund\nwater\tWasser\n", encoding="utf-8")
    english = tiny.tokenizer("en", "wordpiece")
    tiny.save(tiny.model("bert", english), english, folder / "source")
    return folder


@pytest.fixture
def shipped(places):
    def recipe(*more, languages=("en", "de"), shape=SMALL):
        corpora = [f"data.corpora.{language}={places / f'{language}.txt'}" for language in languages]
        return load_recipe("meta_pretraining", [*corpora, *STEPS, *shape, *more])

    return recipe


def examples(plan, stage, positions=200):
    return list(plan.text.stream(stage, positions, seed=0))


def languages_in(found) -> set[int]:
    return {int(example[name]) for example in found for name in ("lang_ids", "target_lang_ids") if name in example}


@pytest.fixture(scope="module")
def run(places, tmp_path_factory):
    """A recipe carried out: the recipe, its results and its folder."""
    out = tmp_path_factory.mktemp("run") / "out"
    given = [f"data.corpora.{language}={places / f'{language}.txt'}" for language in ("en", "de")]
    given += [f"data.parallel={places / 'en-de.tsv'}", "seeds=[0, 1]", *STEPS, *SMALL]
    recipe = load_recipe("meta_pretraining", given)
    return recipe, run_recipe(recipe, out, "hf-xlt run meta_pretraining", compare=True), out


class TestARun:
    @pytest.mark.slow
    def test_both_methods_take_as_many_steps(self, run):
        _, results, _ = run
        assert results.methods == (IN_PHASES, ONE_PHASE)
        assert {run.curve.final.step for run in results.runs} == {6}
        assert len({run.parameters for run in results.runs}) == 1

    @pytest.mark.slow
    def test_both_begin_alike(self, run):
        _, results, _ = run
        starts = {(run.curve.seed, run.curve.points[0]) for run in results.runs}
        assert len(starts) == 2

    def test_every_language_and_retrieval_are_measured_after_every_stage(self, run):
        _, results, out = run
        for one in results.runs:
            steps = [0, 3, 6] if one.curve.method == IN_PHASES else [0, 6]
            assert [(p.language, p.step) for p in one.languages] == [(c, s) for s in steps for c in ("en", "de")]
            assert [point.step for point in one.retrieval] == steps
        written = Results.load(out / "results.json")
        assert written.runs == results.runs

    def test_the_folder_opens_and_tells_of_the_trade_off(self, run):
        recipe, results, out = run
        opened, tokenizer = AutoModelForMaskedLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
        assert isinstance(opened, TreLMForMaskedLM)
        assert opened.config.languages == ["en", "de"]
        assert opened.config.vocab_size == len(tokenizer)
        assert load_recipe(out / "recipe.yaml") == recipe
        assert {"trade_off.png", "learning_curves.png", "modeling_trelm.py"} <= {path.name for path in out.iterdir()}
        card = (out / "README.md").read_text(encoding="utf-8")
        assert "| method | en | de | gap |" in card
        assert "language:\n- en\n- de\n" in card
        assert "for the languages `en`, `de`" in card
        assert "trust_remote_code=True" in card
        told = [(score.metric_name, score.dataset_name) for score in ModelCard(card).data.eval_results]
        assert ("Held-out bits per byte (en)", "en.txt") in told
        assert ("Held-out bits per byte (de)", "de.txt") in told
        assert results.corpus["name"] == "en.txt, de.txt"


class TestPhases:
    def test_each_reads_its_languages(self, shipped, tmp_path):
        recipe = shipped(languages=("en", "de", "id"))
        plan = prepare(Multilingual(recipe), tmp_path, compare=False, callbacks=())
        first, second = recipe.stages
        assert languages_in(examples(plan, first)) == {0}
        assert languages_in(examples(plan, second)) == {0, 1, 2}

    def test_target_is_every_language_but_the_first(self, shipped, tmp_path):
        recipe = shipped("stages.1.languages=[target]", languages=("en", "de", "id"))
        plan = prepare(Multilingual(recipe), tmp_path, compare=False, callbacks=())
        assert languages_in(examples(plan, recipe.stages[1])) == {1, 2}

    def test_pairs_are_mixed_in_where_both_languages_are_read(self, shipped, places, tmp_path):
        given = [f"data.translations.{code}={places / f'en-{code}.tsv'}" for code in ("de", "id")]
        recipe = shipped(*given, "multilingual.pair_share=0.25", languages=("en", "de", "id"))
        plan = prepare(Multilingual(recipe), tmp_path, compare=False, callbacks=())
        pairs = [[("labels" in example) for example in examples(plan, stage, 256)] for stage in recipe.stages]
        assert [sum(found) for found in pairs] == [0, 64]
        held_out = plan.text.translations
        assert {pair: len(found) for pair, found in held_out.items()} == {("en", "de"): 5, ("en", "id"): 5}

    def test_the_baseline_spends_as_much_on_all_languages_at_once(self, shipped):
        recipe = shipped("stages.0.steps=7")
        joint = one_phase(recipe)
        spent = [stage.max_steps * stage.batch_size for stage in (*recipe.stages, joint)]
        assert spent[0] + spent[1] == spent[2]
        assert joint.languages == ()

    def test_steps_of_unequal_batches_are_no_equal_budget(self, shipped, tmp_path):
        with pytest.raises(InputError, match=r"stages have \[8, 4\] sequences a step; expected equal numbers"):
            run_recipe(shipped("stages.0.accumulation=2"), tmp_path / "out", "x", compare=True)
        assert not list(tmp_path.iterdir())

    def test_a_recipe_of_one_phase_has_nothing_to_be_compared_with(self, shipped, tmp_path):
        plan = prepare(Multilingual(shipped("stages.0.languages=[]")), tmp_path, compare=True, callbacks=())
        assert [variant.name for variant in plan.comparison.variants] == [ONE_PHASE]


@pytest.mark.slow
def test_a_run_that_was_stopped_between_phases_ends_as_if_it_had_not_been(shipped, tmp_path, monkeypatch):
    recipe, whole, stopped = shipped(), tmp_path / "whole", tmp_path / "stopped"

    def run_until(stage: str) -> None:
        def trained(model, asked, *rest):
            if asked.name == stage:
                raise KeyboardInterrupt
            return train_stage(model, asked, *rest)

        with monkeypatch.context() as patch:
            patch.setattr("hf_xlt.runs.training.variant.train_stage", trained)
            with pytest.raises(KeyboardInterrupt):
                run_recipe(recipe, stopped, "x")

    run_until("monolingual")
    shutil.copytree(tmp_path / ".stopped.work", tmp_path / ".whole.work")  # tokenizers never train alike twice
    run_until("multilingual")
    curves = [run_recipe(recipe, output, "x").runs[0] for output in (stopped, whole)]
    assert curves[0].curve.points == curves[1].curve.points
    assert curves[0].languages == curves[1].languages
    one, other = (AutoModelForMaskedLM.from_pretrained(output) for output in (stopped, whole))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class TestASource:
    @pytest.fixture
    def recipe(self, shipped, places):
        return shipped(f"source={places / 'source'}", f"data.parallel={places / 'en-de.tsv'}")

    @pytest.mark.slow
    def test_only_the_second_phase_is_trained_beside_a_model_from_scratch(self, recipe, tmp_path):
        results = run_recipe(recipe, tmp_path / "out", "x", compare=True)
        assert results.methods == (CONTINUED, FROM_SCRATCH)
        assert {run.curve.final.step for run in results.runs} == {3}
        assert [stage["name"] for stage in results.recipe["stages"]] == ["multilingual"]
        kept = load_recipe(tmp_path / "out" / "recipe.yaml")
        assert (kept.model, kept.tokenizer) == (None, None)

    def test_it_begins_as_the_source(self, recipe, places, tmp_path):
        plan = prepare(Continued(Continued.resolved(recipe)), tmp_path, compare=False, callbacks=())
        source = AutoModelForMaskedLM.from_pretrained(places / "source")
        tokenizer = AutoTokenizer.from_pretrained(places / "source")
        assert plan.text.tokenizer.get_vocab() == tokenizer.get_vocab()
        inputs = tokenizer("The water is cold.", return_tensors="pt", return_token_type_ids=False)
        start = plan.kept.start(0)
        torch.testing.assert_close(start(**inputs).logits, source(**inputs).logits, rtol=0, atol=1e-5)

    def test_its_rows_are_one_a_token(self, recipe, tmp_path):
        asked = recipe.replace(multilingual=MultilingualOptions(anchors="none"))
        with pytest.raises(InputError, match=r"anchors with a source.* is 'none'; expected one of default, extra"):
            run_recipe(asked, tmp_path / "out", "x")


class TestLanguagesThatShareNoToken:
    TOKENIZER = tiny.tokenizer("de", "wordpiece")
    LANGUAGES = ("en", "de")
    TEXTS = ("Das Wasser ist kalt.", "Der Wind weht.")

    @pytest.fixture
    def joint(self):
        ids = token_ids("none", self.TOKENIZER, self.LANGUAGES)
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        vocabulary = vocabulary_of(self.TOKENIZER, ids.vocab_size)
        model = TreLMForMaskedLM(TreLMConfig(**vocabulary, languages=list(self.LANGUAGES), **shape)).eval()
        with torch.no_grad():
            model.decoder.bias.normal_()
        return model, ids

    @pytest.mark.parametrize("number", [0, 1])
    def test_the_model_that_is_kept_reads_the_tokenizers_ids(self, joint, number):
        model, ids = joint
        kept = with_own_tables(model, ids, self.TOKENIZER).eval()
        inputs = TextReader(self.TOKENIZER, ids, number)(self.TEXTS, padding=True, return_tensors="pt")
        plain = self.TOKENIZER(list(self.TEXTS), padding=True, return_tensors="pt", return_token_type_ids=False)
        kept.set_language(self.LANGUAGES[number])
        own = ids.of_languages(torch.arange(ids.tokens)[None], torch.tensor([number]))[0]
        torch.testing.assert_close(kept(**plain).logits, model(**inputs).logits[..., own], rtol=0, atol=1e-5)

    @pytest.mark.slow
    def test_a_run_leaves_one(self, shipped, places, tmp_path):
        recipe = shipped("multilingual.anchors=none", f"data.parallel={places / 'en-de.tsv'}")
        results = run_recipe(recipe, tmp_path / "out", "x")
        opened = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
        english = AutoTokenizer.from_pretrained(tmp_path / "out" / "source_tokenizer")
        assert opened.config.separate_embeddings
        assert english.get_vocab() == tokenizer.get_vocab()
        assert opened.config.vocab_size == len(tokenizer)
        assert results.runs[0].retrieval[-1].step == 6


@pytest.mark.parametrize(
    "more",
    [
        ["model.separate_embeddings=true"],
        ["model.language_specific_layers=1"],
        ["multilingual.anchors=extra", "data.dictionary={places}/dictionary.tsv"],
    ],
)
@pytest.mark.slow
def test_what_languages_share_is_the_models_and_the_texts(more, shipped, places, tmp_path):
    recipe = shipped(*(each.format(places=places) for each in more))
    run_recipe(recipe, tmp_path / "out", "x")
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert opened.config.separate_embeddings == ("separate" in more[0])
    assert (tmp_path / "out" / "source_tokenizer").is_dir() == ("separate" in more[0])
    assert opened.config.own_layers == ([0] if "layers" in more[0] else [])


class TestRefused:
    @pytest.mark.parametrize(
        ("more", "key"),
        [
            (["multilingual.alpha=1.5"], "multilingual.alpha"),
            (["multilingual.alpha=-0.1"], "multilingual.alpha"),
            (["multilingual.pair_share=2"], "multilingual.pair_share"),
            (["multilingual.anchors=some"], "multilingual.anchors"),
            (["data.corpora.fr="], "data.corpora.fr"),
            (["data.translations.fr=p.tsv"], "data.translations"),
            (["data.corpus=de.txt"], "data.corpus"),
            (["data.held_out=de.txt"], "data.held_out"),
            (["trelm={languages: [en, de]}"], "trelm"),
            (["stages.1.objective=clm"], "stages.1.objective"),
            (["stages.0.combine={lower: a, upper: b}"], "stages.0"),
            (["vector_epochs=1"], "vector_epochs"),
            (["tokenizer.family=source"], "tokenizer.family"),
            (["data.dictionary=d.tsv"], "data.dictionary"),
        ],
    )
    def test_in_the_recipe(self, more, key, shipped):
        with pytest.raises(SettingError) as raised:
            check_recipe(shipped(*more))
        assert raised.value.key == key

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["model.language_specific_layers=[0, 2]"], r"language_specific_layers is \[0, 2\]; expected"),
            (["model.hiden_size=3"], "model: field is 'hiden_size'; expected one of"),
            (["model.model_type=llama"], "model_type is 'llama'; expected one of trelm"),
            (["multilingual.anchors=extra"], "anchors is 'extra' with 2 languages and no dictionary"),
            (["stages.0.frozen=[lower]"], "frozen is 'lower'; expected one of embeddings, layers, head"),
            (["data.translations.en={places}/en-de.tsv"], "given for 'en', the first language"),
            (["data.translations.de={places}/none.tsv"], "none.tsv"),
            (["data.translations.de={places}/de.txt"], "one column only"),
            (["data.parallel={places}/en-de.tsv", "data.corpora.id={places}/id.txt"], "data.parallel is given for"),
            (["data.parallel={places}/en-de.tsv", "model.language_specific_layers=1"], "pair_share is for translation"),
            (["data.corpora.fr={places}/none.txt"], "none.txt is not a file"),
        ],
    )
    def test_before_work_starts(self, more, message, shipped, places, tmp_path):
        with pytest.raises(InputError, match=message):
            run_recipe(shipped(*(each.format(places=places) for each in more)), tmp_path / "out", "x")
        assert not list(tmp_path.iterdir())

    def test_without_corpora(self, tmp_path):
        with pytest.raises(InputError, match="no corpora; .* data.corpora.en=FILE"):
            run_recipe(load_recipe("meta_pretraining"), tmp_path / "out", "x")

    @pytest.mark.parametrize("more", [[], ["stages.0.languages=[]", "stages.1.languages=[target]"]])
    def test_some_languages_of_one(self, shipped, tmp_path, more):
        with pytest.raises(InputError, match="of some of the languages, but there is only en; add a corpus"):
            run_recipe(shipped(*more, languages=("en",)), tmp_path / "out", "x")

    def test_corpora_of_a_recipe_for_one_language(self):
        given = {"name": "mine", "initializer": {"method": "clp"}, "data": {"corpora": {"en": "a.txt"}}}
        with pytest.raises(SettingError) as raised:
            check_recipe(recipe_from(given))
        assert raised.value.key == "data.corpora"

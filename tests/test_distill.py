"""Distillation: a sentence gets the vector that the source gives its translation."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertModel

from hf_xlt import cli
from hf_xlt.data.objectives import DataCollatorForDistillation, objective_for
from hf_xlt.data.objectives.distillation import distillation_loss
from hf_xlt.data.pairs import TargetSide
from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import mean_pooled, nearness, sentence_vectors
from hf_xlt.evaluation.sentence_encoder import SentenceHead
from hf_xlt.files.plain_yaml import set_value
from hf_xlt.recipes import Data, Recipe, Stage, load_recipe
from hf_xlt.recipes.recipe import recipe_from
from hf_xlt.recipes.settings import SettingError
from hf_xlt.report.comparison import curves_of
from hf_xlt.runs import Results, check_recipe, plan_run, run_recipe
from hf_xlt.runs.contents import with_commits
from hf_xlt.runs.inputs import Inputs
from hf_xlt.runs.kinds.distillation import Distillation, SentenceText, sentence_text, source_sentences
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS, SOURCE_TOKENIZER
from hf_xlt.runs.text import packed_text
from hf_xlt.runs.training.trainer import StageTrainer
from hf_xlt.sample import sentences

SMALL = ("stages.0.checkpoints=0",
         "stages.0.steps=12", "stages.0.sequence_length=32", "stages.0.batch_size=16", "stages.0.evaluations=2",
         "stages.0.learning_rate=0.02", "data.held_out_every=20", "language=de")  # fmt: skip
# A new vocabulary in place of the source's, of which the rows alone are trained.
ONE_STAGE = ('stages=[{"name": "distill", "objective": "distill", "trains": "embeddings"}]', "tokenizer.added=0",
             "tokenizer.vocab_size=30000")  # fmt: skip
PAIRS = list(zip(sentences("en", "train"), sentences("de", "train"), strict=True))[:240]


def cosines(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


@pytest.fixture
def parallel(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS), encoding="utf-8")
    return path


def bare_encoder(folder: Path) -> Path:
    """A folder with an encoder that has no language-modelling head, as sentence encoders are saved."""
    english = tiny.tokenizer("en", "wordpiece")
    return tiny.save(
        BertModel(tiny.model("bert", english, seed=1, initializer_range=0.3).config), english, folder / "source"
    )


def sentence_encoder(folder: Path, pooling: dict | None = None) -> Path:
    """The same as sentence-transformers lays it out."""
    source = bare_encoder(folder)
    listing = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (source / "modules.json").write_text(json.dumps(listing))
    (source / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "cosine"}')
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    (source / "1_Pooling").mkdir()
    settings = {"word_embedding_dimension": 16, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    (source / "1_Pooling" / "config.json").write_text(json.dumps(pooling or settings))
    (source / "2_Normalize").mkdir()
    (source / "README.md").write_text("# An English model\n")
    return source


def distill_recipe(folder: Path, parallel: Path, *more: str, source: Path | None = None):
    german = folder / "german"
    tiny.tokenizer("de", "wordpiece", 500).save_pretrained(german)
    source = source or bare_encoder(folder)
    given = [f"source={source}", f"target_tokenizer={german}", f"data.parallel={parallel}"]
    return load_recipe("sentence", [*ONE_STAGE, *SMALL, *given, *more])


def loss_of(folder: Path, source: Path) -> float:
    """How far a model is from the source on the training pairs."""
    training = [pair for i, pair in enumerate(PAIRS) if i % 20]
    teacher, student = (
        sentence_vectors(AutoModel.from_pretrained(place), AutoTokenizer.from_pretrained(place), side)[-1]
        for place, side in zip((source, folder), zip(*training, strict=True), strict=True)
    )
    return float(distillation_loss(student, teacher, 0.05))


class TestLoss:
    @given(st.integers(1, 9), st.integers(12, 16), st.floats(0.02, 2), st.integers(0, 10**6))
    def test_it_is_that_of_a_plain_dense_computation(self, batch, width, temperature, seed):
        draw = torch.Generator().manual_seed(seed)
        student, teacher = (torch.randn(batch, width, generator=draw, dtype=torch.float64) for _ in range(2))
        expected = 0.0
        for i in range(batch):
            near = cosines(student[i], teacher[i])
            scores = [torch.exp(cosines(student[i], teacher[j]) / temperature) for j in range(batch)]
            expected += float(1 - near - torch.log(scores[i] / sum(scores))) / batch
        assert float(distillation_loss(student, teacher, temperature)) == pytest.approx(expected, rel=1e-4, abs=1e-5)

    def test_lengths_do_not_matter_and_the_right_directions_are_best(self):
        teacher = torch.eye(4)
        best = distillation_loss(3 * teacher, 0.5 * teacher, 0.05)
        assert float(best) == pytest.approx(0, abs=1e-5)
        assert distillation_loss(teacher.roll(1, 0), teacher, 0.05) > best + 1

    def test_half_precision_around_it_changes_nothing(self):
        student, teacher = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
        plain = distillation_loss(student, teacher, 0.05)
        with torch.autocast("cpu", torch.bfloat16):
            assert distillation_loss(student, teacher, 0.05) == plain

    def test_the_trainers_is_that_of_sentences_pooled_one_by_one(self, tmp_path):
        german = tiny.tokenizer("de", "wordpiece", 500)
        model = tiny.model("bert", german, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        texts = [target for _, target in PAIRS[:6]]
        vectors = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
        rows = [np.array(ids, dtype=np.int32) for ids in german(texts)["input_ids"]]
        examples = [{"input_ids": row, "teacher": vector.numpy()} for row, vector in zip(rows, vectors, strict=True)]
        batch = objective_for("distill", german)(examples)
        states = [model.bert(torch.tensor(row[None]).long()).last_hidden_state[0] for row in rows]
        student = torch.stack([state.mean(0) for state in states])
        together = model.bert(batch["input_ids"], batch["attention_mask"]).last_hidden_state
        torch.testing.assert_close(mean_pooled(together, batch["attention_mask"]), student)
        objective = DataCollatorForDistillation(german, SentenceHead(None, german), 0.1)
        assert objective.learner(model) is model.bert
        loss = objective.loss(model.bert, model.bert, batch)
        torch.testing.assert_close(loss, distillation_loss(student, vectors, 0.1))

    @given(st.integers(2, 7), st.integers(1, 5), st.integers(0, 10**6))
    def test_a_sentence_is_told_from_all_others_but_those_that_say_the_same(self, batch, further, seed):
        draw = torch.Generator().manual_seed(seed)
        student, teacher = (torch.randn(batch, 8, generator=draw, dtype=torch.float64) for _ in range(2))
        others = torch.randn(further, 8, generator=draw, dtype=torch.float64)
        teacher[1], others[0] = 3 * teacher[0], 2 * teacher[0]  # of other lengths, which do not count
        expected = 0.0
        for i in range(batch):
            known = [*teacher, *others]
            told = [j for j in range(len(known)) if j == i or not (i < 2 and j in (0, 1, batch))]
            scores = {j: torch.exp(cosines(student[i], known[j]) / 0.5) for j in told}
            expected += float(1 - cosines(student[i], teacher[i]) - torch.log(scores[i] / sum(scores.values()))) / batch
        assert float(distillation_loss(student, teacher, 0.5, others)) == pytest.approx(expected, rel=1e-4, abs=1e-5)

    def test_what_else_it_is_told_from_is_decided_by_the_first_examples_key(self):
        german, bank = tiny.tokenizer("de", "wordpiece", 500), torch.arange(400.0).reshape(100, 4)
        collator = DataCollatorForDistillation(german, negatives=7, bank=bank)
        rows = [{"input_ids": np.array([1, 2]), "teacher": np.ones(4), "key": (0, place)} for place in range(4)]
        one, again, other = collator(rows[:2])["others"], collator(rows[:3])["others"], collator(rows[2:])["others"]
        assert one.shape == (7, 4)
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        assert {int(row[0]) // 4 for row in one} <= set(range(100))
        assert "others" not in DataCollatorForDistillation(german)(rows)


class TestPairs:
    def test_every_so_many_th_is_held_out_up_to_a_limit(self, parallel):
        inputs = Inputs(Recipe(name="x", data=Data(parallel=str(parallel), held_out_every=50, held_out_lines=3)))
        assert inputs.validation_pairs == (PAIRS[0], PAIRS[50], PAIRS[100])
        training = tuple(pair for i, pair in enumerate(PAIRS) if i not in (0, 50, 100))
        assert inputs.pairs_to_train_on.pairs == training

    def test_they_are_split_like_the_lines_of_their_target_side(self, parallel):
        data = Data(corpus=str(parallel), parallel=str(parallel), held_out_every=7, held_out_lines=5)
        inputs = Inputs(Recipe(name="x", data=data))
        assert list(inputs.split.held_out_lines()) == [target for _, target in inputs.validation_pairs]
        assert list(inputs.split.training_lines()) == [target for _, target in inputs.pairs_to_train_on.pairs]

    def test_the_teachers_vectors_are_the_sources_and_computed_once(self, tmp_path, parallel, monkeypatch):
        recipe = distill_recipe(tmp_path, parallel)
        german = AutoTokenizer.from_pretrained(recipe.target_tokenizer)
        pairs, inputs = self.text(recipe, german, tmp_path), Inputs(recipe)
        training, held_out = inputs.pairs_to_train_on.pairs, inputs.validation_pairs
        source, english = AutoModel.from_pretrained(recipe.source), AutoTokenizer.from_pretrained(recipe.source)
        learned, validation = pairs.targets["de"], pairs.validation["de"]
        for rows, sides in ((np.stack(list(learned["teacher"])), training), (validation.vectors, held_out)):
            expected = sentence_vectors(source, english, [english_side for english_side, _ in sides])[-1]
            torch.testing.assert_close(torch.as_tensor(rows), expected)
            assert torch.as_tensor(rows).dtype == torch.float32
        ids = german([target for _, target in training], truncation=True, max_length=32)["input_ids"]
        assert [row.tolist() for row in learned["input_ids"]] == ids
        assert validation.targets == tuple(target for _, target in held_out)
        assert validation.sources == tuple(source for source, _ in held_out)

        monkeypatch.setattr("hf_xlt.runs.kinds.distillation.sentence_encoder", None)
        again = self.text(recipe, german, tmp_path)
        assert torch.equal(again.validation["de"].vectors, validation.vectors)

    @staticmethod
    def text(recipe, tokenizer, folder) -> SentenceText:
        inputs = Inputs(Distillation.resolved(recipe))
        return sentence_text(inputs, packed_text(inputs, tokenizer, folder / "packed"), folder / "cache")

    def test_the_target_sides_of_several_files_are_one_corpus(self, tmp_path, parallel):
        other = tmp_path / "other.tsv"
        other.write_text("a cat\teine Katze\n", encoding="utf-8")
        sides = TargetSide.of([str(parallel), str(other)])
        assert list(sides.lines()) == [*(target for _, target in PAIRS), "eine Katze"]
        assert [part.name for part in sides.parts] == [str(parallel), str(other)]

    def test_a_table_with_named_columns_is_no_dataset_of_the_hub(self, tmp_path, caplog):
        table = tmp_path / "mined.tsv"
        table.write_text("source\ttarget\tmargin\na cat\teine Katze\t1.2\n", encoding="utf-8")
        place = f"{table}:source,target"
        named = Recipe(name="x", data=Data(corpus=(place,), translations={"de": place}))
        assert with_commits(named) == named
        assert not caplog.text

    def test_a_target_side_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="none.tsv is not a file; expected translation pairs"):
            TargetSide(str(tmp_path / "none.tsv"))


class TestRecipe:
    @pytest.mark.parametrize(("trains", "precision"), [("embeddings", "float32"), ("lora", "bfloat16")])
    @pytest.mark.slow
    def test_sentences_move_nearer_to_their_translations_vectors(self, tmp_path, parallel, trains, precision):
        source = bare_encoder(tmp_path)
        more = [f"stages.0.trains={trains}", f"stages.0.precision={precision}", "stages.0.steps=60"]
        recipe = distill_recipe(tmp_path, parallel, *more, source=source)
        untrained = recipe.replace(stages=(recipe.stages[0].replace(max_steps=1, learning_rate=1e-9),))
        results = run_recipe(recipe, tmp_path / "out", "x")
        run_recipe(untrained, tmp_path / "untrained", "x")
        assert loss_of(tmp_path / "out", source) < loss_of(tmp_path / "untrained", source) - 0.1

        run = results.runs[0]
        assert [point.step for point in run.retrieval] == [0, 60]
        assert all(0 <= share <= 1 for point in run.retrieval for share in (point.to_source, point.from_source))
        assert all(-1 <= point.cosine <= 1 and -2 <= point.margin <= 2 for point in run.retrieval)
        assert results.pooling == "mean"
        found = [100 * share for point in run.retrieval for share in (point.to_source, point.from_source)]
        cells = " | ".join(f"{found[i]:.1f}" for i in (0, 2, 1, 3))
        card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        assert f" | {cells} |" in card
        assert "This is a text encoder" in card
        assert f"It was then trained on `{parallel.name}`" in card
        assert "228 training sequences" in card
        assert "bits/byte" not in card  # nothing trained a head
        scores = {score.metric_type: score.metric_value for score in ModelCard(card).data.eval_results}
        last = run.retrieval[-1]
        assert scores == {
            "src2trg_accuracy": round(last.from_source, 4),
            "trg2src_accuracy": round(last.to_source, 4),
        }
        assert [point.step for point in run.curve.points] == [0, 30, 60]
        assert Results.load(tmp_path / "out" / "results.json").runs == results.runs
        assert curves_of(str(tmp_path / "out")) == []  # its head is not trained
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.slow
    def test_only_the_embeddings_change(self, tmp_path, parallel):
        recipe = distill_recipe(tmp_path, parallel)
        run_recipe(recipe, tmp_path / "out", "x")
        before, after = (AutoModel.from_pretrained(place).state_dict() for place in (recipe.source, tmp_path / "out"))
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"embeddings.word_embeddings.weight"}

    @pytest.mark.slow
    def test_the_pairs_are_all_the_text_it_needs(self, tmp_path, parallel):
        recipe = distill_recipe(tmp_path, parallel, "target_tokenizer=null", "tokenizer.vocab_size=400")
        results = run_recipe(recipe, tmp_path / "out", "x")
        assert results.corpus["name"] == parallel.name
        assert results.corpus["held_out_lines"] == len(PAIRS[::20])
        assert AutoTokenizer.from_pretrained(tmp_path / "out").tokenize("Das Wasser")[0][0] == "D"
        resolved = load_recipe(tmp_path / "out" / "recipe.yaml")
        assert resolved == recipe.replace(data=recipe.data.replace(corpus=str(parallel)))
        assert str(tmp_path) not in (tmp_path / "out" / "results.json").read_text(encoding="utf-8")

    @pytest.mark.slow
    def test_a_comparison_is_on_equal_terms(self, tmp_path, parallel):
        recipe = distill_recipe(tmp_path, parallel, "stages.0.steps=2", "stages.0.trains=new-rows")
        results = run_recipe(recipe, tmp_path / "out", "x", compare=True)
        assert results.methods[1:] == (SOURCE_TOKENIZER, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH)
        assert {tuple(point.step for point in run.retrieval) for run in results.runs} == {(0, 2)}

    @pytest.mark.slow
    def test_the_vectors_are_the_models_own_and_the_student_is_pooled_alike(self, tmp_path, parallel):
        library = pytest.importorskip("sentence_transformers")
        source = sentence_encoder(tmp_path, {"word_embedding_dimension": 16, "pooling_mode_cls_token": True})
        tiny.add_dense(source, 16, 8, place=2)
        settings = {"prompts": {"query": "water: "}, "default_prompt_name": "query"}
        (source / "config_sentence_transformers.json").write_text(json.dumps(settings))
        recipe = distill_recipe(tmp_path, parallel, "stages.0.steps=150", source=source)
        results = run_recipe(recipe, tmp_path / "out", "x")
        assert results.pooling == "cls, Dense, Normalize, after the prompt 'water: '"
        teacher, student = (library.SentenceTransformer(str(place)) for place in (source, tmp_path / "out"))
        english, german = zip(*PAIRS[::20], strict=True)
        wanted, found = (
            torch.as_tensor(model.encode(list(texts))) for model, texts in ((teacher, english), (student, german))
        )
        assert wanted.shape == (12, 8)
        near = nearness(found, wanted)
        point = results.runs[0].retrieval[-1]
        assert (point.cosine, point.margin) == pytest.approx((near.cosine, near.margin), abs=1e-4)
        assert torch.equal(teacher[2].linear.weight, student[2].linear.weight)
        untrained = recipe.replace(stages=(recipe.stages[0].replace(max_steps=1, learning_rate=1e-9),))
        run_recipe(untrained, tmp_path / "untrained", "x")
        before = library.SentenceTransformer(str(tmp_path / "untrained"))
        english, german = zip(*(pair for i, pair in enumerate(PAIRS) if i % 20), strict=True)
        wanted = torch.as_tensor(teacher.encode(list(english)))
        losses = [
            distillation_loss(torch.as_tensor(model.encode(list(german))), wanted, 0.05) for model in (before, student)
        ]
        assert losses[1] < losses[0] - 0.1

    def test_too_few_held_out_pairs_are_told(self, tmp_path, parallel, caplog):
        Distillation(Distillation.resolved(distill_recipe(tmp_path, parallel))).check_inputs()
        assert "The validation set of de has 12 pairs; P@1 among fewer than 200 says little" in caplog.text

    @pytest.mark.slow
    def test_other_stages_come_before_and_after(self, tmp_path, parallel):
        corpus = tmp_path / "de.txt"
        corpus.write_text("\n".join(sentences("de", "train")), encoding="utf-8")
        recipe = distill_recipe(tmp_path, parallel, f"data.corpus={corpus}")
        stage = recipe.stages[0].replace(max_steps=4)
        lm = stage.replace(objective="mlm", trains="all")
        stages = (lm.replace(name="before"), stage, lm.replace(name="after"))
        results = run_recipe(recipe.replace(stages=stages), tmp_path / "out", "x")
        assert [point.step for point in results.runs[0].curve.points] == [0, 2, 4, 6, 8, 10, 12]
        assert [point.step for point in results.runs[0].retrieval] == [0, 4, 8, 12]
        model, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not info["missing_keys"], "the head that was trained is kept"

    @pytest.mark.slow
    def test_a_stopped_run_does_not_ask_the_teacher_again_nor_show_held_out_pairs(
        self, tmp_path, parallel, monkeypatch
    ):
        recipe = distill_recipe(tmp_path, parallel)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("hf_xlt.runs.training.variant.train_stage", interrupt)
            with pytest.raises(KeyboardInterrupt):
                run_recipe(recipe, tmp_path / "out", "x")
        counted = tuple(Distillation(Distillation.resolved(recipe)).evidence["parallel"].pairs)
        assert counted == tuple(pair for i, pair in enumerate(PAIRS) if i % 20)
        monkeypatch.setattr("hf_xlt.runs.kinds.distillation.sentence_encoder", interrupt)
        run_recipe(recipe, tmp_path / "out", "x")
        assert (tmp_path / "out" / "config.json").exists()

    @pytest.mark.slow
    def test_a_killed_run_goes_on_and_ends_where_an_uninterrupted_one_does(self, tmp_path, parallel):
        settings = ("stages.0.steps=40", "stages.0.checkpoints=20", "stages.0.evaluations=1", "stages.0.trains=all",
                    "initializer.method=random")  # fmt: skip
        recipe = distill_recipe(tmp_path, parallel, *settings)
        whole = run_recipe(recipe, tmp_path / "whole", "x")

        class Killed(Exception):
            pass

        def killed(trainer, *args, **kwargs):
            if trainer.state.global_step == 23:
                raise Killed
            return step(trainer, *args, **kwargs)

        step = StageTrainer.training_step
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(StageTrainer, "training_step", killed)
            with pytest.raises(Killed):
                run_recipe(recipe, tmp_path / "killed", "x")
        resumed = run_recipe(recipe, tmp_path / "killed", "x")
        assert resumed.runs[0].curve.points == whole.runs[0].curve.points
        assert resumed.runs[0].retrieval == whole.runs[0].retrieval
        one, other = (AutoModel.from_pretrained(tmp_path / name) for name in ("whole", "killed"))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


class TestKeptFolder:
    @pytest.mark.slow
    def test_it_is_a_sentence_transformers_model_where_the_source_is_one(self, tmp_path, parallel):
        source = sentence_encoder(tmp_path)
        run_recipe(distill_recipe(tmp_path, parallel, source=source), tmp_path / "out", "x")
        carried = ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json",
                   "config_sentence_transformers.json")  # fmt: skip
        for path in carried:
            assert (tmp_path / "out" / path).read_bytes() == (source / path).read_bytes()
        model, info = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        assert torch.equal(model.pooler.dense.weight, AutoModel.from_pretrained(source).pooler.dense.weight)
        card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        assert "AutoModel.from_pretrained" in card
        assert "An English model" not in card

    @pytest.mark.slow
    def test_sentence_transformers_opens_it(self, tmp_path, parallel):
        library = pytest.importorskip("sentence_transformers")
        source = sentence_encoder(tmp_path)
        run_recipe(distill_recipe(tmp_path, parallel, source=source), tmp_path / "out", "x")
        texts = [target for _, target in PAIRS[:5]]
        encoded = torch.as_tensor(library.SentenceTransformer(str(tmp_path / "out")).encode(texts))
        model, tokenizer = (kind.from_pretrained(tmp_path / "out") for kind in (AutoModel, AutoTokenizer))
        expected = torch.nn.functional.normalize(sentence_vectors(model, tokenizer, texts)[-1])
        torch.testing.assert_close(encoded.cpu(), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.slow
    def test_a_head_that_a_stage_trained_stays_and_the_folder_is_still_one(self, tmp_path, parallel):
        source = sentence_encoder(tmp_path)
        recipe = distill_recipe(tmp_path, parallel, f"data.corpus={parallel}", source=source)
        run_recipe(recipe.replace(stages=(recipe.stages[0].replace(objective="mlm"),)), tmp_path / "out", "x")
        assert (tmp_path / "out" / "1_Pooling" / "config.json").exists()
        _, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not info["missing_keys"]
        assert "AutoModelForMaskedLM.from_pretrained" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")

    @pytest.mark.slow
    def test_a_transformer_in_a_folder_of_its_own_stays_there(self, tmp_path, parallel):
        source = sentence_encoder(tmp_path)
        (source / "0_Transformer").mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (source / name).rename(source / "0_Transformer" / name)
        listing = json.loads((source / "modules.json").read_text())
        listing[0]["path"] = "0_Transformer"
        (source / "modules.json").write_text(json.dumps(listing))
        run_recipe(distill_recipe(tmp_path, parallel, source=source), tmp_path / "out", "x")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "0_Transformer")
        assert AutoModel.from_pretrained(tmp_path / "out" / "0_Transformer").config.vocab_size == len(tokenizer) == 500
        assert not (tmp_path / "out" / "config.json").exists()


class TestBothLanguages:
    """The shipped recipe: the source's vocabulary extended, and both languages read in the end."""

    STAGES = ("stages.0.steps=3", "stages.1.steps=6", "stages.0.sequence_length=32", "stages.1.sequence_length=32",
              "stages.0.batch_size=8", "stages.1.batch_size=16", "stages.0.evaluations=1", "stages.1.evaluations=1",
              "stages.0.checkpoints=0", "stages.1.checkpoints=0", "tokenizer.added=60",
              "data.held_out_every=20")  # fmt: skip

    @pytest.fixture
    def recipe(self, tmp_path, parallel):
        words = tmp_path / "words.tsv"
        words.write_text("water\tWasser\nhouse\tHaus\ncold\tkalt\nold\talt\n", encoding="utf-8")
        source = sentence_encoder(tmp_path)
        given = [f"source={source}", f"data.parallel={parallel}", f"data.dictionary={words}", "language=de"]
        return load_recipe("sentence", [*self.STAGES, *given])

    @staticmethod
    def read(recipe, tokenizer, folder) -> SentenceText:
        inputs = Inputs(Distillation.resolved(recipe))
        return sentence_text(inputs, packed_text(inputs, tokenizer, folder / "packed"), folder / "cache")

    @pytest.mark.slow
    def test_one_model_reads_both_and_what_it_keeps_of_the_source_is_told(self, recipe, tmp_path):
        library = pytest.importorskip("sentence_transformers")
        results = run_recipe(recipe, tmp_path / "out", "x")
        old, new = (AutoTokenizer.from_pretrained(place) for place in (recipe.source, tmp_path / "out"))
        assert len(new) == len(old) + 60
        assert all(new.get_vocab()[token] == id_ for token, id_ in old.get_vocab().items())
        first, rows, last = results.runs[0].retrieval
        assert (first.step, rows.step, last.step) == (0, 3, 9)
        model, source = (library.SentenceTransformer(str(place)) for place in (tmp_path / "out", recipe.source))
        english, german = zip(*PAIRS[::20], strict=True)
        own = torch.as_tensor(model.encode(list(english)))
        kept = cosines(own, torch.as_tensor(source.encode(list(english)))).mean()
        assert last.kept == pytest.approx(float(kept), abs=1e-4)
        near = nearness(torch.as_tensor(model.encode(list(german))), own)
        assert (last.cosine, last.margin) == pytest.approx((near.cosine, near.margin), abs=1e-4)
        assert "source kept" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")

    def test_batches_hold_pairs_entries_and_source_sentences_by_their_shares(self, recipe, tmp_path):
        stage = recipe.stages[1].replace(replay=0.5, entries=0.125)
        recipe = recipe.replace(stages=(recipe.stages[0], stage))
        tokenizer = AutoTokenizer.from_pretrained(recipe.source)
        text = self.read(recipe, tokenizer, tmp_path)
        drawn = [tuple(example["input_ids"]) for example in text.stream(stage, 1024, 0).__getitems__(list(range(1024)))]
        english, words, german = (
            {tuple(row) for row in part["input_ids"]} for part in (text.sources, text.entries, text.targets["de"])
        )
        counts = [sum(row in part - english for row in drawn) for part in (words, german)]
        assert sum(row in english for row in drawn) >= 512
        assert counts[0] == pytest.approx(128, abs=2)
        assert counts[1] <= 386
        rows = text.stream(recipe.stages[0], 64, 0).__getitems__(list(range(64)))
        assert {tuple(row["input_ids"]) for row in rows} <= german

    def test_source_sentences_are_the_pairs_sides_and_as_many_lines_of_a_corpus(self, recipe, tmp_path):
        corpus = tmp_path / "en.txt"
        corpus.write_text("\n".join(f"line {number}" for number in range(1000)), encoding="utf-8")
        training = [source for i, (source, _) in enumerate(PAIRS) if i % 20]
        assert source_sentences(Inputs(recipe)) == list(dict.fromkeys(training))
        more = recipe.replace(data=recipe.data.replace(source_corpus=str(corpus)))
        lines = [line for i, line in enumerate(corpus.read_text().splitlines()) if i % 20][: len(training)]
        assert source_sentences(Inputs(more)) == list(dict.fromkeys([*training, *lines]))

    @pytest.mark.slow
    def test_many_languages_are_learned_at_once_and_each_is_measured(self, recipe, tmp_path, parallel):
        few = tmp_path / "few.tsv"
        few.write_text("".join(f"{english}\t{german[::-1]}\n" for english, german in PAIRS[:60]), encoding="utf-8")
        data = recipe.data.replace(parallel=None, translations={"de": str(parallel), "yo": str(few)})
        asked = recipe.replace(data=data, language=None)
        results = run_recipe(asked, tmp_path / "out", "x")
        points = results.runs[0].retrieval
        assert [(point.step, point.language) for point in points] == [(s, c) for s in (0, 3, 9) for c in ("de", "yo")]
        card = ModelCard.load(tmp_path / "out" / "README.md")
        assert card.data.language == ["de", "yo"]
        assert "pooled (links, dictionary, overlap), yo" in card.content
        text = self.read(asked, AutoTokenizer.from_pretrained(asked.source), tmp_path)
        few_rows = {tuple(row) for row in text.targets["yo"]["input_ids"]}
        drawn = text.stream(asked.stages[0], 2048, 0).__getitems__(list(range(2048)))
        share = sum(tuple(example["input_ids"]) in few_rows for example in drawn) / 2048
        sizes = len(text.targets["de"]), len(text.targets["yo"])
        assert share == pytest.approx(sizes[1] ** 0.7 / (sizes[0] ** 0.7 + sizes[1] ** 0.7), abs=0.01)

    def test_the_command_takes_a_file_of_pairs_for_each_language(self, recipe, parallel, monkeypatch, capsys):
        other = parallel.with_name("other.tsv")
        other.write_bytes(parallel.read_bytes())
        given = ["--source", recipe.source, "--parallel", f"de={parallel}", "--parallel", f"yo={other}", "--dry-run"]
        short = [word for setting in self.STAGES for word in ("--set", setting)]
        monkeypatch.setattr(sys, "argv", ["hf-xlt", "run", "sentence", *given, *short, "--output", "out"])
        asked = []
        monkeypatch.setattr("hf_xlt.runs.plan_run", lambda loaded, **_: asked.append(loaded) or plan_run(loaded))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code, capsys.readouterr().err
        assert asked[0].data.translations == {"de": str(parallel), "yo": str(other)}

    @pytest.mark.parametrize(
        ("settings", "key"),
        [
            (["stages.1.entries=0.2", "data.dictionary=null"], "data.dictionary"),
            (["stages.0.replay=0.2"], "stages.0.replay"),
            (["data.translations={yo: yo.tsv}"], "data.translations"),
            (["data.alpha=0.3"], "data.alpha"),
        ],
    )
    def test_what_cannot_be_is_refused_before_work_starts(self, recipe, settings, key):
        plain = recipe.plain()
        for setting in settings:
            set_value(plain, setting)
        with pytest.raises(SettingError) as refused:
            check_recipe(recipe_from(plain))
        assert refused.value.key == key

    @pytest.mark.parametrize(
        ("settings", "key"),
        [
            ({"entries": 0.5, "replay": 0.5}, "entries"),
            ({"negatives": 9, "objective": "mlm"}, "negatives"),
        ],
    )
    def test_shares_leave_something_for_the_pairs(self, settings, key):
        with pytest.raises(SettingError) as refused:
            Stage(**{"objective": "distill"} | settings)
        assert refused.value.key == key


class TestRefusals:
    def refused(self, recipe, tmp_path, message):
        before = sorted(tmp_path.iterdir())
        with pytest.raises(InputError, match=message):
            run_recipe(recipe, tmp_path / "out", "x")
        assert sorted(tmp_path.iterdir()) == before

    def test_a_source_that_is_no_encoder(self, tmp_path, parallel):
        english = tiny.tokenizer("en", "byte-level-bpe")
        decoder = tiny.save(tiny.model("gpt2", english), english, tmp_path / "decoder")
        recipe = distill_recipe(tmp_path, parallel, source=decoder)
        self.refused(recipe, tmp_path, "of the kind decoder; expected an encoder to distil")

    def test_a_source_that_makes_no_vectors_or_knows_only_its_words(self, tmp_path, parallel):
        source = sentence_encoder(tmp_path)
        recipe = distill_recipe(tmp_path, parallel, source=source)
        listing = json.loads((source / "modules.json").read_text())
        listing.insert(1, {"idx": 3, "name": "3", "path": "3_W", "type": "sentence_transformers.models.WordWeights"})
        (source / "modules.json").write_text(json.dumps(listing))
        self.refused(recipe, tmp_path, "has a module WordWeights, which knows the words of its own vocabulary only")
        (source / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
        self.refused(recipe, tmp_path, "is a CrossEncoder .* which makes no vector of a sentence")

    def test_no_pairs_or_too_few(self, tmp_path, parallel):
        recipe = distill_recipe(tmp_path, parallel, "data.parallel=null")
        self.refused(recipe, tmp_path, "There are no translation pairs")
        parallel.write_text("one\teins\ntwo\tzwei\n")
        recipe = distill_recipe(tmp_path, parallel, source=tmp_path / "source")
        self.refused(recipe, tmp_path, "2 translation pairs; expected 3 or more")
        with pytest.raises(InputError, match="held_out_every is 1; expected a number ≥ 2"):
            distill_recipe(tmp_path, parallel, "data.held_out_every=1", source=tmp_path / "source")

    def test_no_corpus_where_a_language_model_is_trained_too(self, tmp_path, parallel):
        recipe = distill_recipe(tmp_path, parallel)
        stages = (recipe.stages[0], recipe.stages[0].replace(name="lm", objective="mlm"))
        self.refused(recipe.replace(stages=stages), tmp_path, "There is no corpus")

    def test_no_source(self, tmp_path, parallel):
        recipe = distill_recipe(tmp_path, parallel, "source=null")
        self.refused(recipe, tmp_path, "needs a source checkpoint")

    def test_a_recipe_of_another_make(self, tmp_path, parallel):
        more = ["trelm={languages: [en, de]}", "tokenizer=null", "target_tokenizer=null"]
        with pytest.raises(SettingError) as raised:
            check_recipe(distill_recipe(tmp_path, parallel, *more))
        assert raised.value.key == "stages.0.objective"

    def test_adapters_are_not_kept_in_a_sentence_encoder(self, tmp_path, parallel):
        with pytest.raises(InputError, match="adapters is 'kept'; expected 'merged', as a sentence encoder keeps none"):
            Stage(objective="distill", trains="lora", adapters="kept")
        recipe = distill_recipe(tmp_path, parallel, f"data.corpus={parallel}", source=sentence_encoder(tmp_path))
        stage = recipe.stages[0].replace(objective="mlm", trains="lora", adapters="kept")
        self.refused(recipe.replace(stages=(stage,)), tmp_path, "sentence-transformers model, which keeps none")

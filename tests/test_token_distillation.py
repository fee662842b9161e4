"""Token distillation: a new token does to what follows it what its old pieces did."""

import json
from functools import cache

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from hf_xlt.data.objectives import UNALIGNED, DataCollatorForTokenDistillation, objective_for
from hf_xlt.data.snippets import Segmentation, Snippets, cut_snippets, matches
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Point
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.initializers import SubtokenMeanInitializer
from hf_xlt.recipes import Stage, load_recipe
from hf_xlt.runs import check_recipe, plan_run, run_recipe
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.runs.results import FROM_SCRATCH, SOURCE_TOKENIZER
from hf_xlt.runs.snippets import SnippetText
from hf_xlt.runs.training.parts import trained_parts
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer
from hf_xlt.tokenizers.vocabulary import Vocabulary

GERMAN = sentences("de", "train")[:300]
ADDED, LENGTH = 60, 24
FAMILIES = ("byte-level-bpe", "unigram")
STAGE = {"objective": "token-distill", "trains": "new-rows", "snippets": 10, "snippet_length": LENGTH,
         "max_steps": 6, "per_device_train_batch_size": 8, "sequence_length": 32, "learning_rate": 0.02,
         "evaluations": 2, "checkpoints": 3, "warmup_ratio": 0.0}  # fmt: skip


@cache
def extended(family="byte-level-bpe"):
    return extend_tokenizer(tiny.tokenizer("en", family), GERMAN, ADDED)


@cache
def snippets(family="byte-level-bpe", number=10, length=LENGTH):
    """Snippets of German text, as a list of rows, and what cut them."""
    cutter = Snippets(extended(family), tiny.tokenizer("en", family), number, length)
    batches = cutter.cut(GERMAN, cutter.counts(GERMAN))
    rows = [dict(zip(columns, row, strict=True)) for columns in batches for row in zip(*columns.values(), strict=True)]
    return rows, cutter


def decoder(kind="llama", **overrides):
    """A decoder whose new rows are means of pieces; with a tied head where `tie_word_embeddings` says so."""
    source = tiny.model(kind, tiny.tokenizer("en", "byte-level-bpe"), initializer_range=0.3, **overrides)
    old = len(tiny.tokenizer("en", "byte-level-bpe"))
    source.resize_token_embeddings(old + ADDED, mean_resizing=False)
    with torch.no_grad():
        for table in {source.get_input_embeddings().weight, source.get_output_embeddings().weight}:
            table[old:] = table[:old].mean(0)
    return source, torch.arange(old)


class TestMatches:
    @settings(deadline=None, max_examples=15)
    @given(st.lists(st.sampled_from(GERMAN), min_size=1, max_size=4), st.sampled_from(["", "ñ", "日本 x", "  ä"]))
    def test_they_are_those_of_a_plain_loop_over_bytes(self, lines, other):
        """Of byte-level tokens the text read so far is known without the tokenizer's offsets."""
        lines = [*lines, *([other] if other else [])]
        source, target = tiny.tokenizer("en", "byte-level-bpe"), extended()
        read = {}
        for name, tokenizer in (("old", source), ("new", target)):
            forms = Vocabulary.of(tokenizer).forms
            ids = [[*tokenizer(line, add_special_tokens=False)["input_ids"], None] for line in lines]
            # A separator stands for a byte that is in no text.
            sizes = [1 if id_ is None else len(form_bytes(forms[id_])) for line in ids for id_ in line]
            read[name] = np.cumsum(sizes)
        text = "".join(f"{prefixed(line, source)}\n" for line in lines).encode()
        whole = {end for end in range(len(text) + 1) if end == len(text) or text[end] & 0xC0 != 0x80}
        last = {end: j for j, end in enumerate(read["old"].tolist()) if end in whole}
        expected = [last.get(end, UNALIGNED) for end in read["new"].tolist()]
        found = matches(Segmentation.of(lines, target), Segmentation.of(lines, source))
        assert found.tolist() == expected

    @pytest.mark.parametrize("family", FAMILIES)
    def test_both_have_read_the_same_text(self, family):
        source, target = tiny.tokenizer("en", family), extended(family)
        new, old = (Segmentation.of(GERMAN[:40], tokenizer) for tokenizer in (target, source))
        found = matches(new, old)
        places = np.flatnonzero(found != UNALIGNED)
        assert snippets(family)[1].is_new[new.ids].any()
        assert (new.ends[places] == old.ends[found[places]]).all()
        assert len(places) > 0.8 * len(new.ids)
        assert (np.diff(found[places]) > 0).all()


def form_bytes(form):
    return b" " * form.starts_word + form.text


def prefixed(line, tokenizer):
    """A line as a byte-level tokenizer reads it: the bytes of its tokens."""
    forms = Vocabulary.of(tokenizer).forms
    ids = tokenizer(line, add_special_tokens=False)["input_ids"]
    return b"".join(form_bytes(forms[id_]) for id_ in ids).decode()


class TestSnippets:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_each_holds_the_same_text_twice(self, family):
        rows, cutter = snippets(family)
        for row in rows:
            texts = [tokenizer.decode(row[name], skip_special_tokens=True) for name, tokenizer in
                     (("input_ids", cutter.tokenizer), ("source_ids", cutter.source_tokenizer))]  # fmt: skip
            assert texts[0] == texts[1]

    @pytest.mark.parametrize("family", FAMILIES)
    def test_they_are_compared_from_the_first_new_token_on(self, family):
        rows, cutter = snippets(family)
        for row in rows:
            ids, alignment = row["input_ids"], row["alignment"]
            new = np.flatnonzero(cutter.is_new[ids])
            assert len(new)
            assert (alignment[: new[0]] == UNALIGNED).all()
            assert (alignment != UNALIGNED).any()
            assert not cutter.is_new[row["source_ids"][row["source_ids"] < len(cutter.is_new)]].any()
            same = np.flatnonzero((alignment != UNALIGNED) & ~cutter.is_new[ids])
            if family == "byte-level-bpe":  # where an old token stays, it is matched with itself
                assert (row["source_ids"][alignment[same]] == ids[same]).all()

    def test_none_is_longer_than_asked_for_by_either_tokenizer(self):
        rows, _ = snippets()
        lengths = np.array([[len(row["input_ids"]), len(row["source_ids"])] for row in rows])
        assert lengths.max() == LENGTH
        assert (lengths[:, 0] <= lengths[:, 1]).all()

    @pytest.mark.parametrize("number", [1, 3, 1000])
    def test_there_are_so_many_of_each_new_token(self, number):
        rows, cutter = snippets(number=number)
        new = np.flatnonzero(cutter.is_new)
        counts = cutter.counts(GERMAN)
        assert len(new) == ADDED
        assert len(rows) == np.minimum(counts[new], number).sum()
        held = np.bincount(np.concatenate([np.unique(row["input_ids"]) for row in rows]), minlength=len(counts))
        assert (held[new] >= np.minimum(counts[new], number) * 0.5).all()  # one may hold a token twice

    def test_they_are_spread_over_the_text(self):
        cutter = snippets(number=3)[1]
        counts = cutter.counts(GERMAN)
        token = int(np.flatnonzero(cutter.is_new)[counts[cutter.is_new].argmax()])
        ids = np.full(9, token)
        counts[token] = 18
        seen = np.zeros_like(counts)
        assert cutter._chosen(ids, seen, counts).tolist() == [5]
        seen[token] = 9
        assert cutter._chosen(ids, seen, counts).tolist() == [2, 8]

    def test_they_are_cut_once(self, tmp_path, monkeypatch):
        corpus = tmp_path / "de.txt"
        corpus.write_text("\n".join(GERMAN), encoding="utf-8")
        split, cutter = Split(Corpus(str(corpus))), snippets()[1]
        first = cut_snippets(split, cutter, tmp_path / "cache")
        monkeypatch.setattr(Snippets, "cut", None)
        again = cut_snippets(split, cutter, tmp_path / "cache")
        assert [row.tolist() for row in again["alignment"]] == [row.tolist() for row in first["alignment"]]

    def test_a_text_without_new_tokens_is_refused(self, tmp_path):
        corpus = tmp_path / "x.txt"
        corpus.write_text("123 456\n789\n" * 9, encoding="utf-8")
        refused = tiny.refusal(cut_snippets, Split(Corpus(str(corpus))), snippets()[1], tmp_path / "cache")
        assert refused.hint

    def test_tokens_that_are_in_none_are_told(self):
        cutter = snippets()[1]
        new = np.flatnonzero(cutter.is_new)
        dataset = Dataset.from_dict({"input_ids": [new[2:5].tolist(), new[7:].tolist()]})
        assert cutter.missing(dataset).tolist() == [*new[:2], *new[5:7]]


class TestLoss:
    @pytest.mark.parametrize("layer", [-1, 1])
    @pytest.mark.parametrize("tied", [True, False])
    def test_it_is_that_of_a_plain_loop(self, layer, tied):
        model, _ = decoder(tie_word_embeddings=tied)
        rows = snippets()[0][:5]
        objective = DataCollatorForTokenDistillation(extended(), layer=layer)
        squares, lengths, losses = [], [], []
        for row in rows:
            new, old = (
                model(torch.tensor(row[name][None]), output_hidden_states=True) for name in ("input_ids", "source_ids")
            )
            for i, j in enumerate(row["alignment"].tolist()):
                if j != UNALIGNED:
                    teacher = old.hidden_states[layer][0, j]
                    squares.append(((new.hidden_states[layer][0, i] - teacher) ** 2).sum())
                    lengths.append((teacher**2).sum())
            logs = new.logits[0].log_softmax(-1)
            losses += [-logs[i, row["input_ids"][i + 1]] for i in range(len(row["input_ids"]) - 1)]
        loss = objective.loss(model, model, objective(rows))
        expected = sum(squares) / sum(lengths) + torch.stack(losses).mean()
        torch.testing.assert_close(loss, expected)

    @pytest.mark.parametrize("tied", [True, False])
    def test_output_rows_learn_from_the_next_token_and_input_rows_from_the_states(self, tied):
        model, _ = decoder(tie_word_embeddings=tied)
        objective = DataCollatorForTokenDistillation(extended())
        batch = objective(snippets()[0][:5])
        objective.loss(model, model, batch).backward()
        given = [table.weight.grad.clone() for table in tables(model)]
        model.zero_grad()
        objective.parts(model, model, batch)[0].backward()
        of_states = model.get_input_embeddings().weight.grad.clone()
        model.zero_grad()
        states = model.base_model(batch["input_ids"], batch["attention_mask"]).last_hidden_state.detach()
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)[:, 1:]
        logits = model.lm_head(states[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
        of_words = model.lm_head.weight.grad
        assert of_states.any()
        expected = [of_states + of_words] * 2 if tied else [of_states, of_words]
        torch.testing.assert_close(given, expected)

    def test_neither_pass_drops_anything_out(self):
        model, _ = decoder("gpt2", tie_word_embeddings=True)
        assert model.config.resid_pdrop
        objective = DataCollatorForTokenDistillation(extended())
        batch = objective(snippets()[0][:5])
        evaluated = objective.loss(model.eval(), model, batch)
        assert torch.equal(objective.loss(model.train(), model, batch), evaluated)
        assert model.training

    def test_without_new_tokens_there_would_be_nothing_to_learn(self):
        """A model that reads both segmentations alike is at its minimum: the old one, matched with itself."""
        model, _ = decoder()
        rows = [row | {"input_ids": row["source_ids"], "alignment": np.arange(len(row["source_ids"]))}
                for row in snippets()[0][:3]]  # fmt: skip
        objective = DataCollatorForTokenDistillation(extended())
        objective.loss(model, model, objective(rows)).backward()
        torch.testing.assert_close(model.get_input_embeddings().weight.grad.abs().max(), torch.tensor(0.0))

    @pytest.mark.parametrize("tied", [True, False])
    def test_it_falls_and_old_rows_and_the_body_stay_as_they_are_to_the_bit(self, tied):
        model, copied = decoder(tie_word_embeddings=tied)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        rows, objective = snippets()[0], DataCollatorForTokenDistillation(extended())
        fixed = objective(rows[:32])

        def measured():
            with torch.no_grad():
                return objective.parts(model, model, fixed)

        first = measured()
        with trained_parts(model, Stage(**STAGE), copied):
            optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.0)
            for step in range(12):
                optimizer.zero_grad()
                objective.loss(model, model, objective(rows[step * 8 : step * 8 + 8])).backward()
                optimizer.step()
        last = measured()
        assert last[0] < 0.9 * first[0]
        assert sum(last) < sum(first)
        vocabulary = {id(table.weight) for table in tables(model)}
        for name, tensor in model.state_dict(keep_vars=True).items():
            kept = slice(len(copied)) if id(tensor) in vocabulary else slice(None)
            assert torch.equal(tensor[kept], before[name][kept])
            if id(tensor) in vocabulary:
                assert (tensor[len(copied) :] != before[name][len(copied) :]).any(1).float().mean() > 0.9


def tables(model):
    return [model.get_input_embeddings(), model.get_output_embeddings()]


@pytest.fixture
def given_files(tmp_path):
    """Overrides that name a decoder of English and German text."""
    english = tiny.tokenizer("en", "byte-level-bpe")
    tiny.save(
        tiny.model("llama", english, tie_word_embeddings=True, initializer_range=0.3), english, tmp_path / "source"
    )
    (tmp_path / "de.txt").write_text("\n".join(GERMAN), encoding="utf-8")
    return [f"source={tmp_path / 'source'}", f"data.corpus={tmp_path / 'de.txt'}", "language=de",
            "initializer.method=subtoken-mean", "data.held_out_every=20"]  # fmt: skip


def recipe_of(given, *more, stages=(STAGE,)):
    return load_recipe("pooled", [*given, f"tokenizer.added={ADDED}", f"stages={json.dumps(stages)}", *more])


class TestRun:
    @pytest.mark.slow
    def test_only_new_rows_change(self, given_files, tmp_path):
        recipe = recipe_of(given_files)
        results = run_recipe(recipe, tmp_path / "out")
        source, made = (
            AutoModelForCausalLM.from_pretrained(tmp_path / name).state_dict() for name in ("source", "out")
        )
        old = len(tiny.tokenizer("en", "byte-level-bpe"))
        changed = {name for name in source if not torch.equal(made[name][: len(source[name])], source[name])}
        assert not changed
        begun = SubtokenMeanInitializer(tmp_path / "source", tmp_path / "out").build_model(torch.float32)
        moved = made["model.embed_tokens.weight"][old:] != begun.get_input_embeddings().weight[old:]
        assert moved.any(1).float().mean() > 0.9
        assert [point.step for point in results.runs[0].curve.points] == [0, 3, 6]
        assert results.corpus["sequences"] > ADDED
        assert 0 < results.corpus["tokens"] <= LENGTH * results.corpus["sequences"]

    @pytest.mark.slow
    def test_a_killed_run_ends_as_one_that_was_not(self, given_files, tmp_path, monkeypatch):
        recipe = recipe_of(given_files)
        whole = run_recipe(recipe, tmp_path / "whole")
        learn, calls = DataCollatorForTokenDistillation.loss, []

        def killed(self, *batch):
            calls.append(batch)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return learn(self, *batch)

        monkeypatch.setattr(DataCollatorForTokenDistillation, "loss", killed)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, tmp_path / "out")
        resumed = run_recipe(recipe, tmp_path / "out")
        assert len(calls) == 5 + 2  # saved after the fourth step
        assert [run.curve.points for run in resumed.runs] == [run.curve.points for run in whole.runs]
        first, second = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "out"))
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))

    @pytest.mark.slow
    def test_language_modeling_goes_on_from_there(self, given_files, tmp_path):
        then = {"name": "all", "max_steps": 2, "sequence_length": 32, "per_device_train_batch_size": 4}
        results = run_recipe(recipe_of(given_files, stages=(STAGE, then)), tmp_path / "out")
        assert [point.step for point in results.runs[0].curve.points] == [0, 3, 6, 7, 8]
        assert all(isinstance(point, Point) for point in results.runs[0].curve.points)

    @pytest.mark.slow
    def test_what_has_no_new_tokens_models_language_instead(self, given_files, tmp_path):
        results = run_recipe(recipe_of(given_files), tmp_path / "out", compare=True)
        curves = {run.curve.method: run.curve for run in results.runs}
        own, distilled = curves[SOURCE_TOKENIZER], curves["subtoken mean"]
        last = [curve.points[-1].step * curve.bytes_per_step for curve in (own, distilled)]
        assert 0 <= last[0] - last[1] < own.bytes_per_step  # the same bytes of text
        assert curves[FROM_SCRATCH].points[-1].step == 6

    def test_a_plan_counts_snippets(self, given_files):
        planned = plan_run(recipe_of(given_files))
        assert planned.stages[0].tokens == 6 * 8 * LENGTH


class TestText:
    def test_stages_read_what_they_learn_from(self, given_files, tmp_path):
        later = STAGE | {"name": "later", "snippet_length": 16, "layer": 1}
        modeling = {"name": "all", "sequence_length": 32}
        kind = Transfer(recipe_of(given_files, stages=(STAGE, later, modeling)))
        comparison = kind.comparison(tmp_path, compare=False)
        text = kind.text(comparison, tmp_path)
        assert isinstance(text, SnippetText)
        first, second, third = kind.recipe.stages
        assert text.objective(second, comparison.model_kind).layer == 1
        assert "source_ids" in text.stream(first, 8, 0)[3]
        assert max(len(row["source_ids"]) for row in text.stream(second, 99, 0).__getitems__(list(range(99)))) == 16
        assert text.stream(first, 8, 0)[3]["input_ids"].tolist() != text.stream(first, 8, 1)[3]["input_ids"].tolist()
        assert len(text.stream(third, 8, 0)[3]["input_ids"]) == 32
        size = text.sequence_size(first)
        dataset = text.snippets[10, LENGTH]
        lengths = [sum(map(len, dataset[name])) / len(dataset) for name in ("input_ids", "source_ids")]
        assert size.tokens == pytest.approx(lengths[0] + lengths[1] / 3)
        bytes_read = np.mean([len(extended().decode(row["input_ids"]).encode()) for row in dataset])
        assert size.text_bytes == pytest.approx(bytes_read, rel=0.25)
        assert text.sequence_size(third).tokens == 32
        assert text.sequences == len(text.packed.corpora["target"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("stage", "key"),
        [
            ({"trains": "all"}, "trains"),
            ({"trains": "embeddings"}, "trains"),
            ({"trains": "lora"}, "trains"),
            ({"replay": 0.1}, "replay"),
            ({"gradient_checkpointing": True}, "gradient_checkpointing"),
            ({"layer": 0}, "layer"),
            ({"snippets": 0}, "snippets"),
            ({"snippet_length": 4}, "snippet_length"),
            ({"objective": "clm"}, "snippets"),
            ({"objective": "clm", "snippets": 100}, "snippet_length"),
            ({"objective": "clm", "snippets": 100, "snippet_length": 50, "layer": 3}, "layer"),
        ],
    )
    def test_a_setting_of_a_stage(self, stage, key):
        assert tiny.refusal(Stage, **(STAGE | stage)).key == key

    @pytest.mark.parametrize("more", [["tokenizer.added=0"], ["helper=x", "initializer.method=clp", "tokenizer=null"]])
    def test_a_tokenizer_that_replaces_the_sources(self, given_files, more):
        refused = tiny.refusal(check_recipe, recipe_of(given_files, *more))
        assert refused.key == "stages.0.objective"

    def test_a_named_tokenizer_that_replaces_the_sources(self, given_files, tmp_path):
        tiny.tokenizer("de", "byte-level-bpe").save_pretrained(tmp_path / "german")
        recipe = recipe_of(given_files, f"target_tokenizer={tmp_path / 'german'}", "tokenizer=null")
        assert tiny.refusal(plan_run, recipe).key == "target_tokenizer"

    def test_a_named_tokenizer_that_extends_it_is_taken(self, given_files, tmp_path):
        extended().save_pretrained(tmp_path / "extended")
        recipe = recipe_of(given_files, f"target_tokenizer={tmp_path / 'extended'}", "tokenizer=null")
        assert plan_run(recipe).rows == len(extended())

    def test_an_encoder(self, given_files, tmp_path):
        english = tiny.tokenizer("en", "wordpiece")
        tiny.save(tiny.model("bert", english), english, tmp_path / "bert")
        assert tiny.refusal(plan_run, recipe_of(given_files, f"source={tmp_path / 'bert'}")).value == "encoder"

    def test_more_layers_than_there_are(self, given_files):
        recipe = recipe_of(given_files, stages=(STAGE | {"layer": -3},))
        refused = tiny.refusal(plan_run, recipe)
        assert (refused.key, refused.value) == ("stages.0.layer", -3)
        plan_run(recipe_of(given_files, stages=(STAGE | {"layer": -2},)))

    def test_snippets_that_are_longer_than_the_model_reads(self, given_files):
        recipe = recipe_of(given_files, stages=(STAGE | {"snippet_length": 81},))
        assert tiny.refusal(plan_run, recipe).value == 81

    def test_other_kinds_of_run(self, given_files, tmp_path):
        recipe = load_recipe("scratch", [f"data.corpus={tmp_path / 'de.txt'}", f"stages={json.dumps([STAGE])}"])
        assert tiny.refusal(check_recipe, recipe).key == "stages.0.objective"

    def test_a_tokenizer_without_a_pad_token(self):
        tokenizer = tiny.train_tokenizer(GERMAN[:20], 300, "byte-level-bpe")
        tokenizer.pad_token = None
        with pytest.raises(InputError):
            objective_for("token-distill", tokenizer)

"""The source trained on with its own tokenizer, beside a transfer: equal bytes of text, and what vocabularies cost."""

import json
import logging
import math

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.data.token_stream import token_stream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.evaluation.economy import characters_per_token, tokens_per_second, unknown_share
from hf_xlt.recipes import load_recipe
from hf_xlt.runs import Results, run_recipe
from hf_xlt.runs.comparison import unchanged
from hf_xlt.runs.costs import multiplied_parameters, step_cost
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.runs.prepared import same_bytes
from hf_xlt.runs.results import RANDOM_ROWS, RESIZED_ROWS, SOURCE_TOKENIZER, Run
from hf_xlt.runs.text import SequenceSize, packed_text
from hf_xlt.runs.training.trainer import StageTrainer
from hf_xlt.sample import sentences

SMALL = ("stages.0.checkpoints=0",
         "stages.0.steps=6", "stages.0.sequence_length=16", "stages.0.batch_size=4", "stages.0.evaluations=3",
         "data.held_out_every=40", "language=de")  # fmt: skip
LINES = sentences("de", "train")[:200]


@pytest.fixture
def asked(tmp_path):
    english, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "byte-level-bpe", 500)
    tiny.save(tiny.model("gpt2", english, seed=1), english, tmp_path / "source")
    german.save_pretrained(tmp_path / "german")
    (tmp_path / "de.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    places = [f"source={tmp_path / 'source'}", f"target_tokenizer={tmp_path / 'german'}"]
    recipe = load_recipe("clp", [*SMALL, *places, f"data.corpus={tmp_path / 'de.txt'}"])
    return recipe.replace(initializer={"method": "mean"}, alternatives=())


class TestBytes:
    def test_a_sequence_holds_the_bytes_that_its_tokens_stand_for(self):
        german = tiny.tokenizer("de", "wordpiece")
        tokens = sum(map(len, token_stream(LINES, german)))
        size = SequenceSize.packed(LINES, german, 16)
        assert size.tokens == 16
        assert size.text_bytes * tokens / 14 == pytest.approx(len("\n".join(LINES).encode()) + 1)  # two frame it

    def test_stages_read_as_many_bytes_as_those_of_the_others_and_hardly_more(self, asked, tmp_path):
        inputs = Transfer(asked).inputs
        text, own = (packed_text(inputs, tok, tmp_path) for tok in (inputs.target_tokenizer, inputs.source_tokenizer))
        stage = asked.stages[0].replace(max_steps=50)
        more = same_bytes(stage, text, own, stage)
        assert more == stage.replace(max_steps=more.max_steps)
        read = [each.sequence_size(stage).text_bytes * steps for each, steps in ((text, 50), (own, more.max_steps))]
        assert 0 <= read[1] - read[0] < own.sequence_size(stage).text_bytes
        assert more.max_steps > 50
        assert same_bytes(stage, text, text, stage) == stage


class TestCompute:
    @pytest.mark.parametrize(("kind", "tied"), [("gpt2", True), ("llama", False)])
    def test_the_vocabulary_counts_once_as_the_head(self, kind, tied, asked, tmp_path):
        model = tiny.model(kind, tiny.tokenizer("de", "byte-level-bpe", 500))
        matrices = [parameter for name, parameter in model.named_parameters() if parameter.ndim == 2]
        table = model.get_input_embeddings().weight.numel()
        positions = sum(p.numel() for name, p in model.named_parameters() if name.endswith("wpe.weight"))
        in_all = sum(parameter.numel() for parameter in matrices)
        assert multiplied_parameters(model) == in_all - positions - (0 if tied else table)

    def test_a_step_is_an_average_over_stages(self, asked, tmp_path):
        inputs = Transfer(asked).inputs
        text = packed_text(inputs, inputs.target_tokenizer, tmp_path)
        model = tiny.model("gpt2", inputs.target_tokenizer)
        once, twice = asked.stages[0], asked.stages[0].replace(gradient_accumulation_steps=2)
        cost = step_cost(model, text, (once, twice))
        assert cost.flops_per_step == 6 * multiplied_parameters(model) * 16 * 4 * 1.5
        assert cost.bytes_per_step == pytest.approx(text.sequence_size(once).text_bytes * 4 * 1.5)


class TestEconomy:
    def test_a_token_stands_for_characters_and_unknown_ones_are_counted(self):
        english = tiny.tokenizer("en", "wordpiece")
        lines = ["das Wasser", "日本"]
        ids = [i for line in lines for i in english(line, add_special_tokens=False)["input_ids"]]
        assert characters_per_token(lines, english) == 12 / len(ids)
        assert unknown_share(lines, english) == ids.count(english.unk_token_id) / len(ids) > 0
        with pytest.raises(InputError):
            characters_per_token([], english)

    @pytest.mark.parametrize("length", [2, 16, 80])
    def test_a_decoder_writes_within_its_length(self, length):
        german = tiny.tokenizer("de", "byte-level-bpe")
        model = tiny.model("gpt2", german)
        assert tokens_per_second(model, german, ["Das Wasser " * 40, "Ja"], length) > 0


def test_the_source_is_as_it_was(asked, tmp_path):
    source = Checkpoint.open(asked.source)
    variant = unchanged(SOURCE_TOKENIZER, source)
    assert variant.tokenizer.get_vocab() == source.tokenizer().get_vocab()
    mine, theirs = variant.start(0).state_dict(), AutoModelForCausalLM.from_pretrained(asked.source).state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.slow
def test_a_comparison_is_at_equal_bytes_and_tells_what_vocabularies_cost(asked, tmp_path):
    results = run_recipe(asked, tmp_path / "out", "x", compare=True)
    own, source, resized, random, scratch = (runs[0].curve for runs in results.runs_of.values())
    assert (source.method, resized.method, random.method) == (SOURCE_TOKENIZER, RESIZED_ROWS, RANDOM_ROWS)
    ratio = own.bytes_per_step / source.bytes_per_step
    assert source.final.step == math.ceil(ratio * own.final.step) > own.final.step
    assert {(curve.bytes_per_step, curve.flops_per_step) for curve in (own, resized, random, scratch)} == {
        (own.bytes_per_step, own.flops_per_step)
    }
    rows = {row.method: row for row in results.summaries}
    assert rows[own.method].steps_saved.keys() == {RESIZED_ROWS, RANDOM_ROWS, scratch.method}
    assert rows[SOURCE_TOKENIZER].steps_saved == {}
    assert rows[own.method].equal_compute_bits_per_byte == rows[own.method].bits_per_byte
    target, other = results.economies
    assert (target.method, other.method) == (own.method, SOURCE_TOKENIZER)
    assert target.characters_per_token > other.characters_per_token
    assert target.characters_per_second > 0
    assert target.unknown == other.unknown == 0

    folder = tmp_path / "out"
    assert {"learning_curves.png", "learning_curves_compute.png"} <= {path.name for path in folder.iterdir()}
    assert Results.load(folder / "results.json").economies == results.economies
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "bits/byte at equal compute" in card
    assert "characters a second" in card
    assert AutoModelForCausalLM.from_pretrained(folder).config.vocab_size == 500  # the kept one is the recipe's own


def test_results_from_before_costs_were_recorded_open(tmp_path):
    curves = [Curve(name, 0, (Point(0, 1.0, 2.0, 3.0),), 1.0) for name in ("clp", RANDOM_ROWS)]
    runs = tuple(Run(curve, None, 10, {}) for curve in curves)
    results = Results({}, "x", "decoder", "clp", runs, {}, {}, "")
    data = json.loads(results.to_json())
    del data["economies"]
    for run in data["runs"]:
        del run["curve"]["bytes_per_step"], run["curve"]["flops_per_step"]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    assert Results.load(file) == results
    assert [row.equal_compute_bits_per_byte for row in results.summaries] == [None, None]


@pytest.mark.slow
def test_a_comparison_that_was_killed_in_the_source_goes_on_there(asked, tmp_path, monkeypatch):
    asked = asked.replace(stages=(asked.stages[0].replace(checkpoints=3),))
    whole = run_recipe(asked, tmp_path / "whole", "x", compare=True)
    step = StageTrainer.training_step

    def killed(trainer, *args, **kwargs):
        if trainer.state.max_steps > asked.stages[0].max_steps and trainer.state.global_step == 5:
            raise KeyboardInterrupt
        return step(trainer, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(StageTrainer, "training_step", killed)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(asked, tmp_path / "killed", "x", compare=True)
    assert list((tmp_path / ".killed.work" / "source-tokenizer-seed0" / "stages").rglob("trainer_state.json"))
    resumed = run_recipe(asked, tmp_path / "killed", "x", compare=True)
    assert [run.curve.points for run in resumed.runs] == [run.curve.points for run in whole.runs]


def test_a_source_that_cannot_read_the_language_is_left_out_with_a_warning(tmp_path, caplog):
    english, german = tiny.tokenizer("en", "wordpiece"), tiny.tokenizer("de", "wordpiece", 500)
    tiny.save(tiny.model("bert", english, seed=1), english, tmp_path / "source")
    german.save_pretrained(tmp_path / "target")
    (tmp_path / "ja.txt").write_text("日本語\n水\n" * 40, encoding="utf-8")
    places = [f"source={tmp_path / 'source'}", f"target_tokenizer={tmp_path / 'target'}"]
    recipe = load_recipe("clp", [*SMALL, *places, f"data.corpus={tmp_path / 'ja.txt'}"])
    recipe = recipe.replace(initializer={"method": "mean"}, alternatives=())
    with caplog.at_level(logging.WARNING):
        compared = Transfer(recipe).comparison(tmp_path, compare=True)
    assert SOURCE_TOKENIZER not in [variant.name for variant in compared.variants]
    assert "is left out" in caplog.text

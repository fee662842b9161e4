"""Tables that are padded as their source's is: the rule, the rows that no token has, and all who tell their number."""

import json

import hypothesis
import pytest
import tiny
import torch
from hypothesis import strategies as st
from test_trelm_recipe import given  # noqa: F401
from transformers import AutoModelForCausalLM

from hf_xlt.checkpoint.padding import MULTIPLES, multiple_of, padded
from hf_xlt.initializers.baselines import RandomInitializer
from hf_xlt.initializers.registry import initializer
from hf_xlt.recipes import load_recipe
from hf_xlt.runs import plan_run, run_recipe
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS, SOURCE_TOKENIZER
from hf_xlt.runs.training import variant
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer
from hf_xlt.transport import Transport

KNOWN = {  # of models as they are published: rows, ids, what the table is padded to
    "Pythia 70M": (50_304, 50_277, 128),
    "Gemma 3 4B": (262_208, 262_145, 64),
    "Qwen 2.5 0.5B": (151_936, 151_665, 128),
    "T5 small": (32_128, 32_100, 128),
    "SmolLM2 135M, which has a token for each row": (49_152, 49_152, 1),
    "Llama 3.2 1B, which has one too": (128_256, 128_256, 1),
    "BERT base": (30_522, 30_522, 1),
    "XLM-R, with spare rows by no rule": (250_002, 250_000, 1),
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_published_models_are_padded_to(name):
    rows, ids, multiple = KNOWN[name]
    assert multiple_of(rows, ids) == multiple


@hypothesis.given(st.integers(1, 300_000), st.integers(1, 300_000), st.integers(1, 300_000))
def test_a_table_made_after_a_source_is_padded_to_what_its_is(rows, ids, target):
    multiple = multiple_of(rows, ids)
    assert (multiple == 1) == (rows <= ids or rows % min(MULTIPLES) > 0)
    assert rows % multiple == 0
    size = padded(target, multiple)
    assert size % multiple == 0
    assert 0 <= size - target < multiple


def source_of(rows, folder, **shape):
    english = tiny.tokenizer("en", "byte-level-bpe")  # of 600 tokens
    return tiny.save(tiny.model("llama", english, rows=rows, seed=1, **shape), english, folder / f"source-{rows}")


@pytest.mark.parametrize(
    ("rows", "asked", "made"),
    [(640, None, 512), (704, None, 512), (648, None, 500), (600, None, 500), (640, 1, 500), (600, 16, 512)],
)
@pytest.mark.parametrize("method", ["random", "resized", "mean"])
def test_the_target_is_padded_where_the_source_is_and_as_asked_where_asked(method, rows, asked, made, tmp_path):
    german = tiny.tokenizer("de", "byte-level-bpe", 500)
    built = initializer(method, source=source_of(rows, tmp_path), tokenizer=german, pad_to_multiple_of=asked)
    assert (built.target_size, built.target_config().vocab_size) == (made, made)
    assert built.transport().counts.unused == made - 500
    assert built.build_model().get_input_embeddings().num_embeddings == made


def test_a_folder_tells_the_same_of_its_rows_everywhere(tmp_path):
    german = tiny.tokenizer("de", "byte-level-bpe", 500)
    built = RandomInitializer(source_of(640, tmp_path), german).build(tmp_path / "out")
    assert json.loads((built / "config.json").read_text())["vocab_size"] == 512
    told = json.loads((built / "health.json").read_text())["rows"]
    assert told["unused"]["lengths"]["rows"] == 12
    assert sum(rows["lengths"]["rows"] for rows in told.values()) == 512
    assert "512 rows:" in (card := (built / "README.md").read_text())
    assert "12 that no token has." in card
    assert Transport.load(built / "transport.safetensors").target_size == 512


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_no_token_has_get_the_mean_logit(tied, tmp_path):
    german = tiny.tokenizer("de", "byte-level-bpe", 500)
    source = source_of(640, tmp_path, tie_word_embeddings=tied)
    model = RandomInitializer(source, german).build_model().eval()
    head = AutoModelForCausalLM.from_pretrained(source).get_output_embeddings().weight[:600]
    ids = torch.tensor([german("Das Wasser ist kalt.")["input_ids"]])
    with torch.no_grad():
        states, logits = model.base_model(ids).last_hidden_state, model(ids).logits
    torch.testing.assert_close(logits[..., 500:], (states @ head.T).mean(-1, keepdim=True).expand(-1, -1, 12))
    assert (logits.argmax(-1) < 500).all()


def test_an_extended_vocabulary_keeps_the_places_of_its_rows(tmp_path):
    source, own = source_of(640, tmp_path), tiny.tokenizer("en", "byte-level-bpe")
    more = extend_tokenizer(own, sentences("de", "train")[:300], 50)
    made = initializer("mean", source=source, tokenizer=more)
    assert made.target_size == 768
    tables = made.source.input_rows(), made.build_model().get_input_embeddings().weight
    assert torch.equal(tables[0][:600], tables[1][:600])


class TestRuns:
    @pytest.fixture
    def settings(self, tmp_path):
        german, corpus = tiny.tokenizer("de", "byte-level-bpe", 500), tmp_path / "de.txt"
        corpus.write_text("\n".join(sentences("de", "train")[:100]) + "\n", encoding="utf-8")
        helper = tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, tmp_path / "helper")
        return [f"data.corpus={corpus}", f"source={source_of(640, tmp_path)}", f"helper={helper}", "stages.0.steps=1",
                "stages.0.sequence_length=16", "stages.0.batch_size=2", "data.held_out_every=40"]  # fmt: skip

    @pytest.mark.parametrize(
        ("more", "rows"),
        [([], 512), (["initializer.pad_to_multiple_of=1"], 500), (["initializer.pad_to_multiple_of=32"], 512)],
    )
    def test_a_plan_tells_the_rows_of_the_result(self, settings, more, rows):
        assert plan_run(load_recipe("clp", [*settings, *more])).rows == rows

    @pytest.mark.slow
    @pytest.mark.parametrize("more", [[], ["initializer.pad_to_multiple_of=24"]])
    def test_all_variants_have_as_many_rows_as_the_plan_tells(self, settings, more, tmp_path, monkeypatch):
        recipe, sizes = load_recipe("clp", [*settings, *more]), {}
        train = variant.train_stages

        def seen(plan, trained, seed):
            model, *rest = train(plan, trained, seed)
            sizes[trained.name] = len(model.get_input_embeddings().weight)
            return model, *rest

        monkeypatch.setattr(variant, "train_stages", seen)
        results = run_recipe(recipe, tmp_path / "out", "x", compare=True)
        rows = plan_run(recipe, compare=True).rows
        assert sizes.pop(SOURCE_TOKENIZER) == 640
        assert sizes.keys() == {results.method, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH}
        assert set(sizes.values()) == {rows}
        assert sum(results.runs[0].rows.values()) == rows

    @pytest.mark.slow
    def test_a_trelm_is_padded_too(self, given, tmp_path):  # noqa: F811
        english = tiny.tokenizer("en", "wordpiece")
        source = tiny.model("bert", english, rows=640, num_hidden_layers=4)
        recipe = load_recipe("trelm", [*given, f"source={tiny.save(source, english, tmp_path / 'padded')}"])
        run_recipe(recipe, tmp_path / "out", "x")
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert plan_run(recipe).rows == config["vocab_size"] == 768  # for 700 tokens

    def test_alternatives_of_other_sizes_are_refused(self, settings, tmp_path):
        other = 'alternatives=[{"method": "clp", "weighting": "top-k", "pad_to_multiple_of": 1}]'
        refused = tiny.refusal(run_recipe, load_recipe("clp", [*settings, other]), tmp_path / "out", "x", compare=True)
        assert (refused.value, refused.expected) == (500, "512")

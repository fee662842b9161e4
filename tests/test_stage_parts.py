"""What a stage trains, and what it leaves as it was: new rows alone, adapters merged or kept."""

import warnings

import pytest
import tiny
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
)

from hf_xlt.checkpoint.adapters import merge_adapters
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.recipes import Stage, load_recipe, recipe_from
from hf_xlt.recipes.settings import SettingError
from hf_xlt.runs import run_recipe
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS, SOURCE_TOKENIZER
from hf_xlt.runs.training.parts import rows_kept, trained_parts
from hf_xlt.runs.training.trainer import StageTrainer
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.extend import extend_tokenizer
from hf_xlt.transport import Transport

SMALL = ("stages.0.checkpoints=0",
         "stages.0.steps=6", "stages.0.sequence_length=16", "stages.0.batch_size=4", "stages.0.evaluations=3",
         "stages.0.learning_rate=0.01", "data.held_out_every=40", "language=de")  # fmt: skip
CLASSES = {"gpt2": AutoModelForCausalLM, "llama": AutoModelForCausalLM, "bert": AutoModelForMaskedLM,
           "bart": AutoModelForSeq2SeqLM}  # fmt: skip
FAMILIES = {"gpt2": "byte-level-bpe", "llama": "byte-level-bpe", "bert": "wordpiece", "bart": "byte-level-bpe"}
NOTHING = torch.empty(0, dtype=torch.int64)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "de.txt"
    path.write_text("\n".join(sentences("de", "train")[:200]) + "\n", encoding="utf-8")
    return path


def recipe(folder, corpus, kind, *more, **shape):
    """A transfer by CLP: tokens that both tokenizers have are copied, the others mixed."""
    english, german = (tiny.tokenizer(language, FAMILIES[kind]) for language in ("en", "de"))
    source = tiny.save(tiny.model(kind, english, seed=1, **shape), english, folder / "source")
    helper = tiny.save(tiny.model("gpt2", german, seed=2, width=8), german, folder / "helper")
    given = [f"data.corpus={corpus}", f"source={source}", f"helper={helper}"]
    return load_recipe("clp", [*SMALL, *given, *more])


class TestNewRows:
    @pytest.mark.parametrize(
        ("kind", "shape"),
        [
            ("bert", {}),
            ("bert", {"tie_word_embeddings": False}),
            ("gpt2", {}),
            ("llama", {}),
            ("llama", {"tie_word_embeddings": True}),
            ("bart", {}),
        ],
    )
    @pytest.mark.slow
    def test_only_rows_that_were_not_copied_change(self, tmp_path, corpus, kind, shape):
        settings = ("stages.0.trains=new-rows", "stages.0.weight_decay=0.5", "stages.0.accumulation=2")
        asked = recipe(tmp_path, corpus, kind, *settings, **shape)
        run_recipe(asked, tmp_path / "out", "x")
        source, trained = (CLASSES[kind].from_pretrained(tmp_path / name) for name in ("source", "out"))
        transport = Transport.load(tmp_path / "out" / "transport.safetensors")
        new = torch.ones(transport.target_size, dtype=torch.bool).index_fill(0, transport.copied_target, False)
        assert 0 < new.sum() < len(new)
        tables = [model.get_input_embeddings().weight for model in (source, trained)]
        heads = [[*model.get_output_embeddings().parameters()] for model in (source, trained)]
        for before, after in ((tables[0], tables[1]), *zip(*heads, strict=True)):
            rows = transport.apply(before.detach())
            assert torch.equal(rows[~new], after[~new])
            assert not torch.equal(rows[new], after[new])
        sizes = len(tables[0]), len(tables[1])
        body = [{name: p for name, p in model.named_parameters() if len(p) not in sizes} for model in (source, trained)]
        assert body[0].keys() == body[1].keys()
        assert all(torch.equal(body[0][name], body[1][name]) for name in body[0])

    @pytest.mark.slow
    def test_a_resumed_run_ends_where_an_unbroken_one_does(self, tmp_path, corpus, monkeypatch):
        asked = recipe(tmp_path, corpus, "bert", "stages.0.trains=new-rows", "stages.0.checkpoints=3")
        run_recipe(asked, tmp_path / "whole", "x")
        step = StageTrainer.training_step

        def killed(trainer, *args, **kwargs):
            if trainer.state.global_step == 5:
                raise KeyboardInterrupt
            return step(trainer, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(StageTrainer, "training_step", killed)
            with pytest.raises(KeyboardInterrupt):
                run_recipe(asked, tmp_path / "killed", "x")
        run_recipe(asked, tmp_path / "killed", "x")
        one, other = (AutoModelForMaskedLM.from_pretrained(tmp_path / name) for name in ("whole", "killed"))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))

    @pytest.mark.slow
    def test_in_a_comparison_each_method_trains_its_own(self, tmp_path, corpus):
        asked = recipe(tmp_path, corpus, "bert", "stages.0.trains=new-rows", "stages.0.steps=2")
        results = run_recipe(asked, tmp_path / "out", "x", compare=True)
        assert results.methods[1:] == (SOURCE_TOKENIZER, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH)

    def test_where_nothing_was_copied_all_rows_train(self):
        model = tiny.model("bert", tiny.tokenizer("de", "wordpiece"))
        table = model.get_input_embeddings().weight
        with trained_parts(model, Stage(trains="new-rows"), NOTHING):
            model(torch.arange(len(table))[None, :70]).logits.sum().backward()
            assert table.grad.any(dim=1).all()
            assert not any(p.requires_grad for p in model.bert.encoder.parameters())

    def test_gradients_are_cleared_within_the_context_alone(self):
        table = torch.nn.Parameter(torch.ones(4, 2))
        with rows_kept([table], torch.tensor([1, 3])):
            (2 * table).sum().backward()
            (2 * table).sum().backward()
        assert table.grad.tolist() == [[4, 4], [0, 0], [4, 4], [0, 0]]
        table.sum().backward()
        assert table.grad.tolist() == [[5, 5], [1, 1], [5, 5], [1, 1]]


class TestAdapters:
    def logits(self, model, tokenizer):
        inputs = tokenizer("Das Wasser ist kalt.", return_tensors="pt", return_token_type_ids=False)
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = inputs["input_ids"]
        with torch.inference_mode():
            return model.eval()(**inputs).logits

    @pytest.mark.parametrize("kind", ["gpt2", "bert", "bart"])
    @pytest.mark.slow
    def test_kept_ones_lie_beside_the_model_and_give_what_merged_ones_do(self, tmp_path, corpus, kind):
        merged = recipe(tmp_path, corpus, kind, "stages.0.trains=lora", "stages.0.lora_rank=4")
        kept = merged.replace(stages=(merged.stages[0].replace(adapters="kept"),))
        one, other = (run_recipe(asked, tmp_path / name, "x") for asked, name in ((merged, "merged"), (kept, "kept")))
        assert one.runs[0].curve.points == other.runs[0].curve.points
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
        wanted = self.logits(CLASSES[kind].from_pretrained(tmp_path / "merged"), tokenizer)

        base = CLASSES[kind].from_pretrained(tmp_path / "kept")  # with peft installed the adapters come along
        torch.testing.assert_close(self.logits(base, tokenizer), wanted, rtol=1e-4, atol=1e-5)
        base.disable_adapters()
        assert not torch.allclose(self.logits(base, tokenizer), wanted, atol=1e-3)
        alone = {path.name for path in (tmp_path / "kept").iterdir()}
        assert {"adapter_config.json", "adapter_model.safetensors", "model.safetensors"} <= alone

    @pytest.mark.slow
    def test_peft_puts_them_on_the_model_without_them(self, tmp_path, corpus):
        asked = recipe(tmp_path, corpus, "gpt2", "stages.0.trains=lora", "stages.0.adapters=kept")
        run_recipe(asked, tmp_path / "kept", "x")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
        wanted = self.logits(AutoModelForCausalLM.from_pretrained(tmp_path / "kept"), tokenizer)
        stored = load_file(tmp_path / "kept" / "model.safetensors")
        base = AutoModelForCausalLM.from_config(AutoModelForCausalLM.from_pretrained(tmp_path / "kept").config)
        base.load_state_dict(stored, strict=False)
        base.tie_weights()
        assert not any("lora" in name for name in stored)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`")
            torch.testing.assert_close(
                self.logits(PeftModel.from_pretrained(base, tmp_path / "kept"), tokenizer), wanted
            )

    @pytest.mark.parametrize(("tied", "tokens"), [(True, "other"), (False, "other"), (True, "more")])
    @pytest.mark.slow
    def test_peft_merges_them_into_a_model_of_new_tokens(self, tmp_path, corpus, tied, tokens):
        asked = recipe(
            tmp_path, corpus, "llama", "stages.0.trains=lora", "stages.0.lora_rank=4", tie_word_embeddings=tied
        )
        if tokens == "more":
            extended = extend_tokenizer(tiny.tokenizer("en", "byte-level-bpe"), sentences("de", "train")[:200], 40)
            extended.save_pretrained(tmp_path / "extended")
            rows = {"helper": None, "target_tokenizer": str(tmp_path / "extended"), "initializer": {"method": "mean"}}
            asked = asked.replace(**rows)
        kept = asked.replace(stages=(asked.stages[0].replace(adapters="kept"),))
        for name, each in (("merged", asked), ("kept", kept)):
            run_recipe(each, tmp_path / name, "x")
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "kept")
        wanted = self.logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"), tokenizer)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`|Already found a `peft_config`")
            opened = AutoModelForCausalLM.from_pretrained(tmp_path / "kept")
            merged = PeftModel.from_pretrained(opened, tmp_path / "kept").merge_and_unload()
        torch.testing.assert_close(self.logits(merged, tokenizer), wanted)

        saved = merge_adapters(tmp_path / "kept", tmp_path / "saved")
        own, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("saved", "merged"))
        assert own.keys() == theirs.keys()
        assert ("lm_head.weight" in own) != tied
        for name, tensor in own.items():
            torch.testing.assert_close(tensor, theirs[name], msg=name)
        assert Checkpoint.open(saved).vocab_size == len(tokenizer)
        torch.testing.assert_close(self.logits(AutoModelForCausalLM.from_pretrained(saved), tokenizer), wanted)
        files = {path.name for path in (tmp_path / "kept").iterdir()}
        assert {path.name for path in saved.iterdir()} == files - {"adapter_config.json", "adapter_model.safetensors"}
        texts = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("kept", "saved")]
        assert texts[0] == texts[1]

    @pytest.mark.slow
    def test_their_settings_name_the_folder_and_no_path(self, tmp_path, corpus, monkeypatch):
        asked = recipe(tmp_path, corpus, "gpt2", "stages.0.trains=lora", "stages.0.adapters=kept", "stages.0.steps=1")
        run_recipe(asked, tmp_path / "kept", "x")
        settings = (tmp_path / "kept" / "adapter_config.json").read_text(encoding="utf-8")
        assert '"base_model_name_or_path": "kept"' in settings
        assert str(tmp_path) not in settings
        monkeypatch.chdir(tmp_path)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`")
            assert AutoPeftModelForCausalLM.from_pretrained("kept").peft_config["default"].task_type == "CAUSAL_LM"

    @pytest.mark.parametrize("kind", ["gpt2", "llama"])
    def test_peft_has_nothing_to_warn_of(self, kind):
        model = tiny.model(kind, tiny.tokenizer("de", FAMILIES[kind]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with trained_parts(model, Stage(trains="lora"), NOTHING):
                trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert any("lora_A" in name for name in trained)
        assert all("lora_" in name or "wte" in name or "embed_tokens" in name or "lm_head" in name for name in trained)
        assert not any("lora_" in name for name in model.state_dict())

    @pytest.mark.slow
    def test_they_are_merged_before_the_next_stage(self, tmp_path, corpus):
        asked = recipe(tmp_path, corpus, "gpt2", "stages.0.trains=lora", "stages.0.steps=2")
        stages = (asked.stages[0], asked.stages[0].replace(name="last", adapters="kept"))
        run_recipe(asked.replace(stages=stages), tmp_path / "out", "x")
        assert (tmp_path / "out" / "adapter_config.json").exists()
        assert not any("lora" in name for name in load_file(tmp_path / "out" / "model.safetensors"))


class TestRefusals:
    @pytest.mark.parametrize(
        "settings",
        [
            "{}",
            "no JSON",
            '{"peft_type": "LORA", "target_modules": ["nothing"]}',
            '{"peft_type": "LORA", "target_modules": ["c_attn"], "fan_in_fan_out": true}',
        ],
    )
    def test_adapters_that_are_not_the_models_are_refused(self, tmp_path, settings):
        tok = tiny.tokenizer("en", "byte-level-bpe")
        folder = tiny.save(tiny.model("gpt2", tok), tok, tmp_path / "model")
        (folder / "adapter_config.json").write_text(settings, encoding="utf-8")
        save_file({"x": torch.ones(2)}, folder / "adapter_model.safetensors")  # none of any adapters
        assert tiny.refusal(merge_adapters, folder, tmp_path / "out").path == folder / "adapter_config.json"
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("lacking", ["adapter_config.json", "adapter_model.safetensors", "config.json"])
    def test_what_has_no_model_with_adapters_is_not_merged(self, tmp_path, lacking):
        tok = tiny.tokenizer("en", "byte-level-bpe")
        folder = tiny.save(tiny.model("gpt2", tok), tok, tmp_path / "model")
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (folder / name).write_bytes(b"")
        (folder / lacking).unlink()
        assert tiny.refusal(merge_adapters, folder, tmp_path / "out").value == lacking
        assert not (tmp_path / "out").exists()

    RECIPE = {"name": "mine", "initializer": {"method": "clp"}}

    def test_adapters_kept_before_the_last_stage(self):
        stages = [{"name": "a", "trains": "lora", "adapters": "kept"}, {"name": "b"}]
        with pytest.raises(SettingError) as raised:
            recipe_from(self.RECIPE | {"stages": stages})
        assert raised.value.key == "stages.0.adapters"

    @pytest.mark.parametrize(
        ("stage", "expected"),
        [
            ({"adapters": "kept"}, "'merged', as it trains all, not lora"),
            ({"adapters": "dropped"}, "'merged' or 'kept'"),
            ({"trains": "rows"}, "'all', 'embeddings', 'lora' or 'new-rows'"),
            ({"temperature": 0}, "a number > 0"),
            ({"objective": "distil"}, "one of auto, clm, mlm, denoise, cdlm, tlm, distill, token-distill"),
        ],
    )
    def test_values_that_mean_nothing(self, stage, expected):
        with pytest.raises(SettingError) as raised:
            recipe_from(self.RECIPE | {"stages": [stage]})
        assert raised.value.expected == expected

"""Calibration of an output head, against the plain computation, for heads of every kind."""

import copy
from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_xlt import InputError, SubtokenMeanInitializer, load_recipe, run_recipe, sample
from hf_xlt.data.objectives import objective_for
from hf_xlt.data.objectives.objective import token_losses
from hf_xlt.data.packing import blocks
from hf_xlt.initializers.calibration import calibrate, token_frequencies
from hf_xlt.sample import sentences

SOURCE = Path(sample.__file__).parent / "source"
KINDS = [
    ("llama", "unigram", "clm", {"tie_word_embeddings": True}),
    ("llama", "unigram", "clm", {"tie_word_embeddings": False}),
    ("gpt2", "byte-level-bpe", "clm", {}),
    ("bert", "wordpiece", "mlm", {}),
    ("t5", "unigram", "denoise", {}),
    ("bart", "byte-level-bpe", "denoise", {}),
]


def case(kind, family, objective, options):
    tokenizer = tiny.tokenizer("de", family)
    rows = list(blocks(sentences("de", "train")[:150], tokenizer, 24))
    examples = [{"input_ids": row, "key": (1, place)} for place, row in enumerate(rows)]
    return tiny.model(kind, tokenizer, **options).eval(), objective_for(objective, tokenizer), examples


def loss(model, objective, examples):
    with torch.no_grad():
        return float(token_losses(model, model, objective(examples), objective.shifts_labels)[0].mean())


@pytest.mark.parametrize(("kind", "family", "objective", "options"), KINDS)
def test_the_mean_prediction_meets_the_frequencies_and_the_loss_falls(kind, family, objective, options):
    model, objective, examples = case(kind, family, objective, options)
    before = loss(model, objective, examples[-40:])
    done = calibrate(model, objective, examples)
    if options.get("tie_word_embeddings"):  # with random weights; what goes in would change as well
        assert done.after == done.before
        assert loss(model, objective, examples[-40:]) == before
    else:
        assert done.after < done.before
        assert loss(model, objective, examples[-40:]) < before - 0.2


def test_only_the_output_head_changes():
    model, objective, examples = case(*KINDS[1])
    before = copy.deepcopy(model.state_dict())
    calibrate(model, objective, examples)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"lm_head.weight"}


def test_an_output_bias_takes_all_of_it():
    model, objective, examples = case(*KINDS[3])
    before = copy.deepcopy(model.state_dict())
    calibrate(model, objective, examples)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert all(name.endswith("bias") for name in changed)


def test_rows_that_are_kept_stay_to_the_bit():
    model, objective, examples = case(*KINDS[1])
    kept = torch.arange(0, 300)
    before = model.lm_head.weight.detach().clone()
    calibrate(model, objective, examples, kept)
    after = model.lm_head.weight
    assert torch.equal(after[kept], before[kept])
    assert not torch.equal(after[300:], before[300:])


def test_logits_that_a_model_scales_are_calibrated_as_well():
    model, objective, examples = case(*KINDS[1])
    head, forward = model.lm_head, model.forward
    model.forward = lambda **inputs: type("Output", (), {"logits": forward(**inputs).logits / 8})
    done = calibrate(model, objective, examples)
    assert done.after < done.before - 0.2
    assert head is model.lm_head


def test_frequencies_are_those_of_the_labels_and_never_zero():
    _, objective, examples = case(*KINDS[0])
    frequencies = token_frequencies(objective, examples, 1000)
    ids = torch.tensor([id_ for example in examples for id_ in example["input_ids"].tolist()[1:]])
    expected = torch.bincount(ids, minlength=1000) + 0.1
    torch.testing.assert_close(frequencies, (expected / expected.sum()).float())
    assert frequencies.min() > 0


def test_nothing_to_read_and_no_head_are_refused():
    model, objective, examples = case(*KINDS[0])
    with pytest.raises(InputError):
        calibrate(model, objective, [])
    with pytest.raises(InputError):
        calibrate(model.model, objective, examples)


def run_of(tmp_path, name, **changes):
    (tmp_path / "de.txt").write_text("\n".join(sentences("de", "train")), encoding="utf-8")
    overrides = [f"source={SOURCE}", f"data.corpus={tmp_path / 'de.txt'}", "initializer={method: subtoken-mean}"]
    overrides += ["tokenizer.vocab_size=600", "stages=[{max_steps: 1, sequence_length: 32}]"]
    return run_recipe(load_recipe("pooled", overrides).replace(**changes), tmp_path / name)


def test_a_run_of_a_decoder_calibrates_by_default_and_not_where_it_is_told_so(tmp_path):
    calibrated, plain = run_of(tmp_path, "calibrated").kept[0], run_of(tmp_path, "plain", calibrate=False).kept[0]
    assert calibrated.curve.points[0].bits_per_byte < plain.curve.points[0].bits_per_byte
    assert calibrated.curve.flops_before > 0 == plain.curve.flops_before


@pytest.mark.parametrize("tied", [True, False])
def test_a_checkpoint_on_disk_is_calibrated_as_the_model_in_memory(tmp_path, tied):
    (tmp_path / "de.txt").write_text("\n".join(sentences("de", "train")), encoding="utf-8")
    source, tokenizer = SOURCE, tiny.tokenizer("de", "byte-level-bpe")
    if not tied:
        model = AutoModelForCausalLM.from_pretrained(SOURCE)
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        model.save_pretrained(tmp_path / "source", max_shard_size="200KB")
        AutoTokenizer.from_pretrained(SOURCE).save_pretrained(source := tmp_path / "source")
    made = SubtokenMeanInitializer(source, tokenizer)
    plain = made.build(tmp_path / "plain")
    done = made.build(tmp_path / "calibrated", calibrate=True, corpus=tmp_path / "de.txt")
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (plain, done))
    changed = {
        name for name, tensor in after.state_dict().items() if not torch.equal(tensor, before.state_dict()[name])
    }
    assert changed == ({"model.embed_tokens.weight", "lm_head.weight"} if tied else {"lm_head.weight"})
    rows = list(blocks(sentences("de", "held_out"), tokenizer, 32))
    examples = [{"input_ids": row, "key": (1, place)} for place, row in enumerate(rows)]
    objective = objective_for("clm", tokenizer)
    assert loss(after, objective, examples) < loss(before, objective, examples) - 0.2


def test_calibrating_without_text_or_a_head_is_refused(tmp_path):
    tokenizer = tiny.tokenizer("de", "byte-level-bpe")
    with pytest.raises(InputError):
        SubtokenMeanInitializer(SOURCE, tokenizer).build(tmp_path / "out", calibrate=True)
    tiny.model("bert", tiny.tokenizer("en", "wordpiece")).base_model.save_pretrained(tmp_path / "bare")
    tiny.tokenizer("en", "wordpiece").save_pretrained(tmp_path / "bare")
    (tmp_path / "de.txt").write_text("\n".join(sentences("de", "train")), encoding="utf-8")
    made = SubtokenMeanInitializer(tmp_path / "bare", tiny.tokenizer("de", "wordpiece"))
    with pytest.raises(InputError):
        made.build(tmp_path / "out", calibrate=True, corpus=tmp_path / "de.txt")
    assert not (tmp_path / "out").exists()

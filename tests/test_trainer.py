"""Training: the step of plain Trainer, whatever the accumulation, and a resumed run ends where an unbroken one does."""

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from hf_xlt.data.objectives import objective_for
from hf_xlt.data.packing import blocks
from hf_xlt.data.sampling import ShuffledStream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import ValidationSet, measure
from hf_xlt.runs.training.parts import vocabulary_parameters
from hf_xlt.runs.training.progress import ProgressBar
from hf_xlt.runs.training.trainer import StageTrainer
from hf_xlt.sample import sentences

CASES = {"mlm": ("bert", "wordpiece"), "clm": ("gpt2", "byte-level-bpe"), "denoise": ("t5", "unigram")}
LENGTH = 24


class Killed(Exception):
    """What the run is interrupted with."""


class KillAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Killed


def arguments(folder, **changes):
    settings = {
        "max_steps": 6,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "logging_strategy": "steps",
        "logging_steps": 1,
        "save_strategy": "no",
    }
    return TrainingArguments(output_dir=str(folder), **settings | changes)


def dropout_free(name):
    kind, family = CASES[name]
    zero = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    zero |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "dropout_rate": 0.0}
    fields = {"gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"), "t5": ("dropout_rate",)}
    used = fields.get(kind, ("hidden_dropout_prob", "attention_probs_dropout_prob"))
    return tiny.model(kind, tiny.tokenizer("de", family), **{key: zero[key] for key in used})


def parts(name):
    """Tokenizer, objective, packed rows and held-out text of a case."""
    tokenizer = tiny.tokenizer("de", CASES[name][1])
    objective = objective_for(name, tokenizer)
    rows = list(blocks(sentences("de", "train")[:120], tokenizer, LENGTH))[:30]
    packed = Dataset.from_dict({"input_ids": np.stack(rows)}).with_format("numpy")
    held_out = ValidationSet.cut(sentences("de", "held_out")[:10], tokenizer, LENGTH, objective)
    return tokenizer, objective, packed, held_out


def trainer(name, model, args, *callbacks):
    tokenizer, objective, packed, held_out = parts(name)
    positions = args.max_steps * args.per_device_train_batch_size * args.gradient_accumulation_steps
    stream = ShuffledStream(packed, positions, seed=0)
    return StageTrainer(model, args, stream, objective, tokenizer, held_out, list(callbacks))


def logged(trained, key="loss"):
    return [entry[key] for entry in trained.state.log_history if key in entry]


def assert_same_weights(one, other, tolerance):
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_gradient_accumulation_changes_neither_loss_nor_weights(name, tmp_path):
    models, losses = [], []
    for batch, accumulation in ((8, 1), (2, 4)):
        model = dropout_free(name)
        args = arguments(
            tmp_path / str(batch), max_steps=4, per_device_train_batch_size=batch, optim="sgd", learning_rate=0.1,
            gradient_accumulation_steps=accumulation,
        )  # fmt: skip
        run = trainer(name, model, args)
        run.train()
        models.append(model)
        losses.append(logged(run))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert_same_weights(*models, tolerance=1e-4)  # T5's rows have entries around 1, and sums of another order
    assert not torch.equal(models[0].get_input_embeddings().weight, dropout_free(name).get_input_embeddings().weight)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_it_takes_the_steps_of_plain_trainer(name, tmp_path):
    ours, plain = dropout_free(name), dropout_free(name)
    args = arguments(tmp_path, max_steps=3, optim="sgd", learning_rate=0.1, train_sampling_strategy="sequential")
    run = trainer(name, ours, args)
    run.train()
    reference = Trainer(plain, args, train_dataset=run.train_dataset, data_collator=run.objective)
    reference.model_accepts_loss_kwargs = False
    reference.train()
    assert logged(run)[0] == pytest.approx(logged(reference)[0], abs=1e-4)
    assert_same_weights(ours, plain, tolerance=1e-5)


@pytest.mark.parametrize("name", ["mlm", "clm"])
@pytest.mark.slow
def test_an_interrupted_run_resumed_ends_where_an_unbroken_one_does(name, tmp_path):
    kind, family = CASES[name]

    def model():
        return tiny.model(kind, tiny.tokenizer("de", family))

    def args(folder):
        return arguments(tmp_path / folder, save_strategy="steps", save_steps=2, gradient_accumulation_steps=2)

    unbroken = model()
    whole = trainer(name, unbroken, args("whole"))
    whole.train()
    with pytest.raises(Killed):
        trainer(name, model(), args("broken"), KillAt(5)).train()
    resumed = model()
    rest = trainer(name, resumed, args("broken"))
    rest.train(resume_from_checkpoint=str(tmp_path / "broken" / "checkpoint-4"))
    assert_same_weights(unbroken, resumed, tolerance=1e-7)
    assert logged(rest) == pytest.approx(logged(whole), abs=1e-6)


@pytest.mark.slow
def test_dropout_is_on_in_training(tmp_path):
    kind, family = CASES["mlm"]
    with_dropout = tiny.model(kind, tiny.tokenizer("de", family))
    without = dropout_free("mlm")
    for model in (with_dropout, without):
        trainer("mlm", model, arguments(tmp_path, max_steps=1, optim="sgd")).train()
    with pytest.raises(AssertionError):
        assert_same_weights(with_dropout, without, tolerance=1e-7)


@pytest.mark.slow
def test_another_seed_sees_the_text_in_another_order(tmp_path):
    losses = []
    for seed in (0, 1):
        tokenizer, objective, packed, held_out = parts("clm")
        args = arguments(tmp_path, max_steps=2, learning_rate=1e-9)
        stream = ShuffledStream(packed, 8, seed)
        run = StageTrainer(dropout_free("clm"), args, stream, objective, tokenizer, held_out)
        run.train()
        losses.append(logged(run))
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_evaluation_logs_held_out_quality_and_leaves_training_as_it_was(tmp_path):
    plain, measured = dropout_free("mlm"), dropout_free("mlm")
    trainer("mlm", plain, arguments(tmp_path)).train()
    run = trainer("mlm", measured, arguments(tmp_path, eval_strategy="steps", eval_steps=3))
    run.train()
    assert [entry["step"] for entry in run.state.log_history if "eval_loss" in entry] == [3, 6]
    tokenizer, objective, _, held_out = parts("mlm")
    quality = measure(measured, held_out, tokenizer)
    assert logged(run, "eval_loss")[-1] == pytest.approx(quality.loss, rel=1e-6)
    assert logged(run, "eval_perplexity")[-1] == pytest.approx(quality.perplexity, rel=1e-6)
    assert logged(run, "eval_bits_per_byte")[-1] == pytest.approx(quality.bits_per_byte, rel=1e-6)
    assert_same_weights(plain, measured, tolerance=0)


@pytest.mark.slow
def test_the_loss_falls(tmp_path):
    run = trainer("clm", dropout_free("clm"), arguments(tmp_path, max_steps=30))
    run.train()
    assert np.mean(logged(run)[-5:]) < logged(run)[0] - 0.3


@pytest.mark.slow
def test_nothing_is_printed_where_no_terminal_looks_on(tmp_path, capfd):
    run = trainer("mlm", dropout_free("mlm"), arguments(tmp_path, logging_strategy="no"), ProgressBar("clp · target"))
    run.train()
    run.evaluate()
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_the_progress_bar_starts_at_the_step_a_resumed_run_goes_on_from(tmp_path, monkeypatch):
    bars = []

    class Recorder:
        def __init__(self, **kwargs):
            self.begun, self.n, self.total, self.closed = kwargs["initial"], kwargs["initial"], kwargs["total"], False
            bars.append(self)

        def update(self, steps):
            self.n += steps

        def set_postfix_str(self, text):
            assert not self.closed
            self.text = text

        def close(self):
            self.closed = True

    monkeypatch.setattr("hf_xlt.runs.training.progress.tqdm", Recorder)
    args = arguments(tmp_path, save_strategy="steps", save_steps=2, eval_strategy="steps", eval_steps=3)
    with pytest.raises(Killed):
        trainer("mlm", dropout_free("mlm"), args, KillAt(3)).train()
    run = trainer("mlm", dropout_free("mlm"), args, ProgressBar("clp · target"))
    run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    run.evaluate()
    [bar] = bars
    assert (bar.begun, bar.n, bar.total, bar.closed) == (2, 6, 6, True)
    assert bar.text.endswith("bits/byte")


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e30, float("inf")])
def test_a_training_whose_loss_is_not_finite_is_stopped_at_its_step(rate, tmp_path):
    args = arguments(tmp_path, learning_rate=rate, max_grad_norm=0.0, eval_strategy="no")
    with pytest.raises(InputError, match="expected a finite loss") as refused:
        trainer("clm", dropout_free("clm"), args).train()
    assert "learning_rate" in refused.value.hint
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("name", CASES)
def test_embeddings_have_a_learning_rate_of_their_own(name, tmp_path):
    model = dropout_free(name)
    tokenizer, objective, packed, held_out = parts(name)
    args = arguments(tmp_path, max_steps=2, learning_rate=1e-3)
    run = StageTrainer(model, args, ShuffledStream(packed, 8, 0), objective, tokenizer, held_out, None, 4e-3)
    run.create_optimizer_and_scheduler(2)
    rates = {id(parameter): group["lr"] for group in run.optimizer.param_groups for parameter in group["params"]}
    vocabulary = {id(parameter) for parameter in vocabulary_parameters(model)}
    assert len(rates) == len(list(model.parameters()))
    for parameter in model.parameters():
        assert rates[id(parameter)] == pytest.approx(4e-3 if id(parameter) in vocabulary else 1e-3)


def test_the_same_learning_rate_for_embeddings_changes_nothing(tmp_path):
    losses = []
    for rate in (None, 1e-2):
        tokenizer, objective, packed, held_out = parts("clm")
        stream = ShuffledStream(packed, 12, 0)
        model = dropout_free("clm")
        run = StageTrainer(model, arguments(tmp_path, max_steps=3), stream, objective, tokenizer, held_out, None, rate)
        run.train()
        losses.append(logged(run))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)

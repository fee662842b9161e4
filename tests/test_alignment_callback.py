"""Adversarial alignment inside a plain Trainer: rows written before training, or led home all through it."""

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from hf_xlt.data.objectives import MaskedLM
from hf_xlt.data.packing import blocks
from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import GameSettings
from hf_xlt.geometry.callback import AdversarialAlignmentCallback
from hf_xlt.sample import sentences

WIDTH, LENGTH = 16, 24
GAME = GameSettings(hidden=32, discriminator_steps=2, batch=16)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.tokenizer("de", "wordpiece")


@pytest.fixture(scope="module")
def packed(tokenizer):
    rows = list(blocks(sentences("de", "train")[:150], tokenizer, LENGTH))[:32]
    keys = [[0, i] for i in range(len(rows))]
    return Dataset.from_dict({"input_ids": np.stack(rows), "key": keys}).with_format("numpy")


def model(tokenizer):
    made = tiny.model("bert", tokenizer, width=WIDTH)
    with torch.no_grad():  # spaces that can be aligned: rows in a few directions of unequal strength
        table = made.get_input_embeddings().weight
        table.mul_(torch.linspace(3, 0.3, WIDTH))
    return made


def trainer(model, tokenizer, packed, callback, folder, **settings):
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=6, per_device_train_batch_size=4, report_to="none", use_cpu=True,
        disable_tqdm=True, logging_steps=2, learning_rate=1e-3, remove_unused_columns=False, **settings,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=packed, data_collator=MaskedLM(tokenizer), callbacks=[callback])


def ids(tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """Target ids and source ids; 250 to 259 are both."""
    return torch.arange(250, 500), torch.arange(10, 260)


def rotated(table: torch.Tensor) -> torch.Tensor:
    """Vectors of ids 250…499 whose neighbours are as those of ids 10…259, in a space turned round."""
    turn = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(3)))[0]
    vectors = torch.zeros(len(table), WIDTH)
    vectors[250:500] = table[10:260] @ turn
    return vectors


@pytest.mark.slow
def test_before_training_the_aligned_rows_are_written(tokenizer, packed, tmp_path):
    made = model(tokenizer)
    before = made.get_input_embeddings().weight.detach().clone()
    target, source = ids(tokenizer)
    callback = AdversarialAlignmentCallback(target, source, rotated(before))
    trainer(made, tokenizer, packed, callback, tmp_path, save_strategy="no").train()
    after = made.get_input_embeddings().weight.detach()
    likeness = torch.nn.functional.cosine_similarity(after[260:500], before[20:260])
    assert likeness.median() > 0.95
    assert torch.nn.functional.cosine_similarity(after[10:260], before[10:260]).min() > 0.95
    assert made.get_output_embeddings().weight is made.get_input_embeddings().weight


@pytest.mark.slow
def test_during_training_rows_of_the_target_alone_are_turned(tokenizer, packed, tmp_path):
    made = model(tokenizer)
    before = made.get_input_embeddings().weight.detach().clone()
    target, source = ids(tokenizer)
    callback = AdversarialAlignmentCallback(target, source, mode="during", every=2, game=GAME)
    run = trainer(made, tokenizer, packed, callback, tmp_path, save_strategy="no")
    run.args.learning_rate = 0.0
    run.train()
    after = made.get_input_embeddings().weight.detach()
    untouched = torch.cat([torch.arange(260), torch.arange(500, len(after))])
    assert torch.equal(after[untouched], before[untouched])
    assert not torch.allclose(after[260:500], before[260:500])
    torch.testing.assert_close(after[260:500].mean(0), before[260:500].mean(0), rtol=0, atol=1e-4)
    logged = [entry for entry in run.state.log_history if "alignment_maps" in entry]
    assert [entry["step"] for entry in logged] == [2, 4, 6]
    assert all(entry["alignment_discriminators"] > 0 for entry in logged)


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_the_game(tokenizer, packed, tmp_path):
    def run(folder, **how):
        target, source = ids(tokenizer)
        callback = AdversarialAlignmentCallback(target, source, mode="during", every=1, game=GAME)
        made = model(tokenizer)
        trained = trainer(made, tokenizer, packed, callback, folder, save_steps=3, save_total_limit=2)
        trained.train(**how)
        return made.get_input_embeddings().weight.detach()

    whole = run(tmp_path)
    assert (tmp_path / "checkpoint-3" / "alignment.safetensors").is_file()
    again = run(tmp_path, resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert torch.equal(whole, again)
    (tmp_path / "checkpoint-3" / "alignment.safetensors").unlink()
    with pytest.raises(InputError, match=r"alignment.safetensors is missing: training goes on from step 3"):
        run(tmp_path, resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "after"}, "mode is 'after'; expected one of before, during"),
        ({}, "needs static vectors"),
        ({"mode": "during", "every": 0}, "every=0, turn=1; expected at least 1"),
        ({"mode": "during", "source_ids": torch.arange(300)}, "expected some rows of the target alone"),
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments, message):
    with pytest.raises(InputError, match=message):
        AdversarialAlignmentCallback(**{"target_ids": torch.arange(9), "source_ids": torch.arange(5)} | arguments)

"""The loss with the head on labelled rows only is the stock loss, value and gradients, for every architecture."""

import numpy as np
import pytest
import tiny
import torch
from transformers import M2M100Config, M2M100ForConditionalGeneration

from hf_xlt.data.objectives import IGNORED, objective_for
from hf_xlt.data.packing import blocks
from hf_xlt.evaluation.language_model import evaluate_losses, head_on, targets, token_losses
from hf_xlt.sample import sentences

KINDS = [
    ("bert", "wordpiece", "mlm"),
    ("roberta", "byte-level-bpe", "mlm"),
    ("gpt2", "byte-level-bpe", "clm"),
    ("llama", "unigram", "clm"),
    ("bart", "byte-level-bpe", "denoise"),
    ("t5", "unigram", "denoise"),
]


def case(kind, family, objective_name):
    tokenizer = tiny.tokenizer("de", family)
    objective = objective_for(objective_name, tokenizer)
    rows = list(blocks(sentences("de", "train")[:60], tokenizer, 24))[:5]
    batch = objective([{"input_ids": row, "key": (1, i)} for i, row in enumerate(rows)])
    return tiny.model(kind, tokenizer), batch, objective.shifts_labels


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(("kind", "family", "objective"), KINDS)
def test_loss_and_gradients_are_those_of_the_stock_forward(kind, family, objective):
    model, batch, shifted = case(kind, family, objective)
    stock = model(**batch).loss
    losses, target_ids = token_losses(model, model, batch, shifted)
    assert losses.mean().item() == pytest.approx(stock.item(), abs=1e-6)
    expected, found = gradients(model, stock), gradients(model, losses.mean())
    assert expected.keys() == found.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-4, msg=name)
    assert len(losses) == len(target_ids)


@pytest.mark.parametrize(("kind", "family", "objective"), KINDS)
def test_the_head_sees_labelled_positions_only_and_is_whole_again_afterwards(kind, family, objective):
    model, batch, shifted = case(kind, family, objective)
    shapes = []
    model.get_output_embeddings().register_forward_hook(lambda _m, _i, logits: shapes.append(tuple(logits.shape)))
    token_losses(model, model, batch, shifted)
    model(**batch)
    labels = batch["labels"]
    labelled = int((labels != IGNORED).sum())
    vocabulary = model.config.vocab_size
    assert shapes == [(labelled, vocabulary), (*labels.shape, vocabulary)]


def test_targets_come_in_reading_order_with_their_own_losses():
    model, batch, shifted = case("gpt2", "byte-level-bpe", "clm")
    losses, target_ids = token_losses(model, model, batch, shifted)
    log_probabilities = model(input_ids=batch["input_ids"]).logits.double().log_softmax(-1)
    expected = [
        -log_probabilities[i, j, batch["labels"][i, j + 1]].item()
        for i in range(len(batch["labels"]))
        for j in range(23)
    ]
    assert target_ids.tolist() == batch["input_ids"][:, 1:].flatten().tolist()
    np.testing.assert_allclose(losses.tolist(), expected, atol=1e-5)


def test_shifted_targets_are_the_next_labels():
    labels = torch.tensor([[IGNORED, 5, 6], [IGNORED, IGNORED, 7]])
    assert targets(labels, shifted=False) is labels
    assert targets(labels, shifted=True).tolist() == [[5, 6, IGNORED], [IGNORED, 7, IGNORED]]


def test_encoder_decoders_without_a_method_to_shift_labels_are_served_as_well():
    tokenizer = tiny.tokenizer("de", "unigram")
    config = M2M100Config(
        vocab_size=len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=80,
        pad_token_id=tokenizer.pad_token_id, decoder_start_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    model = M2M100ForConditionalGeneration(config).eval()
    rows = [np.array([10, 11, 12, 13, 14, 2]), np.array([20, 21, 2])]
    batch = objective_for("denoise", tokenizer)([{"input_ids": row, "key": (0, i)} for i, row in enumerate(rows)])
    losses, _ = token_losses(model, model, batch, shifted=False)
    assert losses.mean().item() == pytest.approx(model(**batch).loss.item(), abs=1e-6)


def test_evaluation_has_no_dropout_and_no_gradient_and_gives_the_model_back_as_it_was():
    model, batch, shifted = case("bert", "wordpiece", "mlm")
    expected = token_losses(model, model, batch, shifted)[0]
    model.train()
    losses, _ = evaluate_losses(model, batch, shifted)
    assert model.training
    assert not losses.requires_grad
    torch.testing.assert_close(losses, expected.detach())


def test_the_head_is_whole_again_after_an_error():
    model, batch, _ = case("bert", "wordpiece", "mlm")
    with pytest.raises(IndexError), head_on(model, torch.ones(2, 3, 4, 5, dtype=torch.bool)):
        model(input_ids=batch["input_ids"])
    assert model(input_ids=batch["input_ids"]).logits.shape[:2] == batch["input_ids"].shape

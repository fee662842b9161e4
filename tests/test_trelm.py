"""TreLM models: reordering, masks, languages, losses, parts."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from hf_xlt.trelm import (
    TreLMConfig,
    TreLMForMaskedLM,
    TreLMForQuestionAnswering,
    TreLMForSequenceClassification,
    TreLMForTokenClassification,
    TreLMModel,
    reorder,
)

WORDS = 60
SHAPE = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 24,
    "languages": ["en", "de", "id"],
    "tri_layer_index": 2,
}
MODELS = (
    TreLMModel,
    TreLMForMaskedLM,
    TreLMForSequenceClassification,
    TreLMForTokenClassification,
    TreLMForQuestionAnswering,
)
PROPERTY = settings(max_examples=30)
SIDES = pytest.mark.parametrize("side", ["left", "right"])
OFFSETS = pytest.mark.parametrize("offset", [0, 2])


def make(kind: type = TreLMForMaskedLM, **overrides: object) -> nn.Module:
    """A model whose every weight is random, languages too."""
    torch.manual_seed(0)
    model = kind(TreLMConfig(**SHAPE | overrides)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def ids(*shape: int, below: int = WORDS, seed: int = 1) -> Tensor:
    return torch.randint(5, below, shape, generator=torch.Generator().manual_seed(seed))


def links(rows: int, target: int, source: int, seed: int = 2) -> Tensor:
    return torch.randint(-1, source, (rows, target), generator=torch.Generator().manual_seed(seed))


def pairs(rows: int = 3, source: int = 9, target: int = 12) -> dict[str, Tensor]:
    """Pairs without padding, German from English."""
    return {
        "input_ids": ids(rows, source),
        "attention_mask": torch.ones(rows, source, dtype=torch.int64),
        "lang_ids": torch.zeros(rows, dtype=torch.int64),
        "alignment": links(rows, target, source),
        "target_lang_ids": torch.ones(rows, dtype=torch.int64),
        "target_attention_mask": torch.ones(rows, target, dtype=torch.int64),
    }


def some_labels(*shape: int) -> Tensor:
    labels = ids(*shape, seed=5)
    return labels.masked_fill(torch.rand(shape, generator=torch.Generator().manual_seed(6)) < 0.6, -100)


def assert_close(a: Tensor, b: Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def reorder_by_loop(states: Tensor, alignment: Tensor, unaligned: Tensor) -> Tensor:
    rows = [
        torch.stack([unaligned if at == -1 else state[at] for at in order.tolist()])
        for state, order in zip(states, alignment, strict=True)
    ]
    return torch.stack(rows)


@PROPERTY
@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000))
def test_reordering_is_what_a_loop_over_rows_does(batch, source, target, seed):
    alignment = links(batch, target, source, seed)
    torch.manual_seed(seed)
    given = torch.randn(batch, source, 5, requires_grad=True), torch.randn(5, requires_grad=True)
    ours, loops = (way(given[0], alignment, given[1]) for way in (reorder, reorder_by_loop))
    assert ours.shape == (batch, target, 5)
    assert torch.equal(ours, loops)
    gradients = [torch.autograd.grad((out**2).sum(), given, materialize_grads=True) for out in (ours, loops)]
    for gradient, expected in zip(*gradients, strict=True):
        assert_close(gradient, expected)


@pytest.mark.parametrize("wrong", [-2, 4, 5, 100])
def test_a_link_out_of_range_is_refused_and_named(wrong):
    alignment = torch.tensor([[0, 3], [1, wrong]])
    with pytest.raises(ValueError, match=f"pair 1, target position 1 is {wrong}; expected a source position below 4"):
        reorder(torch.zeros(2, 4, 3), alignment, torch.zeros(3))


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [-2, 4, 5])
def test_compiled_code_does_not_read_a_neighbour_through_a_wrong_link(wrong):
    compiled = torch.compile(reorder, backend="eager", fullgraph=True)
    assert compiled(torch.zeros(2, 4, 3), torch.tensor([[0], [-1]]), torch.ones(3)).sum() == 3
    with pytest.raises(IndexError):
        compiled(torch.zeros(2, 4, 3), torch.tensor([[wrong], [0]]), torch.zeros(3))


@pytest.mark.parametrize(("side", "offset"), [("right", 0), ("right", 2), ("left", 2)])
def test_a_padded_batch_gives_what_each_pair_gives_alone(side, offset):
    model, inputs = make(TreLMModel, position_offset=offset), pairs()
    sources, targets = (9, 5, 2), (6, 12, 3)
    expected, padded = [], {name: value.clone() for name, value in inputs.items()}
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        text = {"input_ids": ids(1, source, seed=row), "lang_ids": torch.tensor([0])}
        text |= {"alignment": links(1, target, source, row), "target_lang_ids": torch.tensor([1])}
        before = (9 - source, 12 - target) if side == "left" else (0, 0)
        s, t = (slice(start, start + length) for start, length in zip(before, (source, target), strict=True))
        padded["input_ids"][row], padded["attention_mask"][row] = 0, 0
        padded["input_ids"][row, s], padded["attention_mask"][row, s] = text["input_ids"], 1
        padded["alignment"][row], padded["target_attention_mask"][row] = -1, 0
        shifted = torch.where(text["alignment"] < 0, -1, text["alignment"] + s.start)
        padded["alignment"][row, t], padded["target_attention_mask"][row, t] = shifted, 1
        expected.append((t, model(**text).last_hidden_state[0]))
    states = model(**padded).last_hidden_state
    for row, (t, alone) in enumerate(expected):
        assert_close(states[row, t], alone)


def test_padding_of_the_source_has_no_influence():
    model, inputs = make(TreLMModel), pairs()
    inputs["attention_mask"][:, 6:] = 0
    inputs["alignment"].clamp_(max=5)
    states = model(**inputs).last_hidden_state
    changed = inputs | {"input_ids": torch.cat([inputs["input_ids"][:, :6], ids(3, 3, seed=9)], 1)}
    assert not torch.equal(changed["input_ids"], inputs["input_ids"])
    assert torch.equal(model(**changed).last_hidden_state, states)


def test_from_the_tri_layer_upwards_the_targets_mask_rules():
    model, inputs = make(TreLMModel), pairs(source=4, target=12)
    inputs["attention_mask"][:, 3:] = 0
    inputs["alignment"].clamp_(max=2)
    inputs["target_attention_mask"][:, 10:] = 0
    states = model(**inputs).last_hidden_state

    def after_changing(position: int) -> Tensor:
        alignment = inputs["alignment"].clone()
        alignment[:, position] = torch.where(alignment[:, position] == 0, 1, 0)
        return model(**inputs | {"alignment": alignment}).last_hidden_state

    for beyond in (10, 11):
        assert torch.equal(after_changing(beyond)[:, :10], states[:, :10])
    for within in (3, 9):  # beyond the source's mask and length
        assert not torch.isclose(after_changing(within)[:, 0], states[:, 0]).all(1).any()


def test_without_a_target_mask_all_of_the_target_counts():
    model, inputs = make(TreLMModel), pairs()
    expected = model(**inputs).last_hidden_state
    assert torch.equal(model(**inputs | {"target_attention_mask": None}).last_hidden_state, expected)


@OFFSETS
@SIDES
def test_without_an_alignment_every_position_stays(side, offset):
    model = make(TreLMModel, position_offset=offset)
    text, mask = ids(2, 8), torch.ones(2, 8, dtype=torch.int64)
    padding = slice(5, 8) if side == "right" else slice(0, 3)
    text[1, padding], mask[1, padding] = 0, 0
    lang_ids = torch.tensor([0, 1])
    moved = {"alignment": torch.arange(8).expand(2, 8), "target_lang_ids": lang_ids, "target_attention_mask": mask}
    plain = {"input_ids": text, "attention_mask": mask, "lang_ids": lang_ids}
    assert_close(model(**plain).last_hidden_state, model(**plain, **moved).last_hidden_state)


def test_mlm_and_cdlm_examples_share_a_batch():
    model, inputs = make(TreLMModel), pairs(source=9, target=9)
    inputs["alignment"][1] = torch.arange(9)
    inputs["lang_ids"][1] = 1
    alone = {"input_ids": inputs["input_ids"][1:2], "lang_ids": torch.tensor([1])}
    assert_close(model(**inputs).last_hidden_state[1:2], model(**alone).last_hidden_state)


def test_both_language_embeddings_are_used():
    model, inputs = make(TreLMModel), pairs()
    states = model(**inputs).last_hidden_state
    for name in ("lang_ids", "target_lang_ids"):
        other = model(**inputs | {name: torch.full((3,), 2)}).last_hidden_state
        assert ((other - states).abs().amax((1, 2)) > 0.01).all()
    plain = make(TreLMModel, tri_layer_index=None)
    english, german = (plain(ids(1, 5), lang_ids=torch.tensor([n])).last_hidden_state for n in (0, 1))
    assert (english - german).abs().max() > 0.01


def test_a_language_may_be_given_for_each_token():
    model, inputs = make(TreLMModel), pairs()
    expected = model(**inputs).last_hidden_state
    per_token = {"lang_ids": torch.zeros(3, 9, dtype=torch.int64), "target_lang_ids": torch.ones(3, 12).long()}
    assert_close(model(**inputs | per_token).last_hidden_state, expected)
    per_token["lang_ids"][0, 4] = 1
    assert not torch.isclose(model(**inputs | per_token).last_hidden_state[0], expected[0]).all()


def test_inputs_without_languages_are_in_the_default_one():
    model, text = make(TreLMModel), ids(1, 6)

    def states(**kwargs: Tensor) -> Tensor:
        return model(text, **kwargs).last_hidden_state

    assert model.config.default_language == "id"
    assert torch.equal(states(), states(lang_ids=torch.tensor([2])))
    model.set_language("en")
    assert torch.equal(states(), states(lang_ids=torch.tensor([0])))
    with pytest.raises(ValueError, match="'fr' is not a language of this model; expected one of en, de, id"):
        model.set_language("fr")


def test_projected_embeddings_are_added_before_the_tri_layer_without_their_bias():
    model = make(TreLMModel, embedding_size=8)
    added = model.embeddings.target(torch.arange(5)[None], torch.tensor([1]))
    table = model.embeddings.position_embeddings.weight[:5] + model.embeddings.language_embeddings.weight[1]
    assert model.embeddings.projection.bias.any()
    assert_close(added[0], table @ model.embeddings.projection.weight.T)


@pytest.mark.parametrize("size", [None, 8])
def test_every_attention_computes_the_same(size):
    eager, sdpa = (make(embedding_size=size, attn_implementation=name) for name in ("eager", "sdpa"))
    inputs = pairs()
    inputs["attention_mask"][1, 5:] = 0
    inputs["alignment"].clamp_(max=4)
    inputs["target_attention_mask"][2, 7:] = 0
    assert eager.config._attn_implementation == "eager"
    assert sdpa.config._attn_implementation == "sdpa"
    real = inputs["target_attention_mask"].bool()
    assert_close(eager(**inputs).logits[real], sdpa(**inputs).logits[real])


def test_hidden_states_and_attentions_are_returned_when_asked_for():
    model = make(attn_implementation="eager")
    outputs = model(**pairs(source=9, target=12), output_hidden_states=True, output_attentions=True)
    assert [states.shape[1] for states in outputs.hidden_states] == [9, 9, 9, 12, 12, 12]
    assert [weights.shape[2:] for weights in outputs.attentions] == [(9, 9)] * 2 + [(12, 12)] * 3
    assert_close(outputs.attentions[3].sum(-1), torch.ones(3, 2, 12))
    assert torch.equal(model.decoder(model.head(outputs.hidden_states[-1])), outputs.logits)
    assert model(**pairs(), return_dict=False)[0].shape == (3, 12, WORDS)


@pytest.mark.parametrize("items", [None, 100])
def test_the_head_at_labelled_positions_alone_gives_the_full_loss_and_gradients(items):
    labels, found = some_labels(3, 12), []
    for return_logits in (True, False):
        model = make()
        outputs = model(**pairs(), labels=labels, return_logits=return_logits, num_items_in_batch=items)
        outputs.loss.backward()
        assert (outputs.logits is not None) == return_logits
        found.append((outputs.loss, [parameter.grad for parameter in model.parameters()]))
    logits = model(**pairs()).logits
    reduction = "mean" if items is None else "sum"
    expected = nn.functional.cross_entropy(logits.view(-1, WORDS), labels.view(-1), reduction=reduction) / (items or 1)
    for loss, gradients in found:
        assert_close(loss, expected)
        for gradient, full in zip(gradients, found[0][1], strict=True):
            assert_close(gradient, full)


def test_the_configuration_can_ask_for_logits():
    model = make(return_logits=True)
    assert model(**pairs(), labels=some_labels(3, 12)).logits.shape == (3, 12, WORDS)
    assert model(**pairs(), labels=some_labels(3, 12), return_logits=False).logits is None


def trained(model: nn.Module, examples: list[dict], batch: int, folder: str) -> nn.Module:
    """The model after one step of plain gradient descent on all examples."""
    args = TrainingArguments(
        output_dir=folder,
        max_steps=1,
        learning_rate=0.5,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=len(examples) // batch,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )
    Trainer(model, args, train_dataset=examples).train()
    return model


def number_each() -> list[dict]:
    return [{"input_ids": ids(7, seed=n), "labels": torch.tensor(float(n))} for n in range(4)]


def class_each() -> list[dict]:
    return [{"input_ids": ids(7, seed=n), "labels": n % 2} for n in range(4)]


def label_tokens() -> list[dict]:
    labels = [ids(7, below=7, seed=n) - 5 for n in range(4)]
    return [{"input_ids": ids(7, seed=n), "labels": labels[n].index_fill(0, torch.arange(n), -100)} for n in range(4)]


def cdlm_pairs() -> list[dict]:
    examples = [{name: value[0] for name, value in pairs(1).items()} for _ in range(4)]
    labels = [ids(12, seed=n).index_fill(0, torch.arange(3 * n), -100) for n in range(4)]
    return [example | {"labels": labels[n]} for n, example in enumerate(examples)]


@pytest.mark.parametrize(
    ("kind", "examples", "overrides"),
    [
        (TreLMForMaskedLM, cdlm_pairs, {}),
        (TreLMForSequenceClassification, class_each, {}),
        (TreLMForSequenceClassification, number_each, {"num_labels": 1}),
        (TreLMForTokenClassification, label_tokens, {}),
    ],
)
@pytest.mark.slow
def test_accumulated_gradients_train_as_one_batch_does(kind, examples, overrides, tmp_path):
    without_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    start, *ends = (make(kind, **overrides | without_dropout) for _ in range(3))
    ends = [trained(model, examples(), batch, str(tmp_path)) for model, batch in zip(ends, (4, 1), strict=True)]
    whole, accumulated = (torch.cat([p.detach().flatten() for p in model.parameters()]) for model in ends)
    before = torch.cat([parameter.detach().flatten() for parameter in start.parameters()])
    assert (whole - before).abs().max() > 0.01
    assert_close(accumulated, whole)


def test_trainer_evaluates_by_loss_and_with_logits(tmp_path):
    args = TrainingArguments(str(tmp_path), per_device_eval_batch_size=2, use_cpu=True, report_to="none")
    model, labels = make(), torch.stack([example["labels"] for example in cdlm_pairs()])
    loss = Trainer(model, args, eval_dataset=cdlm_pairs()).evaluate()["eval_loss"]
    batch = {name: torch.stack([example[name] for example in cdlm_pairs()]) for name in cdlm_pairs()[0]}
    halves = [{name: value[half] for name, value in batch.items()} for half in (slice(0, 2), slice(2, 4))]
    assert loss == pytest.approx(sum(model(**half).loss.item() for half in halves) / 2, abs=1e-5)
    model.config.return_logits = True
    predicted = Trainer(model, args).predict(cdlm_pairs())
    assert predicted.predictions.shape == (4, 12, WORDS)
    assert (predicted.label_ids == labels.numpy()).all()


def test_bfloat16_stays_near_float32():
    model, inputs = make(), pairs()
    exact = model(**inputs).logits
    half = model.to(torch.bfloat16)(**inputs)
    assert half.logits.dtype == torch.bfloat16
    assert_close(half.logits.float(), exact, atol=0.05 * exact.abs().max().item())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = make()(**inputs, labels=some_labels(3, 12))
    assert mixed.loss.isfinite()


@pytest.mark.parametrize("offset", [0, 2])
@pytest.mark.slow
def test_the_compiled_encoder_is_one_graph(offset):
    model, inputs = make(TreLMModel, position_offset=offset), pairs()
    inputs["attention_mask"][1, 5:] = 0
    inputs["alignment"].clamp_(max=4)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_close(compiled(**inputs).last_hidden_state, model(**inputs).last_hidden_state)


@pytest.mark.slow
def test_a_compiled_model_has_the_same_loss():
    model, labels = make(), some_labels(3, 12)
    compiled = torch.compile(model, backend="eager")
    assert_close(compiled(**pairs(), labels=labels).loss, model(**pairs(), labels=labels).loss)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients(reentrant):
    found = []
    for checkpointed in (False, True):
        model = make().train()
        if checkpointed:
            newer = getattr(model, "activation_checkpointing_enable", None)
            (newer or model.gradient_checkpointing_enable)({"use_reentrant": reentrant})
        assert sum(getattr(module, "gradient_checkpointing", False) for module in model.modules()) == 5 * checkpointed
        torch.manual_seed(3)
        model(**pairs(), labels=some_labels(3, 12)).loss.backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*found, strict=True):
        assert_close(checkpointed, plain)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("size", [None, 8])
def test_a_model_comes_back_equal_to_the_bit(kind, size, tmp_path):
    model = make(kind, embedding_size=size, position_offset=2)
    model.save_pretrained(tmp_path)
    again = kind.from_pretrained(tmp_path)
    assert again.config.to_diff_dict() == model.config.to_diff_dict()
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(again(ids(2, 6))[0], model(ids(2, 6))[0])


def test_languages_start_at_zero_and_the_unaligned_vector_does_not(tmp_path):
    fresh = TreLMModel(TreLMConfig(**SHAPE))
    assert not fresh.embeddings.language_embeddings.weight.any()
    assert 0.005 < fresh.tri_layer.unaligned.std() < 0.05
    state = {name: tensor for name, tensor in fresh.state_dict().items() if "language" not in name}
    fresh.save_pretrained(tmp_path, state_dict=state)
    again = TreLMModel.from_pretrained(tmp_path)
    assert not again.embeddings.language_embeddings.weight.any()
    assert torch.equal(again.embeddings.word_embeddings.weight, fresh.embeddings.word_embeddings.weight)


@pytest.mark.slow
def test_embeddings_in_place_of_ids_compute_the_same():
    model, text = make(embedding_size=8), ids(2, 6)
    assert torch.equal(model(inputs_embeds=model.get_input_embeddings()(text)).logits, model(text).logits)


def test_resizing_the_vocabulary_keeps_the_head_tied():
    model = make()
    model.resize_token_embeddings(WORDS + 4, mean_resizing=False)
    assert model(ids(1, 5)).logits.shape[-1] == len(model.decoder.bias) == model.config.vocab_size == WORDS + 4
    assert model.decoder.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    ("index", "names"),
    [(2, ["embeddings", "lower", "tri_layer", "upper", "head"]), (None, ["embeddings", "layers", "head"])],
)
def test_parts_hold_every_parameter_once(kind, index, names):
    model = make(kind, tri_layer_index=index, embedding_size=8)
    parts = model.parts()
    held = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert list(parts) == names
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    assert bool(parts["head"]) == (kind is not TreLMModel)
    with pytest.raises(ValueError, match=f"'middle' is not a part of this model; expected one of {', '.join(names)}"):
        model.part("middle")


def test_parts_are_cut_at_the_tri_layer():
    model = make(tri_layer_index=1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    prefixes = {
        part: {".".join(names[id(parameter)].split(".")[:3]) for parameter in model.part(part)}
        for part in ("lower", "upper", "tri_layer", "head")
    }
    assert prefixes["lower"] == {"trelm.layers.0"}
    assert prefixes["upper"] == {"trelm.layers.1", "trelm.layers.2", "trelm.layers.3"}
    assert prefixes["tri_layer"] == {"trelm.tri_layer.unaligned", "trelm.tri_layer.layer"}
    assert prefixes["head"] == {"head.dense.weight", "head.dense.bias", "head.norm.weight", "head.norm.bias"} | {
        "decoder.bias"
    }


def test_parts_freeze_and_train_by_name():
    model = make()
    model.freeze("lower", "head")
    training = {name: {p.requires_grad for p in parameters} for name, parameters in model.parts().items()}
    assert training == {"embeddings": {True}, "lower": {False}, "tri_layer": {True}, "upper": {True}, "head": {False}}
    model.set_trainable(["lower", "tri_layer"])
    training = {name: {p.requires_grad for p in parameters} for name, parameters in model.parts().items()}
    assert training == {"embeddings": {False}, "lower": {True}, "tri_layer": {True}, "upper": {False}, "head": {False}}
    with pytest.raises(ValueError, match="'body' is not a part"):
        model.set_trainable(["upper", "body"])
    assert not model.part("upper")[0].requires_grad
    with pytest.raises(ValueError, match="Without a TRILayer the layers are one part"):
        make(tri_layer_index=None).freeze("lower")


def test_texts_are_classified_alike_whichever_side_they_are_padded_on():
    model, text = make(TreLMForSequenceClassification, position_offset=2), ids(1, 5)
    padding = torch.zeros(1, 3, dtype=torch.int64)
    expected = model(text).logits
    for parts in ([text, padding], [padding, text]):
        padded = torch.cat(parts, 1)
        assert_close(model(padded, attention_mask=(padded != 0).long()).logits, expected)


@pytest.mark.parametrize(
    ("labels", "overrides", "loss"),
    [
        (torch.tensor([0, 2, 1]), {"num_labels": 3}, nn.functional.cross_entropy),
        (torch.tensor([0.5, 2.0, -1.0]), {"num_labels": 1}, lambda x, y: nn.functional.mse_loss(x[:, 0], y)),
        (torch.eye(3), {"num_labels": 3}, nn.functional.binary_cross_entropy_with_logits),
    ],
)
def test_a_text_has_a_label_a_number_or_several_labels(labels, overrides, loss):
    model = make(TreLMForSequenceClassification, **overrides)
    outputs = model(ids(3, 6), lang_ids=torch.tensor([0, 1, 2]), labels=labels)
    assert_close(outputs.loss, loss(outputs.logits, labels))


def test_tokens_and_answers_are_labelled():
    tokens, answers = make(TreLMForTokenClassification, num_labels=4), make(TreLMForQuestionAnswering)
    labels = torch.tensor([[0, 3, -100]])
    outputs = tokens(ids(1, 3), labels=labels)
    assert_close(outputs.loss, nn.functional.cross_entropy(outputs.logits[0], labels[0]))
    found = answers(ids(2, 5), start_positions=torch.tensor([1, 0]), end_positions=torch.tensor([4, 2]))
    expected = nn.functional.cross_entropy(found.start_logits, torch.tensor([1, 0]))
    expected = (expected + nn.functional.cross_entropy(found.end_logits, torch.tensor([4, 2]))) / 2
    assert_close(found.loss, expected)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({"input_ids": None}, "none of input_ids and inputs_embeds are given; expected one"),
        ({"inputs_embeds": torch.zeros(3, 9, 16)}, "Both or none of input_ids and inputs_embeds"),
        ({"target_lang_ids": None}, "alignment is given without target_lang_ids; expected the language"),
        ({"lang_ids": torch.tensor([0, 3, 0])}, r"Language id 3 is not one of this model's: 0 \(en\), 1 \(de\)"),
        ({"target_lang_ids": torch.tensor([0, 0, -1])}, "Language id -1 is not one of this model's"),
        ({"alignment": torch.full((3, 12), 9)}, "pair 0, target position 0 is 9; expected a source position below 9"),
        ({"target_attention_mask": torch.ones(3, 9)}, r"is \(3, 9\) where alignment is \(3, 12\)"),
        ({"input_ids": ids(3, 25)}, "The input is 25 tokens long; expected at most 24"),
        ({"labels": ids(3, 9)}, r"labels are \(3, 9\) where the target is \(3, 12\); expected one label"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, match):
    with pytest.raises(ValueError, match=match):
        make()(**pairs() | inputs)


def test_a_model_without_a_tri_layer_refuses_alignments():
    model = make(tri_layer_index=None)
    with pytest.raises(ValueError, match="alignment and target_lang_ids and target_attention_mask given to a model"):
        model(**pairs())


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({"hidden_size": "wide"}, "hidden_size"),
        ({"num_attention_heads": 3}, "hidden_size is 16, which 3 attention heads do not divide"),
        ({"languages": []}, r"languages is \[\]; expected one code or more"),
        ({"languages": ["en", "en"]}, "languages is .* expected one code or more, each once"),
        ({"default_language": "fr"}, "'fr' is not a language of this model; expected one of en, de, id"),
        ({"tri_layer_index": 4}, "tri_layer_index is 4; expected from 0 to below num_hidden_layers, 4"),
        ({"tri_layer_index": "middle"}, "tri_layer_index"),
        ({"position_offset": 24}, "position_offset is 24; expected from 0 to below max_position_embeddings"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(overrides, match):
    with pytest.raises(StrictDataclassError, match=match):
        TreLMConfig(**SHAPE | overrides)


@pytest.mark.parametrize("languages", ["en", 3])
def test_languages_are_a_list(languages):
    with pytest.raises(StrictDataclassError, match="languages"):
        TreLMConfig(languages=languages)


@pytest.mark.parametrize("code", ["embeddings", "lower", "source", "__class__", "../../x", "e.n", "", "x" * 65, "a b"])
def test_a_language_that_parts_are_not_named_after_is_refused(code):
    with pytest.raises(StrictDataclassError, match="letters, digits, - and _ between them"):
        TreLMConfig(languages=["en", code])


@pytest.mark.parametrize("code", ["to", "id", "all", "forward", "config", "zh-Hant", "deu_Latn", "x-mine", "größisch"])
def test_a_language_named_like_an_attribute_does_not_collide(code):
    shape = {
        "vocab_size": 9,
        "hidden_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 4,
    }
    others = {"en": {"vocab_size": 9}}
    config = TreLMConfig(**shape, languages=["en", code], separate_embeddings=True, other_vocabularies=others)
    model = TreLMForMaskedLM(config)
    assert f"embeddings.{code}" in model.parts()
    assert model(torch.tensor([[1, 2]]), lang_ids=torch.tensor([1])).logits.shape == (1, 2, 9)

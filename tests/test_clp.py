"""CLP-Transfer: what the initializer makes of a source and a helper."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM, AutoTokenizer

from hf_xlt import CLPInitializer
from hf_xlt.errors import InputError
from hf_xlt.geometry.similarity import WEIGHTINGS
from hf_xlt.initializers.baselines import RandomInitializer
from hf_xlt.transport import Transport

AUTO = {
    "bert": AutoModelForMaskedLM,
    "roberta": AutoModelForMaskedLM,
    "gpt2": AutoModelForCausalLM,
    "llama": AutoModelForCausalLM,
    "bart": AutoModelForSeq2SeqLM,
    "t5": AutoModelForSeq2SeqLM,
}
FAMILY = {"bert": "wordpiece", "roberta": "byte-level-bpe", "gpt2": "byte-level-bpe", "llama": "unigram",
          "bart": "byte-level-bpe", "t5": "unigram"}  # fmt: skip


def source(folder: Path, kind: str = "gpt2", **kwargs) -> Path:
    tok = tiny.tokenizer("en", FAMILY[kind])
    return tiny.save(tiny.model(kind, tok, seed=1, **kwargs), tok, folder / f"source-{kind}")


def helper(folder: Path, kind: str = "gpt2", width: int = 8, **kwargs) -> Path:
    tok = tiny.tokenizer("de", FAMILY[kind], 500)
    model = with_common_direction(tiny.model(kind, tok, seed=2, width=width, **kwargs))
    return tiny.save(model, tok, folder / f"helper-{kind}")


def with_common_direction(model):
    """Shift the embeddings, so that most cosines are positive, as in trained models."""
    with torch.no_grad():
        model.get_input_embeddings().weight.add_(2 * model.get_input_embeddings().weight.std())
    return model


def dense_paper_rows(clp: CLPInitializer, table: torch.Tensor) -> np.ndarray:
    """The paper's equation, token by token, in float64."""
    overlap = clp.overlap()
    rows = clp.model.input_rows().double().numpy()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    shared = table.double().numpy()[overlap.source_ids]
    mixed = []
    for token in overlap.missing_ids:
        cosines = unit[overlap.target_ids] @ unit[token]
        mixed.append((cosines[:, None] * shared).sum(0) / cosines.sum())
    return np.stack(mixed)


def test_paper_weighting_is_the_papers_equation(tmp_path):
    clp = CLPInitializer(source=source(tmp_path), helper=helper(tmp_path))
    table = clp.source.input_rows()
    target = clp.transport().apply(table)
    overlap = clp.overlap()
    assert torch.equal(target[overlap.target_ids], table[overlap.source_ids])
    expected = dense_paper_rows(clp, table)
    error = np.linalg.norm(target[overlap.missing_ids].numpy() - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 1e-5
    assert clp.transport().counts.drawn == 0
    assert clp.transport().counts.copied == len(overlap.target_ids)


@pytest.mark.parametrize("weighting", ["positive", "top-k", "sparsemax"])
def test_other_weightings_stay_within_the_hull_of_the_overlap(tmp_path, weighting):
    clp = CLPInitializer(source=source(tmp_path), helper=helper(tmp_path), weighting=weighting)
    table = clp.source.input_rows()
    target = clp.transport().apply(table)[clp.overlap().missing_ids]
    shared = table[clp.overlap().source_ids]
    assert (target <= shared.max(0).values + 1e-5).all()
    assert (target >= shared.min(0).values - 1e-5).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", AUTO)
@pytest.mark.parametrize("helper_kind", ["gpt2", "bert"])
def test_streamed_and_assembled_models_agree_for_every_kind(tmp_path, kind, helper_kind):
    clp = CLPInitializer(source=source(tmp_path, kind), helper=helper(tmp_path, helper_kind))
    clp.build(tmp_path / "out")
    reopened = AUTO[kind].from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assembled = clp.build_model().eval()
    assert type(assembled) is type(reopened)
    state = assembled.state_dict()
    for name, tensor in reopened.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    batch = tokenizer("Die Kinder spielen im Garten.", return_tensors="pt", return_token_type_ids=False)
    if reopened.config.is_encoder_decoder:
        batch["decoder_input_ids"] = batch["input_ids"]
    with torch.no_grad():
        assert torch.equal(reopened(**batch).logits, assembled(**batch).logits)
    assert reopened.config.vocab_size == len(tokenizer)
    if reopened.can_generate():
        assert reopened.generation_config.to_dict() == assembled.generation_config.to_dict()


@pytest.mark.slow
def test_special_ids_follow_the_new_tokenizer_in_both_configurations(tmp_path):
    clp = CLPInitializer(source=source(tmp_path, "bart"), helper=helper(tmp_path, "t5"))
    tokenizer = clp.tokenizer
    for model in (clp.build_model(), AutoModelForSeq2SeqLM.from_pretrained(clp.build(tmp_path / "out"))):
        for settings in (model.config, model.generation_config):
            assert settings.pad_token_id == tokenizer.pad_token_id
            assert settings.eos_token_id == tokenizer.eos_token_id
            assert settings.bos_token_id == tokenizer.bos_token_id
            assert settings.decoder_start_token_id == tokenizer.eos_token_id


@pytest.mark.slow
def test_an_untied_head_and_its_bias_are_transferred_with_the_same_weights(tmp_path):
    clp = CLPInitializer(source=source(tmp_path, "llama"), helper=helper(tmp_path, "llama"), weighting="top-k")
    model, before = clp.build_model(), AutoModelForCausalLM.from_pretrained(clp.source.body)
    assert not torch.equal(model.lm_head.weight, model.get_input_embeddings().weight)
    assert torch.allclose(model.lm_head.weight, clp.transport().apply(before.lm_head.weight.detach()))

    bert = CLPInitializer(source=source(tmp_path, "bert"), helper=helper(tmp_path, "bert"), weighting="top-k")
    with torch.no_grad():
        before = AutoModelForMaskedLM.from_pretrained(bert.source.body)
        before.cls.predictions.bias.normal_()
    before.save_pretrained(bert.source.body)
    bert = CLPInitializer(source=bert.source.folder, helper=helper(tmp_path, "bert"), weighting="top-k")
    expected = bert.transport().apply(before.cls.predictions.bias.detach())
    assert torch.allclose(bert.build_model().cls.predictions.bias, expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dtype_is_kept_unless_another_is_asked_for(tmp_path, dtype):
    tok = tiny.tokenizer("en", "byte-level-bpe")
    half = tiny.save(tiny.model("gpt2", tok).to(dtype), tok, tmp_path / "half")
    clp = CLPInitializer(source=half, helper=helper(tmp_path))
    assert clp.build_model().dtype == dtype
    assert clp.build_model(dtype=torch.float32).dtype == torch.float32
    stored = load_file(clp.build(tmp_path / "out") / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {dtype}


def test_padded_source_and_helper_tables_do_not_enter(tmp_path):
    tok, german = tiny.tokenizer("en", "byte-level-bpe"), tiny.tokenizer("de", "byte-level-bpe", 500)
    padded = tiny.save(tiny.model("gpt2", tok, rows=640, seed=1), tok, tmp_path / "padded")
    plump = with_common_direction(tiny.model("gpt2", german, rows=512, seed=2, width=8))
    tiny.save(plump, german, tmp_path / "plump")
    clp = CLPInitializer(source=padded, helper=tmp_path / "plump", pad_to_multiple_of=1)
    assert clp.build_model().get_input_embeddings().num_embeddings == len(german)
    eights = CLPInitializer(source=padded, helper=tmp_path / "plump", pad_to_multiple_of=64)
    model = eights.build_model()
    assert model.get_input_embeddings().num_embeddings % 64 == 0
    assert eights.transport().counts.unused == model.config.vocab_size - len(german)


@pytest.mark.slow
def test_a_base_checkpoint_without_a_head_gets_a_fresh_one_in_memory_and_none_on_disk(tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    bare = tiny.save(tiny.model("bert", tok).bert, tok, tmp_path / "bare")
    clp = CLPInitializer(source=bare, helper=helper(tmp_path))
    assert type(clp.build_model()).__name__ == "BertForMaskedLM"
    assert type(AutoModel.from_pretrained(clp.build(tmp_path / "out"))).__name__ == "BertModel"
    assert "model = AutoModel.from_pretrained(name)" in (tmp_path / "out" / "README.md").read_text()
    assert not any(name.startswith("cls.") for name in load_file(tmp_path / "out" / "model.safetensors"))


def test_the_built_folder_explains_itself(tmp_path):
    clp = CLPInitializer(source=source(tmp_path), helper=helper(tmp_path), weighting="top-k", k=3)
    out = clp.build(tmp_path / "out", command="hf-xlt initialize clp")
    saved = Transport.load(out / "transport.safetensors")
    name = clp.target_vocabulary.names[int(clp.overlap().missing_ids[0])]
    explained = saved.explain(name)
    assert explained == clp.transport().explain(name)
    assert len(explained) == 3
    assert sum(weight for _, weight in explained) == pytest.approx(1)
    card = (out / "README.md").read_text()
    assert "hf-xlt initialize clp" in card
    assert str(tmp_path) not in card


def test_random_rows_keep_special_tokens_and_draw_the_rest(tmp_path):
    tok = tiny.tokenizer("de", "wordpiece", 500)
    random = RandomInitializer(source(tmp_path), tok)
    counts = random.transport().counts
    roles = {tok.pad_token_id, tok.cls_token_id, tok.sep_token_id, tok.mask_token_id, tok.unk_token_id}
    assert counts.copied == len(roles)
    assert counts.drawn == len(tok) - len(roles)
    table = random.build_model().get_input_embeddings().weight
    start = random.source.input_rows()[tiny.tokenizer("en", "byte-level-bpe").bos_token_id]
    assert torch.equal(table[tok.cls_token_id], start)


@pytest.mark.slow
def test_same_seed_same_rows(tmp_path):
    tok = tiny.tokenizer("de", "byte-level-bpe", 500)
    src = source(tmp_path)
    rows = [RandomInitializer(src, tok, seed=s).transport().apply(torch.randn(600, 4).fill_(1)) for s in (1, 1, 2)]
    assert torch.equal(rows[0], rows[1])
    tables = [RandomInitializer(src, tok, seed=s).build_model().get_input_embeddings().weight for s in (1, 2)]
    assert not torch.equal(*tables)


def test_helper_without_tokenizer_is_refused(tmp_path):
    tiny.save(tiny.model("gpt2", tiny.tokenizer("de", "byte-level-bpe", 500)), None, tmp_path / "mute")
    with pytest.raises(InputError, match=r"mute has no tokenizer.*save_pretrained"):
        CLPInitializer(source=source(tmp_path), helper=tmp_path / "mute")


def test_tokenizer_beyond_the_table_is_refused(tmp_path):
    german = tiny.tokenizer("de", "byte-level-bpe", 500)
    small = tiny.save(tiny.model("gpt2", german, rows=450), german, tmp_path / "small")
    with pytest.raises(InputError, match=r"ids up to 499.*450 rows"):
        CLPInitializer(source=source(tmp_path), helper=small)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_that_are_not_finite_are_refused_by_name(tmp_path, bad):
    folder = helper(tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("wte.weight"))
    weights[name][7, 3] = bad
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"helper.*NaN or infinity in 1 of 500 rows \(first ids: 7\)"):
        CLPInitializer(source=source(tmp_path), helper=folder)
    sick = source(tmp_path)
    weights = load_file(sick / "model.safetensors")
    weights[name][3, 0] = bad
    save_file(weights, sick / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"NaN or infinity in 1 of 600 rows \(first ids: 3\)"):
        CLPInitializer(source=sick, helper=helper(tmp_path)).build(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_paths_and_unknown_options_are_refused(tmp_path):
    src = source(tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        CLPInitializer(source=src, helper=tmp_path / "nowhere")


def test_existing_output_needs_overwrite(tmp_path):
    clp = CLPInitializer(source=source(tmp_path), helper=helper(tmp_path))
    out = clp.build(tmp_path / "out")
    with pytest.raises(InputError, match="--overwrite"):
        clp.build(out)
    config = json.loads((clp.build(out, overwrite=True) / "config.json").read_text())
    assert config["vocab_size"] == 500


def test_every_weighting_is_offered():
    assert WEIGHTINGS == ("paper", "positive", "top-k", "sparsemax")

"""How well a model predicts a text: as plain loops count it, sequence by sequence, and never with a head drawn anew."""

import gzip
import math

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForMaskedLM, BertForSequenceClassification

from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.language_model import evaluate_checkpoint
from hf_xlt.evaluation.metrics import Perplexity
from hf_xlt.evaluation.tasks.language_modeling import LanguageModeling, PseudoPerplexity
from hf_xlt.sample import sentences
from hf_xlt.trelm import TreLMForMaskedLM

LINES = sentences("de", "held_out")[:30]
KINDS = [
    ("bert", "wordpiece"),
    ("roberta", "byte-level-bpe"),
    ("gpt2", "byte-level-bpe"),
    ("llama", "unigram"),
    ("bart", "unigram"),
    ("t5", "unigram"),
]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "held_out.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return str(path)


def saved(folder, kind="bert", family="wordpiece", **overrides):
    tokenizer = tiny.tokenizer("de", family)
    return str(tiny.save(tiny.model(kind, tokenizer, **overrides), tokenizer, folder / kind)), tokenizer


def scores(task, outcome):
    return {name: float(score) for name, score in task.metric().of_counts(outcome.counts.sum(0)).items()}


def measured(task, folder, text, **asked):
    outcome = task.measure(ModelSpec(folder, **asked), {"test": text})
    return scores(task, outcome), outcome


@pytest.mark.parametrize(("kind", "family"), KINDS)
def test_a_text_costs_what_the_measure_of_held_out_text_says(tmp_path, text, kind, family):
    folder, _ = saved(tmp_path, kind, family)
    task = LanguageModeling(length=24)
    found, outcome = measured(task, folder, text)
    expected = evaluate_checkpoint(folder, text, length=24)
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert found["perplexity"] == pytest.approx(expected.perplexity, rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert found[task.headline] == found["bits_per_byte"]
    assert outcome.counts.shape == (outcome.notes["sequences"], 3)
    assert outcome.notes["sequences"] > 16  # more than a batch


def test_each_sequence_has_its_own_counts(tmp_path, text):
    folder, tokenizer = saved(tmp_path, "gpt2", "byte-level-bpe")
    _, outcome = measured(LanguageModeling(length=24), folder, text)
    model = tiny.model("gpt2", tokenizer)
    ids = [i for line in LINES for i in tokenizer(line)["input_ids"] + [tokenizer.eos_token_id]]
    ids = [tokenizer.eos_token_id, *ids]
    for (nll, tokens, _), start in zip(outcome.counts, range(0, len(ids) - 1, 23), strict=True):
        window = torch.tensor([ids[start : start + 24]])
        assert tokens == window.shape[1] - 1
        assert nll == pytest.approx(model(window, labels=window).loss.item() * tokens, rel=1e-5)


def test_a_trelm_is_measured_in_the_language_asked_for(tmp_path, text):
    tokenizer = tiny.tokenizer("de", "wordpiece")
    model = TreLMForMaskedLM.from_encoder(
        tiny.model("bert", tokenizer), languages=["en", "de"], tokenizer=tokenizer, source_tokenizer=tokenizer
    )
    torch.nn.init.normal_(model.trelm.embeddings.language_embeddings.weight, generator=torch.Generator().manual_seed(0))
    folder = str(tiny.save(model, tokenizer, tmp_path / "trelm"))
    found = {
        languages: measured(LanguageModeling(), folder, text, languages=languages)[0]
        for languages in (None, ("en", "de"), ("de", "en"))
    }
    assert found[None] == found["en", "de"] != found["de", "en"]
    with pytest.raises(InputError, match="has no language 'fr'; expected one of en, de"):
        measured(LanguageModeling(), folder, text, languages=("en", "fr"))


def test_sequences_are_no_longer_than_the_model_allows(tmp_path, text):
    folder, _ = saved(tmp_path, max_position_embeddings=20)
    assert measured(LanguageModeling(), folder, text)[1].notes["tokens each"] == 20


def test_a_column_of_a_table_is_a_text_too(tmp_path, text):
    folder, _ = saved(tmp_path)
    rows = [f"{i}\t{line}\t{part}" for i, line in enumerate(LINES) for part in ("a", "b")]
    with gzip.open(tmp_path / "t.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(["id\tde\tpart", *rows]))
    table = f"{tmp_path}/t.tsv.gz:de@part=b"
    assert measured(LanguageModeling(), folder, table)[0] == measured(LanguageModeling(), folder, text)[0]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "family"), KINDS[:2])
def test_pseudo_perplexity_is_that_of_a_loop_that_masks_one_token_at_a_time(tmp_path, text, kind, family):
    folder, tokenizer = saved(tmp_path, kind, family)
    task = PseudoPerplexity(lines=8)
    found, outcome = measured(task, folder, text)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    nll = []
    for line in LINES[:8]:
        encoded = tokenizer(line, return_tensors="pt", return_special_tokens_mask=True)
        ids, special = encoded["input_ids"], encoded["special_tokens_mask"][0]
        nll.append([])
        for place in (special == 0).nonzero()[:, 0]:
            masked = ids.index_fill(1, place, tokenizer.mask_token_id)
            nll[-1].append(-model(masked).logits[0, place].log_softmax(-1)[ids[0, place]].item())
    expected = [(sum(line), len(line), len(text.encode())) for line, text in zip(nll, LINES, strict=False)]
    np.testing.assert_allclose(outcome.counts, expected, rtol=1e-5)
    flat = sum(nll, [])
    assert found["perplexity"] == pytest.approx(math.exp(sum(flat) / len(flat)), rel=1e-5)
    text_bytes = sum(len(line.encode()) for line in LINES[:8])
    assert found["bits_per_byte"] == pytest.approx(sum(flat) / math.log(2) / text_bytes, rel=1e-5)
    assert outcome.notes == {"lines": 8, "windowed": 0, "unknown tokens": 0}


def test_copies_of_a_long_line_are_read_some_at_a_time(tmp_path, text, monkeypatch):
    folder, _ = saved(tmp_path)
    together = measured(PseudoPerplexity(lines=3), folder, text)[1]
    monkeypatch.setattr("hf_xlt.evaluation.tasks.language_modeling._BATCH_TOKENS", 40)
    np.testing.assert_allclose(measured(PseudoPerplexity(lines=3), folder, text)[1].counts, together.counts, rtol=1e-5)


def test_lines_longer_than_the_positions_are_cut_into_windows_and_counted(tmp_path):
    folder, tokenizer = saved(tmp_path, max_position_embeddings=12)
    (tmp_path / "long.txt").write_text(f"{' '.join(LINES[:4])}\n{LINES[0].split()[0]}\n", encoding="utf-8")
    _, outcome = measured(PseudoPerplexity(), folder, str(tmp_path / "long.txt"))
    assert outcome.notes["windowed"] == 1
    assert outcome.counts[0, 1] == len(tokenizer(" ".join(LINES[:4]), add_special_tokens=False)["input_ids"])


def test_unknown_tokens_are_predicted_and_counted(tmp_path):
    folder, _ = saved(tmp_path)
    (tmp_path / "zh.txt").write_text("漢字\n", encoding="utf-8")
    _, outcome = measured(PseudoPerplexity(), folder, str(tmp_path / "zh.txt"))
    assert outcome.counts[0, 1] == outcome.notes["unknown tokens"] > 0
    assert outcome.counts[0, 2] == 6


@pytest.mark.parametrize("task", [LanguageModeling(), PseudoPerplexity()])
def test_an_encoder_without_a_trained_head_is_refused(tmp_path, text, task):
    tokenizer = tiny.tokenizer("de", "wordpiece")
    model = tiny.model("bert", tokenizer)
    bare = tiny.save(model.bert, tokenizer, tmp_path / "bare")
    with pytest.raises(
        InputError, match=r"saved as BertModel, without weights that BertForMaskedLM .* cls\.pred.* run"
    ):
        measured(task, str(bare), text)
    classifier = tiny.save(BertForSequenceClassification(model.config), tokenizer, tmp_path / "classifier")
    with pytest.raises(InputError, match="saved as BertForSequenceClassification, without weights"):
        measured(task, str(classifier), text)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "family"), [("gpt2", "byte-level-bpe"), ("bart", "unigram")])
def test_a_head_tied_to_the_embeddings_lacks_nothing_where_only_the_body_was_saved(tmp_path, text, kind, family):
    folder, tokenizer = saved(tmp_path, kind, family)
    body = tiny.save(tiny.model(kind, tokenizer).base_model, tokenizer, tmp_path / "body")
    assert measured(LanguageModeling(), str(body), text)[0] == measured(LanguageModeling(), folder, text)[0]


def test_pseudo_perplexity_is_for_encoders_with_a_mask_token(tmp_path, text):
    with pytest.raises(InputError, match="is a decoder; expected an encoder.* Use language-model"):
        measured(PseudoPerplexity(), saved(tmp_path, "gpt2", "byte-level-bpe")[0], text)
    folder, _ = saved(tmp_path)
    tokenizer = tiny.tokenizer("de", "wordpiece")
    maskless = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, unk_token="[UNK]", pad_token="[PAD]")
    maskless.save_pretrained(folder)
    with pytest.raises(InputError, match="has no mask token"):
        measured(PseudoPerplexity(), folder, text)


@pytest.mark.parametrize("task", [LanguageModeling(), PseudoPerplexity()])
def test_texts_that_are_none_are_refused(tmp_path, task):
    folder, _ = saved(tmp_path)
    (tmp_path / "blank.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(InputError, match="empty|has no text"):
        measured(task, folder, str(tmp_path / "blank.txt"))
    with pytest.raises(InputError, match="is not a file"):
        measured(task, folder, str(tmp_path / "missing.txt"))


def test_scores_follow_from_counts_of_any_resample():
    counts = np.random.default_rng(0).integers(1, 50, size=(9, 3)).astype(float)
    nll, tokens, text_bytes = counts.T
    loss = nll.sum() / tokens.sum()
    bits = nll.sum() / (math.log(2) * text_bytes.sum())
    metric = Perplexity()
    found = metric.compute(predictions=nll, references=counts[:, 1:])
    assert found == pytest.approx({"loss": loss, "perplexity": math.exp(loss), "bits_per_byte": bits})
    weights = np.random.default_rng(1).integers(0, 3, size=(5, 9))
    resampled = metric.of_counts(weights @ counts)
    for sample, loss in zip(weights, resampled["loss"], strict=True):
        assert loss == pytest.approx((sample @ nll) / (sample @ tokens))
    assert float(metric.of_counts(np.zeros(3))["bits_per_byte"]) == 0

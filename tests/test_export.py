"""Exports give the vectors that they should, open with the libraries they are for, and appear only where they do."""

import json
import re
from typing import get_args

import numpy as np
import pytest
import tiny
import torch
from test_cli import call
from test_sentence_encoder import TEXTS, own, pooling, saved
from transformers import AutoModel, AutoTokenizer, BertForSequenceClassification

from hf_xlt import export as module
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.cli.options import FormatName
from hf_xlt.evaluation.models import open_body
from hf_xlt.evaluation.sentence_encoder import BodyEncoder, sentence_encoder, sentence_head
from hf_xlt.export import TOLERANCE, export_onnx, export_static, onnx_vectors

EXPORTS = (export_static, export_onnx)
UNKNOWN = "\N{SYMBOL FOR NULL}"


@pytest.fixture
def any_library(monkeypatch):
    """Whatever is installed, it seems to be there: for what is refused, or replaced, before a library is needed."""
    monkeypatch.setattr(module, "find_spec", lambda name: True)


@pytest.fixture
def static_libraries():
    return [pytest.importorskip(name) for name in ("model2vec", "skeletoken", "sentence_transformers")]


@pytest.fixture
def without_graph(monkeypatch, any_library):
    """ONNX replaced: a graph that gives the model's own vectors, plus an error in one number."""

    def go(checkpoint, error):
        def vectors(folder, texts):
            found = sentence_encoder(checkpoint).vectors(texts).numpy()
            found[0, 0] += error * np.abs(found).max()
            return found

        monkeypatch.setattr(module, "_write_graph", lambda checkpoint, encoder, path: path.write_bytes(b"graph"))
        monkeypatch.setattr(module, "onnx_vectors", vectors)

    return go


class TestRefusals:
    @pytest.mark.parametrize("export", EXPORTS)
    @pytest.mark.parametrize("kind", ["gpt2", "t5", "classifier"])
    def test_what_makes_no_vectors_of_sentences(self, tmp_path, any_library, export, kind):
        tokenizer = tiny.tokenizer("en", "wordpiece")
        model = tiny.model("bert" if kind == "classifier" else kind, tokenizer)
        model = BertForSequenceClassification(model.config) if kind == "classifier" else model
        folder = tiny.save(model, tokenizer, tmp_path / "model")
        refused = tiny.refusal(export, folder, tmp_path / "out")
        assert refused.path == folder
        assert refused.value == {"gpt2": "decoder", "t5": "encoder-decoder", "classifier": "encoder"}[kind]
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("make", "label"), [("highest", "max"), ("two", "cls and mean"), ("dense", "mean, Dense, Normalize")]
    )
    def test_what_a_static_table_is_not_like(self, tmp_path, any_library, make, label):
        refused = tiny.refusal(export_static, saved(tmp_path / "model", make), tmp_path / "out")
        assert (refused.value, refused.hint) == (label, "Export it as onnx.")

    @pytest.mark.parametrize("dimensions", [0, 17])
    def test_more_dimensions_than_there_are(self, tmp_path, any_library, dimensions):
        folder = saved(tmp_path / "model", None)
        assert tiny.refusal(export_static, folder, tmp_path / "out", dimensions=dimensions).value == dimensions

    def test_a_tokenizer_that_cannot_pad(self, tmp_path, any_library):
        tokenizer = tiny.tokenizer("en", "byte-level-bpe")
        folder = tiny.save(tiny.model("gpt2", tokenizer).base_model, tokenizer, tmp_path / "model")
        tiny.sentence_folder(folder, pooling("lasttoken"))
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": None}))
        assert "padding token" in str(tiny.refusal(export_onnx, folder, tmp_path / "out"))

    @pytest.mark.parametrize(("export", "library"), [(export_static, "model2vec"), (export_onnx, "onnxscript")])
    def test_libraries_that_are_not_there(self, tmp_path, monkeypatch, export, library):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == library else True)
        refused = tiny.refusal(export, tmp_path, tmp_path / "out")
        assert refused.value == [library]
        assert "pip install 'hf-xlt[export]'" in refused.hint

    @pytest.mark.parametrize("export", EXPORTS)
    def test_an_output_that_exists_before_the_body_is_opened(self, tmp_path, any_library, monkeypatch, export):
        monkeypatch.setattr(module, "open_body", None)
        folder = saved(tmp_path / "model", "mean")
        (tmp_path / "out").mkdir()
        assert tiny.refusal(export, folder, tmp_path / "out").path == tmp_path / "out"

    def test_dimensions_of_a_graph(self, monkeypatch, capsys):
        words = ("export", "x", "--format", "onnx", "--dimensions", "8", "--output", "o")
        code, _, err = call(monkeypatch, capsys, *words)
        assert code == 2
        assert "--dimensions has an effect only with --format static" in err


class TestStatic:
    def test_all_ways_of_opening_it_give_the_same_vectors(self, tmp_path, static_libraries):
        model2vec, _, library = static_libraries
        made = export_static(saved(tmp_path / "model", "mean"), tmp_path / "out", dimensions=8)
        texts = [*TEXTS, " ".join(TEXTS) * 20, f"the {UNKNOWN} water", ""]
        first = model2vec.StaticModel.from_pretrained(made.folder).encode(texts)
        second = library.SentenceTransformer(str(made.folder), device="cpu").encode(texts)
        np.testing.assert_allclose(first, second, atol=1e-6)
        assert first.shape == (len(texts), made.width) == (len(texts), 8)
        assert made.difference < 1e-6

    def test_rows_are_what_the_encoder_makes_of_a_token_alone(self, tmp_path, static_libraries):
        folder = saved(tmp_path / "model", "mean")
        static = static_libraries[0].StaticModel.from_pretrained(export_static(folder, tmp_path / "out").folder)
        model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        ranks = np.arange(2, len(static.tokens) + 2)
        weights = 1e-4 / (1e-4 + 1 / ranks / (1 / ranks).sum())
        ids = [static.tokens.index(token) for token in ("the", "and", "water")]
        given = torch.tensor([[tokenizer.cls_token_id, i, tokenizer.sep_token_id] for i in
                              tokenizer.convert_tokens_to_ids(["the", "and", "water"])])  # fmt: skip
        with torch.no_grad():
            states = model(given).last_hidden_state.mean(1)
        rows = torch.from_numpy(static.embedding[ids] / weights[ids, None]).float()
        # Principal components of all dimensions move and turn rows: distances stay.
        torch.testing.assert_close(torch.cdist(rows, rows), torch.cdist(states, states), rtol=1e-3, atol=1e-4)

    def test_first_tokens_are_pooled_where_the_model_does(self, tmp_path, static_libraries):
        mean, first = (
            static_libraries[0].StaticModel.from_pretrained(
                export_static(saved(tmp_path / make, make), tmp_path / f"{make}-out").folder
            )
            for make in ("mean", "first")
        )
        assert (mean.config["pooling"], first.config["pooling"]) == ("mean", "first")
        assert not np.allclose(mean.encode(TEXTS), first.encode(TEXTS))

    def test_it_lowers_where_the_model_does(self, tmp_path, static_libraries):
        folder = saved(tmp_path / "model", None)
        tiny.sentence_folder(folder, pooling("mean"), do_lower_case=True)
        static = static_libraries[0].StaticModel.from_pretrained(export_static(folder, tmp_path / "out").folder)
        assert np.array_equal(*(static.encode([text]) for text in ("The WATER", "the water")))

    def test_the_folder_tells_what_it_is_made_of_and_no_place(self, tmp_path, static_libraries):
        folder = saved(tmp_path / "model", "mean")
        (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: de\n---\n# x\n", encoding="utf-8")
        made = export_static(folder, tmp_path / "out", command=f"hf-xlt export {folder}")
        assert {path.suffix for path in made.folder.iterdir()} == {".json", ".md", ".safetensors"}
        card = (made.folder / "README.md").read_text(encoding="utf-8")
        assert "license: apache-2.0" in card
        assert "distilled with model2vec from `model`" in card
        text = "".join(
            path.read_text(encoding="utf-8") for path in made.folder.iterdir() if path.suffix != ".safetensors"
        )
        assert str(tmp_path) not in text

    def test_libraries_that_differ_leave_nothing(self, tmp_path, static_libraries, monkeypatch):
        monkeypatch.setattr(module, "_static_vectors", lambda *given: iter([np.eye(3), np.eye(3) * 1.001]))
        refused = tiny.refusal(export_static, saved(tmp_path / "model", "mean"), tmp_path / "out")
        assert refused.value == pytest.approx(1e-3)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    def test_what_model2vec_cannot_distill_is_refused(self, tmp_path, static_libraries, monkeypatch):
        def fail(*given, **options):
            raise ValueError("The vocabulary is empty")

        monkeypatch.setattr("model2vec.distill.distill_from_model", fail)
        refused = tiny.refusal(export_static, saved(tmp_path / "model", "mean"), tmp_path / "out")
        assert "The vocabulary is empty" in str(refused)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    def test_the_command_says_that_both_libraries_agree(self, tmp_path, static_libraries, monkeypatch, capsys):
        words = ("export", saved(tmp_path / "model", "mean"), "--format", "static", "--output", tmp_path / "out")
        code, out, _ = call(monkeypatch, capsys, *words)
        assert code == 0
        assert "vectors of 16 numbers. model2vec and sentence-transformers give equal vectors" in out


class TestOnnx:
    @pytest.mark.slow
    def test_a_graph_gives_the_models_vectors_by_the_code_on_its_card(self, tmp_path, monkeypatch):
        for name in ("onnx", "onnxscript", "onnxruntime", "sentence_transformers"):
            pytest.importorskip(name)
        folder = saved(tmp_path / "model", "short first")  # first token, Dense, a prompt, sentences cut
        made = export_onnx(folder, tmp_path / "out")
        expected = own(folder).numpy()
        prompt = "Water and: "
        found = onnx_vectors(made.folder, [prompt + text for text in TEXTS])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        assert (made.width, made.difference < TOLERANCE) == (4, True)
        (snippet,) = re.findall(r"```python\n(.*?)```", (made.folder / "README.md").read_text(encoding="utf-8"), re.S)
        monkeypatch.chdir(tmp_path)
        ran = {}
        exec(snippet, ran)
        np.testing.assert_allclose(ran["vectors"], own(folder, ["A sentence.", "Another one."]), rtol=1e-4, atol=1e-5)

    def test_what_is_equal_appears_whole(self, tmp_path, without_graph):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", "mean"))
        without_graph(checkpoint, 0.5 * TOLERANCE)
        made = export_onnx(checkpoint, tmp_path / "out")
        names = {path.name for path in made.folder.iterdir()}
        assert names == {"model.onnx", "tokenizer.json", "config.json", "README.md", ".hf_xlt.json"}
        assert made.difference == pytest.approx(0.5 * TOLERANCE, rel=1e-2)

    @pytest.mark.parametrize("error", [2 * TOLERANCE, np.nan])
    def test_what_differs_leaves_nothing(self, tmp_path, without_graph, error):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", "mean"))
        without_graph(checkpoint, error)
        refused = tiny.refusal(export_onnx, checkpoint, tmp_path / "out")
        assert refused.value == pytest.approx(error, rel=1e-2, nan_ok=True)
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    @pytest.mark.parametrize("settings", [{"do_lower_case": True}, {"max_seq_length": 6}])
    def test_its_tokenizer_lowers_cuts_and_pads_as_the_model_does(self, tmp_path, settings):
        folder = saved(tmp_path / "model", None)
        checkpoint = Checkpoint.open(tiny.sentence_folder(folder, pooling("mean"), **settings))
        tokenizer = checkpoint.tokenizer()
        encoder = BodyEncoder(open_body(checkpoint), tokenizer, sentence_head(checkpoint, tokenizer))
        cut = module._whole_tokenizer(encoder).encode_batch(TEXTS)
        prepared = encoder.head.declared.prepared(TEXTS)
        expected = tokenizer(prepared, padding=True, truncation=True, max_length=encoder.longest)
        assert [each.ids for each in cut] == expected["input_ids"]
        assert [each.attention_mask for each in cut] == expected["attention_mask"]
        assert any(text != low for text, low in zip(TEXTS, prepared, strict=True)) == ("do_lower_case" in settings)


def test_trial_sentences_are_of_a_token_and_of_more_than_are_read():
    tokenizer = tiny.tokenizer("en", "wordpiece")
    lengths = [len(ids) for ids in tokenizer(module._trial_sentences(tokenizer, 40))["input_ids"]]
    assert min(lengths) <= 5
    assert max(lengths) > 40


def test_formats_of_the_command_are_those_there_are():
    assert get_args(FormatName) == tuple(module._LIBRARIES)

"""A sentence's vector is the model's own: what sentence-transformers gives where a folder is one, else the mean."""

import importlib.util
import json
import subprocess
import sys

import pytest
import tiny
import torch
from transformers import AutoModel, AutoTokenizer

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.sentences import SentenceModules
from hf_xlt.errors import InputError
from hf_xlt.evaluation import sentence_encoder as module
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.retrieval import nearest, nearest_by_margin, nearness, sentence_vectors
from hf_xlt.evaluation.sentence_encoder import BodyEncoder, sentence_encoder, sentence_head
from hf_xlt.evaluation.structure import Structure, structure
from hf_xlt.evaluation.tasks.retrieval import SentenceRetrieval
from hf_xlt.sample import sentences

TEXTS = sentences("en", "held_out")[:12]
PAIRS = list(zip(sentences("en", "held_out")[:30], sentences("de", "held_out")[:30], strict=True))
NORMALIZE = ("Normalize", {})
PROMPT = {"prompts": {"query": "Water and: ", "passage": "p "}, "default_prompt_name": "query"}


def pooling(mode, **more):
    return "Pooling", {"embedding_dimension": 16, "pooling_mode": mode} | more


def flags(*names):
    every = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return "Pooling", {"word_embedding_dimension": 16} | {f"pooling_mode_{name}": name in names for name in every}


LAYERS = ("WeightedLayerPooling", {"word_embedding_dimension": 16, "layer_start": 1, "num_hidden_layers": 2})
MAKES = {
    "mean": ([pooling("mean")], {}),
    "mean, unit length": ([flags("mean_tokens"), NORMALIZE], {}),
    "first": ([flags("cls_token"), NORMALIZE], {}),
    "highest": ([pooling("max")], {}),
    "last": ([flags("lasttoken")], {}),
    "weighted": ([pooling("weightedmean")], {}),
    "two": ([pooling(["cls", "mean"])], {}),
    "dense": ([pooling("mean"), tiny.dense(16, 8), NORMALIZE], {}),
    "prompt": ([pooling("mean")], PROMPT),
    "prompt not pooled": ([pooling("mean", include_prompt=False)], PROMPT),
    "short": ([pooling("mean")], {"max_seq_length": 6}),
    "short first": ([pooling("cls"), tiny.dense(16, 4)], {"max_seq_length": 6} | PROMPT),
    "nested": ([pooling("cls"), tiny.dense(16, 8)], {"body": "0_Transformer"}),
}


def saved(folder, make="mean", kind="bert", **overrides):
    tokenizer = tiny.tokenizer("en", "wordpiece")
    model = tiny.model(kind, tokenizer, initializer_range=0.3, **overrides)
    tiny.save(getattr(model, kind), tokenizer, folder)
    return folder if make is None else tiny.sentence_folder(folder, *MAKES[make][0], **MAKES[make][1])


@pytest.fixture
def without_library(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == module.LIBRARY else find(name))


def own(folder, texts=TEXTS):
    library = pytest.importorskip("sentence_transformers")
    return torch.as_tensor(library.SentenceTransformer(str(folder), device="cpu").encode(list(texts)))


class TestVectors:
    @pytest.mark.slow
    @pytest.mark.parametrize("make", MAKES)
    def test_they_are_those_of_the_library(self, tmp_path, make):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", make))
        found = sentence_encoder(checkpoint).vectors(TEXTS)
        torch.testing.assert_close(found, own(checkpoint.folder), rtol=1e-5, atol=1e-6)
        assert found.dtype == torch.float32

    @pytest.mark.parametrize("make", MAKES)
    def test_another_body_under_the_head_is_encoded_alike(self, tmp_path, make):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", make))
        body, tokenizer = AutoModel.from_pretrained(checkpoint.body).train(), checkpoint.tokenizer()
        found = BodyEncoder(body, tokenizer, sentence_head(checkpoint, tokenizer)).vectors(TEXTS)
        torch.testing.assert_close(found, own(checkpoint.folder), rtol=1e-4, atol=1e-5)
        assert body.training

    def test_layers_may_be_mixed(self, tmp_path):
        library = pytest.importorskip("sentence_transformers")
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer, WeightedLayerPooling

        folder = saved(tmp_path / "model", None, output_hidden_states=True)
        mixed = WeightedLayerPooling(16, num_hidden_layers=2, layer_start=1)
        library.SentenceTransformer(modules=[Transformer(str(folder)), mixed, Pooling(16, "cls")]).save(
            str(tmp_path / "own")
        )
        checkpoint = Checkpoint.open(tmp_path / "own")
        body, tokenizer = AutoModel.from_pretrained(checkpoint.body), checkpoint.tokenizer()
        expected = own(tmp_path / "own")
        for encoder in (
            sentence_encoder(checkpoint),
            BodyEncoder(body, tokenizer, sentence_head(checkpoint, tokenizer)),
        ):
            torch.testing.assert_close(encoder.vectors(TEXTS), expected, rtol=1e-4, atol=1e-5)

    def test_a_head_passes_gradients_on_and_learns_nothing(self, tmp_path):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", "dense"))
        tokenizer = checkpoint.tokenizer()
        head, body = sentence_head(checkpoint, tokenizer).train(), AutoModel.from_pretrained(checkpoint.body)
        inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
        head(body(**inputs), inputs).sum().backward()
        assert body.get_input_embeddings().weight.grad.abs().sum() > 0
        assert not any(parameter.requires_grad for parameter in head.parameters())
        assert not head.training

    def test_any_other_folder_has_the_means_of_its_last_states(self, tmp_path, without_library):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", None))
        encoder = sentence_encoder(checkpoint)
        model, tokenizer = (
            AutoModel.from_pretrained(checkpoint.folder),
            AutoTokenizer.from_pretrained(checkpoint.folder),
        )
        torch.testing.assert_close(encoder.vectors(TEXTS), sentence_vectors(model, tokenizer, TEXTS)[-1])
        assert encoder.pooling == "mean"

    @pytest.mark.parametrize(("make", "longer"), [("short", True), ("mean", False)])
    def test_sentences_are_cut_where_the_model_says(self, tmp_path, make, longer, monkeypatch):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", make))
        for found in (module.find_spec, lambda _: None):
            monkeypatch.setattr(module, "find_spec", found)
            assert (sentence_encoder(checkpoint).truncated(TEXTS) > 0) == longer

    def test_sentences_are_lowered_where_the_model_says(self, tmp_path):
        folder = saved(tmp_path / "model", None)
        tiny.sentence_folder(folder, pooling("mean"), do_lower_case=True)
        checkpoint = Checkpoint.open(folder)
        tokenizer = checkpoint.tokenizer()
        head = sentence_head(checkpoint, tokenizer)
        assert head.declared.prepared(["The Water"]) == ["the water"]
        found = BodyEncoder(AutoModel.from_pretrained(folder), tokenizer, head).vectors(TEXTS)
        torch.testing.assert_close(found, own(folder), rtol=1e-4, atol=1e-5)


class TestWithoutTheLibrary:
    @pytest.mark.parametrize("make", ["mean", "mean, unit length", "short"])
    def test_means_are_computed_here(self, tmp_path, make, monkeypatch):
        folder = saved(tmp_path / "model", make)
        expected = own(folder)
        monkeypatch.setattr(module, "find_spec", lambda _: None)
        found = sentence_encoder(Checkpoint.open(folder)).vectors(TEXTS)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("make", ["first", "two", "dense", "prompt", "nested"])
    def test_all_else_is_refused_and_the_extra_named(self, tmp_path, make, without_library):
        checkpoint = Checkpoint.open(saved(tmp_path / "model", make))
        for refuse in (sentence_encoder, module.check_sentence_head):
            with pytest.raises(InputError) as refused:
                refuse(checkpoint)
            assert "pip install 'hf-xlt[sentence]'" in refused.value.hint

    @pytest.mark.slow
    def test_nothing_of_it_is_imported_where_it_is_not_needed(self, tmp_path):
        folder = saved(tmp_path / "model", None)
        program = (
            "import sys; from hf_xlt.checkpoint.open import Checkpoint\n"
            "from hf_xlt.evaluation.sentence_encoder import sentence_encoder\n"
            f"sentence_encoder(Checkpoint.open({str(folder)!r})).vectors(['a'])\n"
            "print('sentence_transformers' in sys.modules)"
        )
        result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert result.stdout.strip() == "False"


class TestRefusals:
    def test_what_makes_no_vector_of_a_sentence(self, tmp_path):
        folder = tiny.sentence_folder(saved(tmp_path / "model", None), pooling("mean"), model_type="SparseEncoder")
        with pytest.raises(InputError, match="is a SparseEncoder of Transformer, Pooling, which makes no vector"):
            sentence_encoder(Checkpoint.open(folder))
        (folder / "config_sentence_transformers.json").write_text("{}")
        (folder / "modules.json").write_text(json.dumps(json.loads((folder / "modules.json").read_text())[:1]))
        with pytest.raises(InputError, match="of Transformer, which makes no vector"):
            sentence_encoder(Checkpoint.open(folder))

    def test_pickled_modules(self, tmp_path):
        folder = saved(tmp_path / "model", "dense")
        (folder / "2_Dense" / "model.safetensors").rename(folder / "2_Dense" / "pytorch_model.bin")
        with pytest.raises(InputError) as refused:
            sentence_encoder(Checkpoint.open(folder))
        assert refused.value.expected == "model.safetensors"
        assert refused.value.path == folder / "2_Dense"

    def test_code_that_is_not_trusted(self, tmp_path):
        folder = saved(tmp_path / "model", "dense")
        (folder / "own.py").write_text("raise SystemExit('ran')")
        listing = json.loads((folder / "modules.json").read_text())
        listing[2]["type"] = "own.Dense"
        (folder / "modules.json").write_text(json.dumps(listing))
        with pytest.raises(InputError) as refused:
            sentence_encoder(Checkpoint.open(folder))
        assert refused.value.value == "own.Dense"

    @pytest.mark.parametrize("file", ["1_Pooling/config.json", "config_sentence_transformers.json"])
    @pytest.mark.parametrize("content", ["{", "[1]"])
    def test_settings_that_are_none(self, tmp_path, file, content):
        folder = saved(tmp_path / "model", "mean")
        (folder / file).write_text(content)
        with pytest.raises(InputError) as refused:
            SentenceModules.of(folder)
        assert refused.value.path == folder / file

    def test_a_folder_that_the_library_cannot_open(self, tmp_path):
        folder = saved(tmp_path / "model", "dense")
        (folder / "2_Dense" / "config.json").write_text("{}")
        with pytest.raises(InputError, match="sentence-transformers cannot open"):
            sentence_encoder(Checkpoint.open(folder))


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({"pooling_mode_cls_token": True}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False, "include_prompt": True}, ("mean",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_lasttoken": True}, ("mean", "lasttoken")),
        ({"pooling_mode": "mean"}, ("mean",)),
        ({"pooling_mode": ["mean", "max"]}, ("mean", "max")),
        ({}, ("mean",)),
    ],
)
def test_how_models_pool_is_read_from_their_settings_of_any_age(tmp_path, config, modes):
    folder = tiny.sentence_folder(saved(tmp_path / "model", None), ("Pooling", config))
    assert SentenceModules.of(folder).pooling == modes


def test_no_sentence_transformers_folder_says_nothing(tmp_path):
    assert SentenceModules.of(saved(tmp_path / "model", None)) is None


class TestRetrieval:
    def table(self, tmp_path):
        path = tmp_path / "pairs.tsv"
        path.write_text("".join("\t".join(pair) + "\n" for pair in PAIRS), encoding="utf-8")
        return str(path)

    @pytest.mark.parametrize("make", ["first", "dense", "prompt", "nested", "two"])
    def test_the_task_takes_the_models_own_vectors_and_chooses_no_layer(self, tmp_path, make):
        folder, test = str(saved(tmp_path / "model", make)), self.table(tmp_path)
        outcome = SentenceRetrieval().measure(ModelSpec(folder), {"test": test, "dev": test})
        sides = [own(folder, side) for side in zip(*PAIRS, strict=True)]
        gold = torch.arange(len(PAIRS))
        expected = torch.stack([way == gold for way in (*nearest(*sides), *nearest_by_margin(*sides))], dim=1)
        assert outcome.counts[:, 1:].tolist() == expected.double().tolist()
        assert outcome.notes["layer"] == "the model's own output"
        assert outcome.notes["pooling"] == SentenceModules.of(tmp_path / "model").label

    def test_of_a_source_too_whose_pooling_is_told_where_it_is_another(self, tmp_path):
        plain, source = str(saved(tmp_path / "plain", None, seed=1)), str(saved(tmp_path / "source", "first"))
        test = {"test": self.table(tmp_path)}
        outcome = SentenceRetrieval().measure(ModelSpec(plain, source=source), test)
        assert (outcome.notes["pooling"], outcome.notes["pooling of source sentences"]) == ("mean", "cls, Normalize")
        model, tokenizer = AutoModel.from_pretrained(plain), AutoTokenizer.from_pretrained(plain)
        english, german = zip(*PAIRS, strict=True)
        forward, _ = nearest(own(source, english), sentence_vectors(model, tokenizer, german)[-1])
        assert outcome.counts[:, 1].tolist() == (forward == torch.arange(len(PAIRS))).double().tolist()

    def test_vectors_of_other_widths_are_refused(self, tmp_path):
        plain, source = str(saved(tmp_path / "plain", None)), str(saved(tmp_path / "source", "dense"))
        with pytest.raises(InputError, match="have width 8, those of .* 16"):
            SentenceRetrieval().measure(ModelSpec(plain, source=source), {"test": self.table(tmp_path)})

    @pytest.mark.parametrize("kind", ["gpt2", "llama"])
    def test_a_decoder_that_pools_its_last_token(self, tmp_path, kind):
        tokenizer = tiny.tokenizer("en", "byte-level-bpe")
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        tiny.save(tiny.model(kind, tokenizer).base_model, tokenizer, tmp_path / "model")
        folder = str(tiny.sentence_folder(tmp_path / "model", pooling("lasttoken"), NORMALIZE))
        outcome = SentenceRetrieval().measure(ModelSpec(folder), {"test": self.table(tmp_path)})
        sides = [own(folder, side) for side in zip(*PAIRS, strict=True)]
        assert outcome.counts[:, 1].tolist() == (nearest(*sides)[0] == torch.arange(30)).double().tolist()


def test_nearness_is_that_of_a_dense_computation():
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(9, 5, generator=draw), torch.randn(9, 5, generator=draw)
    cosines = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=2)
    others = cosines.masked_fill(torch.eye(9, dtype=torch.bool), -torch.inf)
    margin = (2 * cosines.diagonal() - others.amax(0) - others.amax(1)).mean() / 2
    found = nearness(a, b)
    assert (found.cosine, found.margin) == pytest.approx((float(cosines.diagonal().mean()), float(margin)), abs=1e-5)


@pytest.mark.slow
def test_structure_pools_each_layer_as_the_model_does(tmp_path):
    first, mean = str(saved(tmp_path / "first", "first")), str(saved(tmp_path / "mean", None))
    pairs = [(english, english) for english in dict.fromkeys(sentences("en", "held_out")[:60])]
    found = structure(first, mean, pairs, words=0)
    assert found.pooling == ("cls", "mean")
    alone = structure(mean, mean, pairs, words=0)
    assert alone.pooling == ("mean", "mean")
    assert found.sentences.cka[-1][-1] < alone.sentences.cka[-1][-1] - 1e-3
    assert found.sentences.cka[0] == pytest.approx(alone.sentences.cka[0], abs=1e-5)  # of the embeddings
    assert Structure.from_json(found.to_json()) == found
    before = json.loads(found.to_json())
    del before["pooling"]
    assert Structure.from_json(json.dumps(before)).pooling == ("mean", "mean")
    two = str(saved(tmp_path / "two", "two"))
    assert structure(two, mean, pairs, words=0).pooling == ("cls and mean", "mean")

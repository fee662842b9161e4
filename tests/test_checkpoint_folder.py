"""Folders: what is fetched, what is refused, what is carried over, and that an output appears whole or not at all."""

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from safetensors.torch import load_file, save_file
from test_checkpoint import copying, permuting
from transformers import AutoModelForMaskedLM

from hf_xlt.checkpoint.contents import left_behind
from hf_xlt.checkpoint.fetch import fetch
from hf_xlt.checkpoint.open import Checkpoint, check_body
from hf_xlt.checkpoint.rewrite import revocabulary
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.files.folders import atomic_folder, check_output, check_space

fetching = importlib.import_module("hf_xlt.checkpoint.fetch")


@pytest.fixture
def tok():
    return tiny.tokenizer("en", "wordpiece")


@pytest.fixture
def source(tok, tmp_path):
    return tiny.save(tiny.model("bert", tok), tok, tmp_path / "source")


@pytest.fixture
def sharded(tok, tmp_path):
    return tiny.save(tiny.model("bert", tok), tok, tmp_path / "source", max_shard_size="20KB")


class Interrupted:
    """A transport that fails when half of the work is done."""

    source_size = target_size = 600

    def blocks(self, matrix):
        raise KeyboardInterrupt


# fetch


def test_a_folder_is_its_own_fetch(tmp_path):
    assert fetch(tmp_path) == fetch(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "name", ["./nowhere", "/no/where", "~/nowhere-at-all", "no-such-runs/", "no-such-runs/de/model"]
)
def test_a_missing_local_path_never_reaches_the_hub(name, monkeypatch):
    monkeypatch.setattr(fetching, "snapshot_download", lambda *_, **__: pytest.fail("asked the Hub"))
    with pytest.raises(InputError, match=f"{name} does not exist. Check the path"):
        fetch(name)


def test_a_file_is_not_a_checkpoint(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is a file; expected a model folder"):
        fetch(tmp_path / "model.safetensors")


def test_pickled_weights_are_not_downloaded(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(fetching, "snapshot_download", lambda name, **kwargs: asked.update(kwargs) or str(tmp_path))
    assert fetch("me/model") == tmp_path
    patterns = asked["allow_patterns"]
    assert {"*.safetensors", "*.json", "*.txt", "*.model"} <= set(patterns)
    assert not any(pattern.endswith(("bin", "pt", "h5", "msgpack", "onnx", "*")) for pattern in patterns)


def test_the_hub_out_of_reach_is_an_input_error():
    with pytest.raises(InputError, match="me/never-was is not a folder here.*without a network, give a local folder"):
        fetch("me/never-was")


@pytest.mark.parametrize(
    ("error", "message"),
    [(GatedRepoError, "is gated on the Hub.*hf auth login"), (RepositoryNotFoundError, "RepositoryNotFoundError")],
)
def test_the_hub_refusing_is_an_input_error(error, message, monkeypatch):
    def refuse(*_, **__):
        raise error.__new__(error)

    monkeypatch.setattr(fetching, "snapshot_download", refuse)
    with pytest.raises(InputError, match=message):
        fetch("me/model")


def test_a_name_that_is_no_hub_id_is_refused():
    with pytest.raises(InputError, match="'a model' is neither a folder here nor a valid Hub id"):
        fetch("a model")


# what cannot be opened


def test_a_folder_without_configuration_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no config\.json"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize(
    "content", ['{"model_type": "no-such-model"}', "{", '{"model_type": "bert", "hidden_size": "x"}']
)
def test_a_configuration_that_cannot_be_read_is_refused(content, source):
    (source / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json cannot be opened"):
        Checkpoint.open(source)


def test_an_architecture_that_nothing_is_known_of_is_refused(source):
    (source / "config.json").write_text('{"model_type": "vit", "architectures": ["MyOwnModel"]}')
    with pytest.raises(InputError, match="Architecture MyOwnModel of model type 'vit' is not known"):
        Checkpoint.open(source)


def test_a_model_without_tokens_is_refused(source):
    (source / "config.json").write_text('{"model_type": "vit", "architectures": ["ViTModel"]}')
    with pytest.raises(InputError, match="ViTModel has no token embeddings"):
        Checkpoint.open(source)


def test_pickled_weights_alone_are_refused_with_the_way_to_convert_them(source):
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"only pytorch_model\.bin there.*Convert them with .*save_pretrained"):
        Checkpoint.open(source)


def test_a_folder_without_weights_is_refused(source):
    (source / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights at all there"):
        Checkpoint.open(source)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\n", None])
def test_weights_that_are_not_whole_are_refused(content, source):
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    with pytest.raises(InputError, match=r"model\.safetensors is not a whole safetensors file"):
        Checkpoint.open(source)


def test_a_missing_shard_is_named(sharded):
    missing = sorted(sharded.glob("*.safetensors"))[1]
    missing.unlink()
    with pytest.raises(InputError, match=missing.name):
        Checkpoint.open(sharded)


def test_a_tensor_that_is_not_where_the_index_says_is_named(sharded):
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    first, *_, last = sorted(set(content["weight_map"].values()))
    name = next(name for name, file in content["weight_map"].items() if file == first)
    content["weight_map"][name] = last
    index.write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"says that {last} holds {name}, which it does not"):
        Checkpoint.open(sharded)


@pytest.mark.parametrize(
    "content", ["{", "{}", "[]", '{"weight_map": {"a": 1}}', '{"weight_map": ["a"]}', '{"weight_map": {"a": null}}']
)
def test_an_index_that_cannot_be_read_is_refused(content, sharded):
    (sharded / "model.safetensors.index.json").write_text(content)
    with pytest.raises(InputError, match="is not an index of shards"):
        Checkpoint.open(sharded)


# what is carried over


def sentence_transformer(source, path):
    """Make of a folder what sentence-transformers writes, with the transformer in `path`."""
    if path:
        shutil.move(source, source.parent / "body")
        source.mkdir()
        shutil.move(source.parent / "body", source / path)
    types = {path: "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    listing = [{"path": p, "type": f"sentence_transformers.models.{t}"} for p, t in types.items()]
    (source / "modules.json").write_text(json.dumps(listing))
    (source / "config_sentence_transformers.json").write_text("{}")
    (source / path / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    for module in ("1_Pooling", "2_Dense"):
        (source / module).mkdir()
        (source / module / "config.json").write_text('{"of": "' + module + '"}')
    (source / "2_Dense" / "model.safetensors").write_bytes(b"weights of no vocabulary")
    return source


@pytest.mark.parametrize("path", ["", "0_Transformer"])
def test_a_sentence_transformer_keeps_its_modules(path, source, tok, tmp_path):
    sentence_transformer(source, path)
    target = revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    for kept in (
        "modules.json",
        "config_sentence_transformers.json",
        Path(path, "sentence_bert_config.json"),
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ):
        assert (target / kept).read_bytes() == (source / kept).read_bytes()
    before, after = (AutoModelForMaskedLM.from_pretrained(folder / path) for folder in (source, target))
    embeddings = before.get_input_embeddings().weight
    assert torch.equal(after.get_input_embeddings().weight, embeddings[permuting(600).copied_source])
    assert Checkpoint.open(target).tokenizer().get_vocab() == tok.get_vocab()


@pytest.mark.parametrize("path", ["", "0_Transformer"])
def test_the_tokenizer_of_a_sentence_transformer_opens_wherever_it_is(path, source, tok, tmp_path):
    sentence_transformer(source, path)
    target = revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    assert open_tokenizer(str(target)).get_vocab() == tok.get_vocab()


@pytest.mark.parametrize("kind", ["WordWeights", "BoW"])
def test_a_module_that_lists_words_of_the_old_vocabulary_is_refused(kind, source, tok, tmp_path):
    sentence_transformer(source, "")
    listing = json.loads((source / "modules.json").read_text())
    listing.append({"path": "4_Words", "type": f"sentence_transformers.models.{kind}"})
    (source / "modules.json").write_text(json.dumps(listing))
    with pytest.raises(InputError) as refused:
        revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    assert refused.value.value == kind
    assert not (tmp_path / "target").exists()


STALE = (
    "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "model.fp16.safetensors", "consolidated.safetensors",
    "optimizer.pt", "trainer_state.json", "training_args.bin", "README.md",
    "vocab.txt", "merges.txt", "vocab.bpe", "encoder.json", "bpe.codes", "dict.txt", "spiece.model", "spm.model",
    "source.spm", "tokenizer.model", "sentencepiece.bpe.model", "tekken.json", "params.json", "qwen.tiktoken",
    "special_tokens_map.json", "added_tokens.json", "tokenizer_config.json.bak", "anything.else",
    "onnx/model.onnx", "onnx/config.json", "openvino/model.xml", "original/tokenizer.model", "original/params.json",
    "checkpoint-500/config.json", ".git/HEAD",
)  # fmt: skip
KEPT = (
    "LICENSE", "LICENSE.txt", "USE_POLICY.md", "Notice", "modeling_mine.py", "preprocessor_config.json",
    "processor_config.json", "video_preprocessor_config.json", "custom_generate/generate.py",
)  # fmt: skip


def test_code_licenses_and_settings_are_carried_over_and_nothing_else(source, tok, tmp_path):
    for name in STALE + KEPT:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text("{}")
    target = revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    assert [name for name in STALE if (target / name).exists()] == []
    assert {(target / name).read_text() for name in KEPT} == {"{}"}
    gone = left_behind(source, target)
    assert {"tekken.json", "anything.else", "original/", "onnx/"} <= set(gone)
    assert not set(KEPT).union({"config.json", "tokenizer.json"}).intersection(gone)


def test_the_old_tokenizer_of_a_module_is_not_carried_over(source, tok, tmp_path):
    sentence_transformer(source, "0_Transformer")
    for name in ("tekken.json", "sentencepiece.bpe.model", "modeling_mine.py"):
        (source / "0_Transformer" / name).write_text(name)
    target = revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    gone = left_behind(source, target)
    assert gone == ["0_Transformer/sentencepiece.bpe.model", "0_Transformer/tekken.json"]
    assert (target / "0_Transformer" / "modeling_mine.py").exists()


def test_shards_may_lie_in_a_folder_of_their_own(sharded, tok, tmp_path):
    in_folder(sharded, "shards/")
    (sharded / "shards").mkdir()
    for path in sharded.glob("*.safetensors"):
        path.rename(sharded / "shards" / path.name)
    target = revocabulary(Checkpoint.open(sharded), permuting(600), tok, tmp_path / "target")
    before, after = (AutoModelForMaskedLM.from_pretrained(folder) for folder in (sharded, target))
    rows = before.get_input_embeddings().weight[permuting(600).copied_source]
    assert torch.equal(after.get_input_embeddings().weight, rows)


@pytest.mark.parametrize("place", ["../", "/tmp/", "a/../../"])
def test_shards_outside_of_the_folder_are_refused(place, sharded):
    in_folder(sharded, place)
    with pytest.raises(InputError, match="leads out of the folder"):
        Checkpoint.open(sharded)


def test_a_tensor_that_two_shards_hold_is_refused(sharded):
    first, second, *_ = sorted(sharded.glob("*.safetensors"))
    save_file({**load_file(first), **load_file(second)}, second, {"format": "pt"})
    with pytest.raises(InputError, match="is stored twice") as refused:
        Checkpoint.open(sharded)
    assert refused.value.value in load_file(first)


def in_folder(sharded, place):
    """Let an index name all shards in another place."""
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] = {name: place + file for name, file in content["weight_map"].items()}
    index.write_text(json.dumps(content))


def test_a_module_path_that_leads_out_of_the_folder_is_refused(source):
    (source / "modules.json").write_text('[{"path": "../other", "type": "x.Transformer"}]')
    with pytest.raises(InputError, match=r"'\.\./other', which leads out of the folder"):
        Checkpoint.open(source)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not a list of modules"), ('[{"path": "", "type": "x.StaticEmbedding"}]', "no Transformer among")],
)
def test_modules_without_a_transformer_are_refused(content, message, source):
    (source / "modules.json").write_text(content)
    with pytest.raises(InputError, match=message):
        Checkpoint.open(source)


# whole or not at all


def test_a_failed_build_leaves_nothing(source, tok, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        revocabulary(Checkpoint.open(source), Interrupted(), tok, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_copy_that_fails_leaves_nothing(sharded, tok, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("No space left on device")

    rewriting = importlib.import_module("hf_xlt.checkpoint.rewrite")
    monkeypatch.setattr(rewriting, "copy_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        revocabulary(Checkpoint.open(sharded), permuting(600), tok, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_failed_build_leaves_the_old_output(source, tok, tmp_path):
    with atomic_folder(tmp_path / "target") as folder:
        (folder / "precious").write_text("kept")
    with pytest.raises(KeyboardInterrupt):
        revocabulary(Checkpoint.open(source), Interrupted(), tok, tmp_path / "target", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]
    assert (tmp_path / "target" / "precious").read_text() == "kept"


KILLED = """
import sys, time
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.rewrite import revocabulary
class Waiting:
    source_size = target_size = 600
    def blocks(self, matrix):
        print("halfway", flush=True)
        time.sleep(60)
checkpoint = Checkpoint.open(sys.argv[1])
revocabulary(checkpoint, Waiting(), checkpoint.tokenizer(), sys.argv[2])
"""


@pytest.mark.slow
def test_a_killed_build_leaves_no_folder_that_looks_complete(sharded, tok, tmp_path):
    command = [sys.executable, "-c", KILLED, sharded, tmp_path / "target"]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, text=True) as process:
        assert process.stdout.readline() == "halfway\n"
        process.send_signal(signal.SIGKILL)
    (left,) = (path for path in tmp_path.iterdir() if path != sharded)
    assert left.name.startswith(".target.partial-")
    assert not (left / "config.json").exists()
    revocabulary(Checkpoint.open(sharded), permuting(600), tok, tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_an_existing_output_is_replaced_only_when_asked(source, tok, tmp_path):
    with atomic_folder(tmp_path / "target") as folder:
        (folder / "old").write_text("old")
    with pytest.raises(InputError, match=r"target exists\. .*--overwrite"):
        revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    assert (tmp_path / "target" / "old").exists()
    revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target", overwrite=True)
    assert not (tmp_path / "target" / "old").exists()
    assert Checkpoint.open(tmp_path / "target").vocab_size == 600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


@pytest.mark.parametrize("output", ["source", "source/inside", "source/../source", "."])
def test_an_output_that_overlaps_with_the_source_is_refused(output, source, tok, tmp_path):
    with pytest.raises(InputError, match="overlaps with"):
        revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / output, overwrite=True)
    assert Checkpoint.open(source).vocab_size == 600


def test_a_disk_too_small_is_refused_before_work(source, tok, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"needs 0\.1 MB and its disk has 0\.0 MB free"):
        revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    check_space(tmp_path / "a" / "b", 10_000)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_the_space_needed_counts_the_larger_tables(source, tok, tmp_path, monkeypatch):
    grown = copying(torch.arange(60_000) % 600)
    needed = 60_000 * 16 * 4
    usage = shutil.disk_usage(tmp_path)._replace(free=needed)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"needs 4\.1 MB and its disk has 3\.8 MB free"):
        revocabulary(Checkpoint.open(source), grown, tok, tmp_path / "target")


def test_an_atomic_folder_appears_at_the_end(tmp_path):
    with atomic_folder(tmp_path / "deep" / "out") as folder:
        (folder / "file").write_text("text")
        assert not (tmp_path / "deep" / "out").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert (tmp_path / "deep" / "out" / "file").read_text() == "text"


def test_what_a_running_process_writes_is_left_alone(tmp_path):
    running = tmp_path / f".out.partial-{socket.gethostname()}-{os.getppid()}"
    elsewhere = tmp_path / ".out.partial-another-machine-1"
    running.mkdir()
    elsewhere.mkdir()
    with atomic_folder(tmp_path / "out"):
        pass
    assert running.exists()
    assert elsewhere.exists()


def test_an_output_put_aside_by_a_killed_process_comes_back(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    aside = tmp_path / f".out.replaced-{socket.gethostname()}-{gone.pid}"
    aside.mkdir()
    (aside / "precious").write_text("kept")
    with pytest.raises(InputError, match="--overwrite"), atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "precious").read_text() == "kept"


@pytest.mark.parametrize("kind", ["file", "link", "working directory"])
def test_overwrite_replaces_folders_only(kind, tmp_path, monkeypatch):
    output = tmp_path / "out"
    match kind:
        case "file":
            output.write_text("text")
        case "link":
            (tmp_path / "elsewhere").mkdir()
            output.symlink_to(tmp_path / "elsewhere")
        case "working directory":
            (output / "below").mkdir(parents=True)
            monkeypatch.chdir(output / "below")
    message = "holds the working directory" if kind == "working directory" else "is not a folder"
    with pytest.raises(InputError, match=message):
        check_output(output, overwrite=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_body_that_is_not_finite_is_refused_by_name(value, dtype, tok, tmp_path):
    model = tiny.model("bert", tok).to(dtype)
    model.bert.encoder.layer[1].output.dense.weight.data[3, 5] = value
    source = tiny.save(model, tok, tmp_path / "source", max_shard_size="20KB")
    with pytest.raises(InputError, match="holds NaN or infinity") as refused:
        revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    assert refused.value.value == "bert.encoder.layer.1.output.dense.weight"
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_large_numbers_are_finite(tok, tmp_path):
    model = tiny.model("bert", tok).half()
    model.bert.encoder.layer[0].output.dense.weight.data[:] = 60_000
    source = tiny.save(model, tok, tmp_path / "source")
    check_body(Checkpoint.open(source))


def test_a_body_of_zeros_is_refused_by_name(tok, tmp_path):
    model = tiny.model("bert", tok)
    for name, weight in model.named_parameters():
        if "word_embeddings" not in name:
            weight.data.zero_()
    source = tiny.save(model, tok, tmp_path / "source")
    with pytest.raises(InputError, match="are zero") as refused:
        revocabulary(Checkpoint.open(source), permuting(600), tok, tmp_path / "target")
    assert refused.value.value in load_file(source / "model.safetensors")


def test_single_tensors_may_be_zero(tok, tmp_path):
    model = tiny.model("bert", tok)
    for layer in model.bert.encoder.layer:
        layer.output.dense.weight.data.zero_()
    check_body(Checkpoint.open(tiny.save(model, tok, tmp_path / "source")))

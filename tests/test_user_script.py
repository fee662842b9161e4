"""TreLM inside a user's own Trainer script, under accelerate with two processes; test_readme.py runs the README's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from safetensors.torch import load_file
from torch.testing import assert_close

from hf_xlt.sample import sentences

DISTRIBUTED = Path(__file__).parent / "data" / "distributed_trelm.py"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with an English encoder, a joint tokenizer and translation pairs."""
    monkeypatch.chdir(tmp_path)
    english = tiny.tokenizer("en", "wordpiece")
    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.save(tiny.model("bert", english, num_hidden_layers=4, **none), english, tmp_path / "source")
    tiny.tokenizer("de", "wordpiece").save_pretrained(tmp_path / "joint-tokenizer")
    pairs = zip(sentences("en", "train")[:64], sentences("de", "train")[:64], strict=True)
    (tmp_path / "en-de.tsv").write_text("".join(f"{e}\t{g}\n" for e, g in pairs), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_two_processes_train_as_one_does_at_the_same_global_batch(work):
    one = [sys.executable, str(DISTRIBUTED), "one", "8"]
    # accelerate starts several processes on one machine only as "multi_gpu"; use_cpu makes them meet by gloo
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    launch += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    two = [*launch, str(DISTRIBUTED), "two", "4"]
    for command in (one, two):
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((work / f"{name}.json").read_text(encoding="utf-8")) for name in ("one", "two"))
    assert (one["processes"], two["processes"], len(one["log"])) == (1, 2, 4)
    for single, double in zip(one["log"], two["log"], strict=True):
        for name in ("loss", "alignment_discriminators", "alignment_maps"):
            assert single[name] == pytest.approx(double[name], rel=1e-4), name
    weights = [load_file(work / name / "model.safetensors") for name in ("one", "two")]
    for name, tensor in weights[0].items():
        assert_close(weights[1][name], tensor, rtol=1e-3, atol=1e-4, msg=name)

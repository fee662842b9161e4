"""Memory and time of giving a large checkpoint a new vocabulary, against a plain copy of its folder.

    python benchmarks/build_memory.py --folder /a/disk/with/room

makes a Llama-like checkpoint in shards (its body is never in memory), then alternates between building it with another
vocabulary, its report and card included, and copying the folder. Each runs in a fresh process which has imported the
same: a copy made the moment the last output was deleted finds its pages still warm, and would be timed on another
machine than the build. Peak memory is that of the whole building process, interpreter and libraries included; what is
allowed is 3 × the embedding table (one of the two, as the head is untied) + 300 MB, and 1.5 × the time of the copy.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MB = 1e6
INTERMEDIATE = 16_384


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder within it is removed at the end")
    parser.add_argument("--body-gb", type=float, default=3.0, help="size of the body (float32)")
    parser.add_argument("--rows", type=int, default=64_000, help="rows of the embedding table and of the new one")
    parser.add_argument("--width", type=int, default=1_024, help="width of the embedding table")
    parser.add_argument("--pairs", type=int, default=5, help="how often each of build and copy is run")
    parser.add_argument(
        "--step", choices=["measure", "prepare", "build", "copy"], default="measure", help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    match arguments.step:
        case "prepare":
            prepare(arguments.folder, arguments.body_gb, arguments.rows, arguments.width)
        case "build":
            build(arguments.folder)
        case "copy":
            copy(arguments.folder)
        case "measure":
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                measure(Path(folder), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    run("prepare", folder, arguments)
    builds, copies, peaks = [], [], []
    for pair in range(arguments.pairs):
        for action in ("build", "copy") if pair % 2 == 0 else ("copy", "build"):
            os.sync()  # what the last one left to write is not this one's time
            result = json.loads(run(action, folder, arguments))
            if action == "build":
                builds.append(result["seconds"])
                peaks.append(result["peak_mb"])
            else:
                copies.append(result["seconds"])
            shutil.rmtree(folder / "output")
    embeddings = arguments.rows * arguments.width * 4 / MB
    report(
        {
            "checkpoint_mb": round(sum(path.stat().st_size for path in (folder / "source").iterdir()) / MB),
            "embeddings_mb": round(embeddings, 1),
            "peak_mb": round(max(peaks), 1),
            "allowed_mb": round(3 * embeddings + 300, 1),
            "build_seconds": [round(seconds, 2) for seconds in builds],
            "copy_seconds": [round(seconds, 2) for seconds in copies],
            "median_ratio": round(statistics.median(b / c for b, c in zip(builds, copies, strict=True)), 3),
            "allowed_ratio": 1.5,
        }
    )


def report(figures: dict) -> None:
    print(f"checkpoint   {figures['checkpoint_mb']:,} MB, embedding table {figures['embeddings_mb']:,} MB")
    print(f"peak memory  {figures['peak_mb']:,} MB of {figures['allowed_mb']:,} MB allowed")
    print(f"time         {figures['median_ratio']} × a copy of the folder ({figures['allowed_ratio']} allowed)")
    print(json.dumps(figures))


def run(step: str, folder: Path, arguments: argparse.Namespace) -> str:
    """Run one step of this script in a fresh process; this one stays small, as its peak would count for its child."""
    command = [sys.executable, __file__, "--step", step, "--folder", folder, "--body-gb", arguments.body_gb]
    command += ["--rows", arguments.rows, "--width", arguments.width]
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def copy(folder: Path) -> None:
    """Copy the folder, and print the seconds it took."""
    import hf_xlt.initializers.base  # noqa: F401  imported as the build does

    began = time.perf_counter()
    shutil.copytree(folder / "source", folder / "output")
    print(json.dumps({"seconds": time.perf_counter() - began}))


def build(folder: Path) -> None:
    """Build with a transport that is there, and print the seconds it took and the peak memory of this process."""
    from transformers import AutoTokenizer

    from hf_xlt.initializers.base import Initializer
    from hf_xlt.transport import Transport
    from hf_xlt.transport.mixture import Mixture

    class Given(Initializer):
        """Rows by the transport that was prepared."""

        label = "given"

        def mixture(self, rows: object) -> Mixture | None:
            """As it was prepared."""
            return given.mixture

        def transport(self) -> Transport:
            """As it was prepared."""
            return given

    given = Transport.load(folder / "transport.safetensors")
    initializer = Given(folder / "source", AutoTokenizer.from_pretrained(folder / "tokenizer"))
    began = time.perf_counter()
    initializer.build(folder / "output")
    seconds = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))


def prepare(folder: Path, body_gb: float, rows: int, width: int) -> None:
    """Write the source checkpoint, a transport (half of the rows copied, half mixed of ten) and a target tokenizer."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from hf_xlt.transport import Transport
    from hf_xlt.transport.mixture import SparseMixture

    write_source(folder / "source", body_gb, rows, width)
    words = [f"word{i}" for i in range(rows)]
    vocabulary = {word: i for i, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=words[0]))
    for place in ("source", "tokenizer"):
        PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=words[0]).save_pretrained(folder / place)
    copied = torch.arange(rows // 2)
    mixed = torch.arange(rows // 2, rows)
    crow = torch.arange(len(mixed) + 1) * 10
    col = torch.randint(rows, (len(mixed), 10)).sort(dim=1).values.flatten()
    mixture = SparseMixture(crow, col, torch.full((len(col),), 0.1), rows)
    Transport(rows, rows, copied, copied, mixed, mixture, words, words).save(folder / "transport.safetensors")


def write_source(folder: Path, body_gb: float, rows: int, width: int) -> None:
    """A Llama with an untied head in shards, one for each layer; all layers hold the same numbers."""
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    def config(layers: int) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=rows,
            hidden_size=width,
            intermediate_size=INTERMEDIATE,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            tie_word_embeddings=False,
            architectures=["LlamaForCausalLM"],
        )

    prefix = "model.layers.0."
    state = LlamaForCausalLM(config(1)).state_dict()
    layer = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    layers = max(1, round(body_gb * 1e9 / sum(tensor.numel() * 4 for tensor in layer.values())))
    shards = [{name: tensor for name, tensor in state.items() if name not in layer}]
    shards += [
        {name.replace(prefix, f"model.layers.{i}."): tensor for name, tensor in layer.items()} for i in range(layers)
    ]
    config(layers).save_pretrained(folder)
    weight_map = {}
    for i, shard in enumerate(shards, start=1):
        file = f"model-{i:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    total = sum(tensor.numel() * 4 for shard in shards for tensor in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()

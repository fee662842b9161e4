"""Fine-tuning on a task: what bfloat16 and no dropout save, against what an encoder's configuration says.

    python benchmarks/fine_tuning_speed.py --json fine_tuning_speed.json

A step is forward, backward and AdamW of an encoder that finds answers in texts of 256 tokens. Settings take turns, a
step each; the figures are ratios of median times.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import BertConfig, BertModel

from hf_xlt.evaluation.tasks.fine_tuning import TaskModel
from hf_xlt.evaluation.tasks.question_answering import SpanHead

VOCABULARY = 30_522
SETTINGS = {
    "float32, dropout 0.1": ("float32", 0.1),
    "bfloat16, dropout 0.1": ("bfloat16", 0.1),
    "float32, no dropout": ("float32", 0.0),
    "bfloat16, no dropout": ("bfloat16", 0.0),
}


def learner(precision: str, dropout: float, layers: int, width: int, texts: int, length: int) -> Callable[[], None]:
    """A step of training."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    model = TaskModel(BertModel(config, add_pooling_layer=False), SpanHead(width), precision=precision).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batch = {
        "mask": torch.ones(texts, length, dtype=torch.bool),
        "gold": {"first": torch.arange(texts), "last": torch.arange(texts) + 1},
        "input_ids": torch.randint(VOCABULARY, (texts, length)),
        "attention_mask": torch.ones(texts, length, dtype=torch.int64),
        "picks": torch.arange(texts * length).view(texts, length),
    }

    def step() -> None:
        model(**batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main(
    layers: int = 6,
    width: int = 384,
    texts: Annotated[int, typer.Option(help="Of a batch.")] = 16,
    length: Annotated[int, typer.Option(help="Tokens a text.")] = 256,
    rounds: int = 7,
    threads: int = 2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    steps = {name: learner(*setting, layers, width, texts, length) for name, setting in SETTINGS.items()}
    took: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-1, rounds):  # the first round warms up
        for name, step in steps.items():
            time_taken = seconds(step)
            if number >= 0:
                took[name].append(time_taken)
    medians = {name: statistics.median(times) for name, times in took.items()}
    plain, *_ = medians.values()
    ratios = {name: plain / median for name, median in medians.items()}
    print(f"{layers} layers of width {width}, {texts} texts of {length} tokens, {threads} threads")
    for name, ratio in ratios.items():
        print(f"{name:24s} {ratio:5.2f} x")
    if json_path:
        figures = {f"{name}: times as fast": ratio for name, ratio in ratios.items()} | {"threads": threads}
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

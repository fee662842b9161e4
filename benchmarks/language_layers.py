"""Layers of each language's own: a training step of a mixed batch against that of the fully shared model.

    python benchmarks/language_layers.py --json language_layers.json

A step is forward, backward and AdamW on the same labelled tokens, every other text in the other language. All models
take a turn in each round, in an order that moves on from round to round; a figure is the median over the rounds of the
ratio within a round. A batch of one language is measured too: there nothing is put in order.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM

TARGET = 0.9
LABELLED = 0.15


def make_inputs(batch: int, length: int, vocabulary: int, languages: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocabulary, (batch, length), generator=generator)
    unlabelled = torch.rand(batch, length, generator=generator) >= LABELLED
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "lang_ids": torch.arange(batch) % languages,
        "labels": tokens.masked_fill(unlabelled, -100),
    }


def stepper(config: TreLMConfig, inputs: dict[str, Tensor]) -> Callable[[], None]:
    torch.manual_seed(0)
    model = TreLMForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def relative_speeds(shape: dict[str, object], own: list[int], inputs: dict[str, Tensor], rounds: int) -> list[float]:
    """Throughput with each of these numbers of own layers over that without."""
    names = [0, *own]
    steps = {k: stepper(TreLMConfig(**shape, language_specific_layers=k), inputs) for k in names}
    found = []
    for number in range(-1, rounds):
        turn = number % len(names)
        took = {k: seconds(steps[k]) for k in names[turn:] + names[:turn]}
        found.append([took[0] / took[k] for k in own])
    return [statistics.median(ratios) for ratios in zip(*found[1:], strict=True)]


def main(
    layers: int = 6,
    width: int = 384,
    batch: Annotated[int, typer.Option(help="Texts, half of them in each language.")] = 16,
    length: int = 128,
    vocabulary: int = 30_000,
    rounds: Annotated[int, typer.Option(help="Steps of each model.")] = 15,
    threads: int = 2,
    own: Annotated[list[int] | None, typer.Option(help="Numbers of own layers; by default one, half and all.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    shape = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, "languages": ["en", "de"]}
    shape |= {"num_attention_heads": width // 32, "intermediate_size": 4 * width, "max_position_embeddings": length}
    own = own or [1, layers // 2, layers]
    print(f"{layers} layers of width {width}, batch {batch} x {length}, {threads} threads")
    figures: dict[str, float] = {"threads": threads}
    for kind, languages in (("two languages", 2), ("one language", 1)):
        inputs = make_inputs(batch, length, vocabulary, languages)
        for k, speed in zip(own, relative_speeds(shape, own, inputs, rounds), strict=True):
            name = f"tokens/s, {kind}: {k} own / fully shared"
            print(f"{name:50} {speed:6.3f}   >= {TARGET}: {'met' if speed >= TARGET else 'MISSED'}", flush=True)
            figures[name] = speed
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

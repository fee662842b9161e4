"""TreLM: what reordering and TRILayer add to a training step, and the gather against a loop over the batch's rows.

    python benchmarks/trelm_step.py --json trelm_step.json

A step is forward, backward and AdamW on the same labelled tokens. Model and batch take turns in one process, and each
figure is the median over the rounds of a ratio within a round. The plain encoder is the same model without a TRILayer;
its batch holds texts as long as the targets. The loop selects the rows of one example at a time and concatenates them;
positions without a link read the first source position there, where the gather puts the learned vector in.
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

from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM, reorder

GATHER = (64, 128, 384)
LABELLED = 0.15


def loop(states: Tensor, order: Tensor) -> Tensor:
    """One example after the other."""
    return torch.cat([states[row].index_select(0, order[row])[None] for row in range(len(states))])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(ours: Callable[[], object], other: Callable[[], object], rounds: int) -> list[float]:
    """Time of `ours` over that of `other`, a round at a time, the order changing from round to round."""
    found = []
    for number in range(-1, rounds):
        first, second = (ours, other) if number % 2 else (other, ours)
        took = {first: seconds(first), second: seconds(second)}
        found.append(took[ours] / took[other])
    return found[1:]


def gather_ratios(rounds: int, backward: bool) -> list[float]:
    batch, length, width = GATHER
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(batch, length, width, generator=generator, requires_grad=backward)
    unaligned = torch.randn(width, generator=generator, requires_grad=backward)
    alignment = torch.randint(-1, length, (batch, length), generator=generator)
    order = alignment.clamp(min=0)
    gradient = torch.ones(batch, length, width)

    def run(way: Callable[..., Tensor], *inputs: Tensor) -> None:
        reordered = way(*inputs)
        if backward:
            torch.autograd.grad(reordered, [tensor for tensor in inputs if tensor.requires_grad], gradient)

    return ratios(lambda: run(loop, states, order), lambda: run(reorder, states, alignment, unaligned), rounds)


def stepper(config: TreLMConfig, inputs: dict[str, Tensor]) -> Callable[[], None]:
    torch.manual_seed(0)
    model = TreLMForMaskedLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        model(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def step_ratios(rounds: int, layers: int, width: int, batch: int, length: int, vocabulary: int) -> list[float]:
    shape = {"vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers, "languages": ["en", "de"]}
    shape |= {"num_attention_heads": width // 32, "intermediate_size": 4 * width}
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocabulary, (batch, length), generator=generator)
    unlabelled = torch.rand(batch, length, generator=generator) >= LABELLED
    plain = {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "lang_ids": torch.zeros(batch, dtype=torch.int64),
        "labels": tokens.masked_fill(unlabelled, -100),
    }
    aligned = plain | {
        "alignment": torch.randint(-1, length, (batch, length), generator=generator),
        "target_lang_ids": torch.ones(batch, dtype=torch.int64),
        "target_attention_mask": torch.ones_like(tokens),
    }
    with_tri_layer = stepper(TreLMConfig(**shape, tri_layer_index=layers // 2), aligned)
    return ratios(with_tri_layer, stepper(TreLMConfig(**shape), plain), rounds)


def report(name: str, ratio: float, sign: str, target: float) -> None:
    met = ratio >= target if sign == ">=" else ratio <= target
    print(f"{name:60} {ratio:7.3f}   {sign} {target:.3f}: {'met' if met else 'MISSED'}")


def main(
    layers: int = 6,
    width: int = 384,
    batch: int = 16,
    length: int = 128,
    vocabulary: int = 30_000,
    rounds: Annotated[int, typer.Option(help="Steps of each model; the gather takes three times as many.")] = 15,
    threads: int = 2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    forward, training = (statistics.median(gather_ratios(3 * rounds, backward)) for backward in (False, True))
    step = statistics.median(step_ratios(rounds, layers, width, batch, length, vocabulary))
    bound = (layers + 1) / layers + 0.05
    print(f"{layers} layers of width {width}, batch {batch} x {length}, {threads} threads")
    report("step with reordering and TRILayer / plain step", step, "<=", bound)
    report(f"loop / gather, forward and backward, {GATHER}", training, ">=", 5)
    print(f"{f'loop / gather, forward alone, {GATHER}':60} {forward:7.3f}")
    if json_path:
        figures = {
            "step / plain step": step,
            "(L + 1) / L + 0.05": bound,
            "loop / gather, forward and backward": training,
            "loop / gather, forward alone": forward,
            "threads": threads,
        }
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

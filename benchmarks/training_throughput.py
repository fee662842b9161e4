"""Training throughput of a stock `BertForMaskedLM` through our Trainer, as a ratio to plain `Trainer`.

Both train the same model on the same batches of packed sequences with the same optimizer; they take turns, and the
median of their step times counts. Ours computes the output head on the labelled positions only.

    python benchmarks/training_throughput.py
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from hf_xlt.data.objectives import objective_for
from hf_xlt.data.stream import ShuffledStream
from hf_xlt.data.tokenizer import train_tokenizer
from hf_xlt.evaluation.language_model import HeldOut
from hf_xlt.recipes.trainer import LanguageModelTrainer
from hf_xlt.sample import sentences

VOCABULARY, LENGTH = 30_000, 128
WARM_UP = 3


class StepTimer(TrainerCallback):
    """Seconds of each optimizer step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clock."""
        self.seconds.append(time.perf_counter() - self.start)


def bert() -> BertForMaskedLM:
    """A BERT of 6 layers and width 384 with random weights."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    return BertForMaskedLM(config)


def step_seconds(ours: bool, steps: int, batch_size: int, folder: Path) -> list[float]:
    """Step times of one training run, warm-up left out."""
    tokenizer = train_tokenizer(sentences("de", "train"), 1000, "wordpiece")
    rows = np.random.default_rng(0).integers(1000, VOCABULARY, (256, LENGTH), dtype=np.int32)
    objective = objective_for("mlm", tokenizer)
    stream = ShuffledStream(Dataset.from_dict({"input_ids": rows}).with_format("numpy"), steps * batch_size, seed=0)
    timer = StepTimer()
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=1e-4,
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
    )
    if ours:
        held_out = HeldOut.cut(sentences("de", "held_out")[:5], tokenizer, LENGTH, objective)
        trainer: Trainer = LanguageModelTrainer(bert(), arguments, stream, objective, tokenizer, held_out, [timer])
    else:
        trainer = Trainer(bert(), arguments, objective, stream, callbacks=[timer])
        trainer.remove_callback(PrinterCallback)
    trainer.train()
    return timer.seconds[WARM_UP:]


def main(
    steps: Annotated[int, typer.Option(help="Steps a run, the first three not counted.")] = 13,
    batch_size: Annotated[int, typer.Option(help="Sequences of 128 tokens a step.")] = 16,
    pairs: Annotated[int, typer.Option(help="Runs of each, in turn.")] = 3,
    json_path: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
) -> None:
    """Print tokens a second of both, relative to one another."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(pairs):
            for ours in (False, True):
                seconds[ours] += step_seconds(ours, steps, batch_size, Path(folder))
    figures = {
        "ratio of tokens per second, ours to plain Trainer": round(median(seconds[False]) / median(seconds[True]), 2),
        "target": 1.6,
        "steps measured of each": len(seconds[True]),
        "batch": [batch_size, LENGTH],
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }
    typer.echo(json.dumps(figures, indent=2))
    if json_path is not None:
        json_path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)

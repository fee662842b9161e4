"""Training step of a stock BertForMaskedLM: our Trainer against plain Trainer, alternating in one run.

    python benchmarks/training_throughput.py --json training_throughput.json

Both get the same model, the same batches from the same stream and collator, the same optimizer and seed; what differs
is where the output head runs. Their losses are compared as well: they must agree. Token ids are random, which changes
no step's cost.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_xlt.data.objectives import MaskedLM
from hf_xlt.data.sampling import ShuffledStream
from hf_xlt.evaluation.language_model import ValidationSet
from hf_xlt.runs.training.trainer import StageTrainer

TARGET = 1.6
SEED = 0
WARM_UP = 2
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class StepTimes(TrainerCallback):
    """Seconds from the end of each step to the end of the next."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    @property
    def median(self) -> float:
        """Of the steps that count."""
        return statistics.median(np.diff(self.ends[WARM_UP - 1 :]))


class Run(NamedTuple):
    """Tokens a second in the median step, and the mean training loss."""

    speed: float
    loss: float


def make_tokenizer(size: int) -> PreTrainedTokenizerFast:
    words = [*SPECIAL, *(f"w{i}" for i in range(size - len(SPECIAL)))]
    backend = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **roles)


def make_stream(vocabulary: int, batch: int, length: int, steps: int) -> ShuffledStream:
    ids = np.random.default_rng(SEED).integers(len(SPECIAL), vocabulary, (batch * steps, length))
    packed = Dataset.from_dict({"input_ids": ids.astype(np.int32)}).with_format("numpy")
    return ShuffledStream(packed, batch * steps, SEED)


def make_model(vocabulary: int) -> BertForMaskedLM:
    torch.manual_seed(SEED)
    shape = {"num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
    return BertForMaskedLM(BertConfig(vocab_size=vocabulary, **shape))


def settings(folder: str, batch: int, steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=batch,
        train_sampling_strategy="sequential",
        learning_rate=5e-4,
        weight_decay=0.01,
        use_cpu=True,
        seed=SEED,
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
    )


def plain(model: BertForMaskedLM, args: TrainingArguments, stream: ShuffledStream, objective: MaskedLM) -> Trainer:
    trainer = Trainer(model, args, train_dataset=stream, data_collator=objective)
    trainer.remove_callback(PrinterCallback)
    return trainer


def ours(model: BertForMaskedLM, args: TrainingArguments, stream: ShuffledStream, objective: MaskedLM) -> Trainer:
    nothing = ValidationSet(examples=(), text_bytes=0, text_tokens=0, objective=objective)
    return StageTrainer(model, args, stream, objective, objective.tokenizer, nothing)


def train(make_trainer: Callable[..., Trainer], vocabulary: int, batch: int, length: int, steps: int) -> Run:
    stream, objective = make_stream(vocabulary, batch, length, steps), MaskedLM(make_tokenizer(vocabulary))
    times = StepTimes()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(make_model(vocabulary), settings(folder, batch, steps), stream, objective)
        trainer.add_callback(times)
        loss = trainer.train().training_loss
    return Run(batch * length / times.median, loss)


def main(
    pairs: Annotated[int, typer.Option(help="Alternating runs of plain and ours.")] = 3,
    steps: Annotated[int, typer.Option(help=f"Steps a run; the first {WARM_UP} are not counted.", min=4)] = 12,
    batch: int = 16,
    length: int = 128,
    vocabulary: int = 30_522,
    threads: int = 2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    print(f"BertForMaskedLM 6x384, {vocabulary} tokens, {batch} sequences of {length}, {threads} threads")
    pairs_run: list[tuple[Run, Run]] = []
    for number in range(1, pairs + 1):
        pair = tuple(train(way, vocabulary, batch, length, steps) for way in (plain, ours))
        print(f"pair {number}: plain {pair[0].speed:,.0f} tokens/s, ours {pair[1].speed:,.0f}", flush=True)
        pairs_run.append(pair)
    ratios = [b.speed / a.speed for a, b in pairs_run]
    figures = {
        "tokens/s, ours / plain": statistics.median(ratios),
        "ratio of each pair": ratios,
        "plain, tokens/s": statistics.median(a.speed for a, _ in pairs_run),
        "ours, tokens/s": statistics.median(b.speed for _, b in pairs_run),
        "largest difference of mean training losses": max(abs(a.loss - b.loss) for a, b in pairs_run),
    }
    ratio = figures["tokens/s, ours / plain"]
    print(f"tokens/s, ours / plain  {ratio:.2f}   >= {TARGET}: {'met' if ratio >= TARGET else 'MISSED'}")
    print(json.dumps(figures))
    if json_path:
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

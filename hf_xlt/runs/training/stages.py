"""Train a model through one stage, resuming where a killed run left off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from peft import LoraModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback, TrainingArguments

from hf_xlt.data.objectives import Objective
from hf_xlt.data.stream import Stream
from hf_xlt.device import best_device
from hf_xlt.evaluation.curves import Point
from hf_xlt.evaluation.language_model import HeldOut, Quality
from hf_xlt.evaluation.sentence_encoder import SentenceHead
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.processes import processes
from hf_xlt.runs.training.adapters import add_adapters
from hf_xlt.runs.training.distillation_trainer import DistillationTrainer
from hf_xlt.runs.training.new_rows import rows_kept
from hf_xlt.runs.training.progress import ProgressLines, Stopwatch
from hf_xlt.runs.training.trainer import LanguageModelTrainer, ProgressBar
from hf_xlt.trelm import TreLMPreTrainedModel


class Material(Protocol):
    """What stages are trained on."""

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        """The examples of a stage, in the order of use."""


@dataclass(frozen=True)
class Lesson:
    """What a stage teaches.

    Args:
        objective: What is learned.
        material: From what.
        held_out: What quality is measured on.
        tokenizer: The target's.
        copied_rows: int64 `(c,)`, the rows of the vocabulary that the initializer copied.
        head: Where sentence vectors are learned, what makes them of states.
    """

    objective: Objective
    material: Material
    held_out: HeldOut
    tokenizer: PreTrainedTokenizerBase
    copied_rows: Tensor
    head: SentenceHead | None = None


@dataclass(frozen=True)
class Trained:
    """What a stage leaves.

    Args:
        points: Held-out quality by steps of the stage.
        seconds: Of training, before an interruption and after.
        adapters: Where the stage keeps them, the adapters that are now part of the model.
    """

    points: tuple[Point, ...]
    seconds: float
    adapters: LoraModel | None


def train_stage(model: PreTrainedModel, stage: Stage, lesson: Lesson, seed: int, folder: Path, label: str) -> Trained:
    """Train through one stage.

    Args:
        model: Language model in float32; changed in place.
        stage: What to train, how long and how.
        lesson: What it teaches.
        seed: Order of the data and masking.
        folder: Where training state is kept; if it already holds some, training goes on from there.
        label: Shown beside the progress.

    Returns:
        Held-out quality as often as the stage says and after its last step, and what else it leaves.
    """
    if stage.compile:
        model.base_model.compile()
    with trained_parts(model, stage, lesson.copied_rows) as adapters:
        stopwatch = Stopwatch()
        callbacks = [stopwatch, ProgressBar(label), ProgressLines(label)]
        trainer = _trainer(model, stage, lesson, seed, folder, callbacks)
        checkpoint = last_complete_checkpoint(folder)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if stage.steps % stage.evaluate_every:
            trainer.evaluate()
    return Trained(_points(trainer.state.log_history), stopwatch.seconds, adapters)


def _trainer(
    model: PreTrainedModel, stage: Stage, lesson: Lesson, seed: int, folder: Path, callbacks: list[TrainerCallback]
) -> LanguageModelTrainer:
    positions = stage.steps * stage.batch_size * stage.accumulation * processes().num_processes
    given: dict[str, Any] = {
        "args": _arguments(stage, seed, folder),
        "stream": lesson.material.stream(stage, positions, seed),
        "objective": lesson.objective,
        "tokenizer": lesson.tokenizer,
        "held_out": lesson.held_out,
        "callbacks": callbacks,
    }
    if lesson.head is not None:
        return DistillationTrainer(model, stage.temperature, lesson.head, **given)
    return LanguageModelTrainer(model, **given)


def _arguments(stage: Stage, seed: int, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.accumulation,
        learning_rate=stage.learning_rate,
        warmup_steps=int(stage.warmup * stage.steps),
        lr_scheduler_type=stage.schedule,
        weight_decay=0.0 if stage.trains == "new-rows" else stage.weight_decay,
        bf16=stage.precision == "bfloat16",
        use_cpu=best_device().type == "cpu",
        seed=seed,
        eval_strategy="steps",
        eval_steps=stage.evaluate_every,
        logging_strategy="no",
        save_strategy="no" if stage.save_every is None else "steps",
        save_steps=stage.save_every or stage.steps,
        save_total_limit=1,
        disable_tqdm=True,
        report_to="none",
        dataloader_num_workers=0,
        remove_unused_columns=False,
    )


@contextmanager
def trained_parts(model: PreTrainedModel, stage: Stage, copied_rows: Tensor) -> Iterator[LoraModel | None]:
    """Leave trainable only what the stage trains; afterwards everything is trainable again.

    Yields the adapters that the stage keeps; others are merged into the weights in the end.
    """
    adapters = add_adapters(model, stage.lora_rank) if stage.trains == "lora" else None
    keep = stage.adapters == "kept"
    model.requires_grad_(stage.trains == "all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad or "lora_" in name)
    vocabulary = vocabulary_parameters(model)
    for parameter in vocabulary:
        parameter.requires_grad_(True)
    if stage.frozen:
        cast(TreLMPreTrainedModel, model).freeze(*stage.frozen)
    with rows_kept(vocabulary, copied_rows if stage.trains == "new-rows" else copied_rows[:0]):
        yield adapters if keep else None
    if adapters is not None and not keep:
        adapters.merge_and_unload()
    model.requires_grad_(True)


def vocabulary_parameters(model: PreTrainedModel) -> list[nn.Parameter]:
    """Input embeddings, output embeddings and output bias; tied ones once."""
    tables = nn.ModuleList([model.get_input_embeddings(), model.get_output_embeddings()])
    return list(tables.parameters())


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest training checkpoint that was written to its end.

    Trainer writes the state last, but for the random numbers of the other processes.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    return next((path for path in found if _is_complete(path)), None)


def _is_complete(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return len(list(checkpoint.glob("rng_state*.pth"))) == processes().num_processes


def _points(history: list[dict[str, float]]) -> tuple[Point, ...]:
    names = ("loss", "perplexity", "bits_per_byte")
    logged = [entry for entry in history if "eval_bits_per_byte" in entry]
    qualities = {int(entry["step"]): Quality(*(entry[f"eval_{name}"] for name in names)) for entry in logged}
    return tuple(Point.at(step, quality) for step, quality in sorted(qualities.items()))

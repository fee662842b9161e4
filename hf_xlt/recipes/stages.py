"""Train a model through one stage, resuming where a killed run left off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, LoraModel
from transformers import PreTrainedModel, TrainingArguments

from hf_xlt.data.objectives import Objective
from hf_xlt.evaluation.curves import Point
from hf_xlt.evaluation.language_model import HeldOut, Quality
from hf_xlt.recipes.stage import Stage
from hf_xlt.recipes.text import Text
from hf_xlt.recipes.trainer import LanguageModelTrainer, ProgressBar
from hf_xlt.trelm import TreLMPreTrainedModel


@dataclass(frozen=True)
class Trained:
    """What a stage leaves: the model, held-out quality by steps of the stage, and seconds of training."""

    model: PreTrainedModel
    points: tuple[Point, ...]
    seconds: float


def train_stage(
    model: PreTrainedModel,
    stage: Stage,
    objective: Objective,
    held_out: HeldOut,
    text: Text,
    seed: int,
    folder: Path,
    label: str,
) -> Trained:
    """Train through one stage.

    Args:
        model: Language model in float32; changed in place.
        stage: What to train, how long and how.
        objective: What is learned.
        held_out: What quality is measured on.
        text: Tokenizer and data.
        seed: Order of the data and masking.
        folder: Where training state is kept; if it already holds some, training goes on from there.
        label: Shown beside the progress bar.

    Returns:
        The trained model, with held-out quality as often as the stage says and after its last step.
    """
    positions = stage.steps * stage.batch_size * stage.accumulation
    if stage.compile:
        model.base_model.compile()
    with trained_parts(model, stage):
        trainer = LanguageModelTrainer(
            model=model,
            args=_arguments(stage, seed, folder),
            stream=text.stream(stage, positions * _processes(), seed),
            objective=objective,
            tokenizer=text.tokenizer,
            held_out=held_out,
            callbacks=[ProgressBar(label)],
        )
        checkpoint = last_complete_checkpoint(folder)
        seconds = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint)).metrics
        if stage.steps % stage.evaluate_every:
            trainer.evaluate()
    return Trained(model, _points(trainer.state.log_history), seconds["train_runtime"])


def best_device() -> torch.device:
    """The accelerator where there is one, else the processor."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def _processes() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def _arguments(stage: Stage, seed: int, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=stage.steps,
        per_device_train_batch_size=stage.batch_size,
        gradient_accumulation_steps=stage.accumulation,
        learning_rate=stage.learning_rate,
        warmup_steps=int(stage.warmup * stage.steps),
        lr_scheduler_type=stage.schedule,
        weight_decay=stage.weight_decay,
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
def trained_parts(model: PreTrainedModel, stage: Stage) -> Iterator[None]:
    """Leave trainable only what the stage trains; afterwards adapters are merged and everything is trainable again."""
    adapters = None
    if stage.trains == "lora":
        config = LoraConfig(r=stage.lora_rank, lora_alpha=2 * stage.lora_rank, target_modules="all-linear")
        adapters = LoraModel(model, config, "default")
    model.requires_grad_(stage.trains == "all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad or "lora_" in name)
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        module.requires_grad_(True)
    if stage.frozen:
        cast(TreLMPreTrainedModel, model).freeze(*stage.frozen)
    yield
    if adapters is not None:
        adapters.merge_and_unload()
    model.requires_grad_(True)


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest training checkpoint whose state was written to its end (Trainer writes it last)."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    return next((path for path in found if _is_json(path / "trainer_state.json")), None)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _points(history: list[dict[str, float]]) -> tuple[Point, ...]:
    names = ("loss", "perplexity", "bits_per_byte")
    logged = [entry for entry in history if "eval_bits_per_byte" in entry]
    qualities = {int(entry["step"]): Quality(*(entry[f"eval_{name}"] for name in names)) for entry in logged}
    return tuple(Point.at(step, quality) for step, quality in sorted(qualities.items()))

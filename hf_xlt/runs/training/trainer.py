"""Train a model through one stage with `Trainer`, resuming where a killed run left off."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import LoraModel
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Sampler, SequentialSampler
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hf_xlt.data.objectives import Objective
from hf_xlt.data.sampling import Stream
from hf_xlt.device import best_device
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Point
from hf_xlt.evaluation.language_model import Quality, ValidationSet, measure
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.settings import SettingError
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.processes import processes
from hf_xlt.runs.training.parts import trained_parts, vocabulary_parameters
from hf_xlt.runs.training.progress import ProgressBar, ProgressLines, Stopwatch


@dataclass(frozen=True)
class StageInputs:
    """What a stage is trained and measured with."""

    objective: Objective
    stream: Callable[[Stage, int, int], Stream]  # stage, number of examples, seed → the examples in the order of use
    validation: ValidationSet
    tokenizer: PreTrainedTokenizerBase  # the target's
    copied_rows: Tensor  # int64 `(c,)`, the rows of the vocabulary that the initializer copied


@dataclass(frozen=True)
class Trained:
    """What a stage leaves: quality by its steps, seconds of training, and the adapters that it keeps."""

    points: tuple[Point, ...]
    seconds: float
    adapters: LoraModel | None


def train_stage(
    model: PreTrainedModel,
    stage: Stage,
    given: StageInputs,
    seed: int,
    folder: Path,
    label: str,
    callbacks: Sequence[TrainerCallback] = (),
    until: int | None = None,
) -> Trained:
    """Train through one stage, in place; if `folder` already holds training state, it goes on from there.

    Quality on the validation set is measured as often as the stage says and after its last step. With `until` training
    stops after so many steps, as if it were killed there, when its state is saved.
    """
    if stage.torch_compile:
        model.base_model.compile()
    with trained_parts(model, stage, given.copied_rows) as adapters:
        stopwatch = Stopwatch()
        positions = stage.max_steps * stage.batch_size * processes().num_processes
        trainer = StageTrainer(
            model,
            _arguments(stage, seed, folder),
            given.stream(stage, positions, seed),
            given.objective,
            given.tokenizer,
            given.validation,
            [
                stopwatch,
                ProgressBar(label),
                ProgressLines(label),
                *callbacks,
                *([] if until is None else [Stop(until)]),
            ],
            stage.embedding_learning_rate,
        )
        checkpoint = last_complete_checkpoint(folder)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if until is None and stage.max_steps % stage.evaluate_every:
            trainer.evaluate()
    return Trained(_points(trainer.state.log_history), stopwatch.seconds, adapters)


class Stop(TrainerCallback):
    """Measures, saves and ends training after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= self.step:
            control.should_evaluate = control.should_save = control.should_training_stop = True


def _arguments(stage: Stage, seed: int, folder: Path) -> TrainingArguments:
    logs = any(name.startswith("logging_") for name in stage.training_arguments)
    unless_given: dict[str, Any] = {"logging_strategy": "steps" if logs else "no", "report_to": "none"}
    return TrainingArguments(
        output_dir=str(folder),
        use_cpu=best_device().type == "cpu",
        seed=seed,
        eval_strategy="steps",
        eval_steps=stage.evaluate_every,
        save_strategy="no" if stage.save_every is None else "steps",
        save_steps=stage.save_every or stage.max_steps,
        save_total_limit=1,
        disable_tqdm=True,
        remove_unused_columns=False,
        **(unless_given | stage.training_arguments),
    )


def check_arguments(recipe: Recipe) -> None:
    """Refuse what the installed `TrainingArguments` refuse."""
    for number, stage in enumerate(recipe.stages):
        try:
            _arguments(stage, recipe.seeds[0], Path(stage.name))
        except (ValueError, TypeError, ImportError, AttributeError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise SettingError(f"stages.{number}", f"is refused by TrainingArguments: {reason}", value=stage) from error


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


class StageTrainer(Trainer):
    """`Trainer` whose loss is the objective's, on the examples of a stream in the order of use.

    Where there are labels the loss is the sum over targets divided by the number of targets of the whole optimizer
    step, so gradient accumulation does not change it; evaluation weights every target alike.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments,
        stream: Stream,
        objective: Objective,
        tokenizer: PreTrainedTokenizerBase,
        held_out: ValidationSet,
        callbacks: list[TrainerCallback] | None = None,
        embedding_learning_rate: float | None = None,
    ) -> None:
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs need a process each: the replicas of DataParallel share hooks
        super().__init__(
            model=objective.learner(model),
            args=args,
            train_dataset=stream,
            eval_dataset=held_out.examples,
            data_collator=objective,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True
        self.language_model = model
        self.objective: Objective = objective
        self.tokenizer, self.held_out, self.stream = tokenizer, held_out, stream
        self.embedding_learning_rate = embedding_learning_rate
        self._last_loss: Tensor | None = None

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Optimizer:
        """The optimizer, with groups of their own for embeddings that have a learning rate of their own."""
        made = self.optimizer is None
        optimizer: Optimizer = super().create_optimizer(*args, **kwargs)
        if made and self.embedding_learning_rate is not None:
            vocabulary = {id(parameter) for parameter in vocabulary_parameters(self.language_model)}
            for group in list(optimizer.param_groups):
                embeddings = [parameter for parameter in group["params"] if id(parameter) in vocabulary]
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in vocabulary]
                if embeddings:
                    optimizer.add_param_group(group | {"params": embeddings, "lr": self.embedding_learning_rate})
        return optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        return SequentialSampler(self.stream)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Mean loss over the targets of the optimizer step; see `Trainer.compute_loss`."""
        losses = self.objective.loss(self.accelerator.unwrap_model(model), model, inputs)
        if num_items_in_batch is None:
            return losses.mean()
        replicas = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return losses.sum() / num_items_in_batch * replicas

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """A training step, refused if the loss of the one before was not finite: by now it is known, without a wait."""
        if self._last_loss is not None:
            self._check_finite(float(self._last_loss))
        self._last_loss = super().training_step(*args, **kwargs)
        return self._last_loss

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            steps = f"{self.state.global_step} of {self.state.max_steps} in {self.args.output_dir}"
            hint = "Train with a smaller learning_rate, a longer warmup, or in float32."
            raise InputError(f"The loss is {loss} after step {steps}", value=loss, expected="a finite loss", hint=hint)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure held-out quality and log it as `eval_loss`, `eval_perplexity` and `eval_bits_per_byte`."""
        with self.compute_loss_context_manager():
            quality = measure(self.language_model, self.held_out, self.tokenizer)
        self._check_finite(quality.loss)
        metrics = {f"eval_{name}": value for name, value in vars(quality).items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

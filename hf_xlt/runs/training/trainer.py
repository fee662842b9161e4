"""The `Trainer` of a stage: the stream in its order, the objective's loss, quality in bits per byte."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
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
from hf_xlt.data.stream import Stream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import ValidationSet, measure


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
        self._last_loss: Tensor | None = None

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
            raise InputError(
                f"The loss is {loss} after step {self.state.global_step} of {self.state.max_steps} in "
                f"{self.args.output_dir}",
                value=loss,
                expected="a finite loss",
                hint="Train with a smaller learning_rate, a longer warmup, or in float32.",
            )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measure held-out quality and log it as `eval_loss`, `eval_perplexity` and `eval_bits_per_byte`."""
        with self.compute_loss_context_manager():
            quality = measure(self.language_model, self.held_out, self.tokenizer)
        self._check_finite(quality.loss)
        metrics = {f"eval_{name}": value for name, value in vars(quality).items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

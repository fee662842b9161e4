"""Adversarial embedding alignment as a `Trainer` callback: before training, or all through it (TreLM)."""

from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import broadcast
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from hf_xlt.arguments import checked, require_finite, require_id_pairs, require_ids, require_one_of, require_seed
from hf_xlt.errors import InputError
from hf_xlt.geometry.adversarial import AdversarialGame, GameSettings
from hf_xlt.geometry.align import align_spaces
from hf_xlt.geometry.space import Space

MODES = ("before", "during")
STATE_FILE = "alignment.safetensors"
# Learning rate of the map in training: it is to follow the rows, not to search the space for them.
NUDGE = 0.1


class AdversarialAlignmentCallback(TrainerCallback):
    """Leads the target's rows of a model's embedding table into the space of the source's rows.

    `before`: when training begins, static vectors of the target's tokens are aligned with the source's rows of the
    model, and the mapped vectors are written into it. A resumed run does not do so again.

    `during`: every few steps, discriminators learn to tell the target's rows from the source's, and an orthogonal map
    that deceives them is learned and applied to the target's rows: a rotation about their mean, so that what the rows
    are to one another stays as training makes it. Discriminators and map have their own optimizers; their losses
    appear in the Trainer's log as `alignment_discriminators` and `alignment_maps`, in its history and for callbacks
    that come after this one. Each training checkpoint holds the state of the game, and a resumed run goes on with it.

    Every process of a distributed run computes the same rows, and takes those of the first. Tied output weights
    follow, as they are the same table. Sharded embedding tables (FSDP, DeepSpeed ZeRO-3) are not supported.

    Args:
        target_ids: int64, ids of the target language's tokens, most frequent first; these rows are written.
        source_ids: int64, ids of the source language's tokens, most frequent first. Ids in both lists are not moved.
        vectors: For `before`: static vectors `(V, k)` of all ids, zero where there is none.
        mode: `before` or `during`.
        dictionary: For `before`: int64 `(p, 2)`, target and source ids of translations.
        every: For `during`: training steps between two turns of the game.
        turn: For `during`: map steps in a turn.
        game: How the game is played; for `before` none is played unless given.
        seed: Of all draws.

    Raises:
        InputError: If an argument is missing or out of range; when training begins, if the spaces cannot be aligned,
            or the state of a resumed run is not in its checkpoint.
    """

    @checked
    def __init__(
        self,
        target_ids: Tensor,
        source_ids: Tensor,
        vectors: Tensor | None = None,
        *,
        mode: str = "before",
        dictionary: Tensor | None = None,
        every: int = 10,
        turn: int = 1,
        game: GameSettings | None = None,
        seed: int = 0,
    ) -> None:
        require_one_of("mode", mode, MODES)
        if mode == "before" and vectors is None:
            raise InputError(
                "mode 'before' needs static vectors of the target's tokens", hint="Give them, or mode 'during'."
            )
        if every < 1 or turn < 1:
            raise InputError(f"every={every}, turn={turn}", expected="at least 1 of both")
        require_seed("seed", seed)
        size = None
        if vectors is not None:
            require_finite("vectors", vectors)
            size = len(vectors)
        require_ids("target_ids", target_ids, size)
        require_ids("source_ids", source_ids)
        if dictionary is not None:
            require_id_pairs("dictionary", dictionary, size)
        self.mode, self.every, self.turn = mode, every, turn
        self._target_ids, self._source_ids = target_ids, source_ids
        self._moved = target_ids[~torch.isin(target_ids, source_ids)]
        if not len(self._moved):
            raise InputError("All target ids are source ids too", expected="some rows of the target alone to move")
        self._vectors, self._dictionary = vectors, dictionary
        self._settings, self._seed = game, seed
        self._game: AdversarialGame | None = None
        self._losses: list[dict[str, Tensor]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the aligned rows, or make the game ready."""
        table = _table(kwargs["model"])
        if self.mode == "during":
            identity = torch.eye(table.shape[1], device=table.device)
            self._game = AdversarialGame(identity, self._settings or GameSettings(map_rate=NUDGE), self._seed)
            if state.global_step:
                self._game.load_state_dict(_saved_state(args, state))
        elif not state.global_step:
            _write(table, self._moved, self._aligned_rows(table))

    def _aligned_rows(self, table: Tensor) -> Tensor:
        assert self._vectors is not None
        alignment = align_spaces(
            table,
            self._vectors.to(table.device),
            source_order=self._source_ids,
            target_order=self._target_ids,
            dictionary=self._dictionary,
            game=self._settings,
            seed=self._seed,
        )
        mixture = alignment.projection(self._moved)
        return torch.where(mixture.finite[:, None], mixture.apply(table), table[self._moved].float())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Play a turn, where one is due."""
        if self._game is not None and state.global_step % self.every == 0:
            self._play(_table(kwargs["model"]), self._game)

    def _play(self, table: Tensor, game: AdversarialGame) -> None:
        spaces = Space.of("source", table, self._source_ids), Space.of("target", table, self._target_ids)
        images, rows = (space.rows[space.order] for space in spaces)
        game.maps = torch.eye(table.shape[1], device=table.device).expand_as(game.maps).clone()
        for _ in range(self.turn):
            losses = game.step(*game.batches(images, rows))
        self._losses.append(losses)
        moved = table[self._moved].float()
        mean = moved.mean(dim=0)
        _write(table, self._moved, mean + (moved - mean) @ game.maps[0])

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the mean losses since the last log."""
        if not self._losses:
            return
        means = {
            f"alignment_{name}": float(torch.stack([losses[name][0] for losses in self._losses]).mean())
            for name in self._losses[0]
        }
        self._losses.clear()
        state.log_history[-1].update(means)
        if (logs := kwargs.get("logs")) is not None:
            logs.update(means)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put the state of the game into the training checkpoint."""
        if self._game is not None and state.is_world_process_zero:
            tensors = {name: tensor.cpu().contiguous() for name, tensor in self._game.state_dict().items()}
            save_file(tensors, _state_path(args, state))


def _table(model: PreTrainedModel) -> Tensor:
    return cast(nn.Embedding, model.get_input_embeddings()).weight.detach()


def _write(table: Tensor, ids: Tensor, rows: Tensor) -> None:
    """Write rows into the table itself: those of the first process on every process."""
    table[ids.to(table.device)] = broadcast(rows.to(table))


def _state_path(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}" / STATE_FILE


def _saved_state(args: TrainingArguments, state: TrainerState) -> dict[str, Tensor]:
    path = _state_path(args, state)
    if not path.is_file():
        raise InputError(
            f"{path} is missing: training goes on from step {state.global_step}, but the state of the alignment is not"
            " there",
            hint="Resume from a checkpoint in output_dir that was written with this callback.",
        )
    return load_file(path)

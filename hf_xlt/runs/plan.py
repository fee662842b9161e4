"""What a run will do, without doing it: what is refused, variants, rows, steps, tokens, memory and disk."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.kind import kind_of
from hf_xlt.errors import InputError
from hf_xlt.hub.card import CardTable
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.kinds import Kind, kind_of_run
from hf_xlt.runs.processes import processes
from hf_xlt.runs.training.parts import vocabulary_parameters
from hf_xlt.runs.training.trainer import check_arguments

WEIGHT, LEARNED = 4, 12  # bytes: a float32 weight; its gradient and Adam's two moments


@dataclass(frozen=True)
class StagePlan:
    """What a stage will cost: its most tokens, parameters trained, bytes of weights, gradients and moments."""

    name: str
    objective: str
    steps: int
    tokens: int
    trained: int
    memory: int


@dataclass(frozen=True)
class RunPlan:
    """What a recipe will do.

    Args:
        kind: What kind of run it is.
        model: Which language model it makes: encoder, decoder or encoder-decoder.
        variants: What is trained, the recipe's own first. One with the source's tokenizer takes steps of its own.
        seeds: How often each.
        rows: Rows of the target vocabulary, as many as are asked for where the tokenizer is still to be trained.
        parameters: Of the model.
        stages: What each costs.
        disk: Bytes that are needed while it runs.
    """

    kind: str
    model: str
    variants: tuple[str, ...]
    seeds: int
    rows: int
    parameters: int
    stages: tuple[StagePlan, ...]
    disk: int

    def __repr__(self) -> str:
        steps = sum(stage.steps for stage in self.stages)
        return f"RunPlan({self.kind}, {len(self.variants)} × {self.seeds} trained, {steps:,} steps each)"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def table(self) -> CardTable:
        """The stages, a line each."""
        lines = []
        for stage in self.stages:
            figures = (f"{count:,}" for count in (stage.steps, stage.tokens, stage.trained))
            lines.append((stage.name, stage.objective, *figures, _size(stage.memory)))
        title = (
            f"{self.kind}: {self.model} of {self.parameters:,} parameters, {self.rows:,} rows of the target "
            f"vocabulary; {len(self.variants)} × {self.seeds} trained ({', '.join(self.variants)}); "
            f"{_size(self.disk)} of disk"
        )
        header = ("stage", "objective", "steps", "tokens at most", "trained parameters", "memory without activations")
        return CardTable(title, header, tuple(lines))


@checked
def check_recipe(recipe: Recipe, *, compare: bool = False) -> Kind:
    """The kind of run that a recipe is, of the recipe as it will be carried out; nothing is opened for it.

    Raises:
        InputError: If a part of the recipe has no effect, or a stage cannot be trained.
    """
    kind = kind_of_run(recipe)
    made = kind(kind.resolved(recipe))
    made.check(compare=compare)
    check_arguments(made.recipe)
    return made


@checked
def plan_run(recipe: Recipe, *, compare: bool = False) -> RunPlan:
    """What a recipe will do; the checkpoints and texts that it names are opened, and nothing is learned or written.

    Args:
        recipe: Filled in as for `run_recipe`; what that would refuse is refused here too.
        compare: Whether the baselines are trained too.

    Example:
        >>> plan_run(load_recipe("scratch", ["data.corpus=de.txt"])).rows  # doctest: +SKIP
        6000
    """
    kind = check_recipe(recipe, compare=compare)
    kind.check_inputs()
    rows = kind.rows()
    config = kind.shape(rows)
    check_lengths(kind.recipe.stages, config)
    variants, seeds = kind.variant_names(compare=compare), len(kind.recipe.seeds)
    model = without_weights(config)
    parameters, vocabulary = model.num_parameters(), sum(table.numel() for table in vocabulary_parameters(model))
    return RunPlan(
        kind=kind.name,
        model=kind_of(config).name,
        variants=variants,
        seeds=seeds,
        rows=rows,
        parameters=parameters,
        stages=tuple(_stage(stage, parameters, vocabulary) for stage in kind.recipe.stages if stage.combine is None),
        disk=training_bytes([kind.shape(kind.own_rows(name) or rows) for name in variants], seeds),
    )


def check_lengths(stages: Sequence[Stage], config: PreTrainedConfig) -> None:
    """Refuse stages with sequences that are longer than a model has positions for."""
    if (positions := getattr(config, "max_position_embeddings", None)) is None:
        return
    for name, module in without_weights(config).named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions -= module.padding_idx + 1  # models like RoBERTa count from the padding id on
            break
    for stage in stages:
        for name in ("sequence_length", *(["snippet_length"] if stage.distils_tokens else [])):
            if (length := getattr(stage, name)) > positions:
                problem = f"{name} is {length}; the model has {positions} positions"
                raise InputError(problem, value=length, hint="Set it to at most that.")


def training_bytes(configs: Sequence[PreTrainedConfig], seeds: int) -> int:
    """Disk that training takes: a float32 model a run, and two training checkpoints with Adam's two moments."""
    parameters = [without_weights(config).num_parameters() for config in configs]
    return WEIGHT * (sum(parameters) * seeds + 6 * max(parameters))


def without_weights(config: PreTrainedConfig) -> PreTrainedModel:
    """The language model of a configuration, on the meta device."""
    with torch.device("meta"):
        return kind_of(config).auto_class.from_config(config)


def _stage(stage: Stage, parameters: int, vocabulary: int) -> StagePlan:
    trained = parameters if stage.trains == "all" else vocabulary
    return StagePlan(
        name=stage.name,
        objective=stage.objective,
        steps=stage.max_steps,
        tokens=stage.max_steps * stage.batch_size * stage.longest_sequence * processes().num_processes,
        trained=trained,
        memory=WEIGHT * parameters + LEARNED * trained,
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"

"""Train a variant of a recipe: calibrated where it is to be, through all stages or for the steps of a probe."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import torch
from peft import LoraModel
from torch import Tensor
from transformers import PreTrainedModel

from hf_xlt.data.objectives import objective_for
from hf_xlt.device import best_device
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.evaluation.language_model import ValidationSet, continuations, measure
from hf_xlt.files.folders import write_whole
from hf_xlt.initializers.calibration import COUNTED, calibrate
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Variant
from hf_xlt.runs.costs import StepCost, calibration_cost, step_cost
from hf_xlt.runs.folder import ADAPTERS
from hf_xlt.runs.prepared import Plan
from hf_xlt.runs.processes import by_main
from hf_xlt.runs.results import Probe, Run
from hf_xlt.runs.text import Text
from hf_xlt.runs.training.parts import write_adapters
from hf_xlt.runs.training.trainer import StageInputs, Trained, train_stage
from hf_xlt.trelm import TreLMPreTrainedModel
from hf_xlt.trelm.conversion import State, combine_halves

logger = logging.getLogger(__name__)

Recorded = TypeVar("Recorded")


@dataclass(frozen=True)
class Started:
    """The starting model of a variant, and what it is trained and measured with."""

    plan: Plan
    variant: Variant
    seed: int
    model: PreTrainedModel
    text: Text
    validation: ValidationSet
    cost: StepCost | None
    spent: float  # floating-point operations before the first step

    @classmethod
    def of(cls, plan: Plan, variant: Variant, seed: int) -> Self:
        """Make the model, and calibrate its output head where the variant says so."""
        model, text, kind = variant.start(seed), plan.text_of(variant), plan.comparison.model_kind
        cost = step_cost(model, text, plan.stages_of(variant))
        spent = calibrate_head(model, plan, variant, seed) if variant.calibrated else 0.0
        return cls(plan, variant, seed, model, text, text.validation_set(kind), cost, spent)

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.plan.folder(self.variant, self.seed)

    def point(self, step: int) -> Point:
        """The model's quality on the validation set, after so many steps."""
        self.model.to(device=best_device())  # type: ignore[call-arg]
        return Point.at(step, measure(self.model, self.validation, self.text.tokenizer))

    def train(self, stage: Stage, until: int | None = None) -> Trained:
        """Train through a stage, or its first steps."""
        plan, transport = self.plan, self.variant.transport
        copied = torch.empty(0, dtype=torch.int64) if transport is None else transport.copied_target
        objective = self.text.objective(stage, plan.comparison.model_kind)
        given = StageInputs(objective, self.text.stream, self.validation, self.text.tokenizer, copied)
        label, where = f"{self.variant.name} · {stage.name}", self.folder / "stages" / stage.name
        return train_stage(self.model, stage, given, self.seed, where, label, plan.callbacks, until)

    def curve(self, points: tuple[Point, ...], seconds: float) -> Curve:
        """What was measured on the way."""
        cost = {} if self.cost is None else asdict(self.cost)
        return Curve(self.variant.name, self.seed, points, seconds, **cost, flops_before=self.spent)


def calibrate_head(model: PreTrainedModel, plan: Plan, variant: Variant, seed: int) -> float:
    """Calibrate the output head of a starting model on the text of its first stage; the operations that it took.

    The rows that the initializer copied stay as they are where the tokenizer extends the source's, and where a stage
    trains new rows alone.
    """
    text, kind, stages = plan.text_of(variant), plan.comparison.model_kind, plan.stages_of(variant)
    stage = stages[0].of_any_tokenizer.replace(objective="auto", replay=0.0)
    stream = text.stream(stage, min(COUNTED, text.sequences), seed)
    keeps = variant.extends or any(each.trains == "new-rows" for each in stages)
    kept: Tensor | None = variant.transport.copied_target if keeps and variant.transport else None
    model.to(device=best_device())  # type: ignore[call-arg]
    done = calibrate(model, objective_for(kind.objective, text.tokenizer), stream, kept)
    told = "calibrated on the text; the loss of its first sequences was %.2f nats and is %.2f"
    logger.info(f"%s: {told}", variant.name, done.before, done.after)
    return calibration_cost(model, done)


def train(plan: Plan, variant: Variant, seed: int) -> Run:
    """Train one variant with one seed through all stages; what is already done is not done again."""
    folder = plan.folder(variant, seed)
    if (done := recorded(folder / "run.json", Run.from_dict)) is not None:
        return done
    model, adapters, run = train_stages(plan, variant, seed)
    by_main(lambda: keep_run(plan, model, adapters, run, folder))
    return run


def recorded(path: Path, read: Callable[[dict[str, Any]], Recorded]) -> Recorded | None:
    """What an earlier call recorded of a run, None if there is nothing that can be read."""
    try:
        return read(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s); the run is made again.", path, error)
        return None


def keep_run(plan: Plan, model: PreTrainedModel, adapters: LoraModel | None, run: Run, folder: Path) -> None:
    """Write a trained model and then what was measured of it, and remove its training state."""
    if adapters is not None:
        write_adapters(adapters, folder / ADAPTERS)
    published = plan.comparison.published
    (model if published is None else published(model)).save_pretrained(folder / "model")
    write_whole(folder / "run.json", json.dumps(asdict(run)))
    shutil.rmtree(folder / "stages", ignore_errors=True)


def train_stages(plan: Plan, variant: Variant, seed: int) -> tuple[PreTrainedModel, LoraModel | None, Run]:
    """Train through the stages; the model, its adapters that are kept, and what was measured on one axis of steps."""
    started = Started.of(plan, variant, seed)
    model, text, stages = started.model, started.text, plan.stages_of(variant)
    points = [started.point(0)]
    measured = text.measure(model, 0)
    seconds, adapters = 0.0, None
    states: dict[str, State] = {}
    for stage in stages:
        done = points[-1].step
        if stage.combine is not None:
            combine_halves(cast(TreLMPreTrainedModel, model), states[stage.combine.lower], states[stage.combine.upper])
            points[-1] = started.point(done)
        else:
            if stage.starts_from is not None:
                model.load_state_dict(states[stage.starts_from])
            trained = started.train(stage)
            points += [replace(each, step=each.step + done) for each in trained.points]
            measured += text.measure(model, points[-1].step)
            seconds, adapters = seconds + trained.seconds, trained.adapters
        if any(stage.name in later.follows for later in stages):
            states[stage.name] = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    run = Run(
        curve=started.curve(tuple(points), seconds),
        rows=None if variant.transport is None else asdict(variant.transport.counts),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        continuations=continuations(model, text.tokenizer, plan.recipe.prompts),
        retrieval=measured.retrieval,
        languages=measured.languages,
    )
    return model, adapters, run


def probed(plan: Plan, *, compare: bool) -> Plan:
    """Train every candidate for the steps of the probe, and put the best first; others go unless they are compared.

    Candidates are the recipe's initializer and its alternatives. All are trained on the same text in the same order, by
    the schedule of the whole stage, so that the best one goes on from where its probe ended.
    """
    count, seed = len(plan.recipe.methods), plan.recipe.seeds[0]
    candidates, rest = plan.comparison.variants[:count], plan.comparison.variants[count:]
    probes = tuple(probe(plan, variant, seed) for variant in candidates)
    best = min(range(count), key=lambda place: probes[place].curve.final.bits_per_byte)
    others = tuple(variant for place, variant in enumerate(candidates) if place != best)
    for other in () if compare else others:
        by_main(partial(shutil.rmtree, plan.folder(other, seed) / "stages", ignore_errors=True))
    logger.info("%s is best after the probe and goes on", candidates[best].name)
    variants = (candidates[best], *others, *rest) if compare else (candidates[best],)
    return replace(plan, comparison=replace(plan.comparison, variants=variants), probes=probes)


def probe(plan: Plan, variant: Variant, seed: int) -> Probe:
    """Train one candidate for the steps of the probe; what is already done is not done again."""
    folder, stage = plan.folder(variant, seed), plan.stages_of(variant)[0]
    if (done := recorded(folder / "probe.json", Probe.from_dict)) is not None:
        return done
    started = Started.of(plan, variant, seed)
    first = started.point(0)
    trained = started.train(stage, stage.probed_steps(plan.recipe.probe))
    made = Probe(variant.name, started.curve((first, *trained.points), trained.seconds))
    by_main(lambda: write_whole(folder / "probe.json", json.dumps(asdict(made))))
    return made

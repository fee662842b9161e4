"""Run a recipe: prepare the text, train every method with every seed, keep the model and what was measured."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import PreTrainedModel

from hf_xlt.checkpoint import atomic_folder, check_output, check_space
from hf_xlt.data.objectives import objective_for
from hf_xlt.data.packing import pack
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.evaluation.generation import continuations
from hf_xlt.evaluation.language_model import Quality, measure
from hf_xlt.hub import installed_versions, write_card
from hf_xlt.initializers import TRANSPORT_FILE
from hf_xlt.recipes.card import card_facts
from hf_xlt.recipes.methods import BASELINES, Contest, Method, new_model_contest, transfer_contest
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.results import Results, Run, hardware
from hf_xlt.recipes.stages import Text, best_device, train_stage
from hf_xlt.report import plot_learning_curves

CURVES_FILE = "learning_curves.png"


@dataclass(frozen=True)
class Plan:
    """A recipe made ready: what is trained, on which text, and where work in progress lives."""

    recipe: Recipe
    contest: Contest
    text: Text
    work: Path

    @property
    def kept(self) -> Method:
        """The method whose model is kept: the recipe's own."""
        return self.contest.methods[0]

    def folder(self, method: Method, seed: int) -> Path:
        """Where one method's run with one seed is kept."""
        return self.work / f"{re.sub(r'[^a-z0-9]+', '-', method.name.lower()).strip('-')}-seed{seed}"


def run_recipe(
    recipe: Recipe, output: Path, command: str, *, compare: bool = False, overwrite: bool = False
) -> Results:
    """Carry a recipe out.

    Everything is checked before training starts. Work in progress lives in a hidden folder beside the output; if the
    run is killed, the same call goes on where it stopped.

    Args:
        recipe: With source, helper and corpus filled in as its method needs them.
        output: Folder to appear when all is done: model, tokenizer, `recipe.yaml`, `results.json`.
        command: What to write into the results as the command that made them.
        compare: Also train the recipe's alternatives and the baselines.
        overwrite: Replace an existing output folder.

    Raises:
        InputError: If the recipe, its checkpoints, its corpus or the output folder cannot be used.
    """
    check_output(output, overwrite=overwrite)
    with work_folder(recipe, output, compare) as work:
        plan = prepare(recipe, work, compare)
        runs = [train(plan, method, seed) for seed in recipe.seeds for method in plan.contest.methods]
        results = Results(
            recipe=json.loads(json.dumps(asdict(recipe))),
            command=command,
            kind=plan.contest.kind.name,
            method=plan.kept.name,
            runs=tuple(runs),
            corpus=corpus_facts(plan),
            versions=installed_versions(),
            hardware=hardware(),
        )
        with atomic_folder(output, overwrite=overwrite) as folder:
            save_model(plan, folder)
            save_results(results, folder, title=output.name)
    return results


@contextmanager
def work_folder(recipe: Recipe, output: Path, compare: bool) -> Iterator[Path]:
    """The hidden folder of a run in progress: kept if the run is interrupted, removed when it is done or refused."""
    work = output.parent / f".{output.name}.work"
    stamp = json.dumps({"recipe": recipe.to_yaml(), "compare": compare})
    begun = work / "run.json"
    if begun.exists() and begun.read_text(encoding="utf-8") != stamp:
        raise InputError(f"{work} holds an unfinished run of another recipe; remove it, or choose another output.")
    work.mkdir(parents=True, exist_ok=True)
    begun.write_text(stamp, encoding="utf-8")
    try:
        yield work
    except InputError:
        shutil.rmtree(work)
        raise
    shutil.rmtree(work)


def prepare(recipe: Recipe, work: Path, compare: bool) -> Plan:
    """Open the checkpoints, make the tokenizer, pack the corpus."""
    split = recipe.data.split()
    contest = (
        transfer_contest(recipe, compare) if recipe.model is None else new_model_contest(recipe, work / "tokenizer")
    )
    check_space(work / "model", training_bytes(contest, runs=len(recipe.seeds) * len(contest.methods)))
    length = recipe.stages[0].sequence_length
    check_length(length, contest)
    packed = pack(split, contest.tokenizer, length, recipe.data.max_sequences, work / "packed")
    text = Text(contest.tokenizer, packed, tuple(split.held_out_lines()), length)
    return Plan(recipe, contest, text, work)


def check_length(length: int, contest: Contest) -> None:
    """Refuse sequences that are longer than the model has positions for."""
    positions = getattr(contest.config, "max_position_embeddings", None)
    if positions is None:
        return
    for name, module in _without_weights(contest).named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            positions -= module.padding_idx + 1  # RoBERTa and its kin count from the padding id on
            break
    if length > positions:
        raise InputError(f"sequence_length is {length}; the model has {positions} positions. Set it to at most that.")


def training_bytes(contest: Contest, runs: int) -> int:
    """Disk that training takes: a float32 model a run, and two training checkpoints with Adam's two moments."""
    return 4 * _without_weights(contest).num_parameters() * (runs + 6)


def _without_weights(contest: Contest) -> PreTrainedModel:
    with torch.device("meta"):
        return contest.kind.auto_class.from_config(contest.config)


def train(plan: Plan, method: Method, seed: int) -> Run:
    """Train one method with one seed through all stages; what is already done is not done again."""
    folder = plan.folder(method, seed)
    record = folder / "run.json"
    if record.exists():
        return Run.from_dict(json.loads(record.read_text(encoding="utf-8")))
    model, points, seconds = train_stages(plan, method, seed, folder)
    run = Run(
        curve=Curve(method.name, seed, points, seconds),
        rows=None if method.transport is None else asdict(method.transport.counts),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        continuations=continuations(model, plan.text.tokenizer, plan.recipe.prompts),
    )
    model.save_pretrained(folder / "model")
    record.write_text(json.dumps(asdict(run)), encoding="utf-8")
    shutil.rmtree(folder / "stages")
    return run


def train_stages(
    plan: Plan, method: Method, seed: int, folder: Path
) -> tuple[PreTrainedModel, tuple[Point, ...], float]:
    """Train through the stages in turn; their points follow one another on one axis of steps."""
    model = method.start(seed)
    kind, text = plan.contest.kind, plan.text
    points = [Point.at(0, start_quality(model, plan))]
    seconds = 0.0
    for stage in plan.recipe.stages:
        objective = objective_for(stage.objective_for(kind), text.tokenizer)
        label = f"{method.name} · {stage.name}"
        trained = train_stage(model, stage, objective, text, seed, folder / "stages" / stage.name, label)
        done = points[-1].step
        points += [replace(point, step=point.step + done) for point in trained.points]
        model, seconds = trained.model, seconds + trained.seconds
    return model, tuple(points), seconds


def start_quality(model: PreTrainedModel, plan: Plan) -> Quality:
    """Held-out quality before any training, under the first stage's objective."""
    objective = objective_for(plan.recipe.stages[0].objective_for(plan.contest.kind), plan.text.tokenizer)
    model.to(device=best_device())  # type: ignore[call-arg]
    return measure(model, plan.text.held_out(objective), plan.text.tokenizer, objective)


def save_model(plan: Plan, folder: Path) -> None:
    """Write the kept model in the type of weights the recipe asks for, its tokenizer, and where its rows came from."""
    asked = plan.recipe.dtype
    dtype = (plan.contest.config.dtype or torch.float32) if asked == "source" else asked
    trained = plan.folder(plan.kept, plan.recipe.seeds[0]) / "model"
    plan.contest.kind.auto_class.from_pretrained(trained, dtype=dtype).save_pretrained(folder)
    plan.text.tokenizer.save_pretrained(folder)
    (folder / "recipe.yaml").write_text(plan.recipe.to_yaml(), encoding="utf-8")
    if plan.kept.transport is not None:
        plan.kept.transport.save(folder / TRANSPORT_FILE)


def save_results(results: Results, folder: Path, title: str) -> None:
    """Write what was measured: `results.json`, the learning curves, the model card."""
    (folder / "results.json").write_text(results.to_json(), encoding="utf-8")
    heading = f"Learning curves, {results.recipe.get('language') or 'target language'}"
    plot_learning_curves(results.by_method, BASELINES, heading, folder / CURVES_FILE)
    write_card(folder, card_facts(results, title, CURVES_FILE))


def corpus_facts(plan: Plan) -> dict[str, str | int]:
    """Name and size of the text, for results and card."""
    name = plan.recipe.data.corpus or ""
    length = plan.recipe.stages[0].sequence_length
    lines = plan.text.held_out_lines
    return {
        "name": Path(name).name if Path(name).exists() else name,
        "sequences": len(plan.text.packed),
        "tokens": len(plan.text.packed) * length,
        "held_out_lines": len(lines),
        "held_out_bytes": sum(len(line.encode()) + 1 for line in lines),
    }

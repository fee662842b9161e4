"""Run a recipe: prepare the text, train every variant with every seed, keep the model and what was measured."""

import json
import logging
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import cast

import torch
from peft import LoraModel
from transformers import PreTrainedModel, TrainerCallback

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.kind import DECODER
from hf_xlt.device import best_device
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.evaluation.economy import characters_per_token, tokens_per_second, unknown_share
from hf_xlt.evaluation.language_model import continuations, measure
from hf_xlt.evaluation.models import SOURCE_TOKENIZER
from hf_xlt.files.folders import atomic_folder, check_output, check_space, write_whole
from hf_xlt.hub.card import installed_versions, write_card
from hf_xlt.initializers import TRANSPORT_FILE
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison, Variant
from hf_xlt.runs.contents import contents, with_commits
from hf_xlt.runs.costs import step_cost
from hf_xlt.runs.folder import ADAPTERS, card_facts, save_kept, start_facts
from hf_xlt.runs.kinds import Kind
from hf_xlt.runs.plan import check_lengths, check_recipe, training_bytes
from hf_xlt.runs.processes import by_main, main_first, processes
from hf_xlt.runs.results import Economy, Results, Run, hardware
from hf_xlt.runs.text import Text
from hf_xlt.runs.training.parts import write_adapters
from hf_xlt.runs.training.trainer import StageInputs, train_stage
from hf_xlt.runs.work import Stamp, begin, end, folder_of, held, kept_on_failure
from hf_xlt.trelm import TreLMPreTrainedModel
from hf_xlt.trelm.conversion import State, combine_halves

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A recipe made ready: what is trained, on which text, and where work in progress lives."""

    kind: Kind
    comparison: Comparison
    text: Text
    work: Path
    callbacks: tuple[TrainerCallback, ...] = ()
    own_texts: Mapping[str, Text] = field(default_factory=dict)  # of variants with a tokenizer of their own, by name

    @property
    def recipe(self) -> Recipe:
        return self.kind.recipe

    @property
    def kept(self) -> Variant:
        """The variant whose model is kept: the recipe's own."""
        return self.comparison.variants[0]

    def folder(self, variant: Variant, seed: int) -> Path:
        """Where one variant's run with one seed is kept."""
        return self.work / f"{file_name(variant.name)}-seed{seed}"

    def text_of(self, variant: Variant) -> Text:
        """What a variant is trained and measured on: the text of all, or the same by its own tokenizer."""
        return self.own_texts.get(variant.name, self.text)

    def stages_of(self, variant: Variant) -> tuple[Stage, ...]:
        """What a variant is trained in; with a tokenizer of its own, as many steps as reading the same bytes takes."""
        stages = variant.stages or self.recipe.stages
        if variant.name not in self.own_texts:
            return stages
        own = self.own_texts[variant.name]
        return tuple(
            same_bytes(stage, self.text, own, as_in) for stage, as_in in zip(stages, self.recipe.stages, strict=True)
        )


def file_name(variant_name: str) -> str:
    """What the files of a variant are called."""
    return re.sub(r"[^a-z0-9]+", "-", variant_name.lower()).strip("-")


def same_bytes(stage: Stage, text: Text, own: Text, as_in: Stage) -> Stage:
    """A stage with as many steps on `own` as read the bytes of text that stage `as_in` reads on `text`, rounded up."""
    size, own_size = text.sequence_size(as_in), own.sequence_size(stage)
    if size is None or own_size is None:
        return stage
    return stage.replace(max_steps=math.ceil(as_in.max_steps * size.text_bytes / own_size.text_bytes))


@checked
def run_recipe(
    recipe: Recipe,
    output: str | Path,
    command: str = "hf_xlt.run_recipe(recipe, output)",
    *,
    compare: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Results:
    """Carry a recipe out.

    Everything is checked before training starts. Work in progress lives in a hidden folder beside the output; if the
    run ends early, however that is, the same call goes on where it stopped. Under `accelerate launch` or `torchrun` one
    process prepares, all train, and one writes.

    Args:
        recipe: With source, helper and corpus filled in as its initializer needs them.
        output: Folder to appear when all is done: model, tokenizer, `recipe.yaml`, `results.json`.
        command: What to write into the results as the command that made them.
        compare: Also train the recipe's alternatives and the baselines.
        overwrite: Replace an existing output folder; and give up an unfinished run of another recipe or input.
        callbacks: For the Trainer of every stage.

    Raises:
        InputError: If the recipe, its checkpoints, its corpus or the output folder cannot be used, another run is at
            the same output, or an unfinished one began with something else.

    Example:
        >>> recipe = load_recipe("pooled", ["source=me/encoder", "data.corpus=de.txt"])  # doctest: +SKIP
        >>> run_recipe(recipe, "encoder-german").summaries  # doctest: +SKIP
    """
    output = Path(output)
    with ExitStack() as stack:
        kind, new = by_main(lambda: begun(recipe, output, compare, overwrite, stack))
        work = folder_of(output)
        with kept_on_failure(work):
            plan = main_first(lambda: prepare(kind, work, compare, tuple(callbacks), new=new))
            runs = [train(plan, variant, seed) for seed in plan.recipe.seeds for variant in plan.comparison.variants]
            results = Results(
                recipe=plan.recipe.plain(),
                command=command,
                kind=plan.comparison.model_kind.name,
                method=plan.kept.name,
                runs=tuple(runs),
                corpus=kind.corpus_facts(plan.text),
                versions=installed_versions(),
                hardware=hardware(),
                pooling=plan.text.pooling,
                economies=by_main(lambda: economies(plan)),
            )
            by_main(lambda: save(plan, results, output, overwrite))
        if processes().is_main_process:
            end(work)
    return results


def begun(recipe: Recipe, output: Path, compare: bool, overwrite: bool, stack: ExitStack) -> tuple[Kind, bool]:
    """Take the work folder into hand for as long as `stack` is open; the kind of run, and whether it is a new one."""
    kind = check_recipe(recipe, compare=compare)
    check_output(output, overwrite=overwrite, sources=recipe.places)
    kind = type(kind)(with_commits(kind.recipe))
    work = stack.enter_context(held(output))
    logger.info("Reading the inputs of %s", output)
    stamp = Stamp(kind.recipe.to_yaml(), compare, processes().num_processes, contents(kind.recipe))
    return kind, begin(work, stamp, overwrite=overwrite)


def save(plan: Plan, results: Results, output: Path, overwrite: bool) -> None:
    """Write the output folder: the kept model, where its rows came from, what was measured, pictures and card."""
    logger.info("Writing %s", output)
    kind, kept, text, recipe = plan.kind, plan.kept, plan.text, plan.recipe
    dtype = (plan.comparison.config.dtype or torch.float32) if recipe.dtype == "source" else recipe.dtype
    trained = plan.folder(kept, recipe.seeds[0]) / "model"
    with atomic_folder(output, overwrite=overwrite, sources=recipe.places) as folder:
        save_kept(kind, plan.comparison.model_kind, trained, dtype, text.tokenizer, folder, output.name)
        if text.source_tokenizer is not None:
            text.source_tokenizer.save_pretrained(folder / SOURCE_TOKENIZER)
        (folder / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
        if kept.transport is not None:
            kept.transport.save(folder / TRANSPORT_FILE)
        (folder / "results.json").write_text(results.to_json(), encoding="utf-8")
        start = start_facts(kind, kept, text.tokenizer, folder)
        facts = card_facts(kind, results, output.name, kind.draw(results, folder))
        write_card(folder, replace(facts, **start))


def prepare(
    kind: Kind, work: Path, compare: bool, callbacks: tuple[TrainerCallback, ...], *, new: bool = False
) -> Plan:
    """Open the checkpoints, make the tokenizer, pack the text; a new run that is refused leaves nothing behind."""
    try:
        kind.check_inputs()
        logger.info("Making the vocabulary and its rows")
        comparison = kind.comparison(work, compare=compare)
        own = {variant.name: variant.tokenizer for variant in comparison.variants if variant.tokenizer is not None}
        sharing = len(comparison.variants) - len(own)
        configs = [comparison.config] * sharing + [kind.shape(len(tokenizer)) for tokenizer in own.values()]
        check_space(work / "model", training_bytes(configs, len(kind.recipe.seeds)))
        check_lengths(kind.recipe.stages, comparison.config)
        kind.inputs.chat(comparison.tokenizer)
        logger.info("Reading the text")
        text = kind.text(comparison, work)
        own_texts = {
            name: kind.text(replace(comparison, tokenizer=tokenizer), work / file_name(name))
            for name, tokenizer in own.items()
        }
        return Plan(kind, comparison, text, work, callbacks, own_texts)
    except InputError:
        if new:
            end(work)
        raise


def train(plan: Plan, variant: Variant, seed: int) -> Run:
    """Train one variant with one seed through all stages; what is already done is not done again."""
    folder = plan.folder(variant, seed)
    if (done := kept_run(folder / "run.json")) is not None:
        return done
    model, adapters, run = train_stages(plan, variant, seed, folder)
    by_main(lambda: keep_run(plan, model, adapters, run, folder))
    return run


def kept_run(record: Path) -> Run | None:
    """What an earlier call recorded of a run, None if there is nothing that can be read."""
    try:
        return Run.from_dict(json.loads(record.read_text(encoding="utf-8"))) if record.exists() else None
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s); the run is made again.", record, error)
        return None


def keep_run(plan: Plan, model: PreTrainedModel, adapters: LoraModel | None, run: Run, folder: Path) -> None:
    """Write a trained model and then what was measured of it, and remove its training state."""
    if adapters is not None:
        write_adapters(adapters, folder / ADAPTERS)
    published = plan.comparison.published
    (model if published is None else published(model)).save_pretrained(folder / "model")
    write_whole(folder / "run.json", json.dumps(asdict(run)))
    shutil.rmtree(folder / "stages", ignore_errors=True)


def train_stages(
    plan: Plan, variant: Variant, seed: int, folder: Path
) -> tuple[PreTrainedModel, LoraModel | None, Run]:
    """Train through the stages; the model, its adapters that are kept, and what was measured on one axis of steps."""
    model = variant.start(seed)
    text, stages, kind = plan.text_of(variant), plan.stages_of(variant), plan.comparison.model_kind
    cost = step_cost(model, text, stages)
    validation = text.validation_set(kind)
    copied = torch.empty(0, dtype=torch.int64) if variant.transport is None else variant.transport.copied_target

    def point(step: int) -> Point:
        model.to(device=best_device())  # type: ignore[call-arg]
        return Point.at(step, measure(model, validation, text.tokenizer))

    points = [point(0)]
    measured = text.measure(model, 0)
    seconds, adapters = 0.0, None
    states: dict[str, State] = {}
    for stage in stages:
        done = points[-1].step
        if stage.combine is not None:
            combine_halves(cast(TreLMPreTrainedModel, model), states[stage.combine.lower], states[stage.combine.upper])
            points[-1] = point(done)
        else:
            if stage.starts_from is not None:
                model.load_state_dict(states[stage.starts_from])
            given = StageInputs(text.objective(stage, kind), text.stream, validation, text.tokenizer, copied)
            label, where = f"{variant.name} · {stage.name}", folder / "stages" / stage.name
            trained = train_stage(model, stage, given, seed, where, label, plan.callbacks)
            points += [replace(each, step=each.step + done) for each in trained.points]
            measured += text.measure(model, points[-1].step)
            seconds, adapters = seconds + trained.seconds, trained.adapters
        if any(stage.name in later.follows for later in stages):
            states[stage.name] = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    run = Run(
        curve=Curve(variant.name, seed, tuple(points), seconds, **({} if cost is None else asdict(cost))),
        rows=None if variant.transport is None else asdict(variant.transport.counts),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        continuations=continuations(model, text.tokenizer, plan.recipe.prompts),
        retrieval=measured.retrieval,
        languages=measured.languages,
    )
    return model, adapters, run


def economies(plan: Plan) -> tuple[Economy, ...]:
    """What the tokenizers of the kept model and of the variants with one of their own cost, on the validation lines.

    A decoder's characters a second are those of text like the validation lines: the tokens that it writes in a second,
    times the characters a token stands for there. What a model really writes after so little training may be one short
    word over and over. Its first seed's model is measured, on the recipe's prompts or else the first validation lines.
    """
    if not plan.own_texts:
        return ()
    compared = [plan.kept, *(variant for variant in plan.comparison.variants if variant.name in plan.own_texts)]
    return tuple(economy(plan, variant) for variant in compared)


def economy(plan: Plan, variant: Variant) -> Economy:
    """What the tokenizer of a variant costs."""
    text, model_kind = plan.text_of(variant), plan.comparison.model_kind
    characters, unknown = (
        count(text.validation_lines, text.tokenizer) for count in (characters_per_token, unknown_share)
    )
    if model_kind is not DECODER:
        return Economy(variant.name, characters, unknown)
    trained = plan.folder(variant, plan.recipe.seeds[0]) / "model"
    model = model_kind.auto_class.from_pretrained(trained).to(best_device())
    prompts = plan.recipe.prompts or text.validation_lines
    return Economy(
        variant.name, characters, unknown, characters * tokens_per_second(model, text.tokenizer, prompts, text.length)
    )

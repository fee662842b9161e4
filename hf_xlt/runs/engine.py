"""Run a recipe: prepare the text, train every method with every seed, keep the model and what was measured."""

from __future__ import annotations

import json
import logging
import re
import shutil
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import torch
from peft import LoraModel
from transformers import PreTrainedModel

from hf_xlt.arguments import checked
from hf_xlt.device import best_device
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Curve, Point
from hf_xlt.evaluation.generation import continuations
from hf_xlt.evaluation.language import SOURCE_TOKENIZER
from hf_xlt.evaluation.language_model import HeldOut, Quality, measure
from hf_xlt.evaluation.sentence_encoder import SentenceHead
from hf_xlt.files.folders import atomic_folder, check_output, check_space, write_whole
from hf_xlt.files.place import several
from hf_xlt.hub.card import public_name
from hf_xlt.hub.push import installed_versions, write_card
from hf_xlt.initializers import TRANSPORT_FILE
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.stage import Stage
from hf_xlt.report.tables import plot_learning_curves
from hf_xlt.runs.card import card_facts, start_facts
from hf_xlt.runs.contents import contents, with_commits
from hf_xlt.runs.effect import check_effect
from hf_xlt.runs.keep import ADAPTERS, check_adapters, kept_class, save_kept
from hf_xlt.runs.kinds.bilingual import bilingual_contest
from hf_xlt.runs.kinds.distillation import (
    RetrievalPoint,
    SentencePairs,
    check_distillation,
    read_sentence_pairs,
    with_corpus,
)
from hf_xlt.runs.kinds.multilingual import continued, multilingual_contest, read_contest
from hf_xlt.runs.kinds.transfer import transfer_contest
from hf_xlt.runs.kinds.trelm import trelm_contest
from hf_xlt.runs.languages import LanguagePoint, LanguagesText
from hf_xlt.runs.processes import by_main, main_first, processes
from hf_xlt.runs.results import Results, Run, hardware
from hf_xlt.runs.retrieval_picture import plot_retrieval
from hf_xlt.runs.source import chat_for, check_source
from hf_xlt.runs.text import Text, read_text
from hf_xlt.runs.trade_off import plot_trade_off
from hf_xlt.runs.training.adapters import write_adapters
from hf_xlt.runs.training.stages import Lesson, Material, train_stage
from hf_xlt.runs.variants import BASELINES, Contest, Method, new_model_contest
from hf_xlt.runs.work import Stamp, begin, end, folder_of, held, kept_on_failure
from hf_xlt.trelm import TreLMPreTrainedModel
from hf_xlt.trelm.combine import State, combine_halves

CURVES_FILE = "learning_curves.png"
RETRIEVAL_FILE = "retrieval.png"
TRADE_OFF_FILE = "trade_off.png"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A recipe made ready: what is trained, on which text, and where work in progress lives."""

    recipe: Recipe
    contest: Contest
    text: Text | LanguagesText
    work: Path
    sentence_pairs: SentencePairs | None = None

    def material(self, stage: Stage) -> Material:
        """What a stage is trained on."""
        return self.sentence_pairs if stage.distils and self.sentence_pairs is not None else self.text

    def head(self, stage: Stage) -> SentenceHead | None:
        """What makes the sentence vectors that a stage learns."""
        return self.sentence_pairs.head if stage.distils and self.sentence_pairs is not None else None

    @property
    def kept(self) -> Method:
        """The method whose model is kept: the recipe's own."""
        return self.contest.methods[0]

    def folder(self, method: Method, seed: int) -> Path:
        """Where one method's run with one seed is kept."""
        return self.work / f"{re.sub(r'[^a-z0-9]+', '-', method.name.lower()).strip('-')}-seed{seed}"


@checked
def run_recipe(
    recipe: Recipe, output: Path, command: str, *, compare: bool = False, overwrite: bool = False
) -> Results:
    """Carry a recipe out.

    Everything is checked before training starts. Work in progress lives in a hidden folder beside the output; if the
    run ends early, however that is, the same call goes on where it stopped. Under `accelerate launch` or `torchrun` one
    process prepares, all train, and one writes.

    Args:
        recipe: With source, helper and corpus filled in as its method needs them.
        output: Folder to appear when all is done: model, tokenizer, `recipe.yaml`, `results.json`.
        command: What to write into the results as the command that made them.
        compare: Also train the recipe's alternatives and the baselines.
        overwrite: Replace an existing output folder; and give up an unfinished run of another recipe or input.

    Raises:
        InputError: If the recipe, its checkpoints, its corpus or the output folder cannot be used, another run is at
            the same output, or an unfinished one began with something else.
    """
    with ExitStack() as stack:
        recipe, new = by_main(lambda: begun(recipe, output, compare, overwrite, stack))
        work = folder_of(output)
        with kept_on_failure(work):
            plan = main_first(
                lambda: prepare_or_clear(recipe, work, compare) if new else prepare(recipe, work, compare)
            )
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
                pooling=None if plan.sentence_pairs is None else plan.sentence_pairs.head.pooling,
            )
            by_main(lambda: save(plan, results, output, overwrite))
        if processes().is_main_process:
            end(work)
    return results


def begun(recipe: Recipe, output: Path, compare: bool, overwrite: bool, stack: ExitStack) -> tuple[Recipe, bool]:
    """Take the work folder into hand for as long as `stack` is open.

    Returns:
        The recipe as it is carried out, and whether the run is a new one.

    Raises:
        InputError: If the output exists, another process is at it, or an unfinished run began with something else.
    """
    check_effect(recipe, compare=compare)
    check_output(output, overwrite=overwrite, sources=recipe.places)
    recipe = with_commits(continued(with_corpus(recipe)))
    work = stack.enter_context(held(output))
    logger.info("Reading the inputs of %s", output)
    stamp = Stamp(recipe.to_yaml(), compare, processes().num_processes, contents(recipe))
    return recipe, begin(work, stamp, overwrite=overwrite)


def save(plan: Plan, results: Results, output: Path, overwrite: bool) -> None:
    """Write the output folder."""
    logger.info("Writing %s", output)
    with atomic_folder(output, overwrite=overwrite, sources=plan.recipe.places) as folder:
        save_model(plan, folder, output.name)
        save_results(plan, results, folder, title=output.name)


def prepare_or_clear(recipe: Recipe, work: Path, compare: bool) -> Plan:
    """Make a new run ready; if it is refused, it leaves no unfinished one behind."""
    try:
        return prepare(recipe, work, compare)
    except InputError:
        end(work)
        raise


def prepare(recipe: Recipe, work: Path, compare: bool) -> Plan:
    """Open the checkpoints, make the tokenizer, pack the text."""
    check_distillation(recipe)  # refused before anything is opened or learned
    if recipe.multilingual is None:
        recipe.data.split()
    check_adapters(recipe)
    check_source(recipe)
    logger.info("Making the vocabulary and its rows")
    contest = contest_of(recipe, work, compare)
    check_space(work / "model", training_bytes(contest, runs=len(recipe.seeds) * len(contest.methods)))
    check_length(recipe.stages[0].sequence_length, contest)
    chat_for(recipe, contest.tokenizer)
    logger.info("Reading the text")
    text = text_of(recipe, contest, work / "packed")
    pairs = read_sentence_pairs(recipe, contest.tokenizer, work / "distillation") if recipe.distils else None
    return Plan(recipe, contest, text, work, pairs)


def text_of(recipe: Recipe, contest: Contest, cache: Path) -> Text | LanguagesText:
    """The text, packed for the model."""
    if recipe.multilingual is not None:
        return read_contest(recipe, contest, cache)
    offset = getattr(contest.config, "position_offset", 0)
    return read_text(recipe, contest.tokenizer, cache, contest.source_tokenizer, offset)


def contest_of(recipe: Recipe, work: Path, compare: bool) -> Contest:
    """The methods to train: of many languages, a new model, two languages with a vocabulary each or one, or of one."""
    if recipe.multilingual is not None:
        return multilingual_contest(recipe, work, compare)
    if recipe.model is not None:
        return new_model_contest(recipe, work / "tokenizer")
    if recipe.separate:
        return bilingual_contest(recipe, work, compare)
    if recipe.trelm is not None:
        return trelm_contest(recipe, work, compare)
    return transfer_contest(recipe, work, compare)


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
    if (done := kept_run(record)) is not None:
        return done
    trained = train_stages(plan, method, seed, folder)
    run = Run(
        curve=Curve(method.name, seed, trained.points, trained.seconds),
        rows=None if method.transport is None else asdict(method.transport.counts),
        parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        continuations=continuations(trained.model, plan.text.tokenizer, plan.recipe.prompts),
        retrieval=trained.retrieval,
        languages=trained.languages,
    )
    by_main(lambda: keep_run(plan, trained, run, folder))
    return run


def kept_run(record: Path) -> Run | None:
    """What an earlier call recorded of a run, None if there is nothing that can be read."""
    if not record.exists():
        return None
    try:
        return Run.from_dict(json.loads(record.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s); the run is made again.", record, error)
        return None


def keep_run(plan: Plan, trained: TrainedModel, run: Run, folder: Path) -> None:
    """Write a trained model and then what was measured of it, and remove its training state."""
    if trained.adapters is not None:
        write_adapters(trained.adapters, folder / ADAPTERS)
    published = plan.contest.published
    (trained.model if published is None else published(trained.model)).save_pretrained(folder / "model")
    write_whole(folder / "run.json", json.dumps(asdict(run)))
    shutil.rmtree(folder / "stages", ignore_errors=True)


@dataclass(frozen=True)
class TrainedModel:
    """What all stages leave: the model, what was measured on one axis of steps, seconds, adapters that are kept."""

    model: PreTrainedModel
    points: tuple[Point, ...]
    retrieval: tuple[RetrievalPoint, ...]
    languages: tuple[LanguagePoint, ...]
    seconds: float
    adapters: LoraModel | None


def train_stages(plan: Plan, method: Method, seed: int, folder: Path) -> TrainedModel:
    """Train through the stages."""
    model = method.start(seed)
    text, stages = plan.text, method.stages or plan.recipe.stages
    held_out = text.held_out(plan.contest.kind.objective)
    copied = torch.empty(0, dtype=torch.int64) if method.transport is None else method.transport.copied_target
    points = [Point.at(0, quality_of(model, held_out, text))]
    retrieval = [*retrieval_of(model, plan, step=0)]
    languages = [*languages_of(model, plan, step=0)]
    seconds, adapters = 0.0, None
    states: dict[str, State] = {}
    for stage in stages:
        done = points[-1].step
        if stage.combine is not None:
            combine_halves(cast(TreLMPreTrainedModel, model), states[stage.combine.lower], states[stage.combine.upper])
            points[-1] = Point.at(done, quality_of(model, held_out, text))
        else:
            if stage.starts_from is not None:
                model.load_state_dict(states[stage.starts_from])
            objective = text.objective(stage.objective_for(plan.contest.kind))
            lesson = Lesson(objective, plan.material(stage), held_out, text.tokenizer, copied, plan.head(stage))
            label = f"{method.name} · {stage.name}"
            trained = train_stage(model, stage, lesson, seed, folder / "stages" / stage.name, label)
            points += [replace(point, step=point.step + done) for point in trained.points]
            retrieval += retrieval_of(model, plan, points[-1].step)
            languages += languages_of(model, plan, points[-1].step)
            seconds, adapters = seconds + trained.seconds, trained.adapters
        if any(stage.name in later.follows for later in stages):
            states[stage.name] = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return TrainedModel(model, tuple(points), tuple(retrieval), tuple(languages), seconds, adapters)


def retrieval_of(model: PreTrainedModel, plan: Plan, step: int) -> list[RetrievalPoint]:
    """How well held-out pairs find each other, where a stage distils or a model of many languages has pairs."""
    pairs = plan.text.translations if isinstance(plan.text, LanguagesText) else plan.sentence_pairs
    return [] if pairs is None else [pairs.measure(model, plan.text.tokenizer, step)]


def languages_of(model: PreTrainedModel, plan: Plan, step: int) -> tuple[LanguagePoint, ...]:
    """Held-out quality in each of many languages."""
    return plan.text.measure(model, step) if isinstance(plan.text, LanguagesText) else ()


def quality_of(model: PreTrainedModel, held_out: HeldOut, text: Text | LanguagesText) -> Quality:
    """Held-out quality of a model between stages."""
    model.to(device=best_device())  # type: ignore[call-arg]
    return measure(model, held_out, text.tokenizer)


def save_model(plan: Plan, folder: Path, name: str) -> None:
    """Write the kept model in the type of weights the recipe asks for, its tokenizer, and where its rows came from."""
    asked = plan.recipe.dtype
    dtype = (plan.contest.config.dtype or torch.float32) if asked == "source" else asked
    trained = plan.folder(plan.kept, plan.recipe.seeds[0]) / "model"
    save_kept(plan.recipe, plan.contest.kind, trained, dtype, plan.text.tokenizer, folder, name)
    if plan.text.source_tokenizer is not None:
        plan.text.source_tokenizer.save_pretrained(folder / SOURCE_TOKENIZER)
    (folder / "recipe.yaml").write_text(plan.recipe.to_yaml(), encoding="utf-8")
    if plan.kept.transport is not None:
        plan.kept.transport.save(folder / TRANSPORT_FILE)


def save_results(plan: Plan, results: Results, folder: Path, title: str) -> None:
    """Write what was measured: `results.json`, the learning curves, the model card."""
    (folder / "results.json").write_text(results.to_json(), encoding="utf-8")
    opened_by = kept_class(plan.recipe, plan.contest.kind).__name__
    start = start_facts(plan.recipe, plan.kept, plan.text.tokenizer, folder)
    facts = card_facts(results, title, draw(results, plan.recipe, folder))
    write_card(folder, replace(facts, auto_class=opened_by, **start))


def draw(results: Results, recipe: Recipe, folder: Path) -> dict[str, str]:
    """Draw what the run measured; what each picture shows → its file."""
    if recipe.only_distils:  # the head of a language model is there, but nobody trained it
        plot_retrieval(results, folder / RETRIEVAL_FILE)
        return {"Retrieval of held-out translations": RETRIEVAL_FILE}
    whose = "all languages" if recipe.multilingual else recipe.language or "target language"
    plot_learning_curves(results.by_method, BASELINES, f"Learning curves, {whose}", folder / CURVES_FILE)
    pictures = {"Learning curves": CURVES_FILE}
    if recipe.multilingual:
        plot_trade_off(results, folder / TRADE_OFF_FILE)
        pictures["What other languages cost the first"] = TRADE_OFF_FILE
    return pictures


def corpus_facts(plan: Plan) -> dict[str, str | int]:
    """Name and size of the target's text, of all languages' or of the translation pairs, for results and card."""
    data, pairs = plan.recipe.data, plan.sentence_pairs
    names: tuple[str, ...]
    if plan.recipe.only_distils and pairs is not None:
        files = several(data.parallel or (), "file of translation pairs")
        names, lines, sequences = tuple(map(str, files)), pairs.held_out, len(pairs.training)
        tokens = sum(map(len, pairs.training["input_ids"]))
    else:
        names, lines, sequences = data.trained_on, tuple(plan.text.held_out_lines), plan.text.sequences
        tokens = sequences * plan.text.length
    return {
        "name": ", ".join(map(public_name, names)),
        "sequences": sequences,
        "tokens": tokens,
        "held_out_lines": len(lines),
        "held_out_bytes": sum(len(line.encode()) + 1 for line in lines),
    }

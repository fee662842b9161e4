"""Run a recipe: prepare the text, train every variant with every seed, keep the model and what was measured."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from transformers import TrainerCallback

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.kind import DECODER
from hf_xlt.device import best_device
from hf_xlt.evaluation.economy import characters_per_token, tokens_per_second, unknown_share
from hf_xlt.evaluation.models import SOURCE_TOKENIZER
from hf_xlt.files.folders import atomic_folder, check_output
from hf_xlt.hub.card import installed_versions, write_card
from hf_xlt.initializers import TRANSPORT_FILE
from hf_xlt.recipes.recipe import Recipe
from hf_xlt.runs.comparison import Variant
from hf_xlt.runs.contents import contents, with_commits
from hf_xlt.runs.folder import card_facts, save_kept, start_facts
from hf_xlt.runs.kinds import Kind
from hf_xlt.runs.plan import check_recipe
from hf_xlt.runs.prepared import Plan, prepare
from hf_xlt.runs.processes import by_main, main_first, processes
from hf_xlt.runs.results import Economy, Results, hardware
from hf_xlt.runs.training.variant import probed, train
from hf_xlt.runs.work import Stamp, begin, end, folder_of, held, kept_on_failure

logger = logging.getLogger(__name__)


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
            if kind.recipe.probe:
                plan = probed(plan, compare=compare)
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
                probes=plan.probes,
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

"""What a package of someone else's adds: an objective and a kind of run, each a class and a call that names it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from markdown_it import MarkdownIt
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel

from hf_xlt.data.objectives import OBJECTIVES, Example, Objective, register_objective
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks import registry
from hf_xlt.initializers import METHODS
from hf_xlt.recipes import Recipe, load_recipe
from hf_xlt.runs import check_recipe, register_kind, run_recipe
from hf_xlt.runs.kinds import KINDS
from hf_xlt.runs.kinds.new_model import NewModel
from hf_xlt.sample import sentences

SMALL = ("stages.0.steps=2", "stages.0.batch_size=2", "stages.0.sequence_length=16", "stages.0.evaluations=1",
         "tokenizer.vocab_size=400", "model.hidden_size=16", "model.intermediate_size=16",
         "model.num_hidden_layers=1")  # fmt: skip


class EvenStates(Objective):
    """Not a language model: makes the states of a text as long as one another."""

    calls = 0

    def __init__(self, tokenizer: object) -> None:
        self.tokenizer = tokenizer

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Plain texts, without labels."""
        return {"input_ids": torch.tensor(np.stack([example["input_ids"] for example in examples])).long()}

    def learner(self, model: PreTrainedModel) -> PreTrainedModel:
        """The body."""
        return model.base_model

    def loss(self, model: PreTrainedModel, forward: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The variance of the lengths."""
        type(self).calls += 1
        return torch.linalg.vector_norm(forward(**batch).last_hidden_state, dim=-1).var()


class Doubled(NewModel):
    """A new model whose vocabulary is twice as large as asked for."""

    name = "doubled"

    @classmethod
    def resolved(cls, recipe: Recipe) -> Recipe:
        """With a tokenizer of twice the size."""
        return recipe.replace(tokenizer=recipe.tokenizer.replace(vocab_size=2 * recipe.tokenizer.vocab_size))


@pytest.fixture
def registered():
    register_objective("even", EvenStates)
    register_kind(Doubled)
    yield
    OBJECTIVES.pop("even")
    KINDS.pop("doubled")


@pytest.fixture
def corpus(tmp_path) -> Path:
    path = tmp_path / "en.txt"
    path.write_text("\n".join(sentences("en", "train")), encoding="utf-8")
    return path


@pytest.mark.slow
def test_an_objective_with_a_loss_of_its_own_trains_a_stage(registered, corpus, tmp_path):
    recipe = load_recipe("scratch", [*SMALL, "stages.0.objective=even", f"data.corpus={corpus}"])
    before = EvenStates.calls
    run_recipe(recipe, tmp_path / "out")
    assert EvenStates.calls == before + 2


@pytest.mark.slow
def test_a_kind_of_run_is_named_by_a_recipe(registered, corpus, tmp_path):
    recipe = load_recipe("scratch", [*SMALL, "kind=doubled", f"data.corpus={corpus}"])
    run_recipe(recipe, tmp_path / "out")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "out")) == 800


def test_a_kind_checks_its_recipes_like_any_other(registered):
    with pytest.raises(InputError) as raised:
        check_recipe(load_recipe("scratch", ["kind=doubled", "helper=x"]))
    assert raised.value.key == "helper"


def test_the_examples_of_contributing_run():
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    blocks = [token.content for token in MarkdownIt().parse(text) if token.type == "fence" and token.info == "python"]
    tables = {"first-token": METHODS, "even-states": OBJECTIVES, "known-words": registry._REGISTERED,
              "large_vocabulary": KINDS}  # fmt: skip
    for block, (name, table) in zip(blocks, tables.items(), strict=True):
        exec(compile(block, name, "exec"), {})
        assert table.pop(name) is not None


def test_a_name_is_given_once(registered):
    with pytest.raises(InputError):
        register_objective("mlm", EvenStates)

    class Other(NewModel):
        name = "doubled"

    with pytest.raises(InputError):
        register_kind(Other)

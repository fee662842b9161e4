"""The demonstrations: what they are given, and what is refused."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from hf_xlt.demo import DEMONSTRATIONS, demo_recipe, write_text
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import evaluate_checkpoint
from hf_xlt.runs.inputs import Inputs
from hf_xlt.sample import FOLDER, sentences


@pytest.mark.parametrize("name", sorted(DEMONSTRATIONS))
def test_every_file_a_recipe_names_is_there(name, tmp_path):
    write_text(tmp_path / "text")
    recipe = demo_recipe(name, tmp_path / "text", seeds=2)
    assert recipe.seeds == (0, 1)
    Inputs(recipe).split  # noqa: B018
    assert all(
        (DEMONSTRATIONS[name].recipe.parent / folder).is_dir() for folder in DEMONSTRATIONS[name].models.values()
    )
    if name == "trelm":
        assert Inputs(recipe).pairs.pairs == tuple(zip(sentences("en", "train"), sentences("de", "train"), strict=True))
        held_out = set(sentences("de", "held_out"))
        assert not held_out & {target for _, target in Inputs(recipe).pairs.pairs}


def test_an_unknown_demonstration_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="demonstration is 'ramen'; expected one of clp, trelm"):
        demo_recipe("ramen", tmp_path, seeds=1)


@pytest.mark.slow
def test_the_samples_encoder_has_left_the_unigram_plateau(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "encoder")
    ids = [
        np.concatenate(tokenizer(list(sentences("en", split)), add_special_tokens=False)["input_ids"])
        for split in ("train", "held_out")
    ]
    counts = np.bincount(ids[0].astype(int), minlength=len(tokenizer)) + 1
    unigram = -np.log(counts[ids[1].astype(int)] / counts.sum()).mean()
    corpus = tmp_path / "held_out.txt"
    corpus.write_text("\n".join(sentences("en", "held_out")) + "\n", encoding="utf-8")
    assert evaluate_checkpoint(str(FOLDER / "encoder"), str(corpus), length=64).loss < 0.75 * unigram

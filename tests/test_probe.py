"""A probe: every candidate is trained for some steps, the best one goes on, as if there had been no probe."""

import json
from pathlib import Path

import pytest

from hf_xlt import InputError, load_recipe, run_recipe, sample
from hf_xlt.initializers.registry import candidates
from hf_xlt.runs import check_recipe
from hf_xlt.runs.results import Results
from hf_xlt.sample import sentences

SOURCE = Path(sample.__file__).parent / "source"


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    german, english = (sentences(language, "train")[:300] for language in ("de", "en"))
    (folder / "de.txt").write_text("\n".join(german), encoding="utf-8")
    (folder / "en-de.tsv").write_text("\n".join(map("\t".join, zip(english, german, strict=True))), encoding="utf-8")
    return folder


def recipe(places, *overrides):
    given = [f"source={SOURCE}", f"data.corpus={places / 'de.txt'}", "tokenizer.vocab_size=500", "probe=3"]
    stage = "stages=[{max_steps: 8, per_device_train_batch_size: 2, sequence_length: 32, evaluations: 4}]"
    return load_recipe("auto", [*given, stage, *overrides])


def test_auto_takes_what_the_evidence_allows_the_rules_choice_first():
    assert candidates({"tokenizer": "t"}) == ("subtoken-mean",)
    assert candidates({"tokenizer": "t", "parallel": "p"}) == ("pooled", "subtoken-mean")
    assert candidates({"tokenizer": "t", "dictionary": "d", "helper": "h"}) == ("pooled", "clp", "subtoken-mean")


def test_auto_becomes_methods_and_without_a_probe_the_first_of_them(places):
    pairs = f"data.parallel={places / 'en-de.tsv'}"
    assert check_recipe(recipe(places, pairs)).recipe.methods == ("pooled", "subtoken-mean")
    assert check_recipe(recipe(places, pairs, "probe=0")).recipe.methods == ("pooled",)
    alone = check_recipe(recipe(places)).recipe
    assert (alone.methods, alone.probe) == (("subtoken-mean",), 0)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["probe=9"], "probe"),  # longer than the first stage
        (["alternatives=[{method: mean}]"], "alternatives"),  # beside auto
        (["initializer={method: mean}"], "probe"),  # one candidate only
    ],
)
def test_a_probe_that_cannot_choose_is_refused_before_work_starts(places, overrides, key):
    with pytest.raises(InputError) as refused:
        check_recipe(recipe(places, *overrides))
    assert refused.value.key == key


@pytest.fixture(scope="module")
def results(places, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "probed"
    given = ["initializer={method: random}", "alternatives=[{method: subtoken-mean}]"]
    return run_recipe(recipe(places, *given), folder), folder


@pytest.mark.slow
def test_the_best_candidate_goes_on_and_the_others_cost_is_told(results):
    found, _ = results
    ends = {probe.method: probe.curve.final for probe in found.probes}
    assert {final.step for final in ends.values()} == {4}  # the first step from 3 on that is measured
    assert found.method == min(ends, key=lambda method: ends[method].bits_per_byte)
    assert [run.curve.method for run in found.runs] == [found.method]
    assert all(probe.flops > 0 for probe in found.probes)


@pytest.mark.slow
def test_the_run_is_the_one_without_a_probe(results, places, tmp_path):
    found, folder = results
    method = found.method.replace("subtoken mean", "subtoken-mean").replace("random rows", "random")
    alone = run_recipe(recipe(places, f"initializer={{method: {method}}}", "probe=0"), tmp_path / "alone")
    assert found.kept[0].curve.points == alone.kept[0].curve.points
    weights = "model.safetensors"
    assert (folder / weights).read_bytes() == (tmp_path / "alone" / weights).read_bytes()


@pytest.mark.slow
def test_results_with_probes_are_read_back_and_older_ones_have_none(results, tmp_path):
    found, folder = results
    assert Results.load(folder / "results.json").probes == found.probes
    older = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    del older["probes"]
    (tmp_path / "older.json").write_text(json.dumps(older), encoding="utf-8")
    assert Results.load(tmp_path / "older.json").probes == ()

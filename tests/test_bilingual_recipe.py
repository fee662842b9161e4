"""RAMEN's recipe on tiny models: what appears, what each stage trains, what is refused."""

import json
import shutil
import sys

import numpy as np
import pytest
import tiny
import torch
from test_bilingual_conversion import words
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertForMaskedLM, RobertaForMaskedLM

from hf_xlt import cli
from hf_xlt.data.objectives import MaskedLM
from hf_xlt.data.objectives.text import BilingualMaskedLM
from hf_xlt.errors import InputError
from hf_xlt.evaluation.language_model import evaluate_checkpoint
from hf_xlt.recipes import load_recipe, recipe_from
from hf_xlt.runs import check_recipe, run_recipe
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS
from hf_xlt.sample import sentences
from hf_xlt.transport import Transport
from hf_xlt.trelm import TreLMForMaskedLM

RAMEN = "RAMEN (parallel text)"
STEPS = [f"stages.{stage}.{key}={value}" for stage in (0, 1) for key, value in
         {"steps": 2, "batch_size": 4, "evaluations": 1, "checkpoints": 1, "sequence_length": 16}.items()]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Sources, a few hundred sentences of either language, and some translations."""
    folder = tmp_path_factory.mktemp("ramen")
    english, german = (sentences(language, "train")[:300] for language in ("en", "de"))
    for name, lines in (("en.txt", english), ("de.txt", german)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = "\n".join(f"{e}\t{g}" for e, g in zip(english[:60], german[:60], strict=True))
    (folder / "pairs.tsv").write_text(pairs + "\n", encoding="utf-8")
    for kind, family in (("bert", "wordpiece"), ("roberta", "byte-level-bpe")):
        source = tiny.model(kind, tiny.tokenizer("en", family))
        with torch.no_grad():
            source.get_output_embeddings().bias.normal_()
        tiny.save(source, tiny.tokenizer("en", family), folder / kind)
    return folder


def shipped(places, *more, kind="bert"):
    files = {"corpus": "de.txt", "source_corpus": "en.txt", "parallel": "pairs.tsv"}
    given = [f"data.{name}={places / file}" for name, file in files.items()]
    given += [f"source={places / kind}", "data.held_out_every=40", "tokenizer.vocab_size=400"]
    return load_recipe("ramen", [*given, *STEPS, *more])


@pytest.mark.parametrize(("kind", "stock"), [("bert", BertForMaskedLM), ("roberta", RobertaForMaskedLM)])
@pytest.mark.slow
def test_a_run_leaves_a_model_of_two_vocabularies_that_comes_apart(kind, stock, places, tmp_path):
    results = run_recipe(shipped(places, kind=kind), tmp_path / "out", "x", compare=True)
    assert results.methods == (RAMEN, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH)
    assert {tuple(point.step for point in run.curve.points) for run in results.runs} == {(0, 2, 4)}
    assert len({run.parameters for run in results.runs}) == 1

    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    german = AutoTokenizer.from_pretrained(tmp_path / "out")
    english = AutoTokenizer.from_pretrained(tmp_path / "out", subfolder="source_tokenizer")
    assert isinstance(model, TreLMForMaskedLM)
    assert english.get_vocab() == AutoTokenizer.from_pretrained(places / kind).get_vocab()
    assert (model.config.languages, model.config.default_language) == (["en", "de"], "de")
    assert len(german) == model.config.vocab_size <= 400
    assert model.config.pad_token_id == german.pad_token_id
    assert model.config.other_vocabularies["en"]["vocab_size"] == len(english)
    assert model.config.other_vocabularies["en"]["mask_token_id"] == english.mask_token_id
    assert model.config.tri_layer_index is None
    for language, tokenizer, text in (("de", german, "Das Wasser ist kalt."), ("en", english, "The water is cold.")):
        exported = model.export(language)
        model.set_language(language)
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        assert type(exported) is stock
        torch.testing.assert_close(exported(**inputs).logits, model(**inputs).logits, rtol=0, atol=1e-5)
        exported.save_pretrained(tmp_path / language)
        assert type(AutoModelForMaskedLM.from_pretrained(tmp_path / language)) is stock

    present = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"modeling_trelm.py", "transport.safetensors", "README.md", "learning_curves.png"} <= present
    assert json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["method"] == RAMEN
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "trust_remote_code=True" in card
    assert "source_tokenizer" in card
    assert Transport.load(tmp_path / "out" / "transport.safetensors").counts.mixed > 0


@pytest.mark.slow
def test_first_only_the_new_words_learn_and_then_everything(places, tmp_path):
    source = AutoModelForMaskedLM.from_pretrained(places / "bert")
    alone = shipped(places, "stages=[{name: embeddings, trains: embeddings, languages: [target], steps: 2, "
                            "batch_size: 4, sequence_length: 16, evaluations: 1, checkpoints: 0}]")  # fmt: skip
    run_recipe(alone, tmp_path / "first", "x")
    run_recipe(shipped(places), tmp_path / "both", "x")
    first, both = (AutoModelForMaskedLM.from_pretrained(tmp_path / name) for name in ("first", "both"))
    transport = Transport.load(tmp_path / "first" / "transport.safetensors")
    start = TreLMForMaskedLM.from_encoder(
        source,
        languages=["en", "de"],
        tokenizers=[AutoTokenizer.from_pretrained(places / "bert"), AutoTokenizer.from_pretrained(tmp_path / "first")],
        rows=transport.apply,
        tri_layer_index=None,
    ).parts()
    for name, part in first.parts().items():
        changed = [not torch.equal(one, other) for one, other in zip(part, start[name], strict=True)]
        assert all(changed) if name == "embeddings.de" else not any(changed), name
    for name, part in both.parts().items():
        if name != "embeddings.de":  # another tokenizer
            assert any(not torch.equal(one, other) for one, other in zip(part, start[name], strict=True)), name


@pytest.mark.slow
def test_quality_is_measured_on_the_target(places, tmp_path):
    lines = sentences("de", "train")[300:340]
    (tmp_path / "held_out.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = shipped(places, f"data.held_out={tmp_path / 'held_out.txt'}", "dtype=float32")
    results = run_recipe(recipe, tmp_path / "out", "x")
    quality = evaluate_checkpoint(str(tmp_path / "out"), str(tmp_path / "held_out.txt"), 16)
    assert results.runs[0].curve.points[-1].bits_per_byte == pytest.approx(quality.bits_per_byte, rel=1e-4)


@pytest.mark.slow
def test_any_initializer_begins_a_bilingual_model(places, tmp_path):
    given = tiny.tokenizer("de", "wordpiece", 500)
    given.save_pretrained(tmp_path / "tokenizer")
    recipe = shipped(
        places,
        f"target_tokenizer={tmp_path / 'tokenizer'}",
        "initializer={method: pooled}",
        "alternatives=[{method: subtoken-mean}]",
        "stages.1.frozen=[embeddings.en]",
    )
    results = run_recipe(recipe, tmp_path / "out", "x", compare=True)
    assert results.methods[0].startswith("pooled")
    assert len(results.methods) == 5
    assert len({run.parameters for run in results.runs}) == 1
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    source = AutoModelForMaskedLM.from_pretrained(places / "bert")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == given.get_vocab()
    model.set_language("en")
    assert torch.equal(model.get_input_embeddings().weight, source.get_input_embeddings().weight)
    assert torch.equal(model.get_output_embeddings().bias, source.get_output_embeddings().bias)
    assert not torch.equal(model.trelm.layers[0].output.weight, source.bert.encoder.layer[0].output.dense.weight)


@pytest.mark.slow
def test_the_weights_are_of_the_sources_type(places, tmp_path):
    tok = tiny.tokenizer("en", "wordpiece")
    tiny.save(tiny.model("bert", tok).to(torch.bfloat16), tok, tmp_path / "half")
    run_recipe(shipped(places, f"source={tmp_path / 'half'}"), tmp_path / "out", "x")
    assert AutoModelForMaskedLM.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


def test_texts_are_masked_by_the_tokenizer_of_their_language():
    english, german = words(90, 0), words(40, 4)
    collate = BilingualMaskedLM(german, source=MaskedLM(english))
    rows = [{"input_ids": np.arange(10, 40), "lang_ids": i % 2, "key": (0, i)} for i in range(40)]
    batch = collate(rows)
    assert batch["lang_ids"].tolist() == [0, 1] * 20
    asked = batch["labels"] != -100
    assert torch.equal(batch["labels"][asked], torch.arange(10, 40).expand(40, 30)[asked])
    assert torch.equal(batch["input_ids"][~asked], torch.arange(10, 40).expand(40, 30)[~asked])
    for number, tokenizer in enumerate((english, german)):
        own = [row for row in rows if row["lang_ids"] == number]
        assert torch.equal(batch["input_ids"][number::2], MaskedLM(tokenizer)(own)["input_ids"])
    assert english.mask_token_id != german.mask_token_id
    assert batch["input_ids"][1::2].max() < 40 <= batch["input_ids"][::2].max()


@pytest.mark.slow
def test_a_run_that_was_stopped_between_stages_ends_as_if_it_had_not_been(places, tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    recipe = shipped(places)
    with monkeypatch.context() as patch:
        patch.setattr("hf_xlt.runs.training.variant.train_stage", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe, stopped, "x")
    shutil.copytree(tmp_path / ".stopped.work", tmp_path / ".whole.work")  # tokenizers never train alike twice
    for output in (stopped, whole):
        run_recipe(recipe, output, "x")
    one, other = (AutoModelForMaskedLM.from_pretrained(folder).state_dict() for folder in (whole, stopped))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["data.source_corpus=null"], "There is no corpus of the source language"),
        (["data.parallel=null"], "ramen needs parallel text. .*--parallel"),
        (["source=null"], "ramen needs a source checkpoint"),
        (
            ["stages.0.frozen=[embeddings.fr]"],
            "frozen is 'embeddings.fr'; expected one of embeddings, embeddings.en, emb",
        ),
        (["stages.1.frozen=[lower]"], "frozen is 'lower'; expected one of .*, embeddings.de, layers, head"),
        (["trelm.tri_layer_index=9"], "cannot become a TreLM: .*tri_layer_index is 9; expected from 0 to below"),
        (["tokenizer.vocab_size=3"], "vocab_size is 3; expected at least 300"),
        (["initializer={method: magic}"], "initializer.method is 'magic'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_learned(changes, message, places, tmp_path, monkeypatch):
    for learned in ("hf_xlt.runs.kinds.transfer.initializer", "hf_xlt.runs.training.variant.train_stage"):
        monkeypatch.setattr(learned, interrupt)
    with pytest.raises(InputError, match=message):
        run_recipe(shipped(places, *changes), tmp_path / "out", "x", compare=True)
    assert not list(tmp_path.iterdir())


def test_sources_that_are_no_such_encoder_are_refused(places, tmp_path):
    tok = tiny.tokenizer("en", "byte-level-bpe")
    tiny.save(tiny.model("gpt2", tok), tok, tmp_path / "gpt2")
    with pytest.raises(InputError, match="cannot become a TreLM: .*model type 'gpt2'; expected one of bert, roberta"):
        run_recipe(shipped(places, f"source={tmp_path / 'gpt2'}"), tmp_path / "out", "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trelm": {"languages": ["en", "de", "fr"]}}, r"languages is \['en', 'de', 'fr'\]; expected two different"),
        ({"trelm": {"languages": ["en", "en"]}}, "expected two different"),
        (
            {"stages": [{"objective": "cdlm", "languages": ["source", "target"]}]},
            "'cdlm'; expected one of auto",
        ),
        ({"stages": [{"objective": "clm"}]}, "objective is 'clm'; expected one of auto, mlm"),
        ({"trelm": {"languages": ["en", "de"], "separate_embeddings": "yes"}}, "is 'yes'; expected true or false"),
    ],
)
def test_recipes_that_two_vocabularies_cannot_serve_are_refused(changes, message):
    trelm = {"languages": ["en", "de"], "tri_layer_index": "none", "separate_embeddings": True}
    given = {"name": "mine", "initializer": {"method": "ramen"}, "trelm": trelm} | changes
    if "trelm" in changes:
        given["trelm"] = trelm | changes["trelm"]
    with pytest.raises(InputError, match=message):
        check_recipe(recipe_from(given))


@pytest.mark.slow
def test_the_command_line_runs_it(places, tmp_path, monkeypatch, capsys):
    given = {"source": "bert", "corpus": "de.txt", "source-corpus": "en.txt", "parallel": "pairs.tsv"}
    files = [part for name, file in given.items() for part in (f"--{name}", str(places / file))]
    less = [part for setting in (*STEPS, "data.held_out_every=40", "tokenizer.vocab_size=400")
            for part in ("--set", setting)]  # fmt: skip
    output = tmp_path / "out"
    call = ["hf-xlt", "run", "ramen", *files, "--languages", "en", "id", *less, "--output", str(output)]
    monkeypatch.setattr(sys, "argv", call)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code, capsys.readouterr().err
    assert AutoModelForMaskedLM.from_pretrained(output).config.languages == ["en", "id"]

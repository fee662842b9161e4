"""Malformed and hostile inputs over all commands and public constructors: is each refused, in one line, without traces?

    python benchmarks/malformed.py [--only WORD] [--processes 10] [--output results/malformed.json]

makes tiny models and files in a temporary folder, and tries

- commands, in this process, the first few of them again in processes of their own: each has to end with an exit code
  other than 0, with one line that is no fault of ours, in time, with no new file in the folder and every old one as it
  was;
- public constructors and functions, each with arguments that work and one that does not: of another type, of another
  rank, not finite, negative, unknown, empty. `InputError` (a `ValueError`), `TypeError` and `ValueError` are refusals.

What is not refused is counted: tracebacks (or errors of other kinds), silent acceptances, half-written outputs and
changed files. All are to be 0. It takes no accelerator and some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

import hf_xlt
from hf_xlt.sample import sentences
from hf_xlt.tokenizers.train import train_tokenizer

PATIENCE = 60  # seconds that a command may take
FAULT = "this is a fault of hf-xlt"


@dataclass(frozen=True)
class Found:
    """What is wrong with how an input was taken: `traceback`, `accepted`, `left behind` or `changed`."""

    case: str
    kind: str
    told: str


def make_places(folder: Path) -> Path:
    """Two encoders, a decoder, text, pairs, a dictionary, a treebank, and things that are none of these."""
    english = train_tokenizer(sentences("en", "train"), 600, "wordpiece")
    german = train_tokenizer(sentences("de", "train"), 500, "wordpiece")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    for name, tokenizer, seed in (("source", english, 0), ("helper", german, 1)):
        torch.manual_seed(seed)
        config = BertConfig(vocab_size=len(tokenizer), pad_token_id=0, max_position_embeddings=80, **shape)
        BertForMaskedLM(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    torch.manual_seed(2)
    GPT2LMHeadModel(GPT2Config(vocab_size=600, n_embd=16, n_layer=2, n_head=2, n_positions=80)).save_pretrained(
        folder / "decoder"
    )
    english.save_pretrained(folder / "decoder")
    german.save_pretrained(folder / "tokenizer")

    lines = {language: sentences(language, "train")[:120] for language in ("en", "de")}
    text = {f"{language}.txt": "\n".join(own) + "\n" for language, own in lines.items()}
    text["pairs.tsv"] = "".join(f"{a}\t{b}\n" for a, b in zip(*lines.values(), strict=True))
    text["table.tsv"] = "en\tde\ttopic\n" + "".join(
        f"{a}\t{b}\t{i % 2}\n" for i, (a, b) in enumerate(zip(*lines.values(), strict=True))
    )
    text["dictionary.tsv"] = "water\tWasser\nmother\tMutter\nhouse\tHaus\ndog\tHund\n"
    text["vectors.vec"] = "4 3\nWasser 1 0 0\nMutter 0 1 0\nHaus 0 0 1\nHund 1 1 0\n"
    text["broken.yaml"] = "name: [unclosed"
    text["list.yaml"] = "- 1\n- 2\n"
    text["deep.yaml"] = "[" * 5000
    text["deep_recipe.yaml"] = "name: " + "{a: " * 3000 + "1" + "}" * 3000
    text["bomb.yaml"] = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    text["itself.yaml"] = "name: &a [*a]\n"
    text["twice.yaml"] = "name: a\nname: b\ninitializer: {method: clp}\n"
    text["tag.yaml"] = "name: !!python/object/apply:os.getcwd []\n"
    text["deep.jsonl"] = "[" * 100_000 + "\n"
    text["bad.jsonl"] = '{"text": "a"}\n{"text": null}\n'
    text["number.jsonl"] = '{"text": 3}\n'
    text["empty.txt"] = ""
    text["blank.txt"] = "\n \n\t\n"
    text["one.txt"] = "one line\n"
    text["uneven.tsv"] = "a\tb\nc\n"
    text["one_column.tsv"] = "a\nb\nc\n"
    text["bad.conllu"] = "1\tA\n"
    text["unknown.tsv"] = "狗\t犬\n"
    text["nan.vec"] = "2 3\nWasser nan 0 0\nMutter 0 1 0\n"
    text["short.vec"] = "2 3\nWasser 1 0\n"
    text["notes.md"] = "my own notes\n"
    for name, content in text.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "latin1.txt").write_bytes("für\n".encode("latin-1") * 5)
    (folder / "broken.txt.gz").write_bytes(b"\x1f\x8b\x08 not really")
    (folder / "broken.parquet").write_bytes(b"PAR1 not really")
    (folder / "broken.bin").write_bytes(b"3 4\nword\x00\x01")
    (folder / "precious").mkdir()
    (folder / "precious" / "thesis.tex").write_text("ten years of work", encoding="utf-8")
    (folder / "link").symlink_to(folder / "precious")
    (folder / "dangling").symlink_to(folder / "nowhere")
    (folder / "round").symlink_to(folder / "round")
    os.mkfifo(folder / "pipe")
    _broken_models(folder)
    return folder


def _broken_models(folder: Path) -> None:
    """Models of which one file is not as it should be."""
    config = json.loads((folder / "source" / "config.json").read_text(encoding="utf-8"))
    changed = {
        "negative": {"vocab_size": -1},
        "heads": {"num_attention_heads": 3},
        "width": {"hidden_size": 0},
        "typed": {"num_hidden_layers": "two"},
        "unknown": {"model_type": "nothing"},
    }
    contents = {f"model_{name}": json.dumps(config | change) for name, change in changed.items()}
    contents |= {"model_deep": "[" * 100_000, "model_list": "[]", "model_none": "", "model_nul": "\0\0"}
    for name, content in contents.items():
        _copy(folder / "source", folder / name)
        (folder / name / "config.json").write_text(content, encoding="utf-8")
    for name, file, content in (
        ("model_weights", "model.safetensors", b"not really"),
        ("model_header", "model.safetensors", (2**40).to_bytes(8, "little") + b"{}"),
        ("model_tokenizer", "tokenizer.json", b"{"),
        ("model_deep_tokenizer", "tokenizer.json", b"[" * 100_000),
    ):
        _copy(folder / "source", folder / name)
        (folder / name / file).write_bytes(content)


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())


def commands() -> dict[str, list[str]]:
    """What it is → the command; files are named from the folder of `make_places`."""
    initialize = ["--source", "source", "--output", "out"]
    helped = ["initialize", "clp", "--helper", "helper", *initialize]
    pooled = ["initialize", "pooled", "--tokenizer", "tokenizer", *initialize]
    short = ["--set", "stages.0.steps=2", "--set", "stages.0.sequence_length=16", "--set", "stages.0.batch_size=2"]
    run = ["run", "clp", "--source", "source", "--helper", "helper", "--corpus", "de.txt", "--output", "out"]
    scratch = ["run", "scratch", "--corpus", "de.txt", "--output", "out"]
    trained = ["tokenizer", "--corpus", "de.txt", "--vocab-size", "400"]
    compared = ["structure", "source", "source", "--parallel", "pairs.tsv"]
    on_text = ["evaluate", "source", "--corpus", "de.txt"]
    retrieval = ["evaluate", "source", "--tasks", "retrieval", "--data", "retrieval.test=pairs.tsv"]
    places = ["--data", "classification.train=table.tsv:de,topic", "--data", "classification.dev=table.tsv:de,topic",
              "--data", "classification.test=table.tsv:de,topic"]  # fmt: skip
    classified = ["evaluate", "source", "--tasks", "classification", "--quick", "--probe", *places]
    study = ["study", "--corpus", "en=en.txt", "--corpus", "de=de.txt", "--parallel", "pairs.tsv", "--output", "out"]
    set_ = lambda base, *settings: [*base, *(word for setting in settings for word in ("--set", setting))]  # noqa: E731

    cases: dict[str, list[str]] = {}
    outputs = {
        "a file": "notes.md", "below a file": "notes.md/out", "in a file's file": "de.txt/a/b", "a folder": "precious",
        "a link": "link", "a dangling link": "dangling", "a link to itself": "round",
        "below a link to itself": "round/x", "a pipe": "pipe", "in /proc": "/proc/out", "deep in /proc": "/proc/a/b/c",
        "in /sys": "/sys/out", "a device": "/dev/full", "below a device": "/dev/null/x", "the root": "/", "here": ".",
        "above": "..", "nothing": "", "too long": "x" * 256, "no room beside": "y" * 240, "a long way": "a/" + "z" * 300 + "/b",
        "a surrogate": "out\udcff", "an unknown home": "~nobody-by-that-name/out", "the source": "source",
        "in the source": "source/out",
    }  # fmt: skip
    for name, output in outputs.items():
        for overwrite in ([], ["--overwrite"]):
            with_ = " --overwrite" if overwrite else ""
            cases[f"tokenizer to {name}{with_}"] = [*trained, "--like", "source", "--output", output, *overwrite]
            cases[f"initialize to {name}{with_}"] = [*helped, "--output", output, *overwrite][: -2 - len(overwrite)]
            cases[f"initialize to {name}{with_}"] = [
                "initialize", "clp", "--source", "source", "--helper", "helper", "--output", output, *overwrite
            ]  # fmt: skip
            cases[f"run to {name}{with_}"] = [*set_(run[:-2] + short), "--output", output, *overwrite]
            if name not in ("the source", "in the source", "above"):
                cases[f"demo to {name}{with_}"] = ["demo", "--output", output, *overwrite]
            cases[f"structure to {name}{with_}"] = [*compared, "--output", output, *overwrite]
    for name in (
        "a file",
        "below a file",
        "in /proc",
        "a device",
        "nothing",
        "too long",
        "a surrogate",
        "a link to itself",
    ):
        cases[f"evaluate to {name}"] = [*retrieval, "--output", outputs[name]]
        cases[f"compare to {name}"] = ["compare", "source", "helper", *retrieval[2:], "--output", outputs[name]]
        cases[f"study to {name}"] = [*study[:-2], "--output", outputs[name]]
    cases |= {
        "helper is the output": ["initialize", "clp", "--source", "source", "--helper", "helper", "--output", "helper",
                                 "--overwrite"],
        "donor is the output": ["initialize", "omp", "--source", "source", "--donor", "helper", "--output", "helper",
                                "--overwrite"],
        "tokenizer is the output": [*pooled[:-2], "--dictionary", "dictionary.tsv", "--output", "tokenizer", "--overwrite"],
        "corpus is the output": [*trained, "--output", "de.txt", "--overwrite"],
        "figures over a corpus": [*compared, "--output", "de.txt", "--overwrite"],
        "figures over the pairs": [*compared, "--output", "pairs.tsv", "--overwrite"],
        "figures in the model": [*compared, "--output", "source/config.json", "--overwrite"],
        "the folder of all": [*trained, "--output", "../" + "x" * 3 + "/..", "--overwrite"],
    }  # fmt: skip

    for model in ("negative", "heads", "width", "typed", "unknown", "deep", "list", "none", "nul", "weights", "header",
                  "tokenizer", "deep_tokenizer"):  # fmt: skip
        broken = f"model_{model}"
        cases[f"initialize from {broken}"] = [
            "initialize",
            "clp",
            "--source",
            broken,
            "--helper",
            "helper",
            "--output",
            "out",
        ]
        cases[f"evaluate {broken}"] = ["evaluate", broken, "--corpus", "de.txt"]
        cases[f"structure of {broken}"] = ["structure", broken, "source", "--parallel", "pairs.tsv"]
        cases[f"run from {broken}"] = set_(["run", "clp", "--source", broken, *run[4:]], *short[1::2])
        cases[f"push {broken}"] = ["push", broken, "me/model"]
    cases["tokenizer like a broken one"] = [*trained, "--like", "model_tokenizer", "--output", "out"]
    cases["tokenizer like a deep one"] = [*trained, "--like", "model_deep_tokenizer", "--output", "out"]
    cases["tokenizer of a broken model"] = [*pooled[:2], "--tokenizer", "model_deep_tokenizer", *initialize,
                                            "--dictionary", "dictionary.tsv"]  # fmt: skip

    for corpus in ("none.txt", "empty.txt", "blank.txt", "latin1.txt", "broken.txt.gz", "broken.parquet", "deep.jsonl",
                   "bad.jsonl", "number.jsonl", "precious", "notes.md", "pipe", "de.txt/x", "\0"[1:] + "dangling"):  # fmt: skip
        cases[f"tokenizer on {corpus}"] = ["tokenizer", "--corpus", corpus, "--vocab-size", "400", "--output", "out"]
        cases[f"run on {corpus}"] = set_([*run[:6], "--corpus", corpus, "--output", "out"], *short[1::2])
        cases[f"evaluate on {corpus}"] = ["evaluate", "source", "--corpus", corpus]
    for evidence in ("none.tsv", "empty.txt", "one_column.tsv", "latin1.txt", "precious", "pairs.tsv:en,fr", "table.tsv:de,de",
                     "broken.txt.gz", "dangling"):  # fmt: skip
        cases[f"pairs from {evidence}"] = [*pooled, "--parallel", evidence]
        cases[f"structure on {evidence}"] = ["structure", "source", "source", "--parallel", evidence]
        cases[f"dictionary from {evidence}"] = [*pooled, "--dictionary", evidence]
    cases["dictionary of unknown words"] = ["initialize", "dictionary", *pooled[2:], "--dictionary", "unknown.tsv"]
    for vectors in ("none.vec", "empty.txt", "nan.vec", "short.vec", "broken.bin", "precious"):
        cases[f"vectors from {vectors}"] = ["initialize", "focus", *pooled[2:], "--vectors", vectors]
    for recipe in ("broken.yaml", "list.yaml", "deep.yaml", "deep_recipe.yaml", "bomb.yaml", "itself.yaml", "twice.yaml",
                   "tag.yaml", "none.yaml", "precious", "../../x", "latin1.txt", "broken.bin", "pipe", "nothing"):  # fmt: skip
        cases[f"recipe {recipe}"] = ["run", recipe, "--output", "out"]
        cases[f"data from {recipe}"] = [*retrieval[:4], "--data", recipe]
        cases[f"study {recipe}"] = ["study", recipe, *study[1:]]

    numbers = {
        "seed below 0": "seed=-1", "seed of 65 bits": f"seed={2**64}", "seed of a text": "seed=one", "seed of half": "seed=0.5",
        "seed not a number": "seed=.nan", "padding of 0": "pad_to_multiple_of=0",
        "padding of a trillion": f"pad_to_multiple_of={10**12}", "an unknown option": "nothing=1", "no value": "seed",
        "a deep value": "seed=" + "[" * 3000, "an unknown weighting": "weighting=magic", "k of 0": "k=0", "k of text": "k=ten",
        "a temperature of 0": "temperature=0", "an infinite temperature": "temperature=.inf",
        "a temperature that is none": "temperature=.nan", "a switch of a number": "ignore_case=3",
    }  # fmt: skip
    for name, setting in numbers.items():
        options = ["--weighting", "top-k"] if "temperature" in setting or "k=" in setting else []
        cases[f"initialize with {name}"] = set_([*helped, *options], setting)
    cases |= {
        "initialize with the same key twice": set_(helped, "seed=1", "seed=2"),
        "initialize with an option and its setting": set_([*helped, "--k", "3", "--weighting", "top-k"], "k=4"),
        "initialize with weights of zero": set_(
            [*pooled, "--dictionary", "dictionary.tsv"],
            "weights={overlap: 0, dictionary: 0, links: 0, similarity: 0, helper: 0, pieces: 0, spelling: 0}",
        ),
        "initialize with a negative weight": set_([*pooled, "--dictionary", "dictionary.tsv"], "weights.overlap=-1"),
        "initialize with an unknown weight": set_([*pooled, "--dictionary", "dictionary.tsv"], "weights.luck=1"),
        "initialize with a weight that is a text": set_(
            [*pooled, "--dictionary", "dictionary.tsv"], "weights.overlap=a"
        ),
        "initialize an unknown method": ["initialize", "magic", *initialize],
        "initialize with two sources": ["initialize", "clp", "--source", "helper", "--helper", "helper", *initialize],
        "initialize without evidence": ["initialize", "auto", *initialize],
        "initialize on an unknown device": set_(["initialize", "omp", "--donor", "helper", *initialize], "device=mars"),
        "initialize with an empty option": [*helped, "--weighting", ""],
    }
    of_a_stage = {
        "steps=0": 0, "steps=-1": 0, f"steps={10**12}": 0, "steps=1.5": 0, "steps=true": 0, "batch_size=0": 0,
        "batch_size=-4": 0, "learning_rate=.nan": 0, "learning_rate=.inf": 0, "learning_rate=-1": 0, "learning_rate=0": 0,
        "learning_rate=fast": 0, "warmup=1.5": 0, "warmup=-0.1": 0, "warmup=.nan": 0, "weight_decay=-1": 0,
        "weight_decay=.inf": 0, "schedule=magic": 0, "objective=magic": 0, "objective=cdlm": 0, "trains=nothing": 0,
        "precision=int4": 0, "sequence_length=0": 0, "sequence_length=100000": 0, "evaluations=0": 0, "checkpoints=-1": 0,
        "accumulation=0": 0, "name=../x": 0, "name=''": 0, "lora_rank=0": 0, "lora_rank=8": 0, "temperature=0.1": 0,
        "temperature=.inf": 0, "adapters=kept": 0, "frozen=[lower]": 0, "starts_from=nothing": 0, "languages=[target, target]": 0,
        "nothing=1": 0, "combine={lower: a, upper: b}": 0,
    }  # fmt: skip
    for setting in of_a_stage:
        cases[f"run with a stage of {setting}"] = set_(run, f"stages.0.{setting}")
    for setting in (
        "seeds=[]", "seeds=[-1]", f"seeds=[{2**40}]", "seeds=[1, 1]", "seeds=1", "seeds=[a]", "stages=[]", "stages=1", "dtype=int3",
        "name=1", "data.held_out_lines=0", "data.held_out_every=1", "data.max_sequences=0", f"data.max_sequences={10**30}",
        "alternatives=[{method: magic}]", "alternatives=[{}]", "alternatives=[1]", "initializer={}", "initializer=clp",
        "initializer.method=magic", "initializer.seed=-1", "model={model_type: llama}", "vector_epochs=1", "nothing=1",
        "stages.9.steps=1", "stages.x.steps=1", "data.corpora={en: en.txt}", "tokenizer.vocab_size=-1", "tokenizer.added=5",
        f"tokenizer.vocab_size={10**10}", "tokenizer.family=morse", "trelm={languages: [en]}", "trelm={languages: [en, en]}",
        "trelm={}", "multilingual={alpha: 2}", "multilingual={alpha: .nan}", "data.dictionary=dictionary.tsv",
        "data.vectors=vectors.vec", "data.source_corpus=en.txt", "donor=helper", "data.parallel=none.tsv", "prompts=[1]",
        "data=[]", "description=[]", "=1", ".=1", "stages..steps=1",
    ):  # fmt: skip
        cases[f"run with {setting}"] = set_(run, setting)
    cases |= {
        "run twice the same setting": set_(run, "stages.0.steps=2", "stages.0.steps=3"),
        "run with an option and its setting": set_(run, "source=helper"),
        "run with two corpora": [*run, "--corpus", "en.txt"],
        "run clp with languages": [*run, "--languages", "en", "de"],
        "run clp with a dictionary": [*run, "--dictionary", "dictionary.tsv"],
        "run clp with vectors": [*run, "--vectors", "vectors.vec"],
        "run clp with source text": [*run, "--source-corpus", "en.txt"],
        "run clp with a donor": [*run, "--donor", "source"],
        "run scratch with a source": [*scratch, "--source", "source"],
        "run scratch with a helper": [*scratch, "--helper", "helper"],
        "run scratch with pairs": [*scratch, "--parallel", "pairs.tsv"],
        "run scratch with a tokenizer": [*scratch, "--tokenizer", "tokenizer"],
        "run scratch and compare": [*scratch, "--compare"],
        "run scratch of no layers": set_(scratch, "model.num_hidden_layers=-1"),
        "run scratch of heads that do not divide": set_(scratch, "model.num_attention_heads=7", *short[1::2]),
        "run scratch of no width": set_(scratch, "model.hidden_size=0", *short[1::2]),
        "run scratch of an unknown type": set_(scratch, "model.model_type=magic", *short[1::2]),
        "run scratch with an unknown field": set_(scratch, "model.hidden_size=wide", *short[1::2]),
        "run pooled with source vectors alone": ["run", "pooled", "--source", "source", "--tokenizer", "tokenizer",
                                                 "--dictionary", "dictionary.tsv", "--source-vectors", "vectors.vec",
                                                 "--corpus", "de.txt", "--output", "out"],
        "run trelm with a helper": ["run", "trelm", "--source", "source", "--helper", "helper", "--corpus", "de.txt",
                                    "--source-corpus", "en.txt", "--output", "out"],
        "run without a corpus": run[:6] + run[-2:],
        "run on text that is held out": [*run, "--held-out", "de.txt"],
        "run on one line": set_([*run[:6], "--corpus", "one.txt", "--output", "out"], *short[1::2]),
    }  # fmt: skip

    cases |= {
        "tokenizer of size -1": ["tokenizer", "--corpus", "de.txt", "--vocab-size", "-1", "--output", "out"],
        "tokenizer of size 0": ["tokenizer", "--corpus", "de.txt", "--vocab-size", "0", "--output", "out"],
        "tokenizer of 10^10": ["tokenizer", "--corpus", "de.txt", "--vocab-size", str(10**10), "--output", "out"],
        "tokenizer of 10^30": ["tokenizer", "--corpus", "de.txt", "--vocab-size", str(10**30), "--output", "out"],
        "tokenizer of a word": ["tokenizer", "--corpus", "de.txt", "--vocab-size", "many", "--output", "out"],
        "tokenizer of an unknown family": [*trained, "--family", "morse", "--output", "out"],
        "tokenizer like and of a family": [*trained, "--like", "source", "--family", "unigram", "--output", "out"],
        "tokenizer added without extend": [*trained, "--added", "5", "--output", "out"],
        "tokenizer like and extend": [*trained, "--like", "source", "--extend", "source", "--output", "out"],
        "tokenizer extend by -1": ["tokenizer", "--corpus", "de.txt", "--extend", "source", "--added", "-1", "--output", "out"],
        "tokenizer extend by 10^12": ["tokenizer", "--corpus", "de.txt", "--extend", "source", "--added", str(10**12),
                                      "--output", "out"],
        "tokenizer extend with a size": [*trained, "--extend", "source", "--output", "out"],
        "tokenizer like nothing": [*trained, "--like", "none", "--output", "out"],
        "tokenizer without a corpus": ["tokenizer", "--output", "out"],
        "explain nothing": ["explain", "source"],
        "explain an empty token": ["explain", "source", ""],
        "explain a model of others": ["explain", "source", "Hund"],
        "explain a folder of others": ["explain", "precious", "Hund"],
        "explain what is not there": ["explain", "none", "Hund"],
        "explain k of 0": ["explain", "source", "Hund", "--k", "0"],
        "explain k of a word": ["explain", "source", "Hund", "--k", "many"],
        "demo of nothing": ["demo", "--recipe", "nothing", "--output", "out"],
        "demo of no seed": ["demo", "--seeds", "0", "--output", "out"],
        "demo of -1 seeds": ["demo", "--seeds", "-1", "--output", "out"],
        "push nothing": ["push", "none", "me/model"],
        "push a file": ["push", "de.txt", "me/model"],
        "push a folder of others": ["push", "precious", "me/model"],
        "push to nowhere": ["push", "source", "../../x"],
        "push to a script": ["push", "source", "<script>"],
        "push to nothing": ["push", "source", ""],
        "structure of -1 sentences": [*compared, "--sentences", "-1"],
        "structure of 1 sentence": [*compared, "--sentences", "1"],
        "structure of -1 words": [*compared, "--words", "-1"],
        "structure with seed -1": [*compared, "--seed", "-1"],
        "structure with seed 2^64": [*compared, "--seed", str(2**64)],
        "structure with languages of one": [*compared, "--languages", "en", "de"],
        "structure to overwrite nothing": [*compared, "--overwrite"],
        "structure of what is not there": ["structure", "none", "source", "--parallel", "pairs.tsv"],
        "evaluate what is not there": ["evaluate", "none", "--corpus", "de.txt"],
        "evaluate nothing": ["evaluate", "source"],
        "evaluate tasks and a corpus": [*retrieval, "--corpus", "de.txt"],
        "evaluate a corpus with a probe": [*on_text, "--probe"],
        "evaluate a corpus quickly": [*on_text, "--quick"],
        "evaluate a corpus with seeds": [*on_text, "--seeds", "0,1"],
        "evaluate a corpus with a layer": [*on_text, "--layer", "1"],
        "evaluate a corpus with an output": [*on_text, "--output", "out"],
        "evaluate a corpus zero-shot": [*on_text, "--zero-shot"],
        "evaluate a corpus with a source": [*on_text, "--source", "source"],
        "evaluate a corpus with languages": [*on_text, "--languages", "en", "de"],
        "evaluate a corpus with data": [*on_text, "--data", "retrieval.test=pairs.tsv"],
        "evaluate a corpus in sequences of 0": [*on_text, "--length", "0"],
        "evaluate a corpus in sequences of 10^9": [*on_text, "--length", str(10**9)],
        "evaluate tasks with a length": [*retrieval, "--length", "64"],
        "evaluate an unknown task": ["evaluate", "source", "--tasks", "magic"],
        "evaluate a task twice": ["evaluate", "source", "--tasks", "retrieval,retrieval", *retrieval[4:]],
        "evaluate an empty task": ["evaluate", "source", "--tasks", ",", *retrieval[4:]],
        "evaluate without data": ["evaluate", "source", "--tasks", "retrieval"],
        "evaluate with a role twice": [*retrieval, "--data", "retrieval.test=pairs.tsv"],
        "evaluate with an unknown role": [*retrieval, "--data", "retrieval.magic=pairs.tsv"],
        "evaluate with data of another task": [*retrieval, "--data", "upos.test=pairs.tsv"],
        "evaluate with data that is none": [*retrieval[:4], "--data", "pairs.tsv"],
        "evaluate a decoder on retrieval": ["evaluate", "decoder", *retrieval[2:]],
        "evaluate retrieval with seeds": [*retrieval, "--seeds", "0,1"],
        "evaluate retrieval with a probe": [*retrieval, "--probe"],
        "evaluate retrieval zero-shot": [*retrieval, "--zero-shot"],
        "evaluate retrieval with a layer": [*retrieval, "--layer", "1"],
        "evaluate retrieval with languages": [*retrieval, "--languages", "en", "de"],
        "evaluate seeds of words": [*classified, "--seeds", "a,b"],
        "evaluate seed -1": [*classified, "--seeds", "-1"],
        "evaluate seed 2^64": [*classified, "--seeds", str(2**64)],
        "evaluate the same seed twice": [*classified, "--seeds", "1,1"],
        "evaluate no seed": [*classified, "--seeds", ","],
        "evaluate layer -1": [*classified, "--layer", "-1"],
        "evaluate layer 99": [*classified, "--layer", "99"],
        "evaluate in float8": [*classified, "--precision", "float8"],
        "evaluate with dropout 2": ["evaluate", "source", "--tasks", "classification", *places, "--dropout", "2"],
        "evaluate with dropout nan": ["evaluate", "source", "--tasks", "classification", *places, "--dropout", "nan"],
        "evaluate a probe with dropout": [*classified, "--dropout", "0.1"],
        "evaluate a column twice": ["evaluate", "source", "--tasks", "classification", "--data",
                                    "classification.train=table.tsv:de,de", *places[2:]],
        "evaluate a column that is not there": ["evaluate", "source", "--tasks", "classification", "--data",
                                                "classification.train=table.tsv:de,none", *places[2:]],
        "evaluate rows that are not there": ["evaluate", "source", "--tasks", "classification", "--data",
                                             "classification.train=table.tsv:de,topic@topic=9", *places[2:]],
        "evaluate a source without zero-shot": [*classified, "--source", "source"],
        "evaluate parsing of a table": ["evaluate", "source", "--tasks", "parsing", *(
            word.replace("classification", "parsing").replace("table.tsv:de,topic", "bad.conllu") for word in places)],
        "evaluate ner of a table": ["evaluate", "source", "--tasks", "ner", *(
            word.replace("classification", "ner").replace("table.tsv:de,topic", "pairs.tsv") for word in places)],
        "compare one": ["compare", "source", *retrieval[2:], "--output", "out"],
        "compare the same": ["compare", "source", "source", *retrieval[2:], "--output", "out"],
        "compare what is not there": ["compare", "source", "none", *retrieval[2:], "--output", "out"],
        "compare with seeds in vain": ["compare", "source", "helper", *retrieval[2:], "--seeds", "1", "--output", "out"],
        "compare words that are empty": ["compare", "source", "helper", *retrieval[2:], "--words", "", "--output", "out"],
        "compare with pairs that are none": ["compare", "source", "helper", *retrieval[2:], "--parallel", "none.tsv",
                                             "--output", "out"],
        "study of one language": ["study", "--corpus", "en=en.txt", "--parallel", "pairs.tsv", "--output", "out"],
        "study of the same language twice": ["study", "--corpus", "en=en.txt", "--corpus", "en=de.txt", "--parallel",
                                             "pairs.tsv", "--output", "out"],
        "study of no workers": [*study, "--workers", "0"],
        "study with a dictionary in vain": [*study, "--dictionary", "dictionary.tsv"],
        "study of text without a language": ["study", "--corpus", "en.txt", "--corpus", "de.txt", "--parallel", "pairs.tsv",
                                             "--output", "out"],
        "an unknown command": ["nothing"],
        "an unknown option": ["demo", "--nothing"],
    }  # fmt: skip
    for setting in ("seeds=[]", "seeds=[-1]", "seeds=[0,0]", "private=[]", "private=[magic]", "private=[layers-99]", "alpha=2",
                    "alpha=.nan", "sentences=0", "words=-1", "training.steps=0", "training.learning_rate=.inf", "domains=[mars]",
                    "anchors=[magic]", "model.hidden_size=0", "model.num_hidden_layers=many", "model.magic=1", "model=1",
                    "tokenizer.vocab_size=-1", "budget.epochs=0", "budget.learning_rate=.inf", "nothing=1", "other_domain=en.txt",
                    "tagging={train: none.conllu}", "held_out={fr: en.txt}", "anchor_probability=2",
                    "model.num_attention_heads=3"):  # fmt: skip
        cases[f"study with {setting}"] = set_(study, setting)
    return cases


def constructors(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Public name → what is called, and arguments that it takes."""
    from hf_xlt.checkpoint.open import Checkpoint
    from hf_xlt.evidence.translations import read_dictionary
    from hf_xlt.files.corpora import Corpus, Split

    source, helper = str(folder / "source"), str(folder / "helper")
    opened = Checkpoint.open(helper)
    tokenizer = opened.tokenizer()
    pairs = hf_xlt.read_parallel(folder / "pairs.tsv")
    dictionary = read_dictionary(folder / "dictionary.tsv")
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(500, 8, generator=generator)
    order = torch.arange(10, 200)
    random = hf_xlt.RandomInitializer(source, tokenizer)
    ids = [(np.arange(5, 9), np.arange(6, 9)) for _ in range(3)]
    made = {"source": source, "tokenizer": tokenizer, "seed": 1, "pad_to_multiple_of": 8}
    small = {
        "num_hidden_layers": 1,
        "hidden_size": 8,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 50,
    }
    sizes = {"copied_source": torch.tensor([0, 1]), "copied_target": torch.tensor([1, 3]),
             "mixed_target": torch.tensor([], dtype=torch.int64), "mixture": None}  # fmt: skip
    return {
        "RandomInitializer": (hf_xlt.RandomInitializer, made),
        "MeanInitializer": (hf_xlt.MeanInitializer, made | {"overlap": "exact"}),
        "SubtokenMeanInitializer": (hf_xlt.SubtokenMeanInitializer, made | {"overlap": "exact"}),
        "DictionaryInitializer": (hf_xlt.DictionaryInitializer, made | {"dictionary": dictionary}),
        "PooledInitializer": (
            hf_xlt.PooledInitializer,
            made | {"dictionary": dictionary, "parallel": pairs, "weights": {"overlap": 1.0}, "keep_length": True},
        ),
        "RamenInitializer": (
            hf_xlt.RamenInitializer,
            made | {"parallel": pairs, "aligner": "hmm", "symmetrization": "grow-diag-final-and"},
        ),
        "RamenVectorsInitializer": (
            hf_xlt.RamenVectorsInitializer,
            made | {"vectors": table, "source_vectors": torch.randn(600, 8, generator=generator), "overlap": "none"},
        ),
        "CLPInitializer": (
            hf_xlt.CLPInitializer,
            {"source": source, "helper": helper, "weighting": "top-k", "k": 3, "temperature": 0.1, "ignore_case": True},
        ),
        "FocusInitializer": (
            hf_xlt.FocusInitializer,
            made | {"vectors": table, "weighting": "top-k", "k": 3, "temperature": 0.1, "device": "cpu"},
        ),
        "OMPInitializer": (hf_xlt.OMPInitializer, {"source": source, "donor": helper, "k": 4, "device": "cpu"}),
        "AdversarialInitializer": (
            hf_xlt.AdversarialInitializer,
            made | {"vectors": table, "corpus": order, "source_corpus": order, "start": "overlap"},
        ),
        "initializer": (hf_xlt.initializer, {"name": "random", "source": source, "tokenizer": tokenizer}),
        "Checkpoint.open": (Checkpoint.open, {"name_or_folder": source}),
        "Vocabulary.of": (hf_xlt.Vocabulary.of, {"tokenizer": tokenizer}),
        "overlap": (hf_xlt.overlap, {"source_tokenizer": tokenizer, "target_tokenizer": tokenizer, "ignore_case": True}),
        "Transport": (
            hf_xlt.Transport,
            sizes | {"source_size": 3, "target_size": 4, "source_names": list("abc"), "target_names": list("wxyz"), "seed": 1},
        ),
        "Transport.apply": (random.transport().apply, {"matrix": torch.randn(600, 4)}),
        "Transport.explain": (random.transport().explain, {"token": "Wasser", "k": 2}),
        "Transport.load": (hf_xlt.Transport.load, {"path": random.transport().save(folder / "transport.safetensors")}),
        "revocabulary": (
            hf_xlt.revocabulary,
            {"checkpoint": opened, "transport": random.transport(), "tokenizer": tokenizer, "output": folder / "out"},
        ),
        "align_spaces": (
            hf_xlt.align_spaces,
            {"source": table, "target": table.flip(1), "source_order": order, "target_order": order, "start": "axes",
             "dictionary": torch.stack([order, order], dim=1), "refinements": 2, "frequent": 100, "seed": 1},
        ),
        "AdversarialAlignmentCallback": (
            hf_xlt.AdversarialAlignmentCallback,
            {"target_ids": order + 200, "source_ids": order, "vectors": table, "mode": "before", "every": 2, "turn": 1, "seed": 1,
             "dictionary": torch.stack([order + 200, order], dim=1)},
        ),
        "WordAligner.train": (
            hf_xlt.WordAligner.train,
            {"pairs": [(["a", "b"], ["c", "d"])], "model": "hmm", "iterations": 1, "alpha": 0.01},
        ),
        "read_parallel": (hf_xlt.read_parallel, {"source": str(folder / "pairs.tsv")}),
        "aligned_pairs": (
            hf_xlt.aligned_pairs,
            {"pairs": ids, "links": [np.array([[0, 0]])] * 3, "tokenizer": tokenizer, "lang_ids": (0, 1),
             "cache": folder / "cache"},
        ),
        "tokenized": (hf_xlt.tokenized, {"texts": ["Wasser"], "tokenizer": tokenizer, "max_length": 8}),
        "frequency_order": (hf_xlt.frequency_order, {"lines": ["Wasser"], "tokenizer": tokenizer}),
        "language_probabilities": (hf_xlt.language_probabilities, {"sizes": {"en": 3, "de": 1}, "alpha": 0.5}),
        "train_tokenizer": (
            hf_xlt.train_tokenizer, {"texts": sentences("de", "train"), "vocab_size": 400, "family": "wordpiece"}
        ),
        "train_tokenizer_like": (
            hf_xlt.train_tokenizer_like,
            {"tokenizer": tokenizer, "texts": sentences("de", "train"), "vocab_size": 400},
        ),
        "train_joint_tokenizer": (
            hf_xlt.train_joint_tokenizer,
            {"splits": {"de": Split(Corpus(str(folder / "de.txt")))}, "alpha": 0.5, "vocab_size": 400, "family": "wordpiece"},
        ),
        "extend_tokenizer": (
            hf_xlt.extend_tokenizer, {"tokenizer": tokenizer, "lines": sentences("en", "train"), "added": 5}
        ),
        "DataCollatorForCdLM": (hf_xlt.DataCollatorForCdLM, {"tokenizer": tokenizer, "mlm_share": 0.15}),
        "DataCollatorForTLM": (
            hf_xlt.DataCollatorForTLM, {"tokenizer": tokenizer, "mlm_share": 0.15, "position_offset": 1}
        ),
        "DataCollatorForMultilingualMLM": (
            hf_xlt.DataCollatorForMultilingualMLM, {"tokenizer": tokenizer, "mlm_share": 0.15, "position_offset": 1}
        ),
        "DataCollatorForDistillation": (hf_xlt.DataCollatorForDistillation, {"tokenizer": tokenizer}),
        "FineTuningConfig": (
            hf_xlt.FineTuningConfig,
            {"frozen": True, "epochs": 1, "patience": 1, "evaluations": 1, "batch_size": 2, "learning_rate": 1e-3,
             "head_learning_rate": 1e-3, "warmup": 0.1, "train_examples": 5, "dev_examples": 5, "layer": 1,
             "precision": "float32", "dropout": 0.1},
        ),
        "EvaluationConfig": (hf_xlt.EvaluationConfig, {"zero_shot": False, "seeds": (1,)}),
        "ModelSpec": (hf_xlt.ModelSpec, {"name": "x", "source": "y", "languages": ("en", "de")}),
        "structure": (
            hf_xlt.structure,
            {"model_a": source, "model_b": helper, "parallel": list(pairs.pairs), "sentences": 50, "words": 20,
             "test_share": 0.3, "seed": 1},
        ),
        "Stage": (
            hf_xlt.Stage,
            {"name": "a", "steps": 1, "objective": "mlm", "languages": ("target",), "trains": "all", "batch_size": 1,
             "accumulation": 1, "sequence_length": 8, "learning_rate": 1e-3, "warmup": 0.1, "schedule": "cosine",
             "weight_decay": 0.1, "evaluations": 1, "checkpoints": 1, "precision": "float32", "lora_rank": 1,
             "adapters": "merged", "temperature": 0.1},
        ),
        "Recipe": (
            hf_xlt.Recipe,
            {"name": "a", "source": "b", "initializer": {"method": "random"}, "seeds": (1,), "dtype": "float32",
             "stages": (hf_xlt.Stage(),), "prompts": ("x",)},
        ),
        "load_recipe": (hf_xlt.load_recipe, {"name_or_path": "clp", "overrides": ["seeds=[1]"]}),
        "Study": (
            hf_xlt.Study,
            {"name": "a", "corpora": {"en": "a", "de": "b"}, "parallel": "c", "seeds": (1,), "alpha": 0.5, "sentences": 10,
             "words": 5, "held_out_every": 5, "held_out_lines": 5, "max_sequences": 5, "anchors": ("default",),
             "domains": ("same",), "private": ("nothing",), "anchor_probability": 0.3},
        ),
        "TreLMConfig": (
            hf_xlt.TreLMConfig,
            small | {"languages": ["en", "de"], "tri_layer_index": 0, "position_offset": 0, "max_position_embeddings": 16},
        ),
    }  # fmt: skip


UNKNOWN = "no such thing"
# Texts that may be anything, or are looked up only when they are used; and what may be empty.
FREE_TEXT = {
    "ModelSpec": {"name", "source"}, "Recipe": {"name", "source"}, "Study": {"name", "parallel"}, "Stage": set(),
    "Evidence": {"source", "helper"},
}  # fmt: skip
MAY_BE_EMPTY = {
    ("Recipe", "prompts"), ("load_recipe", "overrides"), ("Stage", "languages"), ("PooledInitializer", "weights"),
    ("Transport", "copied_source"), ("Transport", "copied_target"), ("tokenized", "texts"), ("Transport", "mixed_target"),
    ("language_probabilities", "sizes"), ("frequency_order", "lines"),
}  # fmt: skip
# What is no mistake, or none that could be told yet: a linear map takes what it is given.
FINE = {
    ("Transport.apply", "matrix", "nan"),
    ("AdversarialAlignmentCallback", "source_ids", "out of range"),  # the model's table is not known yet
}
OPTIONAL = {
    "Evidence": {"source", "tokenizer", "helper", "dictionary", "parallel", "vectors"},
    "FineTuningConfig": {"train_examples", "dev_examples", "layer", "dropout"},
    "ModelSpec": {"source", "languages"},
    "Recipe": {"source", "initializer"},
    "PooledInitializer": {"dictionary", "parallel", "weights"},
    "Transport": {"mixture"},
    "align_spaces": {"dictionary"},
    "AdversarialAlignmentCallback": {"dictionary"},
    "TreLMConfig": {"tri_layer_index"},
}


def wrong_values(name: str, argument: str, good: Any) -> Iterator[tuple[str, Any]]:
    """What an argument cannot be: how it is called, and the value."""
    yield "an object", object()
    if argument not in OPTIONAL.get(name, ()):
        yield "None", None
    if isinstance(good, bool):
        yield "a text", "yes"
    elif isinstance(good, int | float):
        yield from {"a text": "three", "-1": -1, "nan": float("nan"), "inf": float("inf")}.items()
        if "seed" in argument:
            yield "2^64", 2**64
        if isinstance(good, float) and good < 1 and "rate" not in argument and argument not in (
            "temperature", "weight_decay", "alpha"):  # fmt: skip
            yield "1.5", 1.5
    elif isinstance(good, str):
        yield "a number", 3
        if argument not in FREE_TEXT.get(name, ()) or name not in FREE_TEXT:
            yield "unknown", UNKNOWN
    elif isinstance(good, torch.Tensor):
        yield "a list", [1, 2]
        yield "of rank 3", good[None, None] if good.ndim == 1 else good[None]
        yield "of rank 0", torch.tensor(1.0)
        if good.is_floating_point():
            yield "nan", torch.full_like(good, float("nan"))
            yield "whole numbers", good.long()
        elif good.numel():
            yield "floats", good.float()
            yield "out of range", good + 10**6
            yield "negative", good - 10**6
        if (name, argument) not in MAY_BE_EMPTY:
            yield "empty", good[:0]
    elif isinstance(good, Mapping | list | tuple):
        yield "a text", "abc"
        yield "a number", 3
        yield "of objects", {"a": object()} if isinstance(good, Mapping) else type(good)([object()])
        if (name, argument) not in MAY_BE_EMPTY:
            yield "empty", type(good)()


def try_constructors(
    folder: Path, only: str = "", skipped: tuple[str, ...] = (), every: int = 1
) -> tuple[int, list[Found]]:
    """Every argument of every constructor replaced by what it cannot be, or every so many-th of these."""
    tried, found = 0, []
    for name, (call, arguments) in constructors(folder).items():
        before = state(folder)
        cases = [
            (f"{name}({argument}={what})", argument, value)
            for argument, good in arguments.items()
            for what, value in wrong_values(name, argument, good)
            if (name, argument, what) not in FINE
        ]
        for case, argument, value in cases[::every]:
            if only in case and not case.startswith(skipped):
                tried += 1
                found += constructed(case, call, arguments | {argument: value}, value)
        found += left(name, before, folder)
    return tried, found


def constructed(case: str, call: Callable[..., Any], arguments: Mapping[str, Any], value: Any) -> list[Found]:
    """What is wrong with how arguments were taken."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            call(**arguments)
    except (hf_xlt.InputError, StrictDataclassError):  # the second is what configurations of transformers raise
        return []
    except Exception as error:
        refused = isinstance(error, TypeError | ValueError) and told_at_the_boundary(error)
        return [] if refused else [Found(case, "traceback", f"{type(error).__name__}: {error}"[:200])]
    return [Found(case, "accepted", repr(value)[:80])]


def told_at_the_boundary(error: Exception) -> bool:
    """Whether a plain TypeError or ValueError was raised by us, and not somewhere in a library."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and "hf_xlt" in place.tb_frame.f_code.co_filename


def try_commands(folder: Path, cases: Mapping[str, list[str]]) -> list[Found]:
    """Each command in this process."""
    found: list[Found] = []
    for case, words in cases.items():
        before = state(folder)
        code, told = call(words)
        found += shown(judged(case, code, told) + left(case, before, folder))
    return found


def shown(found: list[Found]) -> list[Found]:
    """The same, printed at once."""
    for each in found:
        print(f"{each.kind}: {each.case}: {' '.join(each.told.split())}", flush=True)
    return found


def try_processes(folder: Path, cases: Mapping[str, list[str]]) -> list[Found]:
    """Each command in a process of its own."""
    found = []
    for case, words in cases.items():
        before = state(folder)
        program = "import sys; from hf_xlt.cli import main; sys.argv[0] = 'hf-xlt'; main()"
        done = subprocess.run(
            [sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, check=False, timeout=300,
            errors="replace",
        )  # fmt: skip
        found += shown(judged(f"process: {case}", done.returncode, done.stderr) + left(case, before, folder))
    return found


def call(words: list[str]) -> tuple[int, str]:
    """The exit code of a command and what it says on stderr."""
    from hf_xlt import cli

    err, out = io.StringIO(), io.StringIO()
    former, sys.argv = sys.argv, ["hf-xlt", *words]
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
            cli.main()
    except SystemExit as stop:
        return (stop.code or 0, err.getvalue()) if isinstance(stop.code, int | None) else (-1, str(stop.code))
    except BaseException as error:  # a command may end in nothing else
        return -1, f"Traceback: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        sys.argv = former
    return 0, err.getvalue()


def _too_long(number: int, frame: object) -> None:
    raise SystemExit(f"Traceback: no end after {PATIENCE} seconds")


def judged(case: str, code: int, told: str) -> list[Found]:
    """What is wrong with an exit code and what was said."""
    lines = [line for line in told.strip().splitlines() if line.startswith("hf-xlt: ")]
    usage = "Usage:" in told or "Error:" in told or "Missing" in told
    if code < 0 or "Traceback" in told or FAULT in told:
        return [Found(case, "traceback", told.strip()[-300:])]
    if code == 0:
        return [Found(case, "accepted", told.strip()[-200:])]
    if len(lines) != 1 and not usage:
        return [Found(case, "traceback", f"not one line: {told.strip()[-300:]}")]
    return []


def state(folder: Path) -> dict[str, str]:
    """What there is in the folder and beside it: path → digest of its content."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*files, *folders):
            path = Path(place) / name
            regular = path.is_file() and not path.is_symlink()
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if regular else "a folder or a link"
    return found


def left(case: str, before: dict[str, str], folder: Path) -> list[Found]:
    """What a case left behind or changed; new files are removed, so that the next case begins as this one did."""
    after = state(folder)
    new = sorted(set(after) - set(before))
    changed = sorted(path for path in before if after.get(path) != before[path])
    for path in sorted(new, reverse=True):
        with contextlib.suppress(OSError):
            Path(path).unlink() if not Path(path).is_dir() or Path(path).is_symlink() else Path(path).rmdir()
    found = [Found(case, "left behind", str(Path(new[0]).relative_to(folder)))] if new else []
    return found + ([Found(case, "changed", str(Path(changed[0]).relative_to(folder)))] if changed else [])


def main() -> None:
    """Try all, and say what was not refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases with this word in their name")
    parser.add_argument("--part", choices=["all", "commands", "constructors"], default="all")
    parser.add_argument("--processes", type=int, default=10, help="commands to try again in processes of their own")
    parser.add_argument("--output", type=Path, help="JSON file for the counts")
    given = parser.parse_args()
    torch.set_num_threads(1)
    begun, here = time.monotonic(), Path.cwd()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "work"
        folder.mkdir()
        make_places(folder)
        os.chdir(folder)
        found: list[Found] = []
        cases = {name: words for name, words in commands().items() if given.only in name}
        tried = Counter[str]()
        if given.part != "constructors":
            found += try_commands(folder, cases)
            again = dict(list(cases.items())[:: max(1, len(cases) // max(1, given.processes))][: given.processes])
            found += try_processes(folder, again)
            tried.update(commands=len(cases), processes=len(again))
        if given.part != "commands":
            number, more = try_constructors(folder, given.only)
            found += shown(more)
            tried.update(constructors=number)
        os.chdir(here)
    counts = Counter(each.kind for each in found)
    kinds = {kind: counts[kind] for kind in ("traceback", "accepted", "left behind", "changed")}
    result = {"tried": dict(tried), "found": kinds, "seconds": round(time.monotonic() - begun, 1)}
    print(json.dumps(result))
    if given.output is not None:
        given.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

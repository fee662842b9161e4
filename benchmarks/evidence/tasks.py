"""What the models of the evidence can do: every task that a language has data for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from evidence.languages import Language

from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import EvaluationConfig, FineTuningConfig, ModelSpec
from hf_xlt.evaluation.evaluate import evaluate_model

PROBE = FineTuningConfig().probe()
PROBES = {
    # Of six layers: on English development files better than the second, for trees far better than the last.
    "upos": replace(PROBE.quick(), layer=3),
    "parsing": replace(PROBE.quick(), layer=3, head_learning_rate=2e-3),
    "ner": PROBE.quick(),
}
FINE_TUNING = replace(FineTuningConfig().quick(), epochs=4, evaluations=1, learning_rate=1e-4)
FINE_TUNINGS = {
    "parsing": replace(FineTuningConfig(), epochs=5, learning_rate=1e-4, head_learning_rate=2e-3, dev_examples=500),
    # Long texts: on a CPU several times faster like this.
    "question-answering": replace(FINE_TUNING, precision="bfloat16", dropout=0.0),
}
# What takes minutes each is done for some methods only.
ONLY = {
    ("parsing", "zero-shot"): ("pooled", "pooled, distilled", "random rows", "RAMEN", "source"),
    ("classification", "fine-tuned"): ("pooled", "pooled, distilled", "random rows", "from scratch", "source"),
    ("question-answering", "fine-tuned"): ("pooled", "pooled, distilled", "random rows", "source"),
}
SEEDS = {"classification": (0, 1, 2)}


def measured(language: Language, method: str, model: Path, source: Path, data: Path, folder: Path) -> dict[str, Any]:
    """Scores of a model on every task, kept in `folder`."""
    bilingual = method in ("RAMEN", "TreLM")
    spec = ModelSpec(str(model), None if bilingual else str(source), ("en", language.code) if bilingual else None)
    found: dict[str, Any] = {}
    for kind, tasks in language.tasks.items():
        if kind == "retrieval":
            tasks = {"retrieval": tasks}
        for task, places in tasks.items():
            if method not in ONLY.get((task, kind), (method,)):
                continue
            given = {task: {role: str(data / place) for role, place in places.items()}}
            if kind == "fine-tuned":
                tuning, seeds = FINE_TUNINGS.get(task, FINE_TUNING), (0,)
            else:
                tuning, seeds = PROBES.get(task, PROBE), SEEDS.get(task, (0,))
            config = EvaluationConfig(kind in ("zero-shot", "fine-tuned"), seeds, tuning)
            name = task if kind == "retrieval" else f"{task}, {kind}"
            whole = replace(spec, source=None) if kind == "supervised" else spec
            try:
                (result,) = evaluate_model(whole, [task], given, config, folder / kind)
            except InputError as error:
                found[name] = {"refused": str(error).replace(str(data), "DATA")}
                print(language.code, method, name, found[name], flush=True)
                continue
            scores = dict.fromkeys([result.headline, *result.runs[0].scores])
            found[name] = {score: [round(result.mean(score), 4), round(result.spread(score), 4)] for score in scores}
            found[name]["notes"] = [dict(run.notes) for run in result.runs]
            print(language.code, method, name, result.headline, found[name][result.headline], flush=True)
    return found

"""Bits per byte of a text by hf_xlt and by EleutherAI's harness (lm-eval), which must agree.

    python benchmarks/harness_agreement.py SmolLM2-135M-Instruct de.txt

The third figure is what the harness gives for the same lines in its own way: each alone, without its end.
"""

import typer

from hf_xlt import evaluate_model
from hf_xlt.evaluation.harness.lm_eval import LMEvalTask
from hf_xlt.evaluation.harness.local_tasks import LANGUAGE_MODEL, ROLLING

TOLERANCE = 1e-3


def main(model: str, text: str) -> None:
    """Measure a decoder on a text, a line a document."""
    tasks = ["language-model", LMEvalTask(LANGUAGE_MODEL).name, LMEvalTask(ROLLING).name]
    evaluation = evaluate_model(model, tasks, {task: {"test": text} for task in tasks})
    ours, theirs, alone = (result.mean("bits_per_byte") for result in evaluation)
    print(f"bits per byte: hf_xlt {ours:.6f}, lm-eval {theirs:.6f}, difference {abs(ours - theirs):.1e}")
    print(f"lm-eval, each line alone: {alone:.6f}")
    if abs(ours - theirs) > TOLERANCE:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

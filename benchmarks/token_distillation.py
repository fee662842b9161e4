"""Token distillation on a real decoder: how much of what single tokens for words cost at first is won back.

    python benchmarks/token_distillation.py SmolLM2-135M-Instruct --corpus en.eltec.txt.gz --work work --json out.json

English words that the source cuts into three pieces or more become single tokens, which begin as the mean of their
pieces. Held-out bits per byte of lines with such words: in the source's own segmentation, with these rows, and after
training new rows alone, by token distillation and by what else one might do. The first `--train-lines` lines of the
corpus, one book after another, are learned from, and lines of the last `--held-out-lines` are measured. A killed run
goes on where it stopped.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt import Checkpoint, SubtokenMeanInitializer
from hf_xlt.data.objectives import IGNORED, DataCollatorForTokenDistillation, objective_for
from hf_xlt.data.objectives.objective import token_losses
from hf_xlt.data.sampling import ShuffledStream
from hf_xlt.data.snippets import Snippets, cut_snippets
from hf_xlt.evaluation.language_model import ValidationSet, measure
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.files.text import text_lines
from hf_xlt.recipes import Stage
from hf_xlt.runs.training.trainer import StageInputs, train_stage
from hf_xlt.tokenizers.extend import grown

LENGTH = 128  # of the sequences that are measured
RAREST = 24  # occurrences that a word must have
WORD = re.compile(r"(?<= )[a-z]+\b")


class StatesAlone(DataCollatorForTokenDistillation):
    """Without the cross entropy."""

    def loss(self, *batch: Any) -> Tensor:
        """How far states are apart."""
        return self.parts(*batch)[0]


class LanguageModeling(DataCollatorForTokenDistillation):
    """Without the teacher: language modeling on the same snippets."""

    def loss(self, model: PreTrainedModel, forward: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """The cross entropy of the next token, which reaches input rows too."""
        given = {name: batch[name] for name in ("input_ids", "attention_mask")}
        labels = given["input_ids"].masked_fill(given["attention_mask"] == 0, IGNORED)
        return token_losses(model, forward, given | {"labels": labels}, shifted=True)[0].mean()


class BothThroughTheBody(LanguageModeling):
    """Both losses, and input rows learn from the cross entropy too."""

    def loss(self, *batch: Any) -> Tensor:
        """Their sum."""
        return self.parts(*batch)[0] + super().loss(*batch)


class BothScaled(LanguageModeling):
    """The same, but the cross entropy is scaled down to the size of the distance, as a constant."""

    def loss(self, *batch: Any) -> Tensor:
        """Twice the distance, with the gradients of both."""
        distance, predicted = self.parts(*batch)[0], super().loss(*batch)
        return distance + predicted * (distance / predicted).detach()


# What is trained with → what makes it of a tokenizer.
WAYS = {
    "token distillation": DataCollatorForTokenDistillation,
    "states after 8 layers": partial(DataCollatorForTokenDistillation, layer=8),
    "states after 20 layers": partial(DataCollatorForTokenDistillation, layer=20),
    "states alone": StatesAlone,
    "language modeling": LanguageModeling,
    "both through the body": BothThroughTheBody,
    "both through the body, scaled": BothScaled,
}


def main(
    source: Path,
    corpus: Annotated[Path, typer.Option(help="English text, one book after another.")],
    work: Annotated[Path, typer.Option(help="Folder for text and training state.")],
    words: int = 300,
    train_lines: int = 150_000,
    held_out_lines: int = 50_000,
    lines: Annotated[int, typer.Option(help="Held-out lines with such words that are measured.")] = 150,
    steps: int = 120,
    batch_size: int = 16,
    snippet_length: int = 40,
    learning_rate: float = 1e-2,
    ways: Annotated[str, typer.Option(help="Separated by semicolons.")] = "; ".join(WAYS),
    output: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Measure the source, mean rows, and what is learned from there."""
    work.mkdir(parents=True, exist_ok=True)
    text = [line for line in text_lines(corpus) if line]
    to_learn, held_out = text[:train_lines], text[-held_out_lines:]
    checkpoint = Checkpoint.open(source)
    old = checkpoint.tokenizer()
    chosen = frequent_words(to_learn, held_out, old, words)
    new = with_words(old, chosen)
    rarest = min(occurrences(to_learn, chosen).values())
    holds_one = re.compile(rf" ({'|'.join(chosen)})\b")
    fitting = [line for line in held_out if 80 < len(line) < 500 and holds_one.search(line)]
    measured = fitting[:: max(1, len(fitting) // lines)][:lines]

    made = SubtokenMeanInitializer(checkpoint, new)
    model = made.build_model(torch.float32).eval()
    mean_rows = model.get_input_embeddings().weight.detach().clone()
    as_it_is = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    figures = {"source": bits_per_byte(as_it_is, old, measured), "mean": bits_per_byte(model, new, measured)}
    del as_it_is
    print(figures, flush=True)

    file = work / "text.txt"
    if not file.exists():
        file.write_text("\n".join(to_learn), encoding="utf-8")
    number = -(-steps * batch_size // words)
    split = Split(Corpus(str(file)), every=1000)
    snippets = cut_snippets(split, Snippets(new, old, number, snippet_length), work / "snippets")
    stage = Stage(
        objective="token-distill",
        trains="new-rows",
        snippets=number,
        snippet_length=snippet_length,
        max_steps=steps,
        per_device_train_batch_size=batch_size,
        learning_rate=learning_rate,
        evaluations=3,
        checkpoints=6,
        bf16=True,
    )
    results = {}
    for way in ways.split("; "):
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(mean_rows)
        given = StageInputs(
            WAYS[way](new),
            lambda stage, positions, seed: ShuffledStream(snippets, positions, seed),
            validation_set(new, measured),
            new,
            made.transport().copied_target,
        )
        trained = train_stage(model, stage, given, 0, work / re.sub(r"\W+", "-", way), way)
        bits = bits_per_byte(model, new, measured)
        results[way] = {
            "bits_per_byte": bits,
            "gap_closed": (figures["mean"] - bits) / (figures["mean"] - figures["source"]),
            "curve": {point.step: point.bits_per_byte for point in trained.points},
            "seconds": trained.seconds,
            "mean_norm": float(model.get_input_embeddings().weight[len(old) :].detach().norm(dim=1).mean()),
        }
        print(way, results[way], flush=True)
        if output is not None:
            settings = {
                "words": len(chosen),
                "pieces": sum(map(len, pieces(old, chosen))) / len(chosen),
                "rarest": rarest,
                "snippets": len(snippets),
                "lines": len(measured),
                "mean_norm_at_first": float(mean_rows[len(old) :].norm(dim=1).mean()),
                "stage": stage.model_dump(mode="json", exclude_defaults=True),
            }
            found = {"settings": settings, "bits_per_byte": figures, "trained": results}
            output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def frequent_words(
    to_learn: list[str], held_out: list[str], tokenizer: PreTrainedTokenizerBase, number: int
) -> list[str]:
    """The most frequent words of three or more pieces; each is in both texts."""
    there = set(occurrences(held_out))
    counted = [word for word, times in occurrences(to_learn).most_common() if times >= RAREST and word in there]
    return [word for word, ids in zip(counted, pieces(tokenizer, counted), strict=True) if len(ids) > 2][:number]


def occurrences(lines: Iterable[str], words: Iterable[str] | None = None) -> Counter[str]:
    """How often words that follow a space, or some of them, are in a text."""
    counted = Counter(word for line in lines for word in WORD.findall(line))
    return counted if words is None else Counter({word: counted[word] for word in words})


def pieces(tokenizer: PreTrainedTokenizerBase, words: Iterable[str]) -> list[list[int]]:
    """The tokens of words that follow a space."""
    return tokenizer([f" {word}" for word in words], add_special_tokens=False)["input_ids"]


def with_words(tokenizer: PreTrainedTokenizerBase, words: Iterable[str]) -> PreTrainedTokenizerBase:
    """A byte-level BPE with some words after a space as single tokens; all other text is cut as before."""
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    settings["model"] = grown(settings["model"] | {"ignore_merges": True}, [f"Ġ{word}" for word in words], [])
    extended = copy.deepcopy(tokenizer)
    extended._tokenizer = Tokenizer.from_str(json.dumps(settings))
    return extended


def validation_set(tokenizer: PreTrainedTokenizerBase, lines: list[str]) -> ValidationSet:
    """Of held-out text."""
    return ValidationSet.cut(lines, tokenizer, LENGTH, objective_for("clm", tokenizer))


def bits_per_byte(model: nn.Module, tokenizer: PreTrainedTokenizerBase, lines: list[str]) -> float:
    """Of held-out text, in the precision of training."""
    with torch.autocast("cpu", torch.bfloat16):
        return measure(model, validation_set(tokenizer, lines), tokenizer).bits_per_byte


if __name__ == "__main__":
    typer.run(main)

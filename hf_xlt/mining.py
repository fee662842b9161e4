"""Mine translation pairs: sentences of two languages that are each other's nearest by margin (Artetxe & Schwenk 2019).

A sentence encoder that reads both languages finds pairs in text that was never aligned. They can join the pairs that it
is trained on next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from hf_xlt.arguments import checked, require_positive, require_whole
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.retrieval import margin_matches
from hf_xlt.evaluation.sentence_encoder import sentence_encoder
from hf_xlt.files.corpora import Corpus
from hf_xlt.files.folders import check_file, write_whole
from hf_xlt.hub.card import CardTable

THRESHOLD = 1.06
MOST = 100_000
_SHOWN = (1.0, 1.05, 1.1, 1.2, 1.3, 1.5)
LENGTHS = (10, 300)  # characters of a sentence that is looked at: shorter ones match by chance, longer ones are cut


@dataclass(frozen=True)
class Mined:
    """Pairs found, the nearest first, and what they were found among."""

    pairs: tuple[tuple[str, str], ...]  # source and target sentence
    margins: tuple[float, ...]  # of each pair, at least the threshold
    sources: int  # sentences that were looked at
    targets: int
    mutual: int  # of them, pairs that are each other's nearest, whatever their margin

    def __repr__(self) -> str:
        return (
            f"Mined({len(self.pairs):,} of {self.mutual:,} mutual pairs, {self.sources:,} × {self.targets:,} sentences)"
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a table with the header row `source`, `target`, `margin`; `PATH:source,target` names it as pairs."""
        check_file(path, overwrite=overwrite)
        rows = zip(self.pairs, self.margins, strict=True)
        lines = (f"{source}\t{target}\t{margin:.4f}\n" for (source, target), margin in rows)
        write_whole(Path(path), "".join(["source\ttarget\tmargin\n", *lines]))
        return Path(path)

    def table(self) -> CardTable:
        """How many pairs have at least some margins."""
        margins = torch.tensor(self.margins)
        lines = tuple((f"{least:.2f}", f"{int((margins >= least).sum()):,}") for least in _SHOWN)
        looked_at = f"{self.sources:,} × {self.targets:,} sentences, {self.mutual:,} of which are each other's nearest"
        return CardTable(f"Pairs found among {looked_at}", ("margin at least", "pairs"), lines)


@checked
def mine_pairs(
    model: str | Path | Checkpoint,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    threshold: float = THRESHOLD,
    trust_remote_code: bool = False,
) -> Mined:
    """Find the pairs of sentences that are each other's nearest by the ratio margin, and near enough.

    The margin is the cosine over the mean cosine to the 4 nearest sentences of the other side, of both sentences
    (arXiv:1811.01136, §3.1): above 1 where a pair stands out.

    Args:
        model: A sentence encoder of both languages: a Hub id, a folder or an open checkpoint.
        sources: Sentences of the source language.
        targets: Sentences of the target language.
        threshold: The least margin of a pair.
        trust_remote_code: Run code that the model brings.

    Raises:
        InputError: If a side is empty, the threshold is not positive, or the model makes no vectors of sentences.

    Example:
        >>> mine_pairs("minilm-german", english, german).save("mined.tsv")  # doctest: +SKIP
    """
    require_positive("threshold", threshold)
    for side, sentences in (("source", sources), ("target", targets)):
        if not sentences:
            raise InputError(f"There is no {side} sentence to mine", value=0, expected="one or more")
    encoder = sentence_encoder(Checkpoint.open(model, trust_remote_code=trust_remote_code))
    pairs, margins = margin_matches(encoder.vectors(sources), encoder.vectors(targets))
    near = margins >= threshold
    order = margins[near].argsort(descending=True, stable=True)
    chosen = pairs[near][order].tolist()
    return Mined(
        tuple((sources[one], targets[other]) for one, other in chosen),
        tuple(margins[near][order].tolist()),
        len(sources),
        len(targets),
        len(pairs),
    )


@checked
def sentences_of(corpus: str | Sequence[str], most: int = MOST) -> list[str]:
    """Different lines of a corpus that are neither too short nor too long to be mined, the first `most` of them."""
    require_whole("most", most, least=1)
    least, longest = LENGTHS
    lines = (line.replace("\t", " ") for line in Corpus.of(corpus).lines() if least <= len(line) <= longest)
    return list(islice(dict.fromkeys(lines), most))

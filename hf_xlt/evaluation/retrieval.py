"""Retrieval of translations: sentence vectors, nearest neighbors by cosine and by margin, P@1."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError
from hf_xlt.evaluation.models import longest
from hf_xlt.geometry.csls import best_both_ways, local_means
from hf_xlt.geometry.similarity import unit_rows
from hf_xlt.transport.mixture import NEAR_ZERO, row_blocks

ALL_LAYERS = slice(None)
LAST_LAYER = slice(-1, None)
MARGIN_NEIGHBORS = 4
BATCH = 64


def mean_pooled(states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the tokens of each sentence, special ones included, as sentence-transformers takes it by default.

    States `(…, batch, length, d)` become float32 `(…, batch, d)`; zero where a sentence has no token.
    """
    mask = attention_mask[..., None].float()
    return (states.float() * mask).sum(-2) / mask.sum(-2).clamp(min=1)


@dataclass(frozen=True)
class Retrieval:
    """Share of sentences whose translation is their nearest neighbor by cosine, in either direction."""

    forward: float
    backward: float

    @classmethod
    def of(cls, forward: Tensor, backward: Tensor) -> Self:
        """Of the places found for the vectors of either side, int64 `(n,)`; each one's own place is the right one."""
        gold = torch.arange(len(forward), device=forward.device)
        return cls(*(float((found == gold).double().mean()) for found in (forward, backward)))

    @property
    def mean(self) -> float:
        """Of both directions."""
        return (self.forward + self.backward) / 2


def retrieval(sources: Tensor, targets: Tensor) -> Retrieval:
    """P@1 of sentence vectors `(n, d)` and those of their translations, in the same order, among all given."""
    if sources.shape != targets.shape or not len(sources):
        raise InputError(
            f"Sentence vectors of shapes {tuple(sources.shape)}, {tuple(targets.shape)}",
            expected="the same number of sentences, one or more, and the same width on both sides",
        )
    return Retrieval.of(*nearest(sources, targets))


def nearest(sources: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest target `(m, d)` of each source `(n, d)` by cosine, and the nearest source of each target: int64.

    Of equally near ones the first is taken.
    """
    return best_both_ways(unit_rows(sources), unit_rows(targets), lambda cosines, _: cosines)


def nearest_by_margin(sources: Tensor, targets: Tensor, k: int = MARGIN_NEIGHBORS) -> tuple[Tensor, Tensor]:
    """As `nearest`, by the ratio margin (Artetxe & Schwenk 2019, arXiv:1811.01136, §3.1).

    `cos(x, y) / ((r(x) + r(y)) / 2)`, where `r` is the mean cosine of a vector and its `k` nearest of the other side.
    A mean of means that is not positive, as may happen among very few, counts as next to nothing.
    """
    return _best_by_margin(unit_rows(sources), unit_rows(targets), k)[:2]


def margin_matches(sources: Tensor, targets: Tensor, k: int = MARGIN_NEIGHBORS) -> tuple[Tensor, Tensor]:
    """The places of sentences that are each other's nearest by margin, int64 `(p, 2)`, and their margins `(p,)`."""
    a, b = unit_rows(sources), unit_rows(targets)
    forward, backward, of_a, of_b = _best_by_margin(a, b, k)
    places = torch.arange(len(a), device=a.device)
    mutual = torch.stack([places, forward], dim=1)[backward[forward] == places]
    one, other = mutual.unbind(1)
    means = ((of_a[one] + of_b[other]) / 2).clamp(min=NEAR_ZERO)
    return mutual, torch.linalg.vecdot(a[one], b[other]) / means


def _best_by_margin(a: Tensor, b: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best of unit rows both ways, and the mean cosines of each to its nearest of the other side."""
    of_a, of_b = local_means(a, b, k)
    forward, backward = best_both_ways(
        a, b, lambda cosines, rows: cosines / ((of_a[rows, None] + of_b) / 2).clamp_(min=NEAR_ZERO)
    )
    return forward, backward, of_a, of_b


@torch.inference_mode()
def sentence_vectors(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    batch_size: int = BATCH,
    layers: slice = ALL_LAYERS,
) -> Tensor:
    """Mean-pooled states of every layer, or of some: float32 `(layers + 1, n, d)` on the CPU, the embeddings first.

    The model is an encoder without a head. Sentences are cut off where its positions end.
    """
    model.eval()
    length = longest(model, tokenizer)

    def encode(texts: list[str]) -> Tensor:
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        states = torch.stack(model(**inputs, output_hidden_states=True).hidden_states[layers])  # (layers + 1, b, s, d)
        return mean_pooled(states, inputs["attention_mask"]).cpu()

    return in_batches(sentences, batch_size, encode, dim=1)


def in_batches(sentences: Sequence[str], batch_size: int, encode: Callable[[list[str]], Tensor], dim: int) -> Tensor:
    """What `encode` makes of sentences, those of like length at a time; dimension `dim` is that of the sentences."""
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
    found: list[Tensor] = []
    for start in tqdm(range(0, len(order), batch_size), desc="sentences", unit="batch", disable=None, leave=False):
        found.append(encode([sentences[i] for i in order[start : start + batch_size]]))
    return torch.cat(found, dim).index_select(dim, torch.tensor(order).argsort())


@dataclass(frozen=True)
class Nearness:
    """How near translations are to each other, where P@1 alone no longer tells models apart."""

    cosine: float  # the mean cosine of a sentence and its translation
    # by how much a sentence's translation is nearer to it than the nearest other sentence, in cosines: the mean over
    # the sentences of both sides
    margin: float


def nearness(sources: Tensor, targets: Tensor) -> Nearness:
    """How near sentence vectors `(n, d)`, n ≥ 2, are to those of their translations, in the same order."""
    a, b = unit_rows(sources), unit_rows(targets)
    own = (a * b).sum(1)
    of_row, of_column = torch.empty_like(own), torch.full_like(own, -torch.inf)
    for rows in row_blocks(len(a), len(b)):
        others = a[rows] @ b.T
        others.diagonal(rows.start).fill_(-torch.inf)
        of_row[rows] = others.amax(1)
        of_column = torch.maximum(of_column, others.amax(0))
    return Nearness(float(own.mean()), float((own - (of_row + of_column) / 2).mean()))


def nearest_tokens(
    name: str, words: Sequence[str], k: int = 5, *, trust_remote_code: bool = False
) -> dict[str, tuple[tuple[str, float], ...]]:
    """Word → the `k` tokens whose input embeddings are nearest to its own by cosine, itself left out.

    A word of several tokens stands at their mean; one that the tokenizer does not know raises InputError.
    """
    checkpoint = Checkpoint.open(name, trust_remote_code=trust_remote_code)
    tokenizer = checkpoint.tokenizer()
    rows = checkpoint.input_rows().float()
    names = tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), len(rows)))))
    ids = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    for word, pieces in zip(words, ids, strict=True):
        if not pieces or tokenizer.unk_token_id in pieces:
            raise InputError(f"The tokenizer of {name} does not know the word {word!r}; choose another.")
    means = unit_rows(torch.stack([rows[pieces].mean(dim=0) for pieces in ids]))
    cosines = means @ unit_rows(rows[: len(names)]).T
    for row, pieces in zip(cosines, ids, strict=True):
        row[[*pieces, *(i for i in tokenizer.all_special_ids if i < len(row))]] = -2.0
    nearest = cosines.topk(min(k, cosines.shape[1]), dim=1)
    return {
        word: tuple((names[i], round(float(value), 3)) for i, value in zip(row.tolist(), values, strict=True))
        for word, row, values in zip(words, nearest.indices, nearest.values, strict=True)
    }

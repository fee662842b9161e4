"""Dependency parsing of treebanks by biaffine attention (Dozat and Manning 2017, arXiv:1611.01734)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, leaky_relu
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError
from hf_xlt.evaluation.metrics import AttachmentScore, Metric, Tree, universal
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, SupervisedTask, TaskHead
from hf_xlt.evaluation.tasks.trees import maximum_trees
from hf_xlt.evaluation.tasks.windows import encode_words
from hf_xlt.files.conll import Sentence, read_conllu

ARC, RELATION, DROPOUT, SLOPE = 500, 100, 0.33, 0.1

MOST_UNSEEN = 0.05


@dataclass(frozen=True, eq=False)
class ParserScores:
    """Scores of all arcs, and what the relation of any of them is told from; node 0 is the root.

    The arc `(i, j)` is that of word `i + 1` hanging on node `j`; -inf for a word's own node and for padding.
    """

    arcs: Tensor  # (b, n, n + 1)
    dependents: Tensor  # (b, n, r), words as dependents
    heads: Tensor  # (b, n + 1, r), nodes as heads


class BiaffineHead(TaskHead):
    """Arcs and their relations, each by a biaffine form of two views of the words: as dependents and as heads.

    A relation is scored only for one arc a word: the right one in training (equation 9), the tree's in decoding.
    """

    def __init__(self, width: int, relations: int) -> None:
        super().__init__()
        self.root = nn.Parameter(torch.zeros(width))
        self.views = nn.Linear(width, 2 * (ARC + RELATION))
        self.dropout = nn.Dropout1d(DROPOUT)
        self.arcs = nn.Linear(ARC, ARC)
        self.relations = nn.Linear(RELATION, relations * (RELATION + 1))
        for form in (self.arcs, self.relations):  # at first all trees are equal, and no gradient reaches the encoder
            nn.init.zeros_(form.weight)
            nn.init.zeros_(form.bias)

    def forward(self, states: Tensor, mask: Tensor) -> ParserScores:
        """Scores of all arcs: `headᵀ U dependent + headᵀ u` (equation 6)."""
        nodes = torch.cat([self.root.expand(len(states), 1, -1), states], dim=1)
        views = leaky_relu(self.views(nodes), SLOPE).transpose(1, 2)
        views = self.dropout(views).transpose(1, 2)  # the same units of all words of a sentence
        dependents, heads, relation_dependents, relation_heads = views.split([ARC, ARC, RELATION, RELATION], dim=2)
        arcs = self.arcs(dependents[:, 1:]) @ heads.transpose(1, 2)
        chosen = nn.functional.pad(mask, (1, 0), value=True)[:, None]
        own = torch.ones_like(arcs[0], dtype=torch.bool).triu(1).tril(1)
        return ParserScores(arcs.masked_fill(~chosen | own, -torch.inf), relation_dependents[:, 1:], relation_heads)

    def relation_scores(self, scores: ParserScores, mask: Tensor, heads: Tensor) -> Tensor:
        """Scores `(w, relations)` of one arc a word: biaffine, with linear terms of both sides and a bias (equation 8).

        The heads are int64 `(w,)`, of the words that the mask holds.
        """
        form = self.relations(scores.dependents[mask]).unflatten(1, (-1, RELATION + 1))
        head = scores.heads[mask.nonzero()[:, 0], heads]
        return (form[..., :-1] @ head[..., None])[..., 0] + form[..., -1]

    def loss(self, scores: ParserScores, mask: Tensor, gold: Mapping[str, Tensor]) -> Tensor:
        """Cross entropy of `gold["heads"]` plus that of `gold["relations"]`, both `(b, n)`, each a mean over words."""
        heads, relations = gold["heads"][mask], gold["relations"][mask]
        of_relations = cross_entropy(
            self.relation_scores(scores, mask, heads), relations, ignore_index=IGNORED, reduction="sum"
        )
        known = (relations != IGNORED).sum().clamp(min=1)
        return cross_entropy(scores.arcs[mask], heads) + of_relations / known

    def decode(self, scores: ParserScores, mask: Tensor) -> list[np.ndarray]:
        """Heads and relations of the best tree of each sentence: int64 `(2, n)`."""
        lengths = mask.sum(1).cpu().numpy()
        trees = torch.from_numpy(maximum_trees(scores.arcs.detach().float().cpu().numpy(), lengths))
        heads = trees.to(mask.device)[mask]
        relations = self.relation_scores(scores, mask, heads).argmax(1)
        answers = torch.stack([heads, relations]).cpu().numpy()
        return np.split(answers, np.cumsum(lengths)[:-1], axis=1)


class Parsing(SupervisedTask[Sentence]):
    """The tree of a sentence: of each word the head, and the relation to it.

    Words are the treebank's, and the state of one is that of its first piece. Relations are universal, without
    subtypes, as the scorer counts them.
    """

    name: ClassVar[str] = "parsing"
    headline: ClassVar[str] = "las"
    summary: ClassVar[str] = "Dependency trees of a CoNLL-U treebank, by biaffine attention; UAS and LAS of CoNLL 2018"

    def read(self, place: str) -> list[Sentence]:
        """Sentences of a CoNLL-U file."""
        sentences = read_conllu(place)
        for sentence in sentences:
            if not sentence.heads:
                raise InputError(f"{place}, line {sentence.line}: a sentence without heads", expected="a treebank")
        return sentences

    def labels(self, train: Sequence[Sentence], others: Mapping[str, Sequence[Sentence]]) -> tuple[str, ...]:
        """The universal relations of the training trees, sorted.

        Treebanks of one scheme differ in rare relations: English has no `clf`, Indonesian no `expl` (0 to 2 % of the
        words, in the treebanks looked at). A relation that training lacks is never predicted and so counts as wrong.
        """
        if not train:
            raise InputError("There is no sentence to train a parser on", expected="a treebank")
        relations = {relation for sentence in train for relation in _relations(sentence)}
        for role, sentences in others.items():
            there = [relation for sentence in sentences for relation in _relations(sentence)]
            unseen = [relation for relation in there if relation not in relations]
            if len(unseen) > MOST_UNSEEN * len(there):
                raise InputError(
                    f"{len(unseen) / len(there):.0%} of the words in {role} have relations that training lacks "
                    f"({', '.join(sorted(set(unseen)))})",
                    expected="treebanks of one version of Universal Dependencies",
                )
        return tuple(sorted(relations))

    def encode(
        self, examples: Sequence[Sentence], labels: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_length: int
    ) -> list[Encoded]:
        """Words' first pieces are picked; gold `heads` and `relations`, `(n,)`, an unseen relation being `IGNORED`."""
        index = {label: i for i, label in enumerate(labels)}
        read = encode_words([sentence.words for sentence in examples], tokenizer, max_length)
        encoded = []
        for (windows, picks), sentence in zip(read, examples, strict=True):
            relations = np.array([index.get(relation, IGNORED) for relation in _relations(sentence)])
            gold = {"heads": np.array(sentence.heads, dtype=np.int64), "relations": relations}
            encoded.append(Encoded(windows, picks, gold))
        return encoded

    def head(self, width: int, labels: Sequence[str]) -> BiaffineHead:
        """Biaffine attention."""
        return BiaffineHead(width, len(labels))

    def metric(self, labels: Sequence[str] = ()) -> Metric:
        """UAS and LAS."""
        return AttachmentScore()

    def prediction(self, example: Sentence, encoded: Encoded, answer: np.ndarray, labels: Sequence[str]) -> Tree:
        """The tree over the treebank's words, from heads and relations, int64 `(2, n)`."""
        heads, relations = answer
        return Tree(heads.tolist(), [labels[relation] for relation in relations])

    def reference(self, example: Sentence) -> Tree:
        """The treebank's."""
        return Tree(example.heads, example.deprels)


def _relations(sentence: Sentence) -> list[str]:
    return [universal(deprel) for deprel in sentence.deprels]

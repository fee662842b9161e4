"""Deep biaffine attention for dependency parsing (Dozat and Manning 2017, arXiv:1611.01734)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, leaky_relu

from hf_xlt.evaluation.tasks.parsing.tree import maximum_trees
from hf_xlt.evaluation.tasks.task import IGNORED, TaskHead

ARC, RELATION, DROPOUT, SLOPE = 500, 100, 0.33, 0.1


@dataclass(frozen=True, eq=False)
class ParserScores:
    """Scores of all arcs, and what the relation of any of them is told from; node 0 is the root.

    Args:
        arcs: `(b, n, n + 1)`, of word `i + 1` hanging on node `j`; -inf for a word's own node and for padding.
        dependents: `(b, n, r)`, words as dependents.
        heads: `(b, n + 1, r)`, nodes as heads.
    """

    arcs: Tensor
    dependents: Tensor
    heads: Tensor


class BiaffineHead(TaskHead):
    """Arcs and their relations, each by a biaffine form of two views of the words: as dependents and as heads.

    A relation is scored only for one arc a word: the right one in training (equation 9), the tree's in decoding.
    """

    def __init__(self, width: int, relations: int) -> None:
        """Set up a head.

        Args:
            width: Of the states.
            relations: How many to tell apart.
        """
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
        dependents, heads, *of_relations = views.split([ARC, ARC, RELATION, RELATION], dim=2)
        arcs = self.arcs(dependents[:, 1:]) @ heads.transpose(1, 2)
        chosen = nn.functional.pad(mask, (1, 0), value=True)[:, None]
        own = torch.ones_like(arcs[0], dtype=torch.bool).triu(1).tril(1)
        return ParserScores(
            arcs.masked_fill(~chosen | own, -torch.inf), dependents=of_relations[0][:, 1:], heads=of_relations[1]
        )

    def relation_scores(self, scores: ParserScores, mask: Tensor, heads: Tensor) -> Tensor:
        """Scores of the relations of one arc a word: biaffine, with linear terms of both sides and a bias (equation 8).

        Args:
            scores: What `forward` gave.
            mask: bool `(b, n)`, of `w` words in all.
            heads: int64 `(w,)`, the head of each word.

        Returns:
            `(w, relations)`.
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

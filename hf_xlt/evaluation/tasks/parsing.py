"""Dependency parsing of treebanks by biaffine attention (Dozat and Manning 2017, arXiv:1611.01734).

The best tree under scores of arcs is a maximum spanning arborescence with one word under the root.
"""

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
from hf_xlt.evaluation.tasks.task import IGNORED, Encoded, SupervisedTask, TaskHead, encode_words
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
        return BiaffineHead(width, len(labels))

    def metric(self, labels: Sequence[str] = ()) -> Metric:
        return AttachmentScore()

    def prediction(self, example: Sentence, encoded: Encoded, answer: np.ndarray, labels: Sequence[str]) -> Tree:
        """The tree over the treebank's words, from heads and relations, int64 `(2, n)`."""
        heads, relations = answer
        return Tree(heads.tolist(), [labels[relation] for relation in relations])

    def reference(self, example: Sentence) -> Tree:
        return Tree(example.heads, example.deprels)


def _relations(sentence: Sentence) -> list[str]:
    return [universal(deprel) for deprel in sentence.deprels]


def maximum_trees(scores: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Heads, int64 `(b, n)`, of the best tree of each sentence of a batch; 0 beyond its length.

    Scores are `(b, n, n + 1)`, of word `i + 1` hanging on node `j`, 0 being the root; those of a word's own node and
    beyond a sentence's length are never chosen. Where the best head of every word makes a tree it is the best one; only
    the other sentences are searched.
    """
    longest, nodes = scores.shape[1:]
    words = np.arange(longest) < lengths[:, None]
    chosen = words[:, :, None] & (np.arange(nodes) <= lengths[:, None])[:, None] & ~_own(longest)
    if not np.isfinite(scores[chosen]).all():
        raise InputError("The parser's scores are not finite; its training has diverged. Lower the learning rate.")
    heads = np.where(words, np.where(chosen, scores, -np.inf).argmax(2), 0)
    for row in np.flatnonzero(~are_trees(heads, lengths)):
        length = lengths[row]
        heads[row, :length] = maximum_tree(scores[row, :length, : length + 1])
    return heads


def are_trees(heads: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Whether the heads `(b, n)` of each sentence make a tree with one word under the root; bool `(b,)`."""
    words = np.arange(heads.shape[1]) < lengths[:, None]
    one_root = ((heads == 0) & words).sum(1) == 1
    ancestors = np.pad(np.where(words, heads, 0), ((0, 0), (1, 0)))
    for _ in range(heads.shape[1].bit_length()):  # each round doubles how far up an ancestor is
        ancestors = np.take_along_axis(ancestors, ancestors, 1)
    return one_root & ~ancestors.any(1)


def maximum_tree(scores: np.ndarray) -> np.ndarray:
    """Heads, int64 `(n,)`, of the best tree with one word under the root, from scores `(n, n + 1)`.

    Arcs from the root get a cost above what trees can differ in, so that the best tree has as few of them
    as possible, which is one (Stanojević and Cohen 2021), and is the best of those that have.
    """
    scores = np.array(scores, dtype=np.float64)
    others = scores[~_own(len(scores))]
    scores[:, 0] -= len(scores) * np.ptp(others) + 1
    return maximum_arborescence(scores)


def _own(count: int) -> np.ndarray:
    """Arcs from words to themselves, bool `(n, n + 1)`."""
    return np.eye(count, count + 1, k=1, dtype=bool)


def maximum_arborescence(scores: np.ndarray) -> np.ndarray:
    """Heads of the best tree with any number of words under the root: Chu and Liu 1965, Edmonds 1967.

    From a word without a head the best arcs are followed up until a node that has one, as the root does. A cycle on
    the way becomes a node, whose arcs are scored by what they gain over the arc of the cycle that they replace (Gabow
    et al. 1986, on a dense graph). There are at most `2n` nodes, each of which costs `O(n)`, and `O(n)` for each node
    that it is made of: `O(n²)` time and memory.
    """
    count = len(scores)
    gains = np.full((2 * count, count + 1), -np.inf)  # of each node, by the word or root at the arc's other end
    gains[1 : count + 1] = scores
    replaced = np.zeros((2 * count, count + 1), dtype=np.int64)  # the node of a cycle that such an arc leads to
    head = np.zeros(2 * count, dtype=np.int64)
    node_of = np.arange(count + 1)
    done, on_path = np.zeros(2 * count, dtype=bool), np.zeros(2 * count, dtype=bool)
    done[0] = True
    nodes = count + 1
    for word in range(1, count + 1):
        path = [] if done[node_of[word]] else [word]
        while path and not done[path[-1]]:
            node = path[-1]
            on_path[node] = True
            gains[node, node_of == node] = -np.inf
            head[node] = gains[node].argmax()
            above = node_of[head[node]]
            if done[above]:
                done[path] = True
            elif on_path[above]:
                start = path.index(above)
                cycle = path[start:]
                over = gains[cycle] - gains[cycle, head[cycle]][:, None]
                gains[nodes], replaced[nodes] = over.max(0), np.take(cycle, over.argmax(0))
                node_of[np.isin(node_of, cycle)] = nodes
                path[start:] = [nodes]
                nodes += 1
            else:
                path.append(above)
    for node in reversed(range(count + 1, nodes)):
        head[replaced[node, head[node]]] = head[node]
    return head[1 : count + 1]

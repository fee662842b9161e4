"""The best dependency tree under scores of arcs: a maximum spanning arborescence with one word under the root."""

from __future__ import annotations

import numpy as np

from hf_xlt.errors import InputError


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

    Arcs from the root are made dearer by more than what trees can differ in, so that the best tree has as few of them
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

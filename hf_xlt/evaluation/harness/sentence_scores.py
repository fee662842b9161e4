"""What each example adds to the scores of mteb, from the predictions that it keeps."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from hf_xlt.errors import InputError
from hf_xlt.evaluation.harness.scores import HarnessScores, Scored
from hf_xlt.evaluation.metrics import Metric, ratio

_TOLERANCE = 1e-5  # mteb rounds figures of retrieval to five digits
_CORRELATION = re.compile(r"(?:(?P<similarity>cosine|manhattan|euclidean)_)?(?P<kind>pearson|spearman)")
_RANKING = re.compile(r"(ndcg|map|recall|precision|hit_rate)_at_(\d+)")
_TREC = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit_rate": "success"}
_SIMILARITIES = {
    "cosine": "cosine_scores",
    "manhattan": "manhattan_distances",
    "euclidean": "euclidean_distances",
    None: "similarity_scores",
}

Columns = dict[str, np.ndarray]


class Correlations(Metric):
    """Correlation coefficients of pairs of values; Spearman's is Pearson's of ranks.

    Ranks are those in the whole test set, also where it is resampled: its pairs are not ranked anew.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def counts(self, predictions: Sequence[Sequence[float]], references: Sequence[Sequence[float]]) -> np.ndarray:
        """float64 `(n, 5 scores + 1)`: of each score x, y, x², y² and xy; then 1. x and y are standardized.

        Predictions and references are `(n, scores)`, ranks where a score is of ranks.
        """
        x, y = (_standard(np.asarray(table, dtype=np.float64)) for table in (predictions, references))
        moments = np.stack([x, y, x * x, y * y, x * y], axis=2)  # (n, scores, 5)
        return np.column_stack([moments.reshape(len(x), -1), np.ones(len(x))])

    def of_counts(self, totals: np.ndarray) -> dict[str, np.ndarray]:
        """The scores that were named, from -1 to 1."""
        means = ratio(totals[..., :-1], totals[..., -1:]).reshape(*totals.shape[:-1], len(self.names), 5)
        x, y, xx, yy, xy = np.moveaxis(means, -1, 0)
        spread = np.sqrt(np.maximum(xx - x * x, 0) * np.maximum(yy - y * y, 0))
        return dict(zip(self.names, np.moveaxis(ratio(xy - x * y, spread), -1, 0), strict=True))


def _standard(values: np.ndarray) -> np.ndarray:
    centered = values - values.mean(axis=0)
    return ratio(centered, centered.std(axis=0))


def metric_for(names: Sequence[str]) -> HarnessScores | Correlations:
    """What turns counts into the scores of these names, all correlations or none."""
    return Correlations(names) if names and _CORRELATION.fullmatch(names[0]) else HarnessScores(names)


def scored(name: str, task: Any, data: Any, figures: Mapping[str, Any], predictions: Any) -> Scored:
    """What examples add to the scores of a task of mteb, the one that it calls the main score first.

    A score is kept where what examples add comes to the very figure that mteb gives:

    - bitext mining: accuracy, and F1, precision and recall, which are means over sentences of those of each as a class
      of its own. Where the test set is resampled, how often each was chosen stays as it is in the whole.
    - classification: accuracy, of each text the share of the draws in which its class was told. F1 and others do not
      add up over texts and are left out.
    - sentence similarity: all correlations, see `Correlations`.
    - retrieval and reranking: nDCG, MAP and recall at 10, recall at 100, and the main score, means over queries.

    Args:
        name: What messages call the task.
        task: mteb's, with its data loaded.
        data: Those of the split and subset that was run.
        figures: Score → mteb's figure.
        predictions: What mteb kept of the split and subset.

    Raises:
        InputError: If no score is left.
    """
    main = task.metadata.main_score
    columns = _COLUMNS[task.metadata.type](task, data, predictions)
    named = [main, *(score for score in columns if score != main)]
    asked = [score for score in named if score in columns and score in figures]
    counts = metric_for(asked).counts(*_tables([columns[score] for score in asked])) if asked else np.zeros((0, 0))
    made = metric_for(asked).scores(counts) if asked else {}
    kept = tuple(score for score in asked if abs(made[score] - figures[score]) <= _TOLERANCE)
    scalars = [score for score, figure in figures.items() if isinstance(figure, int | float) and "_at_" not in score]
    left_out = tuple(score for score in dict.fromkeys([main, *scalars]) if score not in (*kept, "main_score"))
    if not kept:
        raise InputError(
            f"{name} has no score that examples add up to, only {', '.join(left_out)}",
            value=left_out,
            expected="accuracy, a correlation, nDCG, or another mean over examples",
            hint="Run it with mteb itself.",
        )
    return Scored(kept, metric_for(kept).counts(*_tables([columns[score] for score in kept])), False, left_out)


def _tables(columns: Sequence[np.ndarray]) -> tuple[list[list[float]], list[list[float]]]:
    """Two tables `(n, scores)` of columns `(n, 2)`."""
    both = np.stack(columns, axis=1)
    return both[..., 0].tolist(), both[..., 1].tolist()


def _means(values: Mapping[str, np.ndarray]) -> Columns:
    """Score → value of each example and 1, `(n, 2)`."""
    return {name: np.column_stack([column, np.ones(len(column))]) for name, column in values.items()}


def _bitext(task: Any, data: Any, predictions: Mapping[str, Any]) -> Columns:
    (found,) = predictions.values()
    chosen = np.array([one["corpus_id"] for one in found])
    gold = np.array([pair[1] for pair in data["gold"]] if "gold" in data else range(len(found)))
    size = int(max(chosen.max(), gold.max())) + 1
    times, there, right = (np.bincount(ids, minlength=size)[gold] for ids in (chosen, gold, gold[chosen == gold]))
    return _means(
        {
            "f1": ratio(2.0 * right, times + there),
            "accuracy": (chosen == gold).astype(np.float64),
            "precision": ratio(1.0 * right, times),
            "recall": ratio(1.0 * right, there),
        }
    )


def _classification(task: Any, data: Any, predictions: Sequence[Sequence[Any]]) -> Columns:
    gold = list(data[task.label_column_name])
    if any(len(drawn) != len(gold) for drawn in predictions):  # parts of it, by cross-validation
        return {}
    return _means({"accuracy": (np.array(predictions) == np.array(gold)).mean(axis=0)})


def _similarity(task: Any, data: Any, predictions: Mapping[str, Any]) -> Columns:
    columns: Columns = {}
    for similarity, key in _SIMILARITIES.items():
        for kind in ("spearman", "pearson"):
            x, y = (np.array(values, dtype=np.float64) for values in (predictions[key], data["score"]))
            ranked = (rankdata(x), rankdata(y)) if kind == "spearman" else (x, y)
            columns[f"{similarity}_{kind}" if similarity else kind] = np.column_stack(ranked)
    return columns


def _ranking(task: Any, data: Any, predictions: Mapping[str, Mapping[str, float]]) -> Columns:
    from pytrec_eval import RelevanceEvaluator

    measures = {}
    for name in dict.fromkeys([task.metadata.main_score, "ndcg_at_10", "map_at_10", "recall_at_10", "recall_at_100"]):
        if match := _RANKING.fullmatch(name):
            measures[name] = _TREC[match[1]], match[2]
    run = {
        query: {passage: score for passage, score in found.items() if not task.ignore_identical_ids or passage != query}
        for query, found in predictions.items()
    }
    judge = RelevanceEvaluator(data["relevant_docs"], {f"{measure}.{cutoff}" for measure, cutoff in measures.values()})
    judged = judge.evaluate(run).values()
    return _means(
        {
            name: np.array([query[f"{measure}_{cutoff}"] for query in judged])
            for name, (measure, cutoff) in measures.items()
        }
    )


_COLUMNS: dict[str, Callable[[Any, Any, Any], Columns]] = {
    "BitextMining": _bitext,
    "Classification": _classification,
    "STS": _similarity,
    "Retrieval": _ranking,
    "Reranking": _ranking,
}
TYPES = tuple(_COLUMNS)
"""The types of mteb's tasks that have scores that examples add up to."""

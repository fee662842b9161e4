"""Tasks and models as mteb asks them, made of a user's own files; imported only where mteb is installed."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from mteb.abstasks import AbsTaskClassification, AbsTaskRetrieval, AbsTaskSTS
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.text.bitext_mining import AbsTaskBitextMining
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder

from hf_xlt.evaluation.harness.sentence_data import BITEXT, CLASSIFICATION, RETRIEVAL, STS, Collection, Rows
from hf_xlt.evaluation.sentence_encoder import LibraryEncoder, SentenceEncoder


def _metadata(name: str, kind: str, main_score: str) -> TaskMetadata:
    """What mteb must know of a task; a model's prompts are chosen by its name and type. It never asks the language."""
    return TaskMetadata.model_validate(
        {
            "name": name,
            "type": kind,
            "main_score": main_score,
            "description": "Files of the user's.",
            "dataset": {"path": name, "revision": "local"},
            "eval_splits": ["test"],
            "eval_langs": ["mul"],
        }
    )


class _OfRows:
    """A task whose data are there when it is made."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.dataset = DatasetDict({split: Dataset.from_list(found) for split, found in rows.items()})
        self.data_loaded = True


class LocalBitextMining(_OfRows, AbsTaskBitextMining):
    """Which sentence of the second language translates one of the first."""

    metadata = _metadata(BITEXT, "BitextMining", "f1")


class LocalClassification(_OfRows, AbsTaskClassification):
    """Classes by logistic regression on the vectors of 8 examples each, drawn 10 times."""

    metadata = _metadata(CLASSIFICATION, "Classification", "accuracy")


class LocalSTS(_OfRows, AbsTaskSTS):
    """How well the similarity of vectors ranks pairs of sentences."""

    metadata = _metadata(STS, "STS", "cosine_spearman")


class LocalRetrieval(AbsTaskRetrieval):
    """Which passages answer a query."""

    metadata = _metadata(RETRIEVAL, "Retrieval", "ndcg_at_10")

    def __init__(self, collection: Collection) -> None:
        super().__init__()
        split: Any = {
            "corpus": Dataset.from_list([{"id": id_, **passage} for id_, passage in collection.corpus.items()]),
            "queries": Dataset.from_list([{"id": id_, "text": text} for id_, text in collection.queries.items()]),
            "relevant_docs": {query: dict(passages) for query, passages in collection.relevant.items()},
            "top_ranked": None,
        }
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True


_LOCAL: dict[str, Any] = {
    task.metadata.name: task for task in (LocalBitextMining, LocalClassification, LocalSTS, LocalRetrieval)
}


def local_task(name: str, data: Rows | Collection) -> Any:
    """A task of mteb's with the data that `read_task` gave for its name."""
    return _LOCAL[name](data)


class MeanPooledEncoder(AbsEncoder):
    """A plain model as mteb asks it, as it would be in sentence-transformers: without prompts, compared by cosine."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self.encoder = encoder
        self.mteb_model_meta = ModelMeta.create_empty()

    def encode(self, inputs: Iterable[Mapping[str, Any]], **asked: Any) -> np.ndarray:
        """float32 `(n, d)`."""
        return self.encoder.vectors([text for batch in inputs for text in batch["text"]]).numpy()


def as_asked(encoder: SentenceEncoder) -> Any:
    """What mteb is given for an encoder: that of sentence-transformers itself, with its prompts, where it is one."""
    return encoder.model if isinstance(encoder, LibraryEncoder) else MeanPooledEncoder(encoder)

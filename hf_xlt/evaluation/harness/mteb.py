"""Tasks of the Massive Text Embedding Benchmark (mteb), run on the sentence vectors of a checkpoint."""

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from hf_xlt.checkpoint.contents import modules
from hf_xlt.checkpoint.kind import ENCODER_DECODER, kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError, did_you_mean
from hf_xlt.evaluation.config import ModelSpec
from hf_xlt.evaluation.harness.scores import HarnessScores
from hf_xlt.evaluation.harness.sentence_data import ROLES, read_task
from hf_xlt.evaluation.harness.sentence_scores import TYPES, Correlations, metric_for, scored
from hf_xlt.evaluation.models import quiet
from hf_xlt.evaluation.sentence_encoder import sentence_encoder
from hf_xlt.evaluation.tasks.task import Outcome, TrainingFreeTask

HARNESS = "mteb"

_SPLIT, _SUBSET = "test", "default"
_NAMED = 40  # languages of a task that a message names
_ON_FILES = ", ".join(f"{HARNESS}/{name}" for name in ROLES)
logger = logging.getLogger(__name__)


class MTEBTask(TrainingFreeTask):
    """A task of mteb, by its name there, for whatever makes vectors of sentences.

    The name is one of those that mteb brings, `mteb/STSBenchmark`, where the machine has or can get their data; of a
    task with several languages, one of them, `mteb/STS17/en-de`. It is run on its split `test`, or else on the first
    that it is evaluated on. Or it is one of four whose examples come from files of the user's, by mteb's protocols:

    - `bitext`: is the translation of a sentence the nearest of all? Both sides are read by one model (`f1`).
    - `classification`: the class by logistic regression, learned from 8 texts of each class in the file `train`, which
      are drawn 10 times (`accuracy`).
    - `sts`: how the cosine of two sentences ranks them beside the scores that people gave (`cosine_spearman`).
    - `retrieval`: are the passages that answer a query the nearest (`ndcg_at_10`)?

    See `read_task` for the files. The vectors are the model's own. A sentence-transformers folder is opened by that
    library and given to mteb as it is, which then takes those of its prompts that are named like the task, like the
    type of the task, or `query` and `document`. Of any other folder they are means of the last states.

    The figures are mteb's. Scores to which examples do not add up are left out, see `scored`.

    (Muennighoff et al. 2023, "MTEB: Massive Text Embedding Benchmark", arXiv:2210.07316; Enevoldsen et al. 2025,
    "MMTEB", arXiv:2502.13595.)
    """

    headline: ClassVar[str] = ""  # the first of the scores that a run finds
    summary: ClassVar[str] = "a task of mteb"

    def __init__(self, task: str) -> None:
        self.task = task

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{HARNESS}/{self.task}"

    @property
    def roles(self) -> Mapping[str, bool]:  # type: ignore[override]
        return ROLES.get(self.task, {})

    def metric(self, labels: Sequence[str] = ()) -> HarnessScores | Correlations:
        """Scores by mteb's names for them."""
        return metric_for(labels)

    def check(self, model: ModelSpec, places: Mapping[str, str]) -> None:
        self._check_model(model)
        if self.task in ROLES:
            read_task(self.task, places)
        else:
            self._stock()

    def _check_model(self, model: ModelSpec) -> None:
        """Refuse a model that makes no vectors of sentences, and any where mteb is not installed."""
        if find_spec("mteb") is None:
            raise InputError(
                f"{self.name} needs mteb, which is not installed",
                value=self.name,
                hint='Install it with `pip install "hf-xlt[harness]"`.',
            )
        if model.languages is not None:
            raise InputError(
                f"{self.name} does not say which language a text is in",
                value=model.languages,
                expected="no languages: a TreLM reads all in its default one",
                hint="Run it without languages.",
            )
        checkpoint = Checkpoint.open(model.name, trust_remote_code=model.trust_remote_code)
        kind = kind_of(checkpoint.config)
        if kind is ENCODER_DECODER and not modules(checkpoint.folder):
            expected = f"an encoder, a decoder or a folder of sentence-transformers for {self.name}"
            raise InputError(f"{model.name} is a {kind.name}", value=kind.name, expected=expected)

    def measure(self, model: ModelSpec, places: Mapping[str, str]) -> Outcome:
        self._check_model(model)
        from hf_xlt.evaluation.harness.sentence_tasks import as_asked, local_task

        if self.task in ROLES:
            task, split, subset = local_task(self.task, read_task(self.task, places)), _SPLIT, _SUBSET
        else:
            task, split, subset = self._loaded()
        encoder = sentence_encoder(Checkpoint.open(model.name, trust_remote_code=model.trust_remote_code))
        figures, predictions = self._run(as_asked(encoder), task, split, subset)
        data = task.dataset.get(subset, task.dataset)
        found = scored(self.name, task, data[split], figures, predictions)
        if task.metadata.main_score in found.left_out:
            logger.warning("%s: %s left out, to which examples do not add up.", self.name, task.metadata.main_score)
        notes: dict[str, str | int | float] = {
            HARNESS: version("mteb"),
            "type": task.metadata.type,
            "version": task.metadata.revision,
            "split": split,
            "subset": subset,
            "pooling": encoder.pooling,
            "left out": ", ".join(found.left_out),
        }
        return Outcome(found.counts, notes, found.names)

    def _stock(self) -> tuple[Any, str, str]:
        """One of mteb's own tasks, of one language, without its data; the split and the subset to run."""
        with _quiet():
            import mteb
            from mteb import tasks

            name, _, subset = self.task.partition("/")
            try:
                task = mteb.get_task(name)
            except KeyError:
                known = [one.metadata.name for one in vars(tasks).values() if hasattr(one, "metadata")]
                raise InputError(
                    f"mteb has no task {name!r}",
                    value=name,
                    expected=f"one that `mteb available-tasks` lists, or {_ON_FILES}",
                    hint=did_you_mean(name, [*ROLES, *known]) or None,
                ) from None
            if task.metadata.type not in TYPES or task.metadata.modalities != ["text"]:
                raise InputError(
                    f"{self.name} is a task of {task.metadata.type}",
                    value=task.metadata.type,
                    expected=f"a task for texts of {', '.join(TYPES)}",
                    hint="Run it with mteb itself.",
                )
            subsets = task.metadata.hf_subsets
            if (subset or len(subsets) > 1) and subset not in subsets:
                raise InputError(
                    f"{name} has no language {subset!r}" if subset else f"{name} has {len(subsets)} languages",
                    value=subset,
                    expected=f"one of them, as {HARNESS}/{name}/{subsets[0]}",
                    hint=f"It has {', '.join(subsets[:_NAMED])}{', …' * (len(subsets) > _NAMED)}.",
                )
            chosen = subset or subsets[0]
            splits = list(task.metadata.eval_splits)
            split = _SPLIT if _SPLIT in splits else splits[0]
            task.filter_eval_splits([split])
            return task.filter_languages(None, hf_subsets=[chosen]), split, chosen

    def _loaded(self) -> tuple[Any, str, str]:
        task, split, subset = self._stock()
        try:
            with _quiet():
                task.load_data()
        except Exception as error:  # whatever asking the Hub, reading and transforming come to
            raise InputError(
                f"The data of {self.name} cannot be loaded ({type(error).__name__}: {_one_line(error)})",
                value=self.task,
                hint=f"Without a network they must be in the cache of datasets. Or give your own files to {_ON_FILES}.",
            ) from error
        return task, split, subset

    def _run(self, model: Any, task: Any, split: str, subset: str) -> tuple[Mapping[str, Any], Any]:
        """What mteb gives for a task on a split: its figures, and what it kept of each example."""
        import mteb

        with TemporaryDirectory() as folder, _quiet():
            try:
                (result,) = mteb.evaluate(
                    model, task, cache=None, co2_tracker=False, prediction_folder=folder, show_progress_bar=False
                ).task_results
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise InputError(
                    f"mteb cannot run {self.name} ({type(error).__name__}: {_one_line(error)})",
                    value=self.name,
                    hint="Check that the model and the data are fit for the task.",
                ) from error
            kept = json.loads((Path(folder) / task.prediction_file_name).read_text(encoding="utf-8"))
        (figures,) = (scores for scores in result.scores[split] if scores["hf_subset"] == subset)
        if subset in kept:
            return figures, kept[subset][split]
        return figures, {subset: kept["parallel"][split][subset]}  # of all languages in one table


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave the screen to what is ours: mteb tells how each task goes, and warns of what it calls itself."""
    with quiet(HARNESS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"mteb\.")
        yield


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].removesuffix(".")

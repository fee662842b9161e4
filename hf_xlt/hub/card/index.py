"""What was measured of a model, as the Hub reads it: the model index of a card."""

from __future__ import annotations

import math
from collections.abc import Iterable

from huggingface_hub import EvalResult

from hf_xlt.files.printable import one_line
from hf_xlt.hub.card.facts import CardFacts, Score
from hf_xlt.hub.card.public import is_local, is_repo_id, public_name

NO_REPOSITORY = "unknown"  # what the Hub calls a dataset that it does not hold
TASKS = {"encoder": "fill-mask", "decoder": "text-generation", "encoder-decoder": "text2text-generation"}


def eval_results(facts: CardFacts) -> list[EvalResult]:
    """The figures of the model itself, none of what it is compared with; what is no finite number is left out."""
    return [_eval_result(score) for score in (*_held_out(facts), *(facts.scores or ())) if math.isfinite(score.value)]


def datasets(facts: CardFacts) -> list[str]:
    """The datasets of the Hub's that the model was trained on."""
    return list(dict.fromkeys(filter(None, map(dataset_id, facts.datasets or ()))))


def dataset_id(name: str) -> str | None:
    """The Hub's id of a dataset, `id` or `id:configuration`; None for what is a file here."""
    repository = name.partition(":")[0]
    return None if is_local(name) or not is_repo_id(repository) else repository


def _held_out(facts: CardFacts) -> Iterable[Score]:
    """What the table of results says of the model: its own line's values after training."""
    own = next((row for row in facts.results if row.method == facts.method), None)
    if own is None or facts.corpus is None or not facts.corpus.name.strip():
        return
    yield Score(TASKS[facts.kind], "bits_per_byte", own.bits_per_byte, "Held-out bits per byte", facts.corpus.name)
    if own.loss is not None:
        yield Score(TASKS[facts.kind], "loss", own.loss, "Held-out loss", facts.corpus.name)
    if own.perplexity is not None:
        yield Score(TASKS[facts.kind], "perplexity", own.perplexity, "Held-out perplexity", facts.corpus.name)


def _eval_result(score: Score) -> EvalResult:
    """As the Hub takes it; it tells datasets apart by all but their names, hence a file's name is its configuration."""
    repository, name = dataset_id(score.dataset), one_line(public_name(score.dataset))
    return EvalResult(
        task_type=score.task,
        dataset_type=repository or NO_REPOSITORY,
        dataset_name=name,
        dataset_config=(score.dataset.partition(":")[2] or None) if repository else name,
        dataset_split="train" if repository else None,
        metric_type=score.metric,
        metric_name=one_line(score.name),
        metric_value=round(score.value, 4),
    )

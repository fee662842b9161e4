"""The model card: how a model came about and what it can do, rendered from plain facts."""

import json
import math
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined, Template

from hf_xlt.files.place import split_revision
from hf_xlt.files.printable import one_line, printable
from hf_xlt.hub.card.facts import HEADS, KINDS, CardFacts, ResultRow, Score, parsed
from hf_xlt.hub.card.public import is_local, is_repo_id, public_command, public_name, without_paths

# What Markdown, its tables, HTML inside it and formulas are made of; and what makes a link out of an address. An
# underscore inside a word is none of it.
_SPECIAL = re.compile(r"([\\`*\[\]<>|~#&$@]|(?<![a-z0-9])_|_(?![a-z0-9])|:(?=//)|(?<=\bwww)\.)", flags=re.IGNORECASE)
_BEGINNING = re.compile(r"([-+=]|\d+(?=[.)]))")
_TICKS = re.compile("`+")

NO_REPOSITORY = "unknown"  # what the Hub calls a dataset that it does not hold
TASKS = {"encoder": "fill-mask", "decoder": "text-generation", "encoder-decoder": "text2text-generation"}
CARD = "README.md"
TEMPLATE = Path(__file__).with_name("template.md")
LIBRARIES = ("hf-xlt", "transformers", "torch", "tokenizers", "datasets", "safetensors", "huggingface_hub")
PIPELINE_TAGS = {
    "AutoModel": "feature-extraction",
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
}


def plain(text: str) -> str:
    """One line of text."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def paragraph(text: str) -> str:
    """One line of text that begins a paragraph, and no list or heading."""
    line = plain(text)
    begins = _BEGINNING.match(line)
    if begins is None:
        return line
    return f"\\{line}" if not begins[0].isdigit() else f"{begins[0]}\\{line[begins.end() :]}"


def code(text: str) -> str:
    """Text in a code span; nothing, where there is none."""
    line = one_line(text)
    if not line.strip():
        return ""
    ticks = "`" * _fence(line, 1)
    space = " " if line[0] in "` " or line[-1] in "` " else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def block(text: str, language: str = "text") -> str:
    """Text in a fenced block, line by line."""
    lines = printable(text.replace("\r", "\n"))
    fence = "`" * _fence(lines, 3)
    return f"{fence}{language}\n{lines}\n{fence}"


def image(description: str, file: str) -> str:
    """A picture that lies beside the card."""
    return f"![{plain(description)}]({quote(file.encode(errors='replace'))})"


def _fence(text: str, least: int) -> int:
    """How many backticks hold a text that has some."""
    return max([least - 1, *(len(ticks) for ticks in _TICKS.findall(text))]) + 1


def dataset_id(name: str) -> str | None:
    """The Hub's id of a dataset, `id` or `id:configuration`; None for what is a file here."""
    repository = name.partition(":")[0]
    return None if is_local(name) or not is_repo_id(repository) else repository


def _held_out(facts: CardFacts) -> Iterable[Score]:
    """What the table of results says of the model: its own line's values after training."""
    own = next((row for row in facts.results if row.method == facts.method), None)
    if own is None or facts.corpus is None or not facts.corpus.name.strip():
        return
    for metric in ("bits_per_byte", "loss", "perplexity"):
        if (value := getattr(own, metric)) is not None:
            name = f"Held-out {metric.replace('_', ' ')}"
            yield Score(TASKS[facts.kind], metric, value, name, facts.corpus.name)


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


def installed_versions(*more: str) -> dict[str, str]:
    """Library → version of what makes a model here, Python and more included; what is not installed is left out."""
    versions = {"python": platform.python_version()}
    for library in (*LIBRARIES, *more):
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    return versions


def render_card(facts: CardFacts) -> ModelCard:
    """The model card of a set of facts; nothing is looked up on the Hub, and no fact is taken for markup."""
    content = _template().render(
        card_data=_metadata(facts).to_yaml(),
        facts=facts,
        kind=HEADS.get(facts.auto_class, KINDS[facts.kind]),
        table=_table(facts.results),
        equal_compute=any(row.equal_compute_bits_per_byte is not None for row in facts.results),
    )
    return ModelCard(content)


@cache
def _template() -> Template:
    markdown = Environment(undefined=StrictUndefined)
    markdown.filters |= {"plain": plain, "paragraph": paragraph, "code": code, "block": block, "image": image}
    markdown.filters |= {"public": public_name, "public_command": public_command, "without_paths": without_paths}
    markdown.filters |= {"public_yaml": _public_yaml, "python_string": _python_string, "one_line": one_line}
    return markdown.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _metadata(facts: CardFacts) -> ModelCardData:
    """What the Hub reads: it finds the model by this, links its source and datasets, and shows its figures."""
    base_model = None if facts.base_model is None else split_revision(facts.base_model)[0]
    on_hub = base_model is not None and not is_local(base_model) and is_repo_id(base_model)
    languages = [language.replace("_", "-") for language in facts.languages or ()]
    scores = (*_held_out(facts), *(facts.scores or ()))  # of the model itself, none of what it is compared with
    results = [_eval_result(score) for score in scores if math.isfinite(score.value)]
    method = re.sub(r"[^a-z0-9]+", "-", facts.method.lower()).strip("-")
    transfer = "cross-lingual-transfer" if facts.base_model else ""
    return ModelCardData(
        base_model=base_model if on_hub else None,
        base_model_relation="finetune" if on_hub else None,
        language=languages[0] if len(languages) == 1 else languages or None,
        license=facts.license,
        license_name=None if facts.license_name is None else one_line(facts.license_name),
        library_name=facts.library_name,
        pipeline_tag=facts.pipeline_tag or PIPELINE_TAGS.get(facts.auto_class),
        tags=[tag for tag in ("hf-xlt", transfer, method) if tag],
        datasets=list(dict.fromkeys(filter(None, map(dataset_id, facts.datasets or ())))) or None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=one_line(public_name(facts.title)) if results else None,
        eval_results=results or None,
    )


def write_card(folder: str | Path, facts: CardFacts) -> Path:
    """Write the model card of a set of facts into a folder, over the one that is there, and return its path."""
    path = Path(folder) / CARD
    render_card(facts).save(path)
    return path


def _python_string(text: str) -> str:
    """A literal of the text; what is not to be shown as it is stays escaped."""
    return json.dumps(text, ensure_ascii=printable(text) != text)


def _public_yaml(recipe: str) -> str:
    return yaml.safe_dump(without_paths(parsed(recipe)), sort_keys=False, allow_unicode=True).strip()


def _table(results: tuple[ResultRow, ...]) -> list[list[str]]:
    """Header and cells; a column that nobody has a value for is left out."""
    baselines = dict.fromkeys(baseline for row in results for baseline in row.steps_saved)
    columns = {
        "method": [row.method for row in results],
        "seeds": [str(row.seeds) for row in results],
        "bits/byte at the start": [_cell(row.start_bits_per_byte) for row in results],
        "bits/byte": [_cell(row.bits_per_byte) for row in results],
        "bits/byte at equal compute": [_cell(row.equal_compute_bits_per_byte) for row in results],
        "loss": [_cell(row.loss) for row in results],
        "perplexity": [_cell(row.perplexity, ",.1f") for row in results],
        **{f"steps saved against {name}": [_saved_cell(row, name) for row in results] for name in baselines},
    }
    filled = [[head, *cells] for head, cells in columns.items() if any(cells)]
    return [[plain(cell) or "–" for cell in line] for line in zip(*filled, strict=True)]


def _cell(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)


def _saved_cell(row: ResultRow, baseline: str) -> str:
    share = row.steps_saved.get(baseline)
    never_reached = "not reached" if baseline in row.steps_saved else ""
    return never_reached if share is None else f"{share:.0%}"

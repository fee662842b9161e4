"""One cell of a study: train its model or models, measure them, and keep the figures as one JSON file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, cast

from pydantic import TypeAdapter

from hf_xlt.evaluation.config import EvaluationConfig, ModelSpec
from hf_xlt.evaluation.evaluate import evaluate_model
from hf_xlt.evaluation.structure import Structure, structure
from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.folders import write_whole
from hf_xlt.recipes import Data, Recipe
from hf_xlt.recipes.recipe import MultilingualOptions
from hf_xlt.runs import Results, run_recipe
from hf_xlt.runs.kinds.multilingual import MODEL_TYPE
from hf_xlt.study.study import EVERYTHING, Cell, Study, own_parts

COMMAND = "hf-xlt study"


@dataclass(frozen=True)
class CellResult:
    """What was measured of a cell."""

    cell: Cell
    bits_per_byte: Mapping[str, float]  # language → held-out bits per byte after training
    structure: Structure  # the states of translations, layer by layer, before and after alignment
    # share of the second language's words whose part of speech is told, learned in the first; None where it was not
    # measured
    transfer: float | None
    learned: float | None  # the same of the first language's development sentences
    seconds: float

    def __repr__(self) -> str:
        bits = ", ".join(f"{language} {bits:.3f}" for language, bits in self.bits_per_byte.items())
        return f"CellResult({self.cell.name}: bits per byte {bits})"

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return TypeAdapter(cls).validate_json(path.read_text(encoding="utf-8"))


def measure_cell(study: Study, cell: Cell, tokenizer: Path, folder: Path) -> CellResult:
    """Train what a cell asks for and measure it; a killed call goes on where it stopped."""
    begun = time.monotonic()
    bits: dict[str, float] = {}
    models = []
    for number, recipe in enumerate(recipes_of(study, cell, tokenizer)):
        output = folder / f"model-{number}"
        models.append(str(output))
        if not output.exists():
            run_recipe(recipe, output, COMMAND)
        measured = Results.load(output / "results.json").runs[0].languages
        bits |= {point.language: point.bits_per_byte for point in measured}  # of several of a language the last counts
    found = structure(
        models[0],
        models[-1],
        read_parallel(str(study.parallel)).pairs,
        languages=study.languages,
        sentences=study.sentences,
        words=study.words,
    )
    transfer, learned = zero_shot(study, models[0], cell.seed) if len(models) == 1 else (None, None)
    return CellResult(cell, bits, found, transfer, learned, time.monotonic() - begun)


def recipes_of(study: Study, cell: Cell, tokenizer: Path) -> tuple[Recipe, ...]:
    """How a cell's model is trained; where languages share nothing, one model each, with seeds of their own."""
    places: dict[str, str | None] = dict(study.corpora)
    if cell.domain == "different":
        places[study.languages[1]] = study.other_domain
    if cell.private == EVERYTHING:
        return tuple(
            _recipe(study, cell, tokenizer, {language: place}, seed=2 * cell.seed + number)
            for number, (language, place) in enumerate(places.items())
        )
    return (_recipe(study, cell, tokenizer, places, cell.seed),)


def zero_shot(study: Study, model: str, seed: int) -> tuple[float | None, float | None]:
    """Accuracy of parts of speech, learned in the first language: in the second, and on development in the first."""
    if not study.tagging:
        return None, None
    config = EvaluationConfig(True, (seed,), study.budget)
    (result,) = evaluate_model(ModelSpec(model, languages=study.languages), ["upos"], {"upos": study.tagging}, config)
    return result.mean(), float(result.runs[0].notes["dev"])


def _recipe(study: Study, cell: Cell, tokenizer: Path, places: Mapping[str, Any], seed: int) -> Recipe:
    embeddings, layers = own_parts(cell.private)
    sharing = {"separate_embeddings": embeddings, "language_specific_layers": layers}
    anchors = cell.anchors if len(places) == 2 else "default"
    data = Data(
        corpora=places,
        held_out_corpora={language: place for language, place in study.held_out.items() if language in places},
        dictionary=study.dictionary if anchors == "extra" else None,
        held_out_every=study.held_out_every,
        held_out_lines=study.held_out_lines,
        max_sequences=study.max_sequences,
    )
    return Recipe(
        name=cell.name,
        model={"model_type": MODEL_TYPE, **study.model, **sharing},
        multilingual=MultilingualOptions(
            alpha=study.alpha,
            pair_share=0.0,
            anchors=cast(Any, anchors),  # checked by the study
            anchor_probability=study.anchor_probability,
        ),
        target_tokenizer=str(tokenizer),
        data=data,
        stages=(study.training,),
        seeds=(seed,),
    )

"""A model of many languages: monolingual first and then multilingual, or multilingual throughout.

After "Cross-lingual language model meta-pretraining" (2021, arXiv:2109.11129): phase 1 learns from one language with
the vocabulary of all of them, phase 2 from all of them; the baseline spends the whole budget on all of them.
"""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.data.anchors import SeparateIds, TokenIds, token_ids
from hf_xlt.hub.card import CardTable, Score
from hf_xlt.recipes.recipe import MultilingualOptions, NewTokenizer, Recipe
from hf_xlt.recipes.settings import SettingError, one_of
from hf_xlt.recipes.stage import Stage
from hf_xlt.report.pictures import plot_learning_curves
from hf_xlt.runs.comparison import Comparison, Variant, seeded
from hf_xlt.runs.kinds.kind import CURVES_FILE, Kind
from hf_xlt.runs.kinds.new_model import check_family
from hf_xlt.runs.kinds.trelm import refused_as_input, trelm_from_scratch
from hf_xlt.runs.languages import languages_of, languages_text, read_languages
from hf_xlt.runs.measured import final_bits, language_tables, plot_trade_off
from hf_xlt.runs.results import BASELINES, FROM_SCRATCH, ONE_PHASE, Results
from hf_xlt.runs.text import Text
from hf_xlt.trelm import TreLMConfig, TreLMForMaskedLM
from hf_xlt.trelm.modeling_trelm import name_of

IN_PHASES = "in phases"
CONTINUED = "continued"
MODEL_TYPE = "trelm"
TRADE_OFF_FILE = "trade_off.png"
ROLES = ("pad", "bos", "eos", "cls", "sep", "mask")
TABLES = ("trelm.embeddings.word_embeddings.weight", "decoder.weight", "decoder.bias")


class Multilingual(Kind):
    """A new model of many languages; when comparing, the same budget in one phase."""

    name = "multilingual"
    variants: ClassVar[tuple[str, ...]] = (IN_PHASES, ONE_PHASE)
    default_tokenizer = NewTokenizer(family="wordpiece", vocab_size=16_000)
    uses = frozenset(
        {"source", "model", "tokenizer", "target_tokenizer", "multilingual", "data.corpora", "data.held_out_corpora"}
    ) | {"data.parallel", "data.translations", "data.dictionary"}
    has_parts = True
    brings_code = True

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.multilingual is not None and recipe.source is None

    @property
    def options(self) -> MultilingualOptions:
        return self.recipe.multilingual or MultilingualOptions()

    def check(self, *, compare: bool) -> None:
        super().check(compare=compare)
        check_family(self.recipe)
        if self.recipe.data.dictionary is not None and self.options.anchors != "extra":
            hint = "Set multilingual.anchors to extra."
            raise SettingError("data.dictionary", "has no effect without extra anchors", hint=hint)
        if self.recipe.source is None and self.recipe.model is None:
            raise SettingError("model", "is missing", expected="a model_type, trelm, and its fields; or a source")
        if compare and self.recipe.source is None:
            one_phase(self.recipe)

    def check_stage(self, key: str, stage: Stage) -> None:
        super().check_stage(key, stage)
        one_of(f"{key}.objective", stage.objective, ("auto", "mlm"))
        if stage.combine is not None:
            raise SettingError(f"{key}.combine", "is for a TreLM of two languages", hint="Leave it out.")

    def check_inputs(self) -> None:
        super().check_inputs()
        for stage in self.recipe.stages:
            languages_of(stage, tuple(self.inputs.splits))

    def shape(self, rows: int) -> TreLMConfig:
        return self._config({"vocab_size": rows})

    def variant_names(self, *, compare: bool) -> tuple[str, ...]:
        in_phases = self.recipe.source is not None or any(stage.languages for stage in self.recipe.stages)
        return super().variant_names(compare=compare) if in_phases else (ONE_PHASE,)

    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        tokenizer = self.inputs.target_tokenizer
        if tokenizer is None:
            lines = languages_text(self.inputs).smoothed_lines()
            tokenizer = self.inputs.trained_tokenizer(self.default_tokenizer, lines, work / "tokenizer")
        ids, config = self.ids(tokenizer), self.config(tokenizer)
        self.check_model(config)
        start = trelm_from_scratch(config).start
        own, *baseline = self.variant_names(compare=compare)
        variants = [Variant(own, start), *(Variant(name, start, stages=(one_phase(self.recipe),)) for name in baseline)]

        def own_tables(model: PreTrainedModel) -> PreTrainedModel:
            return with_own_tables(cast(TreLMForMaskedLM, model), cast(SeparateIds, ids), tokenizer)

        published = own_tables if isinstance(ids, SeparateIds) else None  # which reads the tokenizer's ids
        source_tokenizer = tokenizer if published or config.separate_embeddings else None
        return Comparison(tokenizer, config, tuple(variants), source_tokenizer, published)

    def text(self, comparison: Comparison, work: Path) -> Text:
        return read_languages(self.inputs, comparison, self.ids(comparison.tokenizer), work / "packed")

    def config(self, tokenizer: PreTrainedTokenizerBase) -> TreLMConfig:
        """The configuration of the new model, its vocabulary and special ids those of a tokenizer."""
        return self._config(vocabulary_of(tokenizer, self.ids(tokenizer).vocab_size))

    def ids(self, tokenizer: PreTrainedTokenizerBase) -> TokenIds:
        """The ids that the model reads; with separate embeddings those of the tokenizer, whatever the anchors."""
        apart = bool((self.recipe.model or {}).get("separate_embeddings"))
        return token_ids("default" if apart else self.options.anchors, tokenizer, tuple(self.recipe.data.corpora))

    def check_model(self, config: TreLMConfig) -> None:
        """Refuse parts that the model does not have, and rows of two languages where layers are of one."""
        with torch.device("meta"):
            self.check_parts(tuple(TreLMForMaskedLM(config).parts()))
        if config.own_layers and self.inputs.translations and self.options.pair_share:
            raise SettingError(
                "multilingual.pair_share",
                "is for translation pairs, whose rows are of two languages at once",
                value=self.options.pair_share,
                expected="0 with language_specific_layers, which need rows of one",
                hint="The pairs then serve retrieval alone.",
            )

    def _config(self, vocabulary: dict[str, Any]) -> TreLMConfig:
        """The configuration of the new model, its languages those of the text."""
        given: dict[str, Any] = dict(self.recipe.model or {})
        one_of("model.model_type", given.pop("model_type", None), (MODEL_TYPE,))
        known = tuple(field.name for field in fields(TreLMConfig))
        for name in given:
            one_of("model: field", name, known)
        languages = list(self.recipe.data.corpora)
        if given.get("separate_embeddings"):
            given["other_vocabularies"] = dict.fromkeys(languages[:-1], vocabulary)
        try:
            return TreLMConfig(**vocabulary, languages=languages, **given)
        except (ValueError, TypeError, StrictDataclassError) as error:
            reason = " ".join(str(error).split())
            raise SettingError("model", f"makes no {MODEL_TYPE!r} model: {reason}", value=given) from error

    def draw(self, results: Results, folder: Path) -> dict[str, str]:
        plot_learning_curves(results.by_method, BASELINES, "Learning curves, all languages", folder / CURVES_FILE)
        plot_trade_off(results, folder / TRADE_OFF_FILE)
        return {"Learning curves": CURVES_FILE, "What other languages cost the first": TRADE_OFF_FILE}

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.recipe.data.corpora)

    @property
    def trained_on(self) -> tuple[str, ...]:
        return tuple(self.recipe.data.corpora.values())

    def tables(self, results: Results) -> tuple[CardTable, ...]:
        return (*language_tables(results), *super().tables(results))

    def scores(self, results: Results) -> Iterator[Score]:
        """The quality in each language after training is a mean over seeds."""
        data, bits = self.recipe.data, list(map(final_bits, results.kept))
        for language in bits[0]:
            place = data.held_out_corpora.get(language, data.corpora[language])
            mean = fmean(found[language] for found in bits)
            yield Score("fill-mask", "bits_per_byte", mean, f"Held-out bits per byte ({language})", place)
        yield from super().scores(results)


def one_phase(recipe: Recipe) -> Stage:
    """All stages as one, on all languages: as many examples, with the last stage's hyperparameters.

    Stages with batches of different sizes are refused, as equal steps would not be an equal budget.
    """
    sizes = [stage.batch_size for stage in recipe.stages]
    if len(set(sizes)) != 1:
        expected = "equal numbers, to compare with one phase"
        raise SettingError("stages", f"have {sizes} sequences a step", value=sizes, expected=expected)
    return recipe.stages[-1].replace(
        name="all",
        languages=(),
        starts_from=None,
        max_steps=recipe.total_steps,
        evaluations=sum(stage.evaluations for stage in recipe.stages),
        checkpoints=sum(stage.checkpoints for stage in recipe.stages),
    )


class Continued(Multilingual):
    """A source that has been through phase 1, trained on in many languages; beside it one from scratch."""

    name = "multilingual_continued"
    variants = (CONTINUED, FROM_SCRATCH)

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.multilingual is not None and recipe.source is not None

    @classmethod
    def resolved(cls, recipe: Recipe) -> Recipe:
        """Without the model and the stages that the source stands for."""
        stages = tuple(stage for stage in recipe.stages if stage.languages != ("source",))
        return recipe.replace(model=None, tokenizer=None, stages=stages)

    def check(self, *, compare: bool) -> None:
        super().check(compare=compare)
        one_of("multilingual.anchors with a source", self.options.anchors, ("default", "extra"))

    def rows(self) -> int:
        """The source keeps its vocabulary."""
        return self.inputs.source.vocab_size

    def shape(self, rows: int) -> TreLMConfig:
        return self._model().config

    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        config = self._model().config
        config.dtype = self.inputs.source.config.dtype
        self.check_model(config)
        baselines = (trelm_from_scratch(config),) if compare else ()
        return Comparison(self.inputs.source.tokenizer(), config, (Variant(CONTINUED, seeded(self._model)), *baselines))

    def _model(self) -> TreLMForMaskedLM:
        folder, languages = str(self.inputs.source.folder), list(self.recipe.data.corpora)
        with refused_as_input(self.recipe.source):
            return TreLMForMaskedLM.from_encoder(folder, languages=languages, tri_layer_index=None, dtype=torch.float32)


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, size: int) -> dict[str, int | None]:
    """Size and special ids of a vocabulary, by their names in `TreLMConfig`."""
    return {"vocab_size": size} | {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ROLES}


def with_own_tables(model: TreLMForMaskedLM, ids: SeparateIds, tokenizer: PreTrainedTokenizerBase) -> TreLMForMaskedLM:
    """The model, of one table of `ids.vocab_size` rows, reading every language in the ids of the joint tokenizer.

    Its states are the same; its predictions are over the tokens of a text's own language alone.
    """
    fields: dict[str, Any] = model.config.to_dict()
    languages, own = fields["languages"], vocabulary_of(tokenizer, ids.tokens)
    others = [language for language in languages if language != fields["default_language"]]
    apart = {"separate_embeddings": True, "other_vocabularies": dict.fromkeys(others, own)}
    made = TreLMForMaskedLM(TreLMConfig.from_dict(fields | own | apart))
    state: dict[str, torch.Tensor] = dict(model.state_dict())
    tables = {name: state.pop(name) for name in TABLES}
    joint = torch.arange(ids.tokens)[None]
    for number, language in enumerate(languages):
        rows = ids.of_languages(joint, torch.tensor([number]))[0]
        state |= {name_of(name, language): table[rows.to(table.device)] for name, table in tables.items()}
    made.load_state_dict(state)
    return made

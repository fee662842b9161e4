"""A transfer to one language: the source's body with rows that an initializer makes for the target tokenizer.

When comparing, four baselines are beside it. *Source tokenizer* is what one does without any transfer: the source
trained on as it is, on the same text by its own tokenizer, in as many steps as reading the same bytes takes. *Resized
rows* are what transformers gives new tokens by default, *random rows* are drawn like the source's, and *from scratch*
leaves nothing of the source but its architecture.
"""

import logging
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from hf_xlt.checkpoint.kind import DECODER, kind_of
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.evaluation.economy import unknown_share
from hf_xlt.evidence.vectors import check_gensim
from hf_xlt.hub.card import CardTable
from hf_xlt.initializers import METHODS
from hf_xlt.initializers.base import Initializer
from hf_xlt.initializers.baselines import RandomInitializer, ResizedInitializer
from hf_xlt.initializers.registry import (
    AUTO,
    candidates,
    check_initializer,
    initializer,
    parameters,
    used_evidence,
)
from hf_xlt.recipes.recipe import SOURCE_FAMILY, NewTokenizer, Recipe
from hf_xlt.recipes.settings import SettingError, one_of
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison, Variant, from_scratch, initialized, unchanged
from hf_xlt.runs.kinds.kind import Kind
from hf_xlt.runs.measured import probe_tables, source_tables
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS, SOURCE_TOKENIZER, Results
from hf_xlt.runs.snippets import snippet_text
from hf_xlt.runs.text import Text, packed_text, replayed_text
from hf_xlt.runs.vectors import VECTORS_FILE, trained_vectors
from hf_xlt.tokenizers.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

MOST_UNKNOWN = 0.5  # share of unknown tokens with which a source tokenizer is still compared
# The method that, without a file of vectors, gets those of the target's tokens in the corpus, and how they are trained.
LEARNS_VECTORS = "focus"
WIDTH = 100
EPOCHS = 3
# The evidence that may be given to a method → what of a recipe gives it.
EVIDENCE = {
    "helper": "helper",
    "donor": "donor",
    "parallel": "data.parallel",
    "dictionary": "data.dictionary",
    "vectors": "data.vectors",
    "source_vectors": "data.source_vectors",
    "source_corpus": "data.source_corpus",
}
# The evidence that a run opens itself → what of its inputs that is.
OPENED = {"source": "source", "tokenizer": "target_tokenizer", "dictionary": "dictionary", "parallel": "pairs"}


class Transfer(Kind):
    """A transfer; when comparing, the recipe's alternatives and the baselines beside it."""

    name = "transfer"
    replays = True
    reads = frozenset({"text", "snippets"})
    baselines: ClassVar[tuple[str, ...]] = (SOURCE_TOKENIZER, RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH)
    default_tokenizer = NewTokenizer(family=SOURCE_FAMILY)
    uses = frozenset(
        {"source", "target_tokenizer", "initializer", "alternatives", "tokenizer", "calibrate", "data.corpus"}
        | {"data.held_out", "probe"}
    ) | set(EVIDENCE.values())

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.initializer is not None

    @classmethod
    def resolved(cls, recipe: Recipe) -> Recipe:
        """With the methods that the evidence allows in the place of `auto`; without a probe, the first of them.

        Where it allows one alone, there is nothing to probe.
        """
        if recipe.initializer is None or recipe.initializer["method"] != AUTO:
            return recipe
        if recipe.alternatives:
            hint = "Leave them out, or name a method instead of auto."
            raise SettingError("alternatives", "are found by auto", value=recipe.alternatives, hint=hint)
        given = {name: attrgetter(key)(recipe) for name, key in EVIDENCE.items()} | {"tokenizer": SOURCE_FAMILY}
        options = {name: value for name, value in recipe.initializer.items() if name != "method"}
        first, *others = ({"method": method, **options} for method in candidates(given))
        alternatives = others if recipe.probe else ()
        return recipe.replace(initializer=first, alternatives=alternatives, probe=recipe.probe if others else 0)

    def check(self, *, compare: bool) -> None:
        super().check(compare=compare)
        if self.recipe.initializer is None:
            raise SettingError("initializer", "is missing", expected="a method, e.g. clp")
        if self.recipe.probe and not self.recipe.alternatives:
            expected = "alternatives, or the method auto"
            raise SettingError("probe", "has one initializer only", value=self.recipe.probe, expected=expected)
        for method in self.recipe.methods:
            one_of("initializer.method", method, tuple(METHODS))
        if self._replays_text and self.recipe.data.source_corpus is None:
            expected = "text of the source language, which a stage replays"
            raise SettingError("data.source_corpus", "is missing", expected=expected)
        new = self.recipe.tokenizer
        if new is not None and new.added and not self.trains_tokenizer:
            hint = "Leave it out where there is a target_tokenizer, a helper or a donor."
            raise SettingError("tokenizer.added", "extends the source's tokenizer", value=new.added, hint=hint)
        for evidence, key in EVIDENCE.items():
            value = attrgetter(key)(self.recipe)
            if value is not None and not self.heeds(evidence):
                methods = ", ".join(self.recipe.methods)
                raise SettingError(key, f"has no effect with {methods}", value=value, hint="Leave it out.")

    def check_stage(self, key: str, stage: Stage) -> None:
        super().check_stage(key, stage)
        new, named = self.recipe.tokenizer, self.recipe.target_tokenizer
        if stage.distils_tokens and named is None and not (new and new.added):
            problem = "teaches new tokens what the source makes of its own"
            hint = "Set tokenizer.added, or name an extended tokenizer as target_tokenizer."
            expected = "a tokenizer that extends the source's"
            raise SettingError(f"{key}.objective", problem, value=stage.objective, expected=expected, hint=hint)

    def heeds(self, evidence: str) -> bool:
        """Whether a piece of evidence has an effect: a method uses it, or it tells the target tokenizer."""
        if evidence == "source_vectors" and self.recipe.data.vectors is None:
            return False  # they are led to the target's
        if evidence in ("helper", "donor") and self.recipe.target_tokenizer is None:
            return True
        if evidence == "dictionary" and self.trains_tokenizer:
            return True  # which learns its words
        if evidence == "source_corpus" and self._replays_text:
            return True
        return any(evidence in parameters(method) for method in self.recipe.methods)

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the target tokenizer is trained, as there is none yet."""
        return not (self.recipe.target_tokenizer or self.recipe.helper or self.recipe.donor)

    @property
    def calibrates(self) -> bool:
        """Whether the output heads of its initializers are calibrated before training."""
        if "calibrate" not in self.uses or self.recipe.calibrate is False:
            return False
        return bool(self.recipe.calibrate) or kind_of(self.inputs.source.config) == DECODER

    @property
    def _distilling(self) -> list[tuple[str, Stage]]:
        """The stages that distil new tokens, and where they stand in the recipe."""
        return [(f"stages.{i}", stage) for i, stage in enumerate(self.recipe.stages) if stage.distils_tokens]

    @property
    def _replays_text(self) -> bool:
        return any(stage.replay and not stage.distils for stage in self.recipe.stages)

    def text(self, comparison: Comparison, work: Path) -> Text:
        made = replayed_text if self._replays_text else packed_text
        packed = made(self.inputs, comparison.tokenizer, work / "packed")
        if not self._distilling or not extends(comparison.tokenizer, self.inputs.source_tokenizer):
            return packed
        return snippet_text(self.inputs, packed, work / "snippets")

    def tables(self, results: Results) -> tuple[CardTable, ...]:
        return (*probe_tables(results), *super().tables(results), *source_tables(results))

    def check_inputs(self) -> None:
        self.inputs.split  # noqa: B018  opened
        self._check_initializer(self.recipe.initializer or {})
        super().check_inputs()
        for key, stage in self._distilling:
            self._check_distilling(key, stage)

    def _check_distilling(self, key: str, stage: Stage) -> None:
        """Refuse a stage that distils new tokens where there are none, or no decoder of so many layers."""
        source, target = self.inputs.source, self.inputs.target_tokenizer
        if target is not None and not extends(target, self.inputs.source_tokenizer):
            problem, expected = f"does not extend that of {source.name}", "one made by `hf-xlt tokenizer --extend`"
            raise SettingError("target_tokenizer", problem, value=self.recipe.target_tokenizer, expected=expected)
        if (kind := kind_of(source.config)) is not DECODER:
            expected = f"a decoder, whose new tokens {stage.objective} can distil"
            raise InputError(f"{source.name} is of the kind {kind.name}", value=kind.name, expected=expected)
        layers = source.config.get_text_config().num_hidden_layers
        if abs(stage.layer) > layers:
            expected = f"at most {layers}, as many as {source.name} has"
            raise SettingError(f"{key}.layer", value=stage.layer, expected=expected)

    def shape(self, rows: int) -> PreTrainedConfig:
        config = copy(self.inputs.source.config)
        config.vocab_size = rows
        return config

    def size(self) -> int:
        """Without a target tokenizer it is the helper's or the donor's."""
        model = self.recipe.helper or self.recipe.donor
        if self.recipe.target_tokenizer is None and model is not None:
            return len(open_tokenizer(model, trust_remote_code=self.recipe.trusts_code))
        return super().size()

    def variant_names(self, *, compare: bool) -> tuple[str, ...]:
        if not compare:
            return self.recipe.methods if self.recipe.probe else self.recipe.methods[:1]
        return (*self.recipe.methods, *self.baselines)

    def own_rows(self, variant_name: str) -> int | None:
        return self.inputs.source.vocab_size if variant_name == SOURCE_TOKENIZER else None

    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        methods = [self.recipe.initializer or {}, *(self.recipe.alternatives if compare or self.recipe.probe else ())]
        for options in methods:
            self._check_initializer(options)
        if self.recipe.data.vectors is None and any(map(learns_vectors, methods)):
            check_gensim()
        evidence = self.evidence
        if self.trains_tokenizer:
            lines, folder = self.inputs.tokenizer_lines(), work / "tokenizer"
            evidence["tokenizer"] = self.inputs.trained_tokenizer(self.default_tokenizer, lines, folder)
        initializers = [self._initializer(options, evidence, work) for options in methods]
        first = initializers[0]
        if compare:
            padding = first.pad_to_multiple_of
            initializers += [
                made(first.source, first.tokenizer, pad_to_multiple_of=padding)
                for made in (ResizedInitializer, RandomInitializer)
            ]
        check_comparable(initializers)
        config = first.target_config()
        variants = [
            initialized(
                made.label,
                made,
                work / "transports" / f"{number}.safetensors",
                calibrated=self.calibrates and number < len(methods),
            )
            for number, made in enumerate(initializers)
        ]
        if compare:
            if SOURCE_TOKENIZER in self.baselines:
                variants[len(methods) : len(methods)] = map(self._without_new_tokens, self._source_as_it_is())
            variants.append(self._without_new_tokens(from_scratch(config)))
        return Comparison(first.tokenizer, config, tuple(variants))

    def _source_as_it_is(self) -> list[Variant]:
        """The source with its own tokenizer; left out where it cannot read the language, with a warning."""
        unknown = unknown_share(self.inputs.split.held_out_lines(), self.inputs.source_tokenizer)
        if unknown > MOST_UNKNOWN:
            logger.warning(
                f"The baseline {SOURCE_TOKENIZER!r} is left out: {unknown:.0%} of what the source's tokenizer makes of "
                "the validation lines are unknown tokens, so bits per byte would say nothing."
            )
            return []
        return [unchanged(SOURCE_TOKENIZER, self.inputs.source)]

    def _without_new_tokens(self, variant: Variant) -> Variant:
        """A variant that has nothing to distil from: its stages model language in the place of it."""
        return replace(variant, stages=tuple(stage.of_any_tokenizer for stage in self.recipe.stages))

    @property
    def named(self) -> dict[str, Any]:
        """The evidence that the recipe gives its methods, by name; of a tokenizer that is to be trained, nothing."""
        keys = EVIDENCE | {"source": "source", "tokenizer": "target_tokenizer", "corpus": "data.corpus"}
        named = {name: attrgetter(key)(self.recipe) for name, key in keys.items()}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def evidence(self) -> dict[str, Any]:
        """The same, what a run has open already in the place of its name."""
        named = self.named
        return named | {name: getattr(self.inputs, opened) for name, opened in OPENED.items() if name in named}

    def _check_initializer(self, options: Mapping[str, Any]) -> None:
        """Refuse an initializer that lacks evidence or an option that it does not have, before anything is learned."""
        learned = ("vectors",) if learns_vectors(options) else ()
        check_initializer(options["method"], self._arguments(options, self.named), ("tokenizer", *learned))

    def _arguments(self, options: Mapping[str, Any], evidence: Mapping[str, Any]) -> dict[str, Any]:
        """What an initializer is built of."""
        own = {name: value for name, value in options.items() if name != "method"}
        used = used_evidence(options["method"], evidence)
        return {"trust_remote_code": self.recipe.trusts_code} | used | own

    def _initializer(self, options: Mapping[str, Any], evidence: Mapping[str, Any], work: Path) -> Initializer:
        """An initializer, with vectors trained on the corpus where it needs them and there are none."""
        given = self._arguments(options, evidence)
        if learns_vectors(options) and "vectors" not in given:
            tokenizer = open_tokenizer(given["tokenizer"], trust_remote_code=self.recipe.trusts_code)
            given["vectors"] = trained_vectors(self.inputs, tokenizer, WIDTH, EPOCHS, work / VECTORS_FILE)
        return initializer(options["method"], **given)


def extends(tokenizer: PreTrainedTokenizerBase, source_tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer has all of the source's tokens, ids included, and more."""
    return Vocabulary.of(tokenizer).extends(Vocabulary.of(source_tokenizer))


def learns_vectors(options: Mapping[str, Any]) -> bool:
    """Whether the corpus can take the place of a file of vectors."""
    return options["method"] == LEARNS_VECTORS


def check_comparable(initializers: Sequence[Initializer]) -> None:
    """Refuse variants that go by one name, or that would not be measured on the same tokens."""
    labels = [initializer.label for initializer in initializers]
    if twice := [label for place, label in enumerate(labels) if label in labels[:place]]:
        raise SettingError("alternatives", f"hold {twice[0]!r} twice", value=twice[0], hint="Leave one of them out.")
    first, *others = initializers
    for other in others:
        if other.target_vocabulary.names != first.target_vocabulary.names:
            problem = f"{first.label} and {other.label} make models with different tokenizers"
            hint = "Name its folder as target_tokenizer, or compare with other alternatives."
            raise InputError(problem, expected="initializers with the same", hint=hint)
        if other.target_size != first.target_size:
            problem = f"{first.label} and {other.label} make tables of {first.target_size} and {other.target_size} rows"
            hint = "Give both the same pad_to_multiple_of, or neither."
            raise InputError(problem, value=other.target_size, expected=str(first.target_size), hint=hint)

"""A transfer to one language: the source's body with rows that an initializer makes for the target tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from hf_xlt.checkpoint import open_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import check_gensim
from hf_xlt.initializers import METHODS, Evidence, Initializer, RandomInitializer, check_initializer, initializer_for
from hf_xlt.recipes.recipe import SOURCE_FAMILY, NewTokenizer, Recipe
from hf_xlt.recipes.settings import SettingError, one_of
from hf_xlt.runs.comparison import Comparison, from_scratch, initialized
from hf_xlt.runs.kinds.kind import Kind
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS
from hf_xlt.runs.text import Text, packed_text
from hf_xlt.runs.vectors import VECTORS_FILE, trained_vectors

# The method that, without a file of vectors, gets those of the target's tokens in the corpus, and how they are trained.
LEARNS_VECTORS = "focus"
WIDTH = 100
EPOCHS = 3
# Part of a recipe → the evidence that it gives a method.
EVIDENCE = {
    "helper": "helper",
    "donor": "donor",
    "data.parallel": "parallel",
    "data.dictionary": "dictionary",
    "data.vectors": "vectors",
    "data.source_vectors": "source_vectors",
    "data.source_corpus": "source_corpus",
}


class Transfer(Kind):
    """A transfer; when comparing, the recipe's alternatives, random rows and a model from scratch beside it."""

    name = "transfer"
    default_tokenizer = NewTokenizer(family=SOURCE_FAMILY)
    uses = (
        frozenset(
            {"source", "target_tokenizer", "initializer", "alternatives", "tokenizer", "data.corpus", "data.held_out"}
        )
        | EVIDENCE.keys()
    )

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        """It has an initializer, and stages of language modeling alone."""
        return recipe.initializer is not None

    def check(self, *, compare: bool) -> None:
        """See `Kind.check`."""
        super().check(compare=compare)
        if self.recipe.initializer is None:
            raise SettingError("initializer", "is missing", expected="a method, e.g. clp")
        for method in self.recipe.methods:
            one_of("initializer.method", method, tuple(METHODS))
        self._check_tokenizer()
        for key, evidence in EVIDENCE.items():
            part = self.recipe.data if key.startswith("data.") else self.recipe
            value = getattr(part, key.removeprefix("data."))
            if value is not None and not self.heeds(evidence):
                methods = ", ".join(self.recipe.methods)
                raise SettingError(key, f"has no effect with {methods}", value=value, hint="Leave it out.")

    def heeds(self, evidence: str) -> bool:
        """Whether a piece of evidence has an effect: a method uses it, or it tells the target tokenizer."""
        if evidence == "source_vectors" and self.recipe.data.vectors is None:
            return False  # they are led to the target's
        if evidence in ("helper", "donor") and self.recipe.target_tokenizer is None:
            return True
        if evidence == "dictionary" and self.trains_tokenizer:
            return True  # which learns its words
        methods = [METHODS[method] for method in self.recipe.methods]
        return any(evidence in (*method.needs, *method.needs_one_of, *method.may_use) for method in methods)

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the target tokenizer is trained, as there is none yet."""
        return not (self.recipe.target_tokenizer or self.recipe.helper or self.recipe.donor)

    def _check_tokenizer(self) -> None:
        new = self.recipe.tokenizer
        if new is not None and new.added and not self.trains_tokenizer:
            raise SettingError(
                "tokenizer.added",
                "extends the source's tokenizer",
                value=new.added,
                hint="Leave it out where there is a target_tokenizer, a helper or a donor.",
            )

    def check_inputs(self) -> None:
        """See `Kind.check_inputs`."""
        self.inputs.split  # noqa: B018  opened
        super().check_inputs()

    def shape(self, rows: int) -> PreTrainedConfig:
        """See `Kind.shape`."""
        config = copy(self.inputs.source.config)
        config.vocab_size = rows
        return config

    def rows(self) -> int:
        """See `Kind.rows`; without a target tokenizer it is the helper's or the donor's."""
        model = self.recipe.helper or self.recipe.donor
        if self.recipe.target_tokenizer is None and model is not None:
            return len(open_tokenizer(model, trust_remote_code=self.recipe.trusts_code))
        return super().rows()

    def variant_names(self, *, compare: bool) -> tuple[str, ...]:
        """See `Kind.variant_names`."""
        return (*self.recipe.methods, RANDOM_ROWS, FROM_SCRATCH) if compare else self.recipe.methods[:1]

    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        """See `Kind.comparison`."""
        asked = [self.recipe.initializer or {}, *(self.recipe.alternatives if compare else ())]
        evidence = self.evidence(work)
        if evidence.vectors is None and any(map(learns_vectors, asked)):
            check_gensim()
        for options in asked:
            learned = ("vectors",) if learns_vectors(options) else ()
            check_initializer(options, evidence, to_come=("tokenizer", *learned))
        if self.trains_tokenizer:
            lines, folder = self.inputs.tokenizer_lines(), work / "tokenizer"
            trained = self.inputs.trained_tokenizer(self.default_tokenizer, lines, folder)
            evidence = replace(evidence, tokenizer=trained)
        initializers = [self._initializer(options, evidence, work) for options in asked]
        first = initializers[0]
        if compare:
            initializers.append(RandomInitializer(first.source, first.tokenizer))
        check_comparable(initializers)
        config = first.target_config()
        variants = [
            initialized(initializer.label, initializer, work / "transports" / f"{number}.safetensors")
            for number, initializer in enumerate(initializers)
        ]
        return Comparison(first.tokenizer, config, (*variants, *([from_scratch(config)] if compare else ())))

    def evidence(self, work: Path) -> Evidence:
        """What the recipe gives its methods; of a target tokenizer that is still to be trained, nothing."""
        data = self.recipe.data
        return Evidence(
            source=self.recipe.source,
            tokenizer=self.inputs.target_tokenizer,
            helper=self.recipe.helper,
            donor=self.recipe.donor,
            dictionary=data.dictionary,
            parallel=data.parallel,
            vectors=data.vectors,
            source_vectors=data.source_vectors,
            corpus=data.corpus,
            source_corpus=data.source_corpus,
            trust_remote_code=self.recipe.trusts_code,
        )

    def _initializer(self, options: Mapping[str, Any], evidence: Evidence, work: Path) -> Initializer:
        """An initializer, with vectors trained on the corpus where it needs them and there are none."""
        if learns_vectors(options) and evidence.vectors is None:
            table = trained_vectors(self.inputs, evidence.target_tokenizer, WIDTH, EPOCHS, work / VECTORS_FILE)
            evidence = replace(evidence, vectors=table)
        return initializer_for(options, evidence)

    def text(self, comparison: Comparison, work: Path) -> Text:
        """See `Kind.text`."""
        return packed_text(self.inputs, comparison.tokenizer, work / "packed")


def learns_vectors(options: Mapping[str, Any]) -> bool:
    """Whether the corpus can take the place of a file of vectors."""
    return bool(options["method"] == LEARNS_VECTORS)


def check_comparable(initializers: Sequence[Initializer]) -> None:
    """Refuse variants that go by one name, or that would not be measured on the same tokens.

    Raises:
        InputError: Likewise.
    """
    labels = [initializer.label for initializer in initializers]
    if twice := [label for place, label in enumerate(labels) if label in labels[:place]]:
        raise SettingError("alternatives", f"hold {twice[0]!r} twice", value=twice[0], hint="Leave one of them out.")
    first, *others = initializers
    for other in others:
        if other.target_vocabulary.names != first.target_vocabulary.names:
            raise InputError(
                f"{first.label} and {other.label} make models with different tokenizers",
                expected="initializers with the same",
                hint="Name its folder as target_tokenizer, or compare with other alternatives.",
            )

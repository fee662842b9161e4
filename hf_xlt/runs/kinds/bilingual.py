"""A model of two languages that each have a vocabulary of their own over one encoder (RAMEN, 2020)."""

from pathlib import Path
from typing import cast

from hf_xlt.recipes.recipe import Recipe
from hf_xlt.recipes.settings import one_of
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.comparison import Comparison, Variant
from hf_xlt.runs.kinds.transfer import Transfer
from hf_xlt.runs.kinds.trelm import OfTwoLanguages, trelm_from_scratch
from hf_xlt.runs.results import FROM_SCRATCH, RANDOM_ROWS, RESIZED_ROWS
from hf_xlt.transport import Transport

OBJECTIVES = ("auto", "mlm")


class Bilingual(OfTwoLanguages, Transfer):
    """A transfer to the target language, the source's own vocabulary kept beside the target's.

    All variants have both tokenizers and one shape: when comparing, resized and random rows and a model from scratch
    are of two languages too, and go through the same stages on the same text.
    """

    name = "bilingual"
    baselines = (RESIZED_ROWS, RANDOM_ROWS, FROM_SCRATCH)
    uses = Transfer.uses - {"calibrate", "probe"} | {"trelm", "data.source_corpus"}
    reads = frozenset({"text"})

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.trelm is not None and recipe.trelm.separate_embeddings

    def heeds(self, evidence: str) -> bool:
        """The source's corpus is trained on."""
        return evidence == "source_corpus" or super().heeds(evidence)

    def check_stage(self, key: str, stage: Stage) -> None:
        super().check_stage(key, stage)
        if stage.combine is None:
            one_of(f"{key}.objective", stage.objective, OBJECTIVES)

    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        transfers = Transfer.comparison(self, work, compare=compare)
        tokenizers = [self.inputs.source_tokenizer, transfers.tokenizer]
        own = cast(Transport, transfers.variants[0].transport)  # only a model from scratch has none
        config = self.config(own, tokenizers=tokenizers)

        def of_two(variant: Variant) -> Variant:
            if variant.transport is None:
                return trelm_from_scratch(config)
            return self.variant(variant.name, variant.transport, tokenizers=tokenizers)

        return Comparison(
            transfers.tokenizer, config, tuple(map(of_two, transfers.variants)), source_tokenizer=tokenizers[0]
        )

"""A new, small model of one language and its tokenizer, from nothing but text."""

from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PreTrainedConfig

from hf_xlt.checkpoint.kind import kind_of
from hf_xlt.errors import InputError
from hf_xlt.evidence.vectors import check_gensim
from hf_xlt.recipes.recipe import SOURCE_FAMILY, Recipe
from hf_xlt.recipes.settings import SettingError, one_of
from hf_xlt.runs.comparison import Comparison, from_scratch
from hf_xlt.runs.kinds.kind import Kind
from hf_xlt.runs.results import FROM_SCRATCH
from hf_xlt.runs.vectors import VECTORS_FILE, trained_vectors
from hf_xlt.tokenizers.train import FAMILIES


class NewModel(Kind):
    """A model with random weights, or with static vectors in its embeddings; there is nothing to compare it with."""

    name = "new_model"
    variants = (FROM_SCRATCH,)
    uses = frozenset({"model", "tokenizer", "vector_epochs", "data.corpus", "data.held_out", "data.dictionary"})

    @classmethod
    def fits(cls, recipe: Recipe) -> bool:
        return recipe.model is not None

    def check(self, *, compare: bool) -> None:
        super().check(compare=compare)
        check_family(self.recipe)
        if compare:
            problem = f"The recipe {self.recipe.name!r} makes a new model, which is compared with nothing"
            raise InputError(problem, key="compare", hint="Leave compare out.")

    def check_inputs(self) -> None:
        super().check_inputs()
        self.inputs.split  # noqa: B018  opened
        if self.recipe.vector_epochs:
            check_gensim()

    def shape(self, rows: int) -> PreTrainedConfig:
        return self._config(vocab_size=rows)

    def comparison(self, work: Path, *, compare: bool) -> Comparison:
        lines = self.inputs.tokenizer_lines()
        tokenizer = self.inputs.trained_tokenizer(self.default_tokenizer, lines, work / "tokenizer")
        ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}
        config = self._config(vocab_size=len(tokenizer), **ids)
        vectors = None
        if self.recipe.vector_epochs:
            with torch.device("meta"):
                width = kind_of(config).auto_class.from_config(config).get_input_embeddings().weight.shape[1]
            vectors = trained_vectors(self.inputs, tokenizer, width, self.recipe.vector_epochs, work / VECTORS_FILE)
        return Comparison(tokenizer, config, (from_scratch(config, vectors),))

    def _config(self, **vocabulary: int | None) -> PreTrainedConfig:
        given = dict(self.recipe.model or {})
        model_type = given.pop("model_type")
        try:
            config = AutoConfig.for_model(model_type, **vocabulary, **given)
            layers = getattr(config, "num_hidden_layers", 1)
            if not isinstance(layers, int) or layers < 1:
                raise ValueError(f"num_hidden_layers is {layers}, expected 1 or more")
            with torch.device("meta"):  # what fits together can be built
                kind_of(config).auto_class.from_config(config)
            return config
        except InputError:
            raise
        except (ValueError, TypeError, RuntimeError, ArithmeticError, StrictDataclassError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SettingError("model", f"makes no {model_type!r} model: {reason}", value=given) from error


def check_family(recipe: Recipe) -> None:
    """Refuse a tokenizer like the source's where the source's would not do."""
    if recipe.tokenizer is not None and recipe.tokenizer.family == SOURCE_FAMILY:
        one_of("tokenizer.family", SOURCE_FAMILY, tuple(FAMILIES))

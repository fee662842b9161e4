"""Give any Hugging Face checkpoint a new language."""

from importlib import import_module
from typing import Any

from hf_xlt import trelm as trelm  # registers its models with the Auto classes

__version__ = "0.1.0"

# Public name → the module that defines it, imported when the name is first used: training and pictures need libraries
# that rewriting a checkpoint does not, and their memory counts.
_HOME = {
    "AdversarialAlignmentCallback": "hf_xlt.geometry.callback",
    "AdversarialInitializer": "hf_xlt.initializers.adversarial",
    "CKA": "hf_xlt.evaluation.structure",
    "CLPInitializer": "hf_xlt.initializers.clp",
    "Checkpoint": "hf_xlt.checkpoint",
    "Comparison": "hf_xlt.report.comparison",
    "CountedInitializer": "hf_xlt.initializers.counted",
    "DataCollatorForCdLM": "hf_xlt.data.objectives",
    "DataCollatorForDistillation": "hf_xlt.data.objectives",
    "DataCollatorForMultilingualMLM": "hf_xlt.data.objectives",
    "DataCollatorForTLM": "hf_xlt.data.objectives",
    "Dictionary": "hf_xlt.evidence.translations",
    "DictionaryInitializer": "hf_xlt.initializers.counted",
    "EvaluationConfig": "hf_xlt.evaluation.config",
    "FineTuningConfig": "hf_xlt.evaluation.config",
    "FocusInitializer": "hf_xlt.initializers.focus",
    "Health": "hf_xlt.initializers.health",
    "Initializer": "hf_xlt.initializers.base",
    "InputError": "hf_xlt.errors",
    "MeanInitializer": "hf_xlt.initializers.baselines",
    "ModelSpec": "hf_xlt.evaluation.config",
    "OFAInitializer": "hf_xlt.initializers.ofa",
    "OMPInitializer": "hf_xlt.initializers.omp",
    "Overlap": "hf_xlt.tokenizers.vocabulary",
    "OverlapInitializer": "hf_xlt.initializers.base",
    "ParallelText": "hf_xlt.evidence.translations",
    "PooledInitializer": "hf_xlt.initializers.pooled",
    "RamenInitializer": "hf_xlt.initializers.ramen",
    "RamenVectorsInitializer": "hf_xlt.initializers.ramen",
    "RandomInitializer": "hf_xlt.initializers.baselines",
    "Recipe": "hf_xlt.recipes",
    "Results": "hf_xlt.runs",
    "Stage": "hf_xlt.recipes",
    "Structure": "hf_xlt.evaluation.structure",
    "Study": "hf_xlt.study",
    "SubtokenMeanInitializer": "hf_xlt.initializers.subtoken_mean",
    "SupervisedTask": "hf_xlt.evaluation.tasks.task",
    "TrainingFreeTask": "hf_xlt.evaluation.tasks.task",
    "Transport": "hf_xlt.transport.transport",
    "TreLMConfig": "hf_xlt.trelm",
    "TreLMForMaskedLM": "hf_xlt.trelm",
    "TreLMForQuestionAnswering": "hf_xlt.trelm",
    "TreLMForSequenceClassification": "hf_xlt.trelm",
    "TreLMForTokenClassification": "hf_xlt.trelm",
    "TreLMModel": "hf_xlt.trelm",
    "Vocabulary": "hf_xlt.tokenizers.vocabulary",
    "WechselInitializer": "hf_xlt.initializers.wechsel",
    "WordAligner": "hf_xlt.evidence.alignment",
    "align_spaces": "hf_xlt.geometry.align",
    "aligned_pairs": "hf_xlt.data.pairs",
    "compare_models": "hf_xlt.report.comparison",
    "compare_results": "hf_xlt.evaluation.compare",
    "evaluate_model": "hf_xlt.evaluation.evaluate",
    "extend_tokenizer": "hf_xlt.tokenizers.extend",
    "frequency_order": "hf_xlt.data.frequency",
    "initializer": "hf_xlt.initializers.registry",
    "language_probabilities": "hf_xlt.data.sampling",
    "load_recipe": "hf_xlt.recipes",
    "load_study": "hf_xlt.study",
    "open_tokenizer": "hf_xlt.checkpoint",
    "overlap": "hf_xlt.tokenizers.vocabulary",
    "read_dictionary": "hf_xlt.evidence.translations",
    "read_parallel": "hf_xlt.evidence.translations",
    "read_vectors": "hf_xlt.evidence.vectors",
    "register_initializer": "hf_xlt.initializers.registry",
    "register_task": "hf_xlt.evaluation.tasks.registry",
    "revocabulary": "hf_xlt.checkpoint",
    "run_recipe": "hf_xlt.runs",
    "run_study": "hf_xlt.study",
    "structure": "hf_xlt.evaluation.structure",
    "tokenized": "hf_xlt.data.pairs",
    "train_joint_tokenizer": "hf_xlt.data.joint_tokenizer",
    "train_tokenizer": "hf_xlt.tokenizers.train",
    "train_tokenizer_like": "hf_xlt.tokenizers.train",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]

"""Give any Hugging Face checkpoint a new language."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_xlt import trelm as trelm  # makes its models known to the Auto classes

if TYPE_CHECKING:
    from hf_xlt.checkpoint.open import Checkpoint as Checkpoint
    from hf_xlt.checkpoint.rewrite import revocabulary as revocabulary
    from hf_xlt.checkpoint.tokenizer import open_tokenizer as open_tokenizer
    from hf_xlt.data.frequency import frequency_order as frequency_order
    from hf_xlt.data.joint_tokenizer import train_joint_tokenizer as train_joint_tokenizer
    from hf_xlt.data.objectives import DataCollatorForCdLM as DataCollatorForCdLM
    from hf_xlt.data.objectives import DataCollatorForDistillation as DataCollatorForDistillation
    from hf_xlt.data.objectives import DataCollatorForMultilingualMLM as DataCollatorForMultilingualMLM
    from hf_xlt.data.objectives import DataCollatorForTLM as DataCollatorForTLM
    from hf_xlt.data.objectives import Objective as Objective
    from hf_xlt.data.objectives import register_objective as register_objective
    from hf_xlt.data.pairs import aligned_pairs as aligned_pairs
    from hf_xlt.data.pairs import tokenized as tokenized
    from hf_xlt.data.sampling import language_probabilities as language_probabilities
    from hf_xlt.errors import InputError as InputError
    from hf_xlt.evaluation.compare import compare_results as compare_results
    from hf_xlt.evaluation.config import EvaluationConfig as EvaluationConfig
    from hf_xlt.evaluation.config import FineTuningConfig as FineTuningConfig
    from hf_xlt.evaluation.config import ModelSpec as ModelSpec
    from hf_xlt.evaluation.evaluate import evaluate_model as evaluate_model
    from hf_xlt.evaluation.structure import CKA as CKA
    from hf_xlt.evaluation.structure import Structure as Structure
    from hf_xlt.evaluation.structure import structure as structure
    from hf_xlt.evaluation.tasks.registry import register_task as register_task
    from hf_xlt.evaluation.tasks.task import SupervisedTask as SupervisedTask
    from hf_xlt.evaluation.tasks.task import TrainingFreeTask as TrainingFreeTask
    from hf_xlt.evidence.alignment import WordAligner as WordAligner
    from hf_xlt.evidence.translations import Dictionary as Dictionary
    from hf_xlt.evidence.translations import ParallelText as ParallelText
    from hf_xlt.evidence.translations import read_dictionary as read_dictionary
    from hf_xlt.evidence.translations import read_parallel as read_parallel
    from hf_xlt.evidence.vectors import read_vectors as read_vectors
    from hf_xlt.geometry.align import align_spaces as align_spaces
    from hf_xlt.geometry.callback import AdversarialAlignmentCallback as AdversarialAlignmentCallback
    from hf_xlt.initializers.adversarial import AdversarialInitializer as AdversarialInitializer
    from hf_xlt.initializers.base import Initializer as Initializer
    from hf_xlt.initializers.base import OverlapInitializer as OverlapInitializer
    from hf_xlt.initializers.baselines import MeanInitializer as MeanInitializer
    from hf_xlt.initializers.baselines import RandomInitializer as RandomInitializer
    from hf_xlt.initializers.clp import CLPInitializer as CLPInitializer
    from hf_xlt.initializers.counted import CountedInitializer as CountedInitializer
    from hf_xlt.initializers.counted import DictionaryInitializer as DictionaryInitializer
    from hf_xlt.initializers.focus import FocusInitializer as FocusInitializer
    from hf_xlt.initializers.health import Health as Health
    from hf_xlt.initializers.ofa import OFAInitializer as OFAInitializer
    from hf_xlt.initializers.omp import OMPInitializer as OMPInitializer
    from hf_xlt.initializers.pooled import PooledInitializer as PooledInitializer
    from hf_xlt.initializers.ramen import RamenInitializer as RamenInitializer
    from hf_xlt.initializers.ramen import RamenVectorsInitializer as RamenVectorsInitializer
    from hf_xlt.initializers.registry import initializer as initializer
    from hf_xlt.initializers.registry import register_initializer as register_initializer
    from hf_xlt.initializers.subtoken_mean import SubtokenMeanInitializer as SubtokenMeanInitializer
    from hf_xlt.initializers.wechsel import WechselInitializer as WechselInitializer
    from hf_xlt.merge import merge_models as merge_models
    from hf_xlt.recipes import Recipe as Recipe
    from hf_xlt.recipes import Stage as Stage
    from hf_xlt.recipes import load_recipe as load_recipe
    from hf_xlt.recipes import recipe_schema as recipe_schema
    from hf_xlt.report.comparison import Comparison as Comparison
    from hf_xlt.report.comparison import compare_models as compare_models
    from hf_xlt.runs import Results as Results
    from hf_xlt.runs import RunPlan as RunPlan
    from hf_xlt.runs import check_recipe as check_recipe
    from hf_xlt.runs import plan_run as plan_run
    from hf_xlt.runs import register_kind as register_kind
    from hf_xlt.runs import run_recipe as run_recipe
    from hf_xlt.study import Study as Study
    from hf_xlt.study import StudyResults as StudyResults
    from hf_xlt.study import load_study as load_study
    from hf_xlt.study import run_study as run_study
    from hf_xlt.tokenizers.extend import extend_tokenizer as extend_tokenizer
    from hf_xlt.tokenizers.train import train_tokenizer as train_tokenizer
    from hf_xlt.tokenizers.train import train_tokenizer_like as train_tokenizer_like
    from hf_xlt.tokenizers.vocabulary import Overlap as Overlap
    from hf_xlt.tokenizers.vocabulary import Vocabulary as Vocabulary
    from hf_xlt.tokenizers.vocabulary import overlap as overlap
    from hf_xlt.transport.transport import Transport as Transport
    from hf_xlt.trelm import TreLMConfig as TreLMConfig
    from hf_xlt.trelm import TreLMForMaskedLM as TreLMForMaskedLM
    from hf_xlt.trelm import TreLMForQuestionAnswering as TreLMForQuestionAnswering
    from hf_xlt.trelm import TreLMForSequenceClassification as TreLMForSequenceClassification
    from hf_xlt.trelm import TreLMForTokenClassification as TreLMForTokenClassification
    from hf_xlt.trelm import TreLMModel as TreLMModel

__version__ = "0.1.0"

# Public name → the module that defines it, imported when the name is first used: training and pictures need libraries
# that rewriting a checkpoint does not, and their memory counts.
_HOME = {
    "AdversarialAlignmentCallback": "hf_xlt.geometry.callback",
    "AdversarialInitializer": "hf_xlt.initializers.adversarial",
    "CKA": "hf_xlt.evaluation.structure",
    "CLPInitializer": "hf_xlt.initializers.clp",
    "Checkpoint": "hf_xlt.checkpoint.open",
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
    "Objective": "hf_xlt.data.objectives",
    "Overlap": "hf_xlt.tokenizers.vocabulary",
    "OverlapInitializer": "hf_xlt.initializers.base",
    "ParallelText": "hf_xlt.evidence.translations",
    "PooledInitializer": "hf_xlt.initializers.pooled",
    "RamenInitializer": "hf_xlt.initializers.ramen",
    "RamenVectorsInitializer": "hf_xlt.initializers.ramen",
    "RandomInitializer": "hf_xlt.initializers.baselines",
    "Recipe": "hf_xlt.recipes",
    "Results": "hf_xlt.runs",
    "RunPlan": "hf_xlt.runs",
    "Stage": "hf_xlt.recipes",
    "Structure": "hf_xlt.evaluation.structure",
    "Study": "hf_xlt.study",
    "StudyResults": "hf_xlt.study",
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
    "check_recipe": "hf_xlt.runs",
    "compare_models": "hf_xlt.report.comparison",
    "compare_results": "hf_xlt.evaluation.compare",
    "evaluate_model": "hf_xlt.evaluation.evaluate",
    "extend_tokenizer": "hf_xlt.tokenizers.extend",
    "frequency_order": "hf_xlt.data.frequency",
    "initializer": "hf_xlt.initializers.registry",
    "language_probabilities": "hf_xlt.data.sampling",
    "load_recipe": "hf_xlt.recipes",
    "load_study": "hf_xlt.study",
    "merge_models": "hf_xlt.merge",
    "open_tokenizer": "hf_xlt.checkpoint.tokenizer",
    "overlap": "hf_xlt.tokenizers.vocabulary",
    "plan_run": "hf_xlt.runs",
    "read_dictionary": "hf_xlt.evidence.translations",
    "read_parallel": "hf_xlt.evidence.translations",
    "read_vectors": "hf_xlt.evidence.vectors",
    "recipe_schema": "hf_xlt.recipes",
    "register_initializer": "hf_xlt.initializers.registry",
    "register_kind": "hf_xlt.runs",
    "register_objective": "hf_xlt.data.objectives",
    "register_task": "hf_xlt.evaluation.tasks.registry",
    "revocabulary": "hf_xlt.checkpoint.rewrite",
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

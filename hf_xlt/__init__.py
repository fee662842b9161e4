"""Give any Hugging Face checkpoint a new language."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_xlt import trelm as trelm  # makes its models known to the Auto classes

if TYPE_CHECKING:
    from hf_xlt.checkpoint.adapters import merge_adapters as merge_adapters
    from hf_xlt.checkpoint.open import Checkpoint as Checkpoint
    from hf_xlt.checkpoint.rewrite import revocabulary as revocabulary
    from hf_xlt.checkpoint.tokenizer import open_tokenizer as open_tokenizer
    from hf_xlt.data.multilingual import train_joint_tokenizer as train_joint_tokenizer
    from hf_xlt.data.objectives import DataCollatorForCdLM as DataCollatorForCdLM
    from hf_xlt.data.objectives import DataCollatorForDistillation as DataCollatorForDistillation
    from hf_xlt.data.objectives import DataCollatorForMultilingualMLM as DataCollatorForMultilingualMLM
    from hf_xlt.data.objectives import DataCollatorForTLM as DataCollatorForTLM
    from hf_xlt.data.objectives import DataCollatorForTokenDistillation as DataCollatorForTokenDistillation
    from hf_xlt.data.objectives import Objective as Objective
    from hf_xlt.data.objectives import register_objective as register_objective
    from hf_xlt.data.pairs import aligned_pairs as aligned_pairs
    from hf_xlt.data.pairs import tokenized as tokenized
    from hf_xlt.data.sampling import language_probabilities as language_probabilities
    from hf_xlt.data.token_stream import frequency_order as frequency_order
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
    from hf_xlt.export import export_onnx as export_onnx
    from hf_xlt.export import export_static as export_static
    from hf_xlt.export import onnx_vectors as onnx_vectors
    from hf_xlt.geometry.align import align_spaces as align_spaces
    from hf_xlt.geometry.callback import AdversarialAlignmentCallback as AdversarialAlignmentCallback
    from hf_xlt.initializers.adversarial import AdversarialInitializer as AdversarialInitializer
    from hf_xlt.initializers.base import Initializer as Initializer
    from hf_xlt.initializers.base import OverlapInitializer as OverlapInitializer
    from hf_xlt.initializers.baselines import MeanInitializer as MeanInitializer
    from hf_xlt.initializers.baselines import RandomInitializer as RandomInitializer
    from hf_xlt.initializers.baselines import ResizedInitializer as ResizedInitializer
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
    from hf_xlt.mining import mine_pairs as mine_pairs
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
else:  # type checkers report names that are not among those above

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


__version__ = "0.1.0"

# Module → the public names that it defines. It is imported when one of them is first used: training and pictures need
# libraries that rewriting a checkpoint does not, and their memory counts.
_NAMES = {
    "checkpoint.adapters": "merge_adapters",
    "checkpoint.open": "Checkpoint",
    "checkpoint.rewrite": "revocabulary",
    "checkpoint.tokenizer": "open_tokenizer",
    "data.multilingual": "train_joint_tokenizer",
    "data.objectives": "DataCollatorForCdLM DataCollatorForDistillation DataCollatorForMultilingualMLM "
    "DataCollatorForTLM DataCollatorForTokenDistillation Objective register_objective",
    "data.pairs": "aligned_pairs tokenized",
    "data.sampling": "language_probabilities",
    "data.token_stream": "frequency_order",
    "errors": "InputError",
    "evaluation.compare": "compare_results",
    "evaluation.config": "EvaluationConfig FineTuningConfig ModelSpec",
    "evaluation.evaluate": "evaluate_model",
    "evaluation.structure": "CKA Structure structure",
    "evaluation.tasks.registry": "register_task",
    "evaluation.tasks.task": "SupervisedTask TrainingFreeTask",
    "evidence.alignment": "WordAligner",
    "evidence.translations": "Dictionary ParallelText read_dictionary read_parallel",
    "evidence.vectors": "read_vectors",
    "export": "export_onnx export_static onnx_vectors",
    "geometry.align": "align_spaces",
    "geometry.callback": "AdversarialAlignmentCallback",
    "initializers.adversarial": "AdversarialInitializer",
    "initializers.base": "Initializer OverlapInitializer",
    "initializers.baselines": "MeanInitializer RandomInitializer ResizedInitializer",
    "initializers.clp": "CLPInitializer",
    "initializers.counted": "CountedInitializer DictionaryInitializer",
    "initializers.focus": "FocusInitializer",
    "initializers.health": "Health",
    "initializers.ofa": "OFAInitializer",
    "initializers.omp": "OMPInitializer",
    "initializers.pooled": "PooledInitializer",
    "initializers.ramen": "RamenInitializer RamenVectorsInitializer",
    "initializers.registry": "initializer register_initializer",
    "initializers.subtoken_mean": "SubtokenMeanInitializer",
    "initializers.wechsel": "WechselInitializer",
    "merge": "merge_models",
    "mining": "mine_pairs",
    "recipes": "Recipe Stage load_recipe recipe_schema",
    "report.comparison": "Comparison compare_models",
    "runs": "Results RunPlan check_recipe plan_run register_kind run_recipe",
    "study": "Study StudyResults load_study run_study",
    "tokenizers.extend": "extend_tokenizer",
    "tokenizers.train": "train_tokenizer train_tokenizer_like",
    "tokenizers.vocabulary": "Overlap Vocabulary overlap",
    "transport.transport": "Transport",
    "trelm": "TreLMConfig TreLMForMaskedLM TreLMForQuestionAnswering "
    "TreLMForSequenceClassification TreLMForTokenClassification TreLMModel",
}
_HOME = {name: f"hf_xlt.{module}" for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME, key=lambda name: (not name[0].isupper(), name))


def __dir__() -> list[str]:
    return [*globals(), *__all__]

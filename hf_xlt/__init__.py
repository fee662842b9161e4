"""Give any Hugging Face checkpoint a new language."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_xlt import trelm as trelm  # makes its models known to the Auto classes

if TYPE_CHECKING:
    from hf_xlt.checkpoint.open import Checkpoint as Checkpoint
    from hf_xlt.checkpoint.rewrite import revocabulary as revocabulary
    from hf_xlt.data.frequency import frequency_order as frequency_order
    from hf_xlt.data.joint_tokenizer import train_joint_tokenizer as train_joint_tokenizer
    from hf_xlt.data.objectives import DataCollatorForCdLM as DataCollatorForCdLM
    from hf_xlt.data.objectives import DataCollatorForDistillation as DataCollatorForDistillation
    from hf_xlt.data.objectives import DataCollatorForMultilingualMLM as DataCollatorForMultilingualMLM
    from hf_xlt.data.objectives import DataCollatorForTLM as DataCollatorForTLM
    from hf_xlt.data.pairs import aligned_pairs as aligned_pairs
    from hf_xlt.data.pairs import tokenized as tokenized
    from hf_xlt.data.sampling import language_probabilities as language_probabilities
    from hf_xlt.errors import InputError as InputError
    from hf_xlt.evaluation.compare import compare_results as compare_results
    from hf_xlt.evaluation.evaluate import Examination as Examination
    from hf_xlt.evaluation.evaluate import evaluate_model as evaluate_model
    from hf_xlt.evaluation.structure import CKA as CKA
    from hf_xlt.evaluation.structure import Structure as Structure
    from hf_xlt.evaluation.structure import structure as structure
    from hf_xlt.evaluation.tasks.budget import Budget as Budget
    from hf_xlt.evaluation.tasks.direct import ModelAsked as ModelAsked
    from hf_xlt.evidence.alignment import WordAligner as WordAligner
    from hf_xlt.evidence.parallel import read_parallel as read_parallel
    from hf_xlt.geometry.align import align_spaces as align_spaces
    from hf_xlt.geometry.callback import AdversarialAlignmentCallback as AdversarialAlignmentCallback
    from hf_xlt.initializers import AdversarialInitializer as AdversarialInitializer
    from hf_xlt.initializers import CLPInitializer as CLPInitializer
    from hf_xlt.initializers import DictionaryInitializer as DictionaryInitializer
    from hf_xlt.initializers import Evidence as Evidence
    from hf_xlt.initializers import FocusInitializer as FocusInitializer
    from hf_xlt.initializers import Initializer as Initializer
    from hf_xlt.initializers import MeanInitializer as MeanInitializer
    from hf_xlt.initializers import OFAInitializer as OFAInitializer
    from hf_xlt.initializers import OMPInitializer as OMPInitializer
    from hf_xlt.initializers import PooledInitializer as PooledInitializer
    from hf_xlt.initializers import RamenInitializer as RamenInitializer
    from hf_xlt.initializers import RamenVectorsInitializer as RamenVectorsInitializer
    from hf_xlt.initializers import RandomInitializer as RandomInitializer
    from hf_xlt.initializers import SubtokenMeanInitializer as SubtokenMeanInitializer
    from hf_xlt.initializers import WechselInitializer as WechselInitializer
    from hf_xlt.initializers import initializer_for as initializer_for
    from hf_xlt.initializers.health import Health as Health
    from hf_xlt.recipes import Recipe as Recipe
    from hf_xlt.recipes import Stage as Stage
    from hf_xlt.recipes import load_recipe as load_recipe
    from hf_xlt.runs import Results as Results
    from hf_xlt.runs import run_recipe as run_recipe
    from hf_xlt.study import Study as Study
    from hf_xlt.study import load_study as load_study
    from hf_xlt.study import run_study as run_study
    from hf_xlt.tokenizers.extension import extend_tokenizer as extend_tokenizer
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
    "AdversarialInitializer": "hf_xlt.initializers",
    "Budget": "hf_xlt.evaluation.tasks.budget",
    "CKA": "hf_xlt.evaluation.structure",
    "CLPInitializer": "hf_xlt.initializers",
    "Checkpoint": "hf_xlt.checkpoint.open",
    "DataCollatorForCdLM": "hf_xlt.data.objectives",
    "DataCollatorForDistillation": "hf_xlt.data.objectives",
    "DataCollatorForMultilingualMLM": "hf_xlt.data.objectives",
    "DataCollatorForTLM": "hf_xlt.data.objectives",
    "DictionaryInitializer": "hf_xlt.initializers",
    "Evidence": "hf_xlt.initializers",
    "Examination": "hf_xlt.evaluation.evaluate",
    "FocusInitializer": "hf_xlt.initializers",
    "Health": "hf_xlt.initializers.health",
    "Initializer": "hf_xlt.initializers",
    "InputError": "hf_xlt.errors",
    "MeanInitializer": "hf_xlt.initializers",
    "ModelAsked": "hf_xlt.evaluation.tasks.direct",
    "OFAInitializer": "hf_xlt.initializers",
    "OMPInitializer": "hf_xlt.initializers",
    "Overlap": "hf_xlt.tokenizers.vocabulary",
    "PooledInitializer": "hf_xlt.initializers",
    "RamenInitializer": "hf_xlt.initializers",
    "RamenVectorsInitializer": "hf_xlt.initializers",
    "RandomInitializer": "hf_xlt.initializers",
    "Recipe": "hf_xlt.recipes",
    "Results": "hf_xlt.runs",
    "Stage": "hf_xlt.recipes",
    "Structure": "hf_xlt.evaluation.structure",
    "Study": "hf_xlt.study",
    "SubtokenMeanInitializer": "hf_xlt.initializers",
    "Transport": "hf_xlt.transport.transport",
    "TreLMConfig": "hf_xlt.trelm",
    "TreLMForMaskedLM": "hf_xlt.trelm",
    "TreLMForQuestionAnswering": "hf_xlt.trelm",
    "TreLMForSequenceClassification": "hf_xlt.trelm",
    "TreLMForTokenClassification": "hf_xlt.trelm",
    "TreLMModel": "hf_xlt.trelm",
    "Vocabulary": "hf_xlt.tokenizers.vocabulary",
    "WechselInitializer": "hf_xlt.initializers",
    "WordAligner": "hf_xlt.evidence.alignment",
    "align_spaces": "hf_xlt.geometry.align",
    "aligned_pairs": "hf_xlt.data.pairs",
    "compare_results": "hf_xlt.evaluation.compare",
    "evaluate_model": "hf_xlt.evaluation.evaluate",
    "extend_tokenizer": "hf_xlt.tokenizers.extension",
    "frequency_order": "hf_xlt.data.frequency",
    "initializer_for": "hf_xlt.initializers",
    "language_probabilities": "hf_xlt.data.sampling",
    "load_recipe": "hf_xlt.recipes",
    "load_study": "hf_xlt.study",
    "overlap": "hf_xlt.tokenizers.vocabulary",
    "read_parallel": "hf_xlt.evidence.parallel",
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

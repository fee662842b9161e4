"""TreLM: its models, registered with transformers' Auto classes.

`modeling_trelm.py` and `configuration_trelm.py` travel: `save_pretrained` copies them, and the Auto classes open the
folder with `trust_remote_code=True` where hf_xlt is not installed. Conversion and export stay here.
"""

from typing import Any

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from hf_xlt.trelm.configuration_trelm import TreLMConfig
from hf_xlt.trelm.modeling_trelm import (
    TreLMForMaskedLM,
    TreLMForQuestionAnswering,
    TreLMForSequenceClassification,
    TreLMForTokenClassification,
    TreLMModel,
    TreLMPreTrainedModel,
    TRILayer,
    reorder,
)

__all__ = [
    "TRILayer",
    "TreLMConfig",
    "TreLMForMaskedLM",
    "TreLMForQuestionAnswering",
    "TreLMForSequenceClassification",
    "TreLMForTokenClassification",
    "TreLMModel",
    "TreLMPreTrainedModel",
    "reorder",
]

_OPENED_BY: dict[Any, type[TreLMPreTrainedModel]] = {
    AutoModel: TreLMModel,
    AutoModelForMaskedLM: TreLMForMaskedLM,
    AutoModelForSequenceClassification: TreLMForSequenceClassification,
    AutoModelForTokenClassification: TreLMForTokenClassification,
    AutoModelForQuestionAnswering: TreLMForQuestionAnswering,
}

AutoConfig.register(TreLMConfig.model_type, TreLMConfig)
TreLMConfig.register_for_auto_class()
for auto, model in _OPENED_BY.items():
    auto.register(TreLMConfig, model)
    model.register_for_auto_class(auto.__name__)

"""TreLM: its models, imported when they are first used, and known to transformers' Auto classes.

`modeling_trelm.py` and `configuration_trelm.py` travel with every saved model; conversion and export stay here.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    "TRILayer", "TreLMConfig", "TreLMForMaskedLM", "TreLMForQuestionAnswering", "TreLMForSequenceClassification",
    "TreLMForTokenClassification", "TreLMModel", "TreLMPreTrainedModel", "reorder",
]  # fmt: skip
_CONFIG, _MODELS = f"{__name__}.configuration_trelm", f"{__name__}.modeling_trelm"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_CONFIG if name == "TreLMConfig" else _MODELS), name)


def _register_config(ours: ModuleType) -> None:
    from transformers import AutoConfig

    ours.TreLMConfig.register_for_auto_class()
    AutoConfig.register(ours.TreLMConfig.model_type, ours.TreLMConfig, exist_ok=True)


def _register_models(ours: ModuleType) -> None:
    import transformers

    for task in ("", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"):
        model, auto = getattr(ours, f"TreLM{task or 'Model'}"), f"AutoModel{task}"
        model.register_for_auto_class(auto)
        getattr(transformers, auto).register(ours.TreLMConfig, model, exist_ok=True)


class _AfterImport:
    """A finder that has something done right after a module was executed: importing transformers takes a second."""

    waiting: dict[str, Callable[[ModuleType], Any]] = {
        _CONFIG: _register_config,
        _MODELS: _register_models,
        "transformers.models.auto.configuration_auto": lambda module: import_module(_CONFIG),
        "transformers.models.auto.modeling_auto": lambda module: import_module(_MODELS),
    }

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """The spec of a module to wait for, None for every other."""
        spec = PathFinder.find_spec(name, path, target) if name in self.waiting else None
        if spec is None or spec.loader is None:
            return None
        action, execute = self.waiting.pop(name), spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            action(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _AfterImport())
for _name in [name for name in _AfterImport.waiting if name in sys.modules]:
    _AfterImport.waiting.pop(_name)(sys.modules[_name])

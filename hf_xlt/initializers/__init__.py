"""Initializers: one method a file, each turning evidence about words into a `Transport`."""

from importlib import import_module
from typing import Any

# Name → class, which is imported when it is first asked for.
METHODS: dict[str, Any] = {
    "pooled": "hf_xlt.initializers.pooled:PooledInitializer",
    "dictionary": "hf_xlt.initializers.counted:DictionaryInitializer",
    "ramen": "hf_xlt.initializers.ramen:RamenInitializer",
    "ramen-vectors": "hf_xlt.initializers.ramen:RamenVectorsInitializer",
    "wechsel": "hf_xlt.initializers.wechsel:WechselInitializer",
    "focus": "hf_xlt.initializers.focus:FocusInitializer",
    "ofa": "hf_xlt.initializers.ofa:OFAInitializer",
    "omp": "hf_xlt.initializers.omp:OMPInitializer",
    "clp": "hf_xlt.initializers.clp:CLPInitializer",
    "adversarial": "hf_xlt.initializers.adversarial:AdversarialInitializer",
    "subtoken-mean": "hf_xlt.initializers.subtoken_mean:SubtokenMeanInitializer",
    "mean": "hf_xlt.initializers.baselines:MeanInitializer",
    "resized": "hf_xlt.initializers.baselines:ResizedInitializer",
    "random": "hf_xlt.initializers.baselines:RandomInitializer",
}

_HOME = {cls: module for module, cls in (place.split(":") for place in METHODS.values())}
_HOME |= dict.fromkeys(("TRANSPORT_FILE", "Initializer", "OverlapInitializer"), "hf_xlt.initializers.base")
_HOME["CountedInitializer"] = "hf_xlt.initializers.counted"
_HOME |= dict.fromkeys(("evidence_facts", "read_places"), "hf_xlt.initializers.evidence")
_HOME |= dict.fromkeys(
    ("AUTO", "check_initializer", "choose", "initializer", "initializer_class", "register_initializer",
     "unused_evidence", "used_evidence"),
    "hf_xlt.initializers.registry",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

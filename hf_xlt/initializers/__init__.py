"""Initializers: one method a file, each turning evidence about words into a `Transport`."""

from hf_xlt.initializers.adversarial import AdversarialInitializer
from hf_xlt.initializers.base import TRANSPORT_FILE, Initializer
from hf_xlt.initializers.choose import AUTO, Choice, choose
from hf_xlt.initializers.clp import CLPInitializer
from hf_xlt.initializers.dictionary import DictionaryInitializer
from hf_xlt.initializers.evidence import Evidence
from hf_xlt.initializers.focus import FocusInitializer
from hf_xlt.initializers.mean import MeanInitializer
from hf_xlt.initializers.ofa import OFAInitializer
from hf_xlt.initializers.omp import OMPInitializer
from hf_xlt.initializers.pooled import PooledInitializer
from hf_xlt.initializers.ramen import RamenInitializer, RamenVectorsInitializer
from hf_xlt.initializers.random import RandomInitializer
from hf_xlt.initializers.registry import (
    CITATIONS,
    INITIALIZERS,
    METHODS,
    Entry,
    check_initializer,
    initializer_for,
)
from hf_xlt.initializers.subtoken_mean import SubtokenMeanInitializer
from hf_xlt.initializers.wechsel import WechselInitializer

__all__ = [
    "AUTO",
    "CITATIONS",
    "INITIALIZERS",
    "METHODS",
    "TRANSPORT_FILE",
    "AdversarialInitializer",
    "CLPInitializer",
    "Choice",
    "DictionaryInitializer",
    "Entry",
    "Evidence",
    "FocusInitializer",
    "Initializer",
    "MeanInitializer",
    "OFAInitializer",
    "OMPInitializer",
    "PooledInitializer",
    "RamenInitializer",
    "RamenVectorsInitializer",
    "RandomInitializer",
    "SubtokenMeanInitializer",
    "WechselInitializer",
    "check_initializer",
    "choose",
    "initializer_for",
]

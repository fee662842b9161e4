"""All methods by name: what evidence each needs, what options it takes, and how it is built of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.initializers.adversarial import AdversarialInitializer
from hf_xlt.initializers.base import Initializer
from hf_xlt.initializers.clp import CLPInitializer
from hf_xlt.initializers.dictionary import DictionaryInitializer
from hf_xlt.initializers.evidence import KINDS, Evidence, flag
from hf_xlt.initializers.focus import FocusInitializer
from hf_xlt.initializers.mean import MeanInitializer
from hf_xlt.initializers.missing import missing_evidence
from hf_xlt.initializers.neighbours import neighbours
from hf_xlt.initializers.ofa import OFAInitializer
from hf_xlt.initializers.omp import OMPInitializer
from hf_xlt.initializers.pooled import PooledInitializer
from hf_xlt.initializers.ramen import RamenInitializer, RamenVectorsInitializer
from hf_xlt.initializers.random import RandomInitializer
from hf_xlt.initializers.subtoken_mean import SubtokenMeanInitializer
from hf_xlt.initializers.wechsel import WechselInitializer


@dataclass(frozen=True)
class Entry:
    """A method of the registry.

    Attributes:
        initializer: Its class.
        needs: The evidence it cannot do without, besides the source; names of `KINDS`.
        arguments: What its class is given of it, opened, besides source and target tokenizer.
        needs_one_of: Evidence of which it needs some piece.
        may_use: More evidence that it makes use of.
    """

    initializer: type[Initializer]
    needs: tuple[str, ...]
    arguments: Callable[[Evidence], dict[str, Any]] = lambda evidence: {}
    needs_one_of: tuple[str, ...] = ()
    may_use: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """What can be set besides the evidence: option → its type."""
        hints = get_type_hints(Initializer.__init__) | get_type_hints(self.initializer.__init__)
        taken = {*inspect.signature(Initializer).parameters, *inspect.signature(self.initializer).parameters}
        return {name: hints[name] for name in sorted(taken) if _is_plain(hints[name]) and name not in KINDS}

    def unused(self, evidence: Evidence) -> tuple[str, ...]:
        """The evidence that is given and that the method makes no use of."""
        tokenizer = ("helper", "donor") if "tokenizer" in self.needs and evidence.tokenizer is None else ()
        used = {"source", "corpus", *self.needs, *self.needs_one_of, *self.may_use, *tokenizer}
        if evidence.vectors is None:
            used.discard("source_vectors")  # they are led to the target's
        return tuple(name for name in evidence.given if name not in used)


def _adversarial(evidence: Evidence) -> dict[str, Any]:
    return {"vectors": evidence.table, "order": evidence.order, "source_order": evidence.source_order}


def _ofa(evidence: Evidence) -> dict[str, Any]:
    source_vectors = None if evidence.source_vectors is None else evidence.source_words
    return {"vectors": evidence.words, "source_vectors": source_vectors}


def _pooled(evidence: Evidence) -> dict[str, Any]:
    counted = {"dictionary": evidence.entries, "parallel": evidence.sentences, "helper": evidence.helper}
    return counted | {"similarity": neighbours(evidence)}


def _ramen_vectors(evidence: Evidence) -> dict[str, Any]:
    return {"target_vectors": evidence.table, "source_vectors": evidence.source_table}


def _wechsel(evidence: Evidence) -> dict[str, Any]:
    entries = None if evidence.entries is None else evidence.entries.entries
    return {"dictionary": entries, "target_vectors": evidence.words, "source_vectors": evidence.source_words}


METHODS: dict[str, Entry] = {
    "pooled": Entry(
        PooledInitializer,
        ("tokenizer",),
        _pooled,
        needs_one_of=("dictionary", "parallel", "vectors", "helper"),
        may_use=("source_vectors",),
    ),
    "dictionary": Entry(
        DictionaryInitializer, ("tokenizer", "dictionary"), lambda evidence: {"dictionary": evidence.entries}
    ),
    "ramen": Entry(RamenInitializer, ("tokenizer", "parallel"), lambda evidence: {"parallel": evidence.sentences}),
    "ramen-vectors": Entry(RamenVectorsInitializer, ("tokenizer", "vectors", "source_vectors"), _ramen_vectors),
    "wechsel": Entry(WechselInitializer, ("tokenizer", "dictionary", "vectors", "source_vectors"), _wechsel),
    "focus": Entry(FocusInitializer, ("tokenizer", "vectors"), lambda evidence: {"vectors": evidence.table}),
    "ofa": Entry(OFAInitializer, ("tokenizer", "vectors"), _ofa, may_use=("source_vectors",)),
    "omp": Entry(OMPInitializer, ("donor",), lambda evidence: {"donor": evidence.donor}),
    "clp": Entry(CLPInitializer, ("helper",), lambda evidence: {"helper": evidence.helper}),
    "adversarial": Entry(AdversarialInitializer, ("tokenizer", "vectors", "corpus", "source_corpus"), _adversarial),
    "subtoken-mean": Entry(SubtokenMeanInitializer, ("tokenizer",)),
    "mean": Entry(MeanInitializer, ("tokenizer",)),
    "random": Entry(RandomInitializer, ("tokenizer",)),
}

INITIALIZERS: dict[str, type[Initializer]] = {name: method.initializer for name, method in METHODS.items()}
CITATIONS: dict[str, str | None] = {name: cls.citation for name, cls in INITIALIZERS.items()}


@checked
def initializer_for(options: Mapping[str, Any], evidence: Evidence) -> Initializer:
    """Build any initializer.

    Args:
        options: `method`, one of `METHODS`, and the method's own options.
        evidence: What there is to build it of.

    Raises:
        InputError: As `check_initializer` does, if the evidence cannot be opened, or as the method's class does.
    """
    check_initializer(options, evidence)
    method, own = _parted(options)
    trust = own.pop("trust_remote_code", evidence.trust_remote_code)
    evidence = replace(evidence, trust_remote_code=trust)
    evidence = replace(evidence, source=evidence.checkpoint)
    arguments = METHODS[method].arguments(evidence)
    if "tokenizer" in METHODS[method].needs:
        arguments["tokenizer"] = evidence.target_tokenizer
    return INITIALIZERS[method](source=evidence.checkpoint, **arguments, trust_remote_code=trust, **own)


def check_initializer(options: Mapping[str, Any], evidence: Evidence, to_come: Sequence[str] = ()) -> None:
    """Refuse what cannot work before anything is opened.

    Args:
        options: `method`, one of `METHODS`, and the method's own options.
        evidence: What there is to build it of.
        to_come: Evidence that is still to be made.

    Raises:
        InputError: If the method or an option is unknown, evidence is missing, or an option of the wrong type.
    """
    method, own = _parted(options)
    if method not in METHODS:
        raise InputError(f"Unknown initializer {method!r}; choose one of {', '.join(METHODS)}.")
    there = {*evidence.given, *to_come}
    if there & {"helper", "donor"}:
        there.add("tokenizer")
    for name in ("source", *METHODS[method].needs):
        if name not in there:
            raise missing_evidence(method, KINDS[name], flag(name))
    if (some := METHODS[method].needs_one_of) and not there & {*some}:
        raise missing_evidence(method, "evidence of translations", " or ".join(map(flag, some)))
    known = METHODS[method].options
    for name, value in own.items():
        if name not in known:
            raise InputError(f"{method} has no option {name!r}; its options are {', '.join(known)}.")
        if not isinstance(value, _kinds(known[name])) or (isinstance(value, bool) and known[name] is not bool):
            raise InputError(f"{method}: {name} is {value!r}; expected {_told(known[name])}.")


def _parted(options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    own = dict(options)
    if "method" not in own:
        raise InputError(f"The options {own} name no method; choose one of {', '.join(METHODS)}.", value=own)
    return own.pop("method"), own


def _is_plain(hint: Any) -> bool:
    """Whether a command line or a recipe can give such a value."""
    return set(_kinds(hint)) <= {bool, int, float, str, type(None), Mapping}


def _kinds(hint: Any) -> tuple[type, ...]:
    kinds = tuple(get_origin(kind) or kind for kind in (get_args(hint) if isinstance(hint, UnionType) else (hint,)))
    return (*kinds, int) if float in kinds else kinds


def _told(hint: Any) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Mapping: "a mapping"}
    return next(words[kind] for kind in _kinds(hint) if kind in words)

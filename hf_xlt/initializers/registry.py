"""Initializers by name: what each needs and may use, as the signature of its class says, and how to build one."""

import inspect
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

from hf_xlt.arguments import checked, require_type
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.errors import InputError, did_you_mean
from hf_xlt.initializers import METHODS
from hf_xlt.initializers.base import Initializer
from hf_xlt.initializers.evidence import EVIDENCE, check_files, missing

AUTO = "auto"


@checked
def register_initializer(name: str, cls: type) -> None:
    """Let a subclass of `Initializer` be built by a name: by `initializer`, in recipes and on the command line.

    InputError is raised if the class is none, or the name is taken.
    """
    if not issubclass(cls, Initializer):
        raise InputError(f"{cls.__name__} is no initializer", value=cls, expected="a subclass of hf_xlt.Initializer")
    if name == AUTO or METHODS.get(name, cls) is not cls:
        raise InputError(f"There is an initializer {name!r} already", value=name, hint="Choose another name.")
    METHODS[name] = cls


def initializer_class(name: str) -> type[Initializer]:
    """The class of a method."""
    if name not in METHODS:
        raise InputError(
            f"Unknown initializer {name!r}",
            value=name,
            hint=f"{did_you_mean(str(name), METHODS)} Choose one of {', '.join(METHODS)}.".lstrip(),
        )
    registered = METHODS[name]
    if isinstance(registered, str):
        module, _, cls = registered.partition(":")
        registered = getattr(import_module(module), cls)
    return registered


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """The arguments that a method takes; where its class takes `**options`, the options of all initializers too."""
    own = inspect.signature(initializer_class(name)).parameters
    named = {name: each for name, each in own.items() if each.kind is not inspect.Parameter.VAR_KEYWORD}
    if len(named) == len(own):
        return named
    shared = inspect.signature(Initializer).parameters.items()
    return {name: each for name, each in shared if each.kind is inspect.Parameter.KEYWORD_ONLY} | named


def used_evidence(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a method makes use of, of the evidence given; as its tokenizer the helper's or donor's, if none is given."""
    taken = parameters(name)
    given = {key: value for key, value in given.items() if key in EVIDENCE and value is not None}
    used = {key: value for key, value in given.items() if key in taken}
    model = given.get("helper", given.get("donor"))
    if "tokenizer" in taken and "tokenizer" not in given and model is not None:
        used["tokenizer"] = model.tokenizer() if isinstance(model, Checkpoint) else model
    if "vectors" not in given:
        used.pop("source_vectors", None)  # they are led to the target's
    return used


def unused_evidence(name: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    """The evidence that is given and that a method makes no use of; text serves to judge the rows of any."""
    used = {*used_evidence(name, given), "corpus"}
    if "tokenizer" in used and given.get("tokenizer") is None:
        used |= {"helper", "donor"}
    return tuple(key for key in EVIDENCE if given.get(key) is not None and key not in used)


@checked
def initializer(name: str, **given: Any) -> Initializer:
    """Build any initializer by its name, such as `pooled`; `hf_xlt.initializers.METHODS` has all.

    What else is given is what its class takes: evidence such as `source`, `tokenizer` and `parallel`, and options. What
    does not fit, or cannot be opened, is refused with InputError.

    Example:
        >>> initializer("clp", source="google-bert/bert-large-cased", helper="dbmdz/bert-base-german-cased")
    """
    given = {key: value for key, value in given.items() if value is not None}
    check_initializer(name, given)
    return initializer_class(name)(**given)


def check_initializer(name: str, given: Mapping[str, Any], to_come: Collection[str] = ()) -> None:
    """Refuse evidence and options that cannot work, before anything is opened; some evidence is still `to_come`."""
    known, cls = parameters(name), initializer_class(name)
    for key in given:
        if key not in known:
            options = ", ".join(sorted(known.keys() - EVIDENCE.keys()))
            hint = f"{did_you_mean(key, known)} Its options are {options}.".lstrip()
            raise InputError(f"{name} has no option {key!r}", value=key, hint=hint)
    there = {*given, *to_come}
    for key, parameter in known.items():
        if parameter.default is inspect.Parameter.empty and key not in there:
            raise missing(name, key)
    if cls.needs_one_of and not there & {*cls.needs_one_of}:
        raise missing(name, *cls.needs_one_of)
    hints = get_type_hints(Initializer.__init__) | get_type_hints(cls.__init__)
    for key, value in given.items():
        if key not in EVIDENCE and key in hints:
            require_type(key, value, hints[key])
    check_files(given)


class Choice(NamedTuple):
    """A method, and why it."""

    method: str
    reason: str


def choose(given: Mapping[str, Any]) -> Choice:
    """The method that makes most of the evidence, of which translations tell more of a token than any similarity."""
    there = [name for name in ("parallel", "dictionary", *_CHOICES) if given.get(name) is not None]
    if best := " and ".join(EVIDENCE[name].told for name in there if name not in _CHOICES):
        return Choice("pooled", f"it counts all evidence together, and nothing tells more of a token than {best}")
    if there:
        return _CHOICES[there[0]]
    raise InputError(
        "auto needs something of the target language",
        hint="Give --tokenizer and, of --parallel, --dictionary, --vectors, --helper and --donor, what there is.",
    )


def candidates(given: Mapping[str, Any]) -> tuple[str, ...]:
    """The methods that the evidence allows, the one that `choose` takes first; of each kind of evidence the best one.

    A tokenizer alone allows `subtoken-mean`.

    Example:
        >>> candidates({"tokenizer": "german", "parallel": "en-de.tsv"})
        ('pooled', 'subtoken-mean')
    """
    allowed = [choice.method for name, choice in _CHOICES.items() if given.get(name) is not None]
    return tuple(dict.fromkeys((choose(given).method, *allowed)))


# Without translations, what there is → the method, the best first.
_CHOICES = {
    "helper": Choice("clp", "without translations, the helper's embeddings tell which tokens are alike"),
    "donor": Choice("omp", "the donor's rows are made again of the source's, token by token"),
    "vectors": Choice("focus", "vectors of the target language tell which tokens are alike"),
    "tokenizer": Choice("subtoken-mean", "there is only a tokenizer: a token is what the source makes of its text"),
}

"""YAML as recipes mean it: `no` is Norwegian and `5e-4` a number, as in YAML 1.2."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hf_xlt.errors import InputError

BOOL = "tag:yaml.org,2002:bool"
FLOAT = "tag:yaml.org,2002:float"
MOST_VALUES = 1_000_000
EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    """One that refuses a key given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := [key for place, key in enumerate(keys) if key in keys[:place]]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    pass


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(BOOL, re.compile("(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(FLOAT, EXPONENT, list("-+0123456789"))


def load(text: str) -> Any:
    """Plain data of a YAML text."""
    try:
        data = yaml.load(text, Loader=_Loader)
        size = _size(data, {})
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
    except (ValueError, OverflowError) as error:  # such as the 31st of February
        raise yaml.YAMLError(str(error)) from error
    if size > MOST_VALUES:
        raise yaml.YAMLError(f"its aliases stand for more than {MOST_VALUES:,} values")
    return data


def plain_data(path: Path, what: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The mapping in a YAML file, which messages call `what`, with overrides as `set_value` takes them."""
    try:
        data = load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{what} {path} is not valid YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise InputError(f"{what} {path} must be a mapping with a `name`; see the shipped ones.")
    for override in overrides:
        set_value(data, override)
    return data


def set_value(data: Any, override: str) -> None:
    """Set one value in plain data, in place: `dotted.key=value`, the value in YAML, such as `stages.0.steps=500`."""
    key, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"Override {override!r} is not of the form key=value, e.g. stages.0.steps=500.")
    try:
        value = load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Override {override!r}: the value is not YAML; put it in quotes.") from error
    *parents, last = key.split(".")
    for parent in parents:
        data = _child(data, parent, override)
    _child(data, last, override)
    data[int(last) if isinstance(data, list) else last] = value


def dump(data: Any) -> str:
    """YAML text that `load` reads back equal; tuples become lists."""
    return yaml.dump(_plain(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _child(data: Any, key: str, override: str) -> Any:
    if isinstance(data, list):
        if not key.isdigit() or int(key) >= len(data):
            raise InputError(f"Override {override!r}: there is no item {key}; the list has {len(data)}.")
        return data[int(key)]
    if not isinstance(data, dict):
        raise InputError(f"Override {override!r}: {data!r} has no part {key}.")
    if data.get(key) is None:
        data[key] = {}
    return data[key]


def _size(value: Any, known: dict[int, int | None]) -> int:
    """How many values there are where every alias is written out."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = None
        known[id(value)] = 1 + sum(
            _size(item, known) for item in (value.values() if isinstance(value, dict) else value)
        )
    size = known[id(value)]
    if size is None:
        raise yaml.YAMLError("a part of it is an alias of the whole")
    return size


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

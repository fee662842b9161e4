"""What may be told in public: names and commands without where things lie on this machine."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

# `--flag=` or `dotted.key=` before a value.
_ASSIGNED = re.compile(r"(--?[\w-]+|[\w.-]+)=(.+)", flags=re.DOTALL)
_HOME_OR_FILE = re.compile(r"~[\w.-]*[/\\]|file:/")
# A path of two names or more inside other text; the path of a URL is none.
_WITHIN = re.compile(
    r"""(?<![\w./\\~-])(?<!:/)(?:file:/*|~[\w.-]*|[A-Za-z]:)?(?:[/\\][^\s/\\"'`,;:()\[\]{}<>|]+)+[/\\]([^\s/\\"'`,;()\[\]{}<>|]+)"""
)


def public_name(name_or_path: str | Path) -> str:
    """What a card calls a checkpoint or corpus: something local by its last name, a Hub id as it is."""
    name = str(name_or_path)
    if not is_local(name):
        return name
    place = os.path.expanduser(name)
    return Path(os.path.realpath(place)).name if os.path.exists(place) else _last(name)


def public_names(names: Sequence[str]) -> dict[str, str]:
    """Name or path → what it is called: with as many of its folders as tell it from the others."""
    parts = {name: Path(os.path.realpath(os.path.expanduser(name))).parts for name in names if is_local(name)}
    shown = {name: name for name in names}
    for name, own in parts.items():
        others = [other[-len(own) :] for each, other in parts.items() if each != name]
        depth = next((n for n in range(1, len(own)) if all(own[-n:] != other[-n:] for other in others)), len(own) - 1)
        shown[name] = "/".join(own[-depth:])
    return shown


def is_local(name_or_path: str | Path) -> bool:
    """Whether a checkpoint or corpus is a folder or file here, or columns of one (`FILE:en,de`)."""
    name = str(name_or_path)
    place = os.path.expanduser(name)
    return _is_place(name) or os.path.exists(place) or os.path.exists(place.rpartition(":")[0] or place)


def is_repo_id(name: str | None) -> bool:
    """Whether the Hub would take a name for a repository's."""
    try:
        validate_repo_id(name or "")
    except HFValidationError:
        return False
    return True


def public_command(command: str) -> str:
    """A command with local paths cut down to their last names."""
    return shlex.join(map(_without_path, shlex.split(command)))


def without_paths(value: Any) -> Any:
    """Plain data with every absolute path in it cut down to its last name; a relative one stays."""
    if isinstance(value, Mapping):
        return {without_paths(key): without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(item) for item in value]
    return _without_path(value) if isinstance(value, str) else value


def _without_path(text: str) -> str:
    if assigned := _ASSIGNED.fullmatch(text):
        return f"{assigned[1]}={_without_path(assigned[2])}"
    if _is_place(text):
        return _last(text)
    if text.startswith(("[", "{")):
        with suppress(yaml.YAMLError):
            data = yaml.safe_load(text)
            public = without_paths(data)
            return text if public == data else json.dumps(public, ensure_ascii=False)
    return _WITHIN.sub(r"\1", text)


def _is_place(text: str) -> bool:
    """Whether it is a path from a root or a home, of this system or of Windows."""
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return absolute or _HOME_OR_FILE.match(text) is not None


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path

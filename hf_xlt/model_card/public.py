"""What may be told in public: names and commands without where things lie on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id


def public_name(name_or_path: str | Path) -> str:
    """What a card calls a checkpoint or corpus: something local by its last name, a Hub id as it is."""
    return Path(name_or_path).expanduser().resolve().name if is_local(name_or_path) else str(name_or_path)


def is_local(name_or_path: str | Path) -> bool:
    """Whether a checkpoint or corpus is a folder or file here, or columns of one (`FILE:en,de`)."""
    path = Path(name_or_path).expanduser()
    return path.is_absolute() or path.exists() or Path(str(path).rpartition(":")[0] or path).exists()


def is_repo_id(name: str | None) -> bool:
    """Whether the Hub would take a name for a repository's."""
    try:
        validate_repo_id(name or "")
    except HFValidationError:
        return False
    return True


def public_command(command: str) -> str:
    """A command with local paths cut down to their last names."""
    words = (word.rpartition("=") for word in shlex.split(command))
    return shlex.join(f"{key}{equals}{_without_path(value)}" for key, equals, value in words)


def without_paths(value: Any) -> Any:
    """Plain data with every absolute path in it cut down to its last name."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    return _without_path(value) if isinstance(value, str) else value


def _without_path(text: str) -> str:
    return Path(text).name if Path(text).is_absolute() else text

"""Which files a set of tasks is done on, from the command line or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hf_xlt.errors import InputError
from hf_xlt.files import plain_yaml


def read_data(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Task → role → file.

    Args:
        given: `TASK.ROLE=FILE`, each once, or the path of a YAML file with roles and their files under the names of
            tasks; what comes later rules over such a file. Files that a YAML file names count from its folder.

    Raises:
        InputError: If one is neither, or the YAML file is not as expected.
    """
    data: dict[str, dict[str, str]] = {}
    told: set[str] = set()
    for item in given:
        name, equals, place = item.partition("=")
        if not equals and Path(item).suffix in (".yaml", ".yml"):
            for task, roles in _read(Path(item)).items():
                data.setdefault(task, {}).update(roles)
            continue
        task, dot, role = name.partition(".")
        if not (equals and dot and task and role and place):
            raise InputError(f"--data {item!r} is neither TASK.ROLE=FILE, e.g. upos.test=de.conllu, nor a .yaml file.")
        if name in told:
            raise InputError(f"--data names the file of {name} twice, the second time as {place!r}. Name it once.")
        told.add(name)
        data.setdefault(task, {})[role] = place
    return data


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        loaded: Any = plain_yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read ({' '.join(str(error).split())}).") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(roles, dict) and all(isinstance(place, str) for place in roles.values()) for roles in loaded.values()
    ):
        raise InputError(f"{path} is not as expected: names of tasks, under each its roles and their files.")
    return {
        str(task): {str(role): str(path.parent / place) for role, place in roles.items()}
        for task, roles in loaded.items()
    }

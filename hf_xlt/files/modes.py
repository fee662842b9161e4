"""Who may read what is written: what the umask says, whatever a library chose for its own file."""

from __future__ import annotations

import os
from pathlib import Path

_READ_AND_WRITE = 0o666


def ordinary_modes(folder: Path) -> None:
    """Give all files and folders inside a folder the permissions that the folder itself was made with.

    safetensors writes files that only their owner may read, and copies keep the permissions of what they are of.
    """
    mode = folder.stat().st_mode & 0o777
    for place, folders, files in os.walk(folder):
        for name in folders:
            _set(Path(place, name), mode)
        for name in files:
            _set(Path(place, name), mode & _READ_AND_WRITE)


def _set(path: Path, mode: int) -> None:
    if not path.is_symlink() and path.stat().st_mode & 0o777 != mode:
        path.chmod(mode)

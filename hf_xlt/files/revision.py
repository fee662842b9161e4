"""Hub ids with a revision: `namespace/name@revision`."""

from __future__ import annotations

import os
import re

_COMMIT = re.compile("[0-9a-f]{40}")


def split_revision(name: str) -> tuple[str, str | None]:
    """A Hub id and the branch, tag or commit that `@` adds to it, None where there is none.

    A file or folder here whose name has an `@` is taken as it is.
    """
    if os.path.exists(os.path.expanduser(name)):
        return name, None
    repository, at, revision = name.rpartition("@")
    return (repository, revision) if at and repository and revision else (name, None)


def commit_in(name: str) -> str | None:
    """The commit that a Hub id names by its whole hash."""
    revision = split_revision(name)[1]
    return revision if revision is not None and is_commit(revision) else None


def is_commit(revision: str) -> bool:
    """Whether a revision is the whole hash of a commit, which never stands for anything else."""
    return _COMMIT.fullmatch(revision) is not None

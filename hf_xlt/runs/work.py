"""The hidden folder of a run in progress: whose it is, what the run began with, and when it is kept."""

import errno
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hf_xlt.errors import InputError
from hf_xlt.files import plain_yaml
from hf_xlt.files.folders import write_whole
from hf_xlt.runs.contents import flat

LOCK = "lock"
STAMP = "run.json"
HOLDER = "process.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stamp:
    """What a run begins with; one that goes on has to begin with the same.

    The recipe is resolved, in YAML; the contents are input → what identifies its content.
    """

    recipe: str
    compare: bool
    processes: int
    contents: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "Stamp":
        """Read the file of an unfinished run; of one that is broken or was begun by an older version, what there is."""
        known = data if isinstance(data := _json_of(path), dict) else {}
        contents, processes = known.get("contents"), known.get("processes")
        return cls(
            str(known.get("recipe", "")),
            known.get("compare") is True,
            processes if isinstance(processes, int) else 1,
            contents if isinstance(contents, dict) else {},
        )

    def change_since(self, begun: "Stamp") -> str | None:
        """The first thing in which this differs from what an unfinished run began with; None where nothing does."""
        now, before = self._plain(), begun._plain()
        for name in dict.fromkeys([*before, *now]):
            if now.get(name) != before.get(name):
                return f"{name} was {before.get(name)!r} and is {now.get(name)!r} now"
        for name, content in self.contents.items():
            if begun.contents.get(name) != content:
                return f"the content of {name} ({now.get(name)}) was another"
        return None

    def _plain(self) -> dict[str, Any]:
        return flat(plain_yaml.load(self.recipe)) | {"compare": self.compare, "processes": self.processes}


def folder_of(output: Path) -> Path:
    """Where work in progress lives: beside the output."""
    return output.parent / f".{output.name}.work"


@contextmanager
def held(output: Path) -> Iterator[Path]:
    """The work folder of an output, in the hands of this process alone; in the end only an unfinished run keeps it."""
    work = folder_of(output)
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        holder = _json_of(work / HOLDER)
        who = "process {pid} on {host}".format(**holder) if isinstance(holder, dict) else "another process"
        problem, hint = f"A run with the output {output} is going on: {who}", "Wait for it or choose another output."
        raise InputError(problem, path=work, expected="one at a time", hint=hint) from error
    try:
        write_whole(work / HOLDER, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield work
    finally:
        if not (work / STAMP).exists():
            shutil.rmtree(work)
        lock.release()


def begin(work: Path, stamp: Stamp, *, overwrite: bool) -> bool:
    """Note down what a run begins with; whether the run is a new one, or an unfinished one of the same goes on.

    With `overwrite`, an unfinished run that began with something else is given up, not refused.
    """
    file = work / STAMP
    if file.exists():
        change = stamp.change_since(Stamp.read(file))
        if change is None:
            return False
        if not overwrite:
            problem = f"{work} holds an unfinished run of another recipe or input: {change}"
            hint = "Restore that to go on, start anew with --overwrite, or choose another output."
            raise InputError(problem, path=work, hint=hint)
    end(work)
    write_whole(file, json.dumps(asdict(stamp)))
    return True


def end(work: Path) -> None:
    """Empty the work folder of a run that is done or given up, the stamp first: what is left without one is nothing."""
    (work / STAMP).unlink(missing_ok=True)
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (LOCK, HOLDER):
            path.unlink()


@contextmanager
def kept_on_failure(work: Path) -> Iterator[None]:
    """Whatever ends the block early, the user is told how to go on, if there is an unfinished run to go on with.

    An error that says that there is no room on the disk becomes a refusal.
    """
    told = f"What is done so far is kept in {work}: the same command goes on from there."
    try:
        yield
    except InputError as error:
        if not (work / STAMP).exists():
            raise
        fields = {name: getattr(error, name) for name in ("value", "path", "line", "key")}
        raise InputError(str(error), hint=told, **fields) from error
    except BaseException as error:
        if _is_about_room(error):
            problem = f"There is no room to write to {work.parent} ({' '.join(str(error).split())[:200]})"
            raise InputError(problem, path=work.parent, hint=f"Make room. {told}") from error
        logger.warning(told)
        raise


def _is_about_room(error: BaseException) -> bool:
    """Whether the disk is full; safetensors and torch say so in words alone."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    told = str(error)
    return any(f"(os error {number})" in told for number in NO_ROOM) or "PytorchStreamWriter failed writing" in told


def _json_of(path: Path) -> Any:
    """What a JSON file holds; None where there is none, or it is broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None

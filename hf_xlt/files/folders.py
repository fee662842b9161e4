"""Files and folders that appear whole or not at all; the refusal of places where they cannot, or which are not ours."""

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

from hf_xlt.errors import InputError

LONGEST_NAME = 255  # bytes, of the file systems in use

MARK = ".hf_xlt.json"

# Folders from before there was a mark are known by a card and one of these; all in them must be of these kinds.
_EARLIER = ("transport.safetensors", "recipe.yaml")
_EARLIER_CARD = "- hf-xlt\n"
_EARLIER_KINDS = (
    "README.md", "recipe.yaml", "results.json", "transport.safetensors", "health*", "config.json", "modules.json",
    "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "adapter_*", "tokenizer*",
    "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "spiece.model", "sentencepiece.*",
    "chat_template.*", "learning_curves.png", "retrieval.png", "trade_off.png", "*_trelm.py", "sentence_*_config.json",
    "config_sentence_transformers.json",
)  # fmt: skip

Sources = Iterable[str | Path | None]


@contextmanager
def atomic_folder(output: str | Path, *, overwrite: bool = False, sources: Sources = ()) -> Iterator[Path]:
    """A hidden folder beside `output` to write into; it takes the name `output` when the block ends well.

    If the block raises, the hidden folder is removed and `output` is as it was. What a killed process left
    behind is removed by the next one that writes to the same place. Arguments are those of `check_output`.
    """
    output, sources = absolute(output), tuple(sources)
    _recover(output)
    check_output(output, overwrite=overwrite, sources=sources)
    with _parents(output):
        partial = _sibling(output, "partial")
        partial.mkdir()
        try:
            yield partial
            _ordinary_modes(partial)
            mark(partial)
            check_output(output, overwrite=overwrite, sources=sources)  # it may have appeared meanwhile
            with put_aside(output):
                partial.rename(output)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def folder_in_place(output: str | Path, *, overwrite: bool = False, sources: Sources = ()) -> Iterator[Path]:
    """The folder `output` itself to write into; if the block raises, it goes, and what it replaces comes back."""
    output, sources = absolute(output), tuple(sources)
    _recover(output)
    check_output(output, overwrite=overwrite, sources=sources)
    with _parents(output), put_aside(output):
        output.mkdir()
        try:
            yield output
            mark(output)
        except BaseException:
            shutil.rmtree(output, ignore_errors=True)
            raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden path beside `path` to write to; it takes the place of `path` at the end, and is removed on an error."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode
        yield unfinished
        unfinished.chmod(mode)  # safetensors leaves files that only their owner may read
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def put_aside(output: Path) -> Iterator[None]:
    """What is at `output` has another name while the block makes a new one; it is removed last, or comes back."""
    if not os.path.lexists(output):
        yield
        return
    replaced = _sibling(output, "replaced")
    output.rename(replaced)
    try:
        yield
    except BaseException:
        replaced.rename(output)
        raise
    shutil.rmtree(replaced)


def check_output(output: str | Path, *, overwrite: bool = False, sources: Sources = ()) -> None:
    """Refuse a folder that cannot be made, before any work is done for it.

    With `overwrite` it may replace one that hf_xlt wrote; it may not touch `sources`, what is read here.
    """
    output = absolute(output)
    check_apart(output, sources)
    if os.path.lexists(output):
        _check_replaceable(output, overwrite)
    check_writable(output)


def check_file(
    path: str | Path, *, overwrite: bool, ours: Callable[[Path], bool] = lambda path: True, sources: Sources = ()
) -> None:
    """Refuse a file that cannot be made; with `overwrite` it may replace one that is `ours`, never touch `sources`."""
    file = absolute(path)
    check_apart(file, sources)
    if os.path.lexists(file):
        if not overwrite:
            raise InputError(f"{path} exists; expected a new file. Choose another name or overwrite it.", path=file)
        if file.is_symlink() or not file.is_file():
            raise InputError(f"{path} is no ordinary file, so it is not overwritten. Choose another name.", path=file)
        if not ours(file):
            problem = f"{path} was not written by hf-xlt, so it is not overwritten. Choose another name."
            raise InputError(problem, path=file)
    if not file.parent.is_dir():
        problem = f"{file.parent} is not a folder; expected one to write {file.name} to. Make it first."
        raise InputError(problem, path=file)
    check_writable(file)


def check_apart(output: Path, sources: Sources) -> None:
    """Refuse an output that is, holds or lies in something that is read."""
    place = output
    with suppress(OSError, RuntimeError):  # links in a circle
        place = output.resolve()
    for source in sources:
        if source is None:
            continue
        try:
            read = Path(source).expanduser().resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # nothing is there, as for an id on the Hub
            continue
        if place.is_relative_to(read) or read.is_relative_to(place):
            problem = f"The output {output} overlaps with {source}, which is read"
            raise InputError(problem, value=str(output), expected="a place apart from it", path=output)


def check_writable(output: Path) -> None:
    """Refuse a place where no file or folder can be made, by making one."""
    place = next(parent for parent in output.parents if os.path.lexists(parent))
    if not place.is_dir():
        problem = f"The output {output} lies below {place}, which is no folder. Choose another output."
        raise InputError(problem, path=output)
    new = output.relative_to(place).parts[:-1]
    trial = place / _sibling(output, "checking").name
    longest = max((*new, trial.name), key=lambda name: len(os.fsencode(name)))
    if len(os.fsencode(longest)) > LONGEST_NAME:
        raise InputError(
            f"The output has a name of {len(os.fsencode(output.name))} bytes, which leaves no room for the names of "
            f"unfinished files beside it ({LONGEST_NAME} bytes). Choose a shorter one.",
            path=output,
        )
    try:
        with suppress(FileExistsError):
            trial.mkdir()
            trial.rmdir()
    except OSError as error:
        problem = f"The output {output} cannot be written: {error.strerror} in {place}. Choose another output."
        raise InputError(problem, path=output) from error


def check_space(output: str | Path, needed: int) -> None:
    """Refuse to start writing `needed` bytes to `output` where they do not fit."""
    place = next(parent for parent in absolute(output).parents if parent.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        problem = f"The output {output} needs {needed / 1e6:,.1f} MB and its disk has {free / 1e6:,.1f} MB free."
        hint = "Make room, or choose a folder on another disk."
        raise InputError(problem, hint=hint)


def absolute(output: str | Path) -> Path:
    """The path with its parents resolved, so that two spellings compare equal; a link itself is not followed."""
    text = os.fspath(output)
    if not text or "\0" in text or text != text.encode("utf-8", "replace").decode():
        raise InputError(f"The output {text!r} is no name of a file", value=text, expected="a path in UTF-8")
    try:
        path = Path(text).expanduser()
        return path.parent.resolve() / path.name if path.name not in ("", "..") else path.resolve()
    except (OSError, RuntimeError) as error:  # a home that is not known, links in a circle
        raise InputError(f"The output {text} leads nowhere: {error}. Choose another output.", value=text) from error


def _check_replaceable(output: Path, overwrite: bool) -> None:
    if not overwrite:
        raise InputError(f"The output {output} exists. Choose another, or replace it with --overwrite.", path=output)
    faults = {
        "is not a folder": not output.is_dir() or output.is_symlink(),
        "is a mounted disk": output.is_mount(),
        "holds the working directory": Path.cwd().is_relative_to(output),
    }
    if fault := next((name for name, found in faults.items() if found), None):
        raise InputError(f"The output {output} {fault}, so it is not overwritten. Choose another.", path=output)
    if foreign := foreign_files(output):
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise InputError(
            f"The output {output} holds files that hf-xlt did not write or that were changed since "
            f"({', '.join(foreign[:3])}{more}), so it is not overwritten. Move them elsewhere, or choose another.",
            value=foreign,
            path=output,
        )


def _ordinary_modes(folder: Path) -> None:
    """Give what is in a folder the folder's permissions; safetensors writes files that only their owner may read."""
    mode = folder.stat().st_mode & 0o777
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(mode if path.is_dir() else mode & 0o666)


@contextmanager
def _parents(output: Path) -> Iterator[None]:
    """The folders above `output` are there; those that were made for it go again if the block raises."""
    missing = [parent for parent in output.parents if not parent.exists()]
    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for parent in missing:
            with suppress(OSError):  # not empty: something else is there by now
                parent.rmdir()
        raise


def _sibling(output: Path, purpose: str) -> Path:
    return output.parent / f".{output.name}.{purpose}-{socket.gethostname()}-{os.getpid()}"


def _recover(output: Path) -> None:
    """Undo what processes of this machine that died left beside `output`."""
    for replaced in _abandoned(output, "replaced"):
        if not os.path.lexists(output):
            replaced.rename(output)
        elif is_marked(output):  # else the new one is not complete, and the old one all there is
            shutil.rmtree(replaced)
    for partial in _abandoned(output, "partial"):
        shutil.rmtree(partial)


def _abandoned(output: Path, purpose: str) -> list[Path]:
    prefix = f".{output.name}.{purpose}-{socket.gethostname()}-"
    try:
        left = [path for path in output.parent.iterdir() if path.name.startswith(prefix)]
    except OSError:  # nothing can be there; whether anything may be written is checked next
        return []
    return [path for path in left if not _runs(path.name.removeprefix(prefix))]


def _runs(pid: str) -> bool:
    """Whether another process of this id lives; our own id on a leftover means that the number was used again."""
    if not pid.isdigit() or int(pid) == os.getpid():
        return not pid.isdigit()
    try:
        with suppress(PermissionError):  # it is another user's
            os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


def mark(folder: Path) -> None:
    """List what a folder holds in a file of its own, by which it is known again as written by hf_xlt."""
    (folder / MARK).unlink(missing_ok=True)
    sizes = {name: path.lstat().st_size for name, path in sorted(_files(folder))}
    (folder / MARK).write_text(json.dumps({"written_by": "hf_xlt", "files": sizes}, indent=1) + "\n", encoding="utf-8")


def is_marked(folder: Path) -> bool:
    """Whether a folder has a list of what hf_xlt wrote to it."""
    return _listed(folder) is not None


def foreign_files(folder: Path) -> list[str]:
    """Files of a folder that hf_xlt did not write, or that were changed since: their paths in it, sorted."""
    sizes = _listed(folder)
    earlier = sizes is None and _is_earlier(folder)

    def ours(name: str, path: Path) -> bool:
        as_listed = name in (sizes or {}) and not path.is_symlink() and path.stat().st_size == (sizes or {})[name]
        return as_listed or (earlier and _of_an_earlier_version(name, path))

    return sorted(name for name, path in _files(folder) if name != MARK and not ours(name, path))


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Path within the folder and path of everything in it but folders; links are not followed."""
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in (*files, *links):
            path = Path(place) / name
            yield path.relative_to(folder).as_posix(), path


def _listed(folder: Path) -> dict[str, int] | None:
    try:
        return dict(json.loads((folder / MARK).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _is_earlier(folder: Path) -> bool:
    for model in (folder, folder / "model"):  # the second is a demonstration's, beside its text
        card = model / "README.md"
        known = card.is_file() and any((model / name).is_file() for name in _EARLIER)
        if known and _EARLIER_CARD in card.read_text(encoding="utf-8", errors="replace"):
            return True
    return False


def _of_an_earlier_version(name: str, path: Path) -> bool:
    *parents, last = name.split("/")
    known = any(fnmatch(last, kind) for kind in _EARLIER_KINDS)
    text = parents == ["text"] and fnmatch(last, "*.*.t[xs][tv]")
    return not path.is_symlink() and (known or text)

"""Whose files they are: what hf_xlt wrote may be replaced, what anybody else did may not."""

import json
import os
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

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

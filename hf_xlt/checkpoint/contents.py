"""Which files of a checkpoint folder hold its language, and which are carried over to a new one."""

from __future__ import annotations

import json
import os
from fnmatch import fnmatch
from pathlib import Path

from hf_xlt.errors import InputError

WEIGHTS = (
    "*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.h5",
    "*.msgpack", "*.ot", "*.onnx", "*.gguf", "*.tflite",
)  # fmt: skip
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "vocab.json", "merges.txt", "*.tiktoken",
    "spiece.model", "sentencepiece.*", "special_tokens_map.json", "added_tokens.json", "chat_template.*",
)  # fmt: skip
REWRITTEN = ("config.json", "generation_config.json")
OF_THE_VOCABULARY = ("WordWeights", "BoW", "WordEmbeddings")  # modules of sentence-transformers that list its words
SKIPPED_FOLDERS = ("onnx", "openvino", "coreml", "additional_chat_templates", "checkpoint-*", ".*")


def modules(folder: Path) -> dict[str, str]:
    """Path → type of the modules of a sentence-transformers model; empty for any other.

    Raises:
        InputError: If `modules.json` cannot be read, or a path in it leads out of the folder.
    """
    listing = folder / "modules.json"
    if not listing.is_file():
        return {}
    try:
        found = {entry["path"]: entry["type"].rsplit(".", 1)[-1] for entry in json.loads(listing.read_text("utf-8"))}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{listing} is not a list of modules. Download or save the model again.") from error
    for path in found:
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"{listing} names the path {path!r}, which leads out of the folder. Do not use this model."
            )
    return found


def transformer_path(folder: Path) -> str:
    """Where in the folder the transformer is: `""` for the folder itself.

    Raises:
        InputError: If a sentence-transformers model has no transformer.
    """
    found = modules(folder)
    if not found:
        return ""
    for path, kind in found.items():
        if kind == "Transformer":
            return path
    raise InputError(f"{folder} has no Transformer among its modules ({', '.join(found.values())}). Give one that has.")


def check_modules(folder: Path) -> None:
    """Refuse a sentence-transformers model that no other vocabulary can be given to.

    Raises:
        InputError: If a module is bound to the words of the vocabulary.
    """
    if bound := [kind for kind in modules(folder).values() if kind in OF_THE_VOCABULARY]:
        raise InputError(
            f"{folder} has a module {bound[0]}, which knows the words of its own vocabulary only",
            value=bound[0],
            expected="modules that serve any vocabulary",
            hint="Choose another model.",
            path=folder,
        )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds any tokenizer file; without one transformers would make up an empty tokenizer."""
    return any(fnmatch(path.name, pattern) for path in folder.iterdir() for pattern in TOKENIZER)


def carried_files(folder: Path) -> list[Path]:
    """The files, relative to `folder`, that a model in another language keeps byte for byte.

    Left behind are: the weights in any format and exports of them, the tokenizer, the two configuration files
    (these are written anew), the model card (it describes the old model), training checkpoints and hidden files.
    The folders of further sentence-transformers modules are kept whole.

    Raises:
        InputError: If such a module is bound to the words of the old vocabulary.
    """
    check_modules(folder)
    body = transformer_path(folder)
    kept_whole = tuple(Path(path) for path in modules(folder) if path not in ("", body))
    carried = []
    for place, folders, files in os.walk(folder):
        here = Path(place).relative_to(folder)
        folders[:] = [name for name in sorted(folders) if not _matches(name, SKIPPED_FOLDERS)]
        whole = any(here.is_relative_to(path) for path in kept_whole)
        carried += [here / name for name in sorted(files) if whole or _is_carried(here, name, Path(body))]
    return carried


def _is_carried(here: Path, name: str, body: Path) -> bool:
    written_anew = here == body and (name in REWRITTEN or _matches(name, TOKENIZER))
    card = here == Path() and name == "README.md"
    return not (written_anew or card or name.startswith(".") or _matches(name, WEIGHTS))


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)

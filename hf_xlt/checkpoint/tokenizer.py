"""Open and save the tokenizer of a checkpoint, which may have no weights; nothing else in the package does."""

import re
from importlib.util import find_spec
from pathlib import Path

import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from hf_xlt.checkpoint.contents import has_tokenizer, transformer_path
from hf_xlt.checkpoint.fetch import local_folder
from hf_xlt.errors import InputError
from hf_xlt.files.place import split_revision
from hf_xlt.files.text import json_settings, write_json

SHOWN = 300  # characters of a library's own words
# What reads a file, where there is no tokenizer.json: the libraries' own messages name another package, or none.
READERS = {
    "tekken.json": ("mistral_common", "mistral-common"),
    "*.tiktoken": ("tiktoken", "tiktoken"),
    "*.model": ("sentencepiece", "sentencepiece"),
    "*.spm": ("sentencepiece", "sentencepiece"),
}
ASKED = (
    r"pip install (?:-[\w-]+ )*[`'\"]?([\w.-]+)",
    r"requires? the ([\w.-]+) (?:library|package)",
    r"need to install ([\w.-]+)",
)


def open_tokenizer(
    name_or_folder: str | Path | PreTrainedTokenizerBase, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or Hub id; one that is open already is handed back. No question is ever asked.

    A Hub id has `@` and a revision where it is not the newest that is wanted.

    Raises:
        InputError: If there is none, it is broken or empty, it brings code that may not run, or it needs a package
            that is not installed.
    """
    if isinstance(name_or_folder, PreTrainedTokenizerBase):
        return name_or_folder
    folder = local_folder(name_or_folder)
    if folder is not None and not has_tokenizer(folder):
        folder /= transformer_path(folder)
    if folder is not None and not has_tokenizer(folder):
        problem = f"{folder} has no tokenizer"
        raise InputError(problem, hint="Save one there with tokenizer.save_pretrained(…).", path=folder)
    place, revision = split_revision(str(name_or_folder if folder is None else folder))
    try:
        if not trust_remote_code and _brings_code(place, revision):
            raise _untrusted(name_or_folder)
        tokenizer = AutoTokenizer.from_pretrained(
            place, revision=revision or "main", trust_remote_code=trust_remote_code
        )
        empty = not tokenizer.get_vocab()
    except Exception as error:  # whatever a broken file makes of it: tokenizers raises Exception itself
        raise error if isinstance(error, InputError) else _refused(name_or_folder, folder, error) from error
    if empty:
        raise InputError(
            f"The tokenizer of {name_or_folder} has no tokens",
            expected="a tokenizer.json, or the files of a class that transformers knows",
            hint="Save it again with tokenizer.save_pretrained(…).",
            path=name_or_folder,
        )
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> None:
    """Save a tokenizer so that it opens again, also where it is of a class with code of its own."""
    tokenizer.save_pretrained(folder)
    path = Path(folder, "tokenizer_config.json")
    settings = json_settings(path)
    own_class = (settings.get("auto_map") or {}).get("AutoTokenizer")
    if isinstance(own_class, str):  # as transformers saves one whose name has no "Tokenizer" in it, and cannot open it
        settings["auto_map"]["AutoTokenizer"] = [own_class, None]
        write_json(path, settings)


def _brings_code(place: str, revision: str | None) -> bool:
    """Whether a tokenizer is of a class of its own; transformers may take another one for it without a word."""
    settings = get_tokenizer_config(place, revision=revision)
    named = settings.get("tokenizer_class")
    return "AutoTokenizer" in (settings.get("auto_map") or {}) and not hasattr(transformers, str(named))


def _untrusted(name_or_folder: str | Path) -> InputError:
    hint = "If you trust it, allow it with --trust-remote-code (trust_remote_code=True in Python)."
    return InputError(f"The tokenizer of {name_or_folder} brings its own code", hint=hint, path=name_or_folder)


def _refused(name_or_folder: str | Path, folder: Path | None, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return _untrusted(name_or_folder)
    problem = f"The tokenizer of {name_or_folder} cannot be opened"
    if package := _missing_package(folder, error, reason):
        problem = f"{problem}: it needs the package {package}, which is not installed"
        return InputError(problem, value=package, hint=f"Install it with `pip install {package}`.", path=name_or_folder)
    problem = f"{problem} ({reason[:SHOWN] or type(error).__name__})."
    return InputError(problem, hint="Download it or save it again.", path=name_or_folder)


def _missing_package(folder: Path | None, error: Exception, reason: str) -> str | None:
    """The package that a file of the folder or an error asks for."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return error.name.partition(".")[0].replace("_", "-")
    if folder is not None and not (folder / "tokenizer.json").is_file():
        for pattern, (module, package) in READERS.items():
            if any(folder.glob(pattern)) and find_spec(module) is None:
                return package
    found = next(filter(None, (re.search(pattern, reason) for pattern in ASKED)), None)
    return found[1].rstrip(".").lower() if found else None

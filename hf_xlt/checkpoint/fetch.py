"""Find the folder of a checkpoint: a local one, or a snapshot of a Hub repository without its pickled files."""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError

from hf_xlt.errors import InputError

DOWNLOADED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.py", "*.md")
NOT_DOWNLOADED = ("onnx/*", "openvino/*", "coreml/*", "original/*", "consolidated*")


def fetch(name_or_folder: str | Path) -> Path:
    """The folder of a checkpoint; the network is touched only for what cannot be a local path.

    Args:
        name_or_folder: A local folder, or a Hub id, whose safetensors and text files are then downloaded or
            taken from the cache; `.bin`, `.pt` and the like never are.

    Raises:
        InputError: If a local path is missing or not a folder, or the Hub does not give the repository.
    """
    check_local(name_or_folder)
    folder = Path(name_or_folder).expanduser()
    return folder if folder.is_dir() else _snapshot(str(name_or_folder))


def check_local(name_or_folder: str | Path) -> None:
    """Refuse what is neither a folder nor can be a Hub id.

    Raises:
        InputError: If it is a file, or a path that is missing.
    """
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return
    if folder.exists():
        raise InputError(f"{name_or_folder} is a file; expected a model folder. Give the folder that holds it.")
    if _looks_local(str(name_or_folder)):
        raise InputError(
            f"{name_or_folder} does not exist. Check the path, or give a Hub id such as google-bert/bert-base-cased."
        )


def _looks_local(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.endswith(os.sep) or name.count("/") > 1


def _snapshot(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=[*DOWNLOADED], ignore_patterns=[*NOT_DOWNLOADED]))
    except GatedRepoError as error:
        raise InputError(
            f"{name} is gated on the Hub. Accept its terms at https://huggingface.co/{name}, "
            "then log in with `hf auth login`."
        ) from error
    except HFValidationError as error:
        raise InputError(f"{name!r} is neither a folder here nor a valid Hub id. Check the spelling.") from error
    except (HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{name} is not a folder here and could not be had from the Hub ({type(error).__name__}). Check the "
            "spelling, log in with `hf auth login` if it is private, or, without a network, give a local folder."
        ) from error

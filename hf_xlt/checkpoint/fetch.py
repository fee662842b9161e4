"""Find the folder of a checkpoint: a local one, or a snapshot of a Hub repository without its pickled files."""

import os
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RevisionNotFoundError

from hf_xlt.errors import InputError
from hf_xlt.files.content import content_of
from hf_xlt.files.place import is_commit, split_revision

DOWNLOADED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.py", "*.md")
NOT_DOWNLOADED = ("onnx/*", "openvino/*", "coreml/*", "original/*", "consolidated*")
SETTINGS = ("config.json", "modules.json", "tokenizer_config.json")  # some file that a checkpoint or tokenizer has


def fetch(name_or_folder: str | Path) -> Path:
    """The folder of a checkpoint; the network is touched only for what cannot be a local path.

    Of a Hub id, with `@` and a revision where it is not the newest that is wanted, safetensors and text files are
    downloaded or taken from the cache; `.bin`, `.pt` and the like never are.
    """
    return local_folder(name_or_folder) or _snapshot(str(name_or_folder), DOWNLOADED)


def pinned(name_or_folder: str) -> str:
    """A local folder as it is; a Hub id with the commit that its revision, or its newest, stands for now."""
    if local_folder(name_or_folder) is not None:
        return name_or_folder
    return f"{split_revision(name_or_folder)[0]}@{commit_of(_snapshot(name_or_folder, SETTINGS))}"


def commit_of(folder: Path) -> str | None:
    """The commit of a folder that `fetch` took from the Hub; None for any other."""
    return folder.name if folder.parent.name == "snapshots" and is_commit(folder.name) else None


def checkpoint_content(name_or_folder: str | Path, *, ignoring: Path | None = None) -> str:
    """What identifies the content of a checkpoint: the commit of one from the Hub, a digest of a folder's files."""
    folder = fetch(name_or_folder)
    return commit_of(folder) or content_of(folder, ignoring=ignoring)


def local_folder(name_or_folder: str | Path) -> Path | None:
    """The folder of that name here, None for what can only be a Hub id."""
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        problem = f"{name_or_folder} is a file"
        raise InputError(problem, expected="a model folder", hint="Give the folder that holds it.")
    name = str(name_or_folder)
    if name.startswith((".", "~", os.sep)) or name.endswith(os.sep) or split_revision(name)[0].count("/") > 1:
        hint = "Check the path, or give a Hub id such as google-bert/bert-base-cased."
        raise InputError(f"{name_or_folder} does not exist", hint=hint)
    return None


def _snapshot(name: str, wanted: tuple[str, ...]) -> Path:
    repository, revision = split_revision(name)
    try:
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=[*wanted], ignore_patterns=[*NOT_DOWNLOADED]
        )
        return Path(folder)
    except GatedRepoError as error:
        hint = f"Accept its terms at https://huggingface.co/{repository}, then log in with `hf auth login`."
        raise InputError(f"{name} is gated on the Hub", hint=hint) from error
    except HFValidationError as error:
        raise InputError(f"{name!r} is neither a folder here nor a valid Hub id", hint="Check the spelling.") from error
    except RevisionNotFoundError as error:
        problem = f"{repository} has no revision {revision!r}"
        hint = f"See https://huggingface.co/{repository}/commits/main."
        raise InputError(problem, value=revision, expected="a branch, a tag or a commit of it", hint=hint) from error
    except (HfHubHTTPError, OSError) as error:
        problem = f"{name} is not a folder here and could not be had from the Hub ({type(error).__name__})"
        hint = (
            "Check the spelling, log in with `hf auth login` if it is private, or, without a network, give a local "
            "folder."
        )
        raise InputError(problem, hint=hint) from error

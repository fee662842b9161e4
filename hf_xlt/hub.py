"""Hub: upload a finished folder so that it is a repository whole, card last."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from huggingface_hub import HfApi

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.open import ADAPTERS
from hf_xlt.errors import InputError, UploadError
from hf_xlt.model_card import (
    CARD,
    CardFacts,
    CorpusFacts,
    ResultRow,
    RowCounts,
    installed_versions,
    is_repo_id,
    render_card,
    write_card,
)

__all__ = [
    "CardFacts",
    "CorpusFacts",
    "ResultRow",
    "RowCounts",
    "UploadError",
    "installed_versions",
    "push",
    "render_card",
    "write_card",
]

PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")


@checked
def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = "Upload model",
) -> str:
    """Upload a folder to the Hub, its card last and in a commit of its own: a repository with a card is whole.

    The endpoint is the one `huggingface_hub` uses, `HF_ENDPOINT` in the environment. The folder is only read.

    Args:
        folder: A saved model with its card.
        repo_id: Where to, `name` or `namespace/name`; made if it does not exist.
        private: Whether a new repository is private; None for the account's default.
        token: Access token; by default the one logged in with, or `HF_TOKEN`.
        commit_message: Message of the first commit.

    Returns:
        The repository's URL.

    Raises:
        InputError: If the folder is not a model in safetensors with a card, holds pickles, or the id is not one.
        UploadError: If the Hub cannot be reached or does not take it.
    """
    folder = Path(folder).expanduser()
    _check_folder(folder)
    if not is_repo_id(repo_id):
        raise InputError(f"{repo_id!r} is not a repository id; expected name or namespace/name, e.g. me/gpt2-german.")
    try:
        return _upload(HfApi(token=token or True), folder, repo_id, private, commit_message)
    # The client lets through its own errors, those of its HTTP and xet libraries, OSError, ValueError, RuntimeError.
    except Exception as error:
        retry = shlex.join(["hf-xlt", "push", str(folder), repo_id, *(["--private"] if private else [])])
        told = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        raise UploadError(
            f"Could not upload {folder} to {repo_id}: {' '.join(str(told).split()).rstrip('.')}. "
            f"The local folder is whole; try again with `{retry}`."
        ) from error


def _upload(api: HfApi, folder: Path, repo_id: str, private: bool | None, commit_message: str) -> str:
    repository = api.create_repo(repo_id, private=private, exist_ok=True)
    api.upload_folder(
        repo_id=repository.repo_id, folder_path=folder, ignore_patterns=[CARD, ADAPTERS], commit_message=commit_message
    )
    if (folder / ADAPTERS).is_file():
        api.upload_file(
            repo_id=repository.repo_id,
            path_or_fileobj=_adapters_of(folder, repository.repo_id),
            path_in_repo=ADAPTERS,
            commit_message="Add adapters",
        )
    api.upload_file(
        repo_id=repository.repo_id,
        path_or_fileobj=folder / CARD,
        path_in_repo=CARD,
        commit_message="Add model card",
    )
    return str(repository)


def _adapters_of(folder: Path, repo_id: str) -> bytes:
    """The settings of a folder's adapters, which name the repository as the model they belong to."""
    settings = json.loads((folder / ADAPTERS).read_text(encoding="utf-8"))
    return json.dumps(settings | {"base_model_name_or_path": repo_id}, indent=2).encode()


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected a saved model. Make one with `hf-xlt run`.")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json; expected a saved model. Give the folder that holds it.")
    if not any(folder.glob("model*.safetensors")):
        raise InputError(f"{folder} has no model*.safetensors; expected the weights. Save it with save_pretrained.")
    if not (folder / CARD).is_file():
        raise InputError(f"{folder} has no model card {CARD}; expected one. Write it with hf_xlt.hub.write_card.")
    pickles = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickles:
        raise InputError(
            f"{folder} holds pickled files ({', '.join(pickles)}); expected safetensors only, as a pickle runs code "
            "when it is opened. Move them elsewhere."
        )

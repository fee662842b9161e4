"""Hub: upload a finished folder in one commit, so that a repository is the old model whole or the new one whole."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path, PurePosixPath

import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard, ModelInfo
from huggingface_hub.errors import HfHubHTTPError

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.contents import ADAPTERS, modules, transformer_path
from hf_xlt.checkpoint.weights import Weights
from hf_xlt.errors import InputError, UploadError
from hf_xlt.files import plain_yaml
from hf_xlt.files.text import json_settings
from hf_xlt.hub.card import CARD, is_repo_id, without_paths

PICKLES = (".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
RECIPE = "recipe.yaml"
HIDDEN_BUT_PUBLIC = ".gitattributes"

# What belongs to a model and to no one else, wherever it lies: weights in every format, configurations, tokenizers,
# code, and what hf_xlt writes beside a model. Licenses, pictures, data and text of the user's own are none of these.
MODEL_FILES = (
    "*.safetensors", "*.bin", "*.ckpt", "*.gguf", "*.h5", "*.msgpack", "*.onnx", "*.onnx_data", "*.onnx.data", "*.ot",
    "*.pickle", "*.pkl", "*.pt", "*.pth", "*.tflite", "*.index.json",
    "*config*.json", "modules.json", "params.json", "quant*.json",
    "*token*.json", "tekken*.json", "vocab*.json", "encoder.json", "*.tiktoken", "*.model", "*.spm", "*.bpe", "*.vocab",
    "bpe.codes", "dict.txt", "merges.txt", "vocab*.txt", "chat_template*", "*.jinja",
    "modeling_*.py", "configuration_*.py", "tokenization_*.py", "processing_*.py", "*_trelm.py",
    RECIPE, "results.json", "health.json", "learning_curves.png", "retrieval.png", "trade_off.png",
)  # fmt: skip


@dataclass(frozen=True)
class Upload:
    """What uploading a folder would change in a repository."""

    folder: Path
    repo_id: str  # the repository, with its namespace
    files: tuple[str, ...]  # paths of the files that are uploaded, relative to the folder
    deleted: tuple[str, ...]  # paths in the repository that belong to an earlier model and are not in the folder
    parent_commit: str | None  # the state that this was compared with; None if there is no repository yet
    token: str | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"Upload({self.repo_id}: {len(self.files)} files, {len(self.deleted)} deleted)"

    def carry_out(self, *, private: bool | None = None, commit_message: str = "Upload model") -> str:
        """Upload and delete, all in one commit, or leave the repository as it was; return its URL.

        Raises:
            UploadError: If the Hub cannot be reached, does not take it, or the repository has changed since.
        """
        with _upload_errors(self.folder, self.repo_id, private):
            api = HfApi(token=self.token or True)
            repository = api.create_repo(self.repo_id, private=private, exist_ok=True)
            api.create_commit(
                repository.repo_id,
                [*map(self._addition, self.files), *map(CommitOperationDelete, self.deleted)],
                commit_message=commit_message,
                commit_description=f"Deletes of an earlier model: {', '.join(self.deleted)}." if self.deleted else "",
                parent_commit=self.parent_commit,
            )
            return str(repository)

    def _addition(self, path: str) -> CommitOperationAdd:
        """A file as it is, but adapters name the repository, and a recipe nothing of this machine's places."""
        file = self.folder / path
        if path == ADAPTERS:
            settings = json_settings(file) | {"base_model_name_or_path": self.repo_id}
            return CommitOperationAdd(path, json.dumps(settings, indent=2).encode())
        if path == RECIPE:
            recipe = plain_yaml.load(file.read_text(encoding="utf-8"))
            return CommitOperationAdd(path, plain_yaml.dump(without_paths(recipe)).encode())
        return CommitOperationAdd(path, file)


@checked
def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str = "Upload model",
) -> str:
    """Upload a folder to the Hub in one commit, which also deletes what an earlier model has left in the repository.

    The endpoint is the one `huggingface_hub` uses, `HF_ENDPOINT` in the environment. The folder is only read; hidden
    files stay here. It raises as `plan_upload` and `Upload.carry_out` do.

    Args:
        folder: A saved model with its card.
        repo_id: Where to, `name` or `namespace/name`; made if it does not exist.
        private: Whether a new repository is private; None for the account's default.
        token: Access token; by default the one logged in with, or `HF_TOKEN`.
        commit_message: Message of the commit.

    Returns:
        The repository's URL.
    """
    upload = plan_upload(folder, repo_id, private=private, token=token)
    return upload.carry_out(private=private, commit_message=commit_message)


def plan_upload(folder: str | Path, repo_id: str, *, private: bool | None = None, token: str | None = None) -> Upload:
    """What `push` would upload and delete; nothing is changed.

    Raises:
        InputError: If the folder is not a whole model in safetensors or ONNX with a card, holds pickles, the id is not
            one, or a private repository is asked for where there is a public one.
        UploadError: If the Hub cannot be reached or does not know the token.
    """
    folder = Path(folder).expanduser()
    _check_folder(folder)
    if not is_repo_id(repo_id):
        problem = f"{repo_id!r} is not a repository id"
        expected = "name or namespace/name"
        raise InputError(problem, value=repo_id, expected=expected, hint="Give for instance me/gpt2-german.")
    files = _public_files(folder)
    with _upload_errors(folder, repo_id, private):
        api = HfApi(token=token or True)
        whole_id = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
        there = _repository(api, whole_id)
        found = [] if there is None else api.list_repo_files(whole_id)
    if there is None:
        return Upload(folder, whole_id, files, (), None, token)
    if private and there.private is False:
        problem = f"{whole_id} exists and is public"
        hint = "Make it private in its settings, choose another name, or leave out private."
        raise InputError(problem, value=whole_id, expected="a new or a private repository", hint=hint)
    gone = sorted(set(found) - set(files))
    stale = [path for path in gone if any(fnmatchcase(PurePosixPath(path).name, kind) for kind in MODEL_FILES)]
    return Upload(folder, whole_id, files, tuple(stale), there.sha, token)


def _repository(api: HfApi, repo_id: str) -> ModelInfo | None:
    try:
        return api.model_info(repo_id)
    except HfHubHTTPError as error:
        if error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        return None


@contextmanager
def _upload_errors(folder: Path, repo_id: str, private: bool | None) -> Iterator[None]:
    """Whatever the client raises, as one line that says how to try again."""
    try:
        yield
    # The client lets through its own errors, those of its HTTP and xet libraries, OSError, ValueError, RuntimeError.
    except Exception as error:
        retry = shlex.join(["hf-xlt", "push", str(folder), repo_id, *(["--private"] if private else [])])
        cause = error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
        raise UploadError(
            f"Could not upload {folder} to {repo_id}: {' '.join(str(cause).split()).rstrip('.')}. "
            f"The local folder is whole, and the repository is as it was or has all of it; try again with `{retry}`."
        ) from error


def _public_files(folder: Path) -> tuple[str, ...]:
    """The folder's files, without hidden ones, which are a tool's or a person's own."""
    paths = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple(path for path in paths if path == HIDDEN_BUT_PUBLIC or "/." not in f"/{path}")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        problem = f"{folder} is not a folder"
        raise InputError(problem, expected="a saved model", hint="Make one with `hf-xlt run`.", path=folder)
    static = "StaticEmbedding" in modules(folder).values()
    body = folder if static else folder / transformer_path(folder)
    if not (body / "config.json").is_file():
        problem = f"{body} has no config.json"
        raise InputError(problem, expected="a saved model", hint="Give the folder that holds it.", path=body)
    pickles = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in PICKLES)
    if pickles:
        raise InputError(
            f"{folder} holds pickled files ({', '.join(pickles)})",
            expected="safetensors only, as a pickle runs code when it is opened",
            hint="Save weights anew with save_pretrained, and move other files elsewhere.",
            path=folder,
        )
    if not list(folder.glob("*.onnx")):
        Weights.open(body)
    _check_card(folder / CARD)


def _check_card(path: Path) -> None:
    if not path.is_file():
        hint = "Write it with hf_xlt.hub.card.write_card."
        raise InputError(f"{path.parent} has no model card {CARD}", expected="one", hint=hint, path=path)
    try:
        ModelCard.load(path)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(
            f"The model card {path} cannot be read: {' '.join(str(error).split()).rstrip('.')}",
            expected="YAML between two lines of ---, and text in UTF-8",
            hint="Correct it, or write it with hf_xlt.hub.card.write_card.",
            path=path,
        ) from error

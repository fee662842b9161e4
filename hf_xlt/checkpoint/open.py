"""A checkpoint on disk: opened and checked without loading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from hf_xlt.arguments import checked
from hf_xlt.checkpoint.contents import has_tokenizer, transformer_path
from hf_xlt.checkpoint.fetch import fetch
from hf_xlt.checkpoint.layout import Layout
from hf_xlt.checkpoint.weights import Weights
from hf_xlt.errors import InputError

ADAPTERS = "adapter_config.json"


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a transformers model in safetensors, or a sentence-transformers model around one.

    Attributes:
        name: What it was opened by: a Hub id or a folder.
        folder: The whole folder.
        config: The model's configuration.
        weights: Its safetensors files, headers read.
        layout: Its vocabulary-sized tensors.
        trust_remote_code: Whether code that the checkpoint brings may run.
    """

    name: str
    folder: Path
    config: PreTrainedConfig
    weights: Weights
    layout: Layout
    trust_remote_code: bool = False

    @classmethod
    @checked
    def open(cls, name_or_folder: str | Path, *, trust_remote_code: bool = False) -> Checkpoint:
        """Open a local folder or a Hub id.

        Raises:
            InputError: If it cannot be had, keeps adapters beside its weights, has no configuration that transformers
                reads, has its weights in `.bin` only or broken, or if its vocabulary-sized tensors cannot all be told
                apart.
        """
        folder = fetch(name_or_folder)
        body = folder / transformer_path(folder)
        if (body / ADAPTERS).is_file():
            raise InputError(
                f"{folder} holds adapters ({ADAPTERS}), which would be lost; expected whole weights. Merge them first: "
                "PeftModel.merge_and_unload()."
            )
        config = _config(body, trust_remote_code)
        weights = Weights.open(body)
        layout = Layout.of(config, weights.tensors, trust_remote_code=trust_remote_code)
        return cls(str(name_or_folder), folder, config, weights, layout, trust_remote_code)

    @property
    def body(self) -> Path:
        """The folder of the transformer: `folder` itself, or a folder of a module in it."""
        return self.folder / transformer_path(self.folder)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table; the tokenizer may have fewer ids."""
        return self.layout.rows

    def input_rows(self) -> Tensor:
        """The input embeddings `(rows, d)`, as stored."""
        return self.weights.load(self.layout.input_name)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's own tokenizer.

        Raises:
            InputError: If the folder has none or it cannot be opened.
        """
        if not has_tokenizer(self.body):
            raise InputError(f"{self.folder} has no tokenizer. Save one there with tokenizer.save_pretrained(…).")
        try:
            return AutoTokenizer.from_pretrained(self.body, trust_remote_code=self.trust_remote_code)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"The tokenizer of {self.folder} cannot be opened ({error}). Save it again.") from error


def _config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json. Give a folder that save_pretrained(…) wrote.")
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder / 'config.json'} cannot be opened ({reason}). If the checkpoint brings its own code and you "
            "trust it, allow it with trust_remote_code."
        ) from error

"""A checkpoint on disk: opened and checked without loading its weights, and checks on the values of these."""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hf_xlt.arguments import checked, short
from hf_xlt.checkpoint.contents import ADAPTERS, transformer_path
from hf_xlt.checkpoint.fetch import commit_of, fetch
from hf_xlt.checkpoint.kind import BRINGS_CODE, skeleton
from hf_xlt.checkpoint.layout import FLOATS, Layout, places
from hf_xlt.checkpoint.tokenizer import open_tokenizer
from hf_xlt.checkpoint.weights import Weights
from hf_xlt.errors import InputError
from hf_xlt.files.place import split_revision
from hf_xlt.tokenizers.renumber import without_ids_from

BLOCK = 2**20  # numbers looked at together
_MOST_WITHOUT_ROW = 0.05  # share of a tokenizer's tokens; where more are beyond a table, it is another model's
_AT_LEAST_1 = ("vocab_size", "hidden_size", "num_attention_heads", "num_key_value_heads")
COUNTS = dict.fromkeys(_AT_LEAST_1, 1) | dict.fromkeys(("num_hidden_layers", "intermediate_size"), 0)


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a transformers model in safetensors, or a sentence-transformers model around one."""

    name: str  # what it was opened by: a Hub id or a folder
    folder: Path  # the whole folder
    config: PreTrainedConfig
    weights: Weights  # its safetensors files, headers read
    layout: Layout  # its vocabulary-sized tensors
    trust_remote_code: bool = False  # whether code that it brings may run

    @classmethod
    @checked
    def open(cls, name_or_folder: "str | Path | Checkpoint", *, trust_remote_code: bool = False) -> "Checkpoint":
        """Open a local folder or a Hub id; a checkpoint that is open already is handed back.

        Raises:
            InputError: If it cannot be had, or its configuration, weights or vocabulary-sized tensors are not whole or
                not of a kind that can be worked with.
        """
        if isinstance(name_or_folder, Checkpoint):
            return name_or_folder
        folder = fetch(name_or_folder)
        body = folder / transformer_path(folder)
        if (body / ADAPTERS).is_file():
            problem = f"{folder} holds adapters ({ADAPTERS}), which would be lost"
            hint = f"Merge them first: hf-xlt merge {folder} --output FOLDER, or hf_xlt.merge_adapters."
            raise InputError(problem, expected="whole weights", hint=hint)
        config = _config(body, trust_remote_code)
        weights = Weights.open(body)
        config = _with_stored_head(config, weights.tensors, trust_remote_code)
        layout = Layout.of(config, weights.tensors, trust_remote_code=trust_remote_code)
        return cls(str(name_or_folder), folder, config, weights, layout, trust_remote_code)

    def __repr__(self) -> str:
        stored = self.weights.tensors[self.layout.input_name]
        model = ", ".join(self.config.architectures or ()) or self.config.model_type
        return f"Checkpoint({short(self.name)}: {short(model, 60)}, {stored.dtype} rows {tuple(stored.shape)})"

    @property
    def body(self) -> Path:
        """The folder of the transformer: `folder` itself, or a folder of a module in it."""
        return self.folder / transformer_path(self.folder)

    @property
    def pinned_name(self) -> str:
        """The name; of a checkpoint from the Hub with its commit."""
        commit = commit_of(self.folder)
        return self.name if commit is None else f"{split_revision(self.name)[0]}@{commit}"

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding table; the tokenizer may have fewer ids."""
        return self.layout.rows

    def input_rows(self) -> Tensor:
        """The input embeddings `(rows, d)`, as stored."""
        return self.weights.load(self.layout.input_name)

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's own tokenizer, as `open_tokenizer` opens it."""
        return open_tokenizer(self.body, trust_remote_code=self.trust_remote_code)

    def known_tokenizer(self) -> PreTrainedTokenizerBase:
        """The checkpoint's own tokenizer without the tokens that its table has no row for: nothing is known of them."""
        return without_ids_from(self.tokenizer(), self.vocab_size)


def _config(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder} has no config.json", hint="Give a folder that save_pretrained(…) wrote.")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        _check_counts(settings, path)
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    except InputError:
        raise
    except Exception as error:  # whatever transformers makes of values that it did not expect
        reason = " ".join(str(error).split()).removesuffix(".")
        brings_code = "trust_remote_code" in reason and not trust_remote_code
        hint = BRINGS_CODE if brings_code else "Correct it, or download the checkpoint again."
        raise InputError(f"{path} cannot be opened ({reason}).", path=path, hint=hint) from error


def _check_counts(settings: Any, path: Path) -> None:
    """Refuse a count that is too small by its name; transformers and torch would speak of a division or a dimension."""
    if not isinstance(settings, dict):
        raise InputError(f"{path} is no mapping of settings", path=path, hint="Download the checkpoint again.")
    model_type = str(settings.get("model_type"))
    aliases = CONFIG_MAPPING[model_type].attribute_map if model_type in CONFIG_MAPPING else {}
    for field, least in COUNTS.items():
        for name in dict.fromkeys([field, aliases.get(field, field)]):
            value = settings.get(name)
            for count in value if isinstance(value, list) else [value]:
                if isinstance(count, int) and count < least:
                    problem = f"{name} is {count} in {path}"
                    hint = "Correct it, or download the checkpoint again."
                    raise InputError(problem, value=count, expected=f"a number from {least}", hint=hint, path=path)
    for part in settings.values():
        if isinstance(part, dict):
            _check_counts(part, path)


def _with_stored_head(config: PreTrainedConfig, stored: Iterable[str], trust_remote_code: bool) -> PreTrainedConfig:
    """The configuration under which the stored head has its place: DeBERTa's `legacy` chooses between two names."""
    if not isinstance(getattr(config, "legacy", None), bool):
        return config
    other = copy.deepcopy(config)
    other.legacy = not config.legacy
    placed, placed_by_other = (len(places(stored, skeleton(each, trust_remote_code))) for each in (config, other))
    return other if placed_by_other > placed else config


def check_finite(rows: Tensor, name: str) -> None:
    """Refuse rows `(n, d)` or `(n,)` that hold NaN or infinity; messages call them `name`."""
    rows = rows.reshape(len(rows), -1)
    suspects = (~rows.sum(dim=1).isfinite()).nonzero().flatten()  # without a copy of the table; sums may overflow
    bad = suspects[~rows[suspects].isfinite().all(dim=1)]
    if len(bad):
        first = ", ".join(str(row) for row in bad[:5].tolist())
        problem = f"{name} holds NaN or infinity in {len(bad):,} of {len(rows):,} rows (first ids: {first})"
        raise InputError(problem, hint="Repair or choose another checkpoint.")


def check_ids(size: int, rows: int, name: str) -> None:
    """Refuse a tokenizer whose ids reach beyond a table."""
    if size > rows:
        problem = f"The tokenizer of {name} has ids up to {size - 1:,}, but the embedding table has {rows:,} rows"
        raise InputError(problem, hint="Give the tokenizer that the checkpoint was trained with.")


def tokens_without_row(vocab: Mapping[str, int], rows: int, name: str) -> tuple[str, ...]:
    """The tokens of a tokenizer whose ids lie beyond the table, by id, as Gemma 3 has one: nothing is known of them."""
    without = sorted((id_, token) for token, id_ in vocab.items() if id_ >= rows)
    if len(without) > _MOST_WITHOUT_ROW * len(vocab):
        check_ids(without[-1][0] + 1, rows, name)
    return tuple(token for _, token in without)


def rows_of_ids(table: Tensor, size: int) -> Tensor:
    """The first `size` rows of a table, float32; zeros for ids that it has no row for."""
    rows = table[:size].float()
    missing = size - len(rows)
    return rows if missing <= 0 else torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])


def check_body(checkpoint: Checkpoint) -> None:
    """Refuse a body that holds NaN or infinity, or nothing but zeros; one tensor is in memory at a time."""
    zeros: list[str] = []
    has_values = False
    for name, stored in checkpoint.weights.tensors.items():
        if stored.dtype not in FLOATS or name in checkpoint.layout.axes:
            continue
        tensor = checkpoint.weights.load(name)
        if not _is_finite(tensor):
            problem = f"{name} of {checkpoint.name} holds NaN or infinity"
            expected = "finite weights"
            raise InputError(problem, value=name, expected=expected, hint="Repair the checkpoint, or choose another.")
        if not has_values and tensor.ndim > 1:
            has_values = bool(tensor.any())
            zeros.append(name)
    if zeros and not has_values:
        problem = f"All {len(zeros)} matrices of the body of {checkpoint.name} are zero, {zeros[0]} first"
        hint = "Download the checkpoint again, or choose another."
        raise InputError(problem, value=zeros[0], expected="trained weights", hint=hint)


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; a sum tells without a copy, unless it overflows itself."""
    summed = torch.float32 if tensor.dtype == torch.float16 else None
    blocks = tensor.reshape(-1).split(BLOCK)
    return all(block.sum(dtype=summed).isfinite() or block.isfinite().all() for block in blocks)

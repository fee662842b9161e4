"""Give a checkpoint another vocabulary: on disk without loading its body, or in memory."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.arguments import refused, require_type
from hf_xlt.checkpoint.chat import Chat
from hf_xlt.checkpoint.contents import carried_files, has_tokenizer
from hf_xlt.checkpoint.fit import check_padding
from hf_xlt.checkpoint.kind import kind_of
from hf_xlt.checkpoint.open import Checkpoint, check_body, check_finite, check_ids
from hf_xlt.checkpoint.settings import SpecialIds, keeps_ids, recounted, renumbered
from hf_xlt.checkpoint.tokenizer import save_tokenizer
from hf_xlt.checkpoint.weights import Progress, copy_bytes
from hf_xlt.files.folders import atomic_folder, check_output, check_space
from hf_xlt.files.text import json_settings, write_json
from hf_xlt.transport import Transport

_NAMED = 5  # ids that a notice names


def revocabulary(
    checkpoint: Checkpoint,
    transport: Transport,
    tokenizer: PreTrainedTokenizerBase,
    output: str | Path,
    *,
    overwrite: bool = False,
    chat_template: str | None = None,
    add: Callable[[Path], object] = lambda folder: None,
) -> Path:
    """Write the checkpoint with every vocabulary-sized tensor transported and all else as it was.

    The tables get `transport.target_size` rows in their stored type, some rows in memory at a time; every other
    tensor is copied byte for byte. The configuration follows the new tokenizer, which replaces the old one. Of
    the other files of the folder, code, licenses and settings are carried over (`carried_files`).

    `output` appears when it is complete. `chat_template` is as `Chat.choose` takes it; `add` is called with the folder
    before it appears, to put further files there.

    Raises:
        InputError: If transport, tokenizer and tables do not fit each other, source rows or the body are not finite,
            the body is all zeros, or the output cannot be written there; nothing is left behind.
    """
    for name, value, can in (("checkpoint", checkpoint, "layout"), ("transport", transport, "blocks")):
        if not hasattr(value, can):
            raise refused(name, value, f"a {name.capitalize()}")
    require_type("output", output, str | Path)
    output = Path(output)
    check_output(output, overwrite=overwrite, sources=[checkpoint.folder])
    check_ids(transport.source_size, checkpoint.vocab_size, str(checkpoint.folder))
    check_ids(max(tokenizer.get_vocab().values()) + 1, transport.target_size, "the target")
    check_tables(checkpoint, transport)
    settings = target_settings(checkpoint, transport.target_size, tokenizer)
    carried = carried_files(checkpoint.folder)
    shapes = _target_shapes(checkpoint, transport.target_size)
    size = _output_size(checkpoint, carried, shapes)
    check_space(output, size)
    with (
        atomic_folder(output, overwrite=overwrite, sources=[checkpoint.folder]) as folder,
        tqdm(total=size, desc="writing", unit="B", unit_scale=True, disable=None) as bar,
    ):
        body = folder / checkpoint.body.relative_to(checkpoint.folder)
        body.mkdir(parents=True, exist_ok=True)
        for path in carried:
            _copy(checkpoint.folder / path, folder / path, bar.update)
        _write_weights(checkpoint, transport, shapes, body, bar.update)
        write_tokenizer(checkpoint, tokenizer, body, chat_template)
        for name, content in settings.files.items():
            write_json(body / name, content)
        Checkpoint.open(folder, trust_remote_code=checkpoint.trust_remote_code)  # what appears can be opened
        add(folder)
    return output


def check_tables(checkpoint: Checkpoint, transport: Transport) -> None:
    """Refuse source rows in use that hold NaN or infinity, by the name of their tensor."""
    for name, axis in checkpoint.layout.axes.items():
        check_finite(checkpoint.weights.load(name).movedim(axis, 0)[: transport.source_size], name)


@dataclass(frozen=True)
class TargetSettings:
    """The files of settings of a checkpoint with another vocabulary."""

    files: Mapping[str, dict[str, Any]]  # name → content; config.json last, as without it a folder is no model
    removed: Mapping[str, tuple[str, ...]]  # setting → the old ids that it lost, as messages call them

    @property
    def notices(self) -> tuple[str, ...]:
        """What is no longer set, a sentence each."""
        return tuple(
            f"{name} held {', '.join(ids[:_NAMED])}{', …' * (len(ids) > _NAMED)}, "
            "for which the new tokenizer has no token: left out."
            for name, ids in self.removed.items()
        )


def target_settings(checkpoint: Checkpoint, rows: int, tokenizer: PreTrainedTokenizerBase) -> TargetSettings:
    """The files of settings for a table of `rows`; ids stay where the tokenizer extends the checkpoint's own."""
    check_padding(checkpoint, tokenizer)
    config, body = checkpoint.config, checkpoint.body
    generation = json_settings(body / "generation_config.json")
    former = checkpoint.tokenizer() if has_tokenizer(body) else None
    resized = recounted(json_settings(body / "config.json"), config, checkpoint.vocab_size, rows)
    if hasattr(config, "legacy"):
        resized["legacy"] = config.legacy  # the head that is stored; the file may leave it out
    files = {"generation_config.json": (generation, GenerationConfig())} if generation else {}
    if former is not None and keeps_ids(tokenizer, former):
        kept = {name: content for name, (content, _) in files.items()}
        return TargetSettings({**kept, "config.json": resized}, {})
    ids = SpecialIds.of(tokenizer, [vars(config), generation], former)
    found = {name: renumbered(*file, ids) for name, file in {**files, "config.json": (resized, config)}.items()}
    removed = {setting: gone for file in found.values() for setting, gone in file.removed.items()}
    return TargetSettings({name: file.settings for name, file in found.items()}, removed)


def _target_shapes(checkpoint: Checkpoint, rows: int) -> dict[str, tuple[int, ...]]:
    stored = checkpoint.weights.tensors
    return {
        name: (*stored[name].shape[:axis], rows, *stored[name].shape[axis + 1 :])
        for name, axis in checkpoint.layout.axes.items()
    }


def _output_size(checkpoint: Checkpoint, carried: list[Path], shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Bytes to be written, but for the tokenizer and a few kilobytes of settings."""
    files = [checkpoint.folder / path for path in carried] + [shard.path for shard in checkpoint.weights.shards]
    stored = checkpoint.weights.tensors
    growth = (stored[name].resized(shape, 0).end - stored[name].n_bytes for name, shape in shapes.items())
    return sum(path.stat().st_size for path in files) + sum(growth)


def _copy(source: Path, target: Path, progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as old, target.open("wb") as new:
        copy_bytes(old, new, source.stat().st_size, progress)


def _write_weights(
    checkpoint: Checkpoint,
    transport: Transport,
    shapes: Mapping[str, tuple[int, ...]],
    folder: Path,
    progress: Progress,
) -> None:
    def make(name: str) -> Iterable[Tensor]:
        tensor, axis = checkpoint.weights.load(name), checkpoint.layout.axes[name]
        if tensor.ndim == 2 and axis == 0:
            return transport.blocks(tensor)
        return [transported(tensor, transport, axis)]

    changed = [shard for shard in checkpoint.weights.shards if not shapes.keys().isdisjoint(shard.tensors)]
    targets = {shard.path: folder / shard.path.relative_to(checkpoint.body) for shard in checkpoint.weights.shards}
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)  # an index may name shards in folders of their own
    unchanged = {shard.path: targets[shard.path] for shard in checkpoint.weights.shards if shard not in changed}
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(max_workers=1) as beside:
        jobs = [beside.submit(check_body, checkpoint)]
        jobs += [beside.submit(_copy, source, target, progress) for source, target in unchanged.items()]
        torch.set_num_threads(max(1, threads - 1))  # threads that wait for work take the jobs' time
        try:
            for shard in changed:
                shard.rewrite(targets[shard.path], shapes, make, progress)
            for job in jobs:
                job.result()
        finally:
            torch.set_num_threads(threads)
            beside.shutdown(cancel_futures=True)
    if checkpoint.weights.index is not None:
        _write_index(checkpoint.weights.index, shapes, checkpoint, folder)


def transported(tensor: Tensor, transport: Transport, axis: int) -> Tensor:
    """A tensor with its vocabulary axis carried over; a vector of any shape, such as `(1, V)`, goes as `(V,)`."""
    rows = tensor.movedim(axis, 0)  # (V_s, …)
    is_vector = tensor.numel() == len(rows)
    result = transport.apply(rows.reshape(-1) if is_vector else rows)  # (V_t,) or (V_t, d)
    expected = (transport.target_size, *rows.shape[1:])
    return result.reshape(expected).movedim(0, axis)


def _write_index(index: Path, shapes: Mapping[str, tuple[int, ...]], checkpoint: Checkpoint, folder: Path) -> None:
    stored = checkpoint.weights.tensors
    content = json_settings(index)
    metadata = content.setdefault("metadata", {})
    final = [tensor.resized(shapes.get(name, tensor.shape), 0) for name, tensor in stored.items()]
    metadata["total_size"] = sum(tensor.n_bytes for tensor in final)
    if "total_parameters" in metadata:
        metadata["total_parameters"] = sum(math.prod(tensor.shape) for tensor in final)
    write_json(folder / index.name, content)


def chat_of(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, asked: str | None) -> Chat:
    """The chat template that a new tokenizer of a checkpoint gets."""
    return Chat.choose(asked, tokenizer, checkpoint.tokenizer() if has_tokenizer(checkpoint.body) else None)


def write_tokenizer(
    checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, folder: Path, chat_template: str | None = None
) -> None:
    """Save a new tokenizer of a checkpoint, with its chat and the limits of its body: length and kinds of input."""
    talking = copy.copy(tokenizer)
    talking.chat_template = chat_of(checkpoint, tokenizer, chat_template).templates
    save_tokenizer(talking, folder)
    settings = json_settings(folder / "tokenizer_config.json")
    length = json_settings(checkpoint.body / "tokenizer_config.json").get("model_max_length")
    if length is not None:
        settings["model_max_length"] = length
    if getattr(checkpoint.config, "type_vocab_size", 0) < 2:
        settings["model_input_names"] = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    write_json(folder / "tokenizer_config.json", settings)


def assemble(
    checkpoint: Checkpoint, transport: Transport, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype | None = None
) -> PreTrainedModel:
    """What `revocabulary` writes, in memory; a checkpoint without a language-modeling head gets a new one here."""
    check_tables(checkpoint, transport)
    check_body(checkpoint)
    axes, state = checkpoint.layout.axes, {}
    for name in checkpoint.weights.tensors:  # one source table in memory at a time
        tensor = checkpoint.weights.load(name)
        state[name] = transported(tensor, transport, axes[name]) if name in axes else tensor
    settings = target_settings(checkpoint, transport.target_size, tokenizer).files
    config = type(checkpoint.config).from_dict(settings["config.json"])
    stored = state[checkpoint.layout.input_name].dtype
    with torch.device("meta"):  # the class that an Auto class chooses, whose own `from_pretrained` wants a folder
        chosen = type(kind_of(config).auto_class.from_config(config, trust_remote_code=checkpoint.trust_remote_code))
    model = chosen.from_pretrained(None, config=config, state_dict=state, dtype=dtype or stored)
    if "generation_config.json" in settings:
        model.generation_config = GenerationConfig.from_dict(settings["generation_config.json"])
    return model

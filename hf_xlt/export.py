"""Export a sentence encoder: as a static table of token vectors, or as one ONNX graph. What is written has been tried.

With a static table a sentence is the mean of its tokens' vectors, each of which the encoder made of the token alone
(Tulkens & van Dongen 2024, "Model2Vec: Fast State-of-the-Art Static Embeddings").
"""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from huggingface_hub import ModelCard, ModelCardData
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Normalizers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked, require_whole
from hf_xlt.checkpoint.kind import ENCODER, has_other_head, kind_of
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.sentences import MEAN, SentenceModules
from hf_xlt.errors import InputError
from hf_xlt.evaluation.models import open_body, quiet
from hf_xlt.evaluation.sentence_encoder import BodyEncoder, SentenceHead, sentence_encoder, sentence_head
from hf_xlt.files.folders import atomic_folder
from hf_xlt.hub.card import CARD, installed_versions, is_repo_id, public_command, public_name
from hf_xlt.hub.card.public import is_local
from hf_xlt.hub.card.render import block, code, plain

ONNX = "model.onnx"
OUTPUT = "sentence_embedding"
TOLERANCE = 1e-4  # how much vectors may differ, as a share of the largest number in them

_LIBRARIES = {
    "static": {"model2vec": "model2vec", "skeletoken": "skeletoken", "sentence_transformers": "sentence-transformers"},
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
}
# How sentence-transformers pools → what model2vec calls it.
_POOLINGS: dict[tuple[str, ...], str] = {
    MEAN: "mean",
    ("cls",): "first",
    ("lasttoken",): "last",
}
_USUAL_DIMENSIONS = 256  # model2vec's
_LONGEST_TRIAL = 600  # tokens


@dataclass(frozen=True)
class Export:
    """What was written, and how far its vectors are from those that they were compared with."""

    folder: Path
    width: int  # of a sentence's vector
    difference: float  # the largest of any two numbers, as a share of the largest number


@checked
def export_static(
    model: str | Path | Checkpoint,
    output: str | Path,
    *,
    dimensions: int | None = None,
    overwrite: bool = False,
    command: str | None = None,
    trust_remote_code: bool = False,
) -> Export:
    """Distill a sentence encoder into a table of token vectors with model2vec, and write it to a folder.

    The folder opens with model2vec and with sentence-transformers, which give equal vectors: this is tried before the
    folder appears. Sentences of any length are read whole, and what the tokenizer does not know counts nothing. The
    table is of single precision, as both libraries compute in the precision of the table. Its rows are weighted by the
    ranks of their ids, which are taken for ranks of frequency: after an extension new tokens count as the rarest.

    Args:
        model: A sentence-transformers model or a plain encoder: a Hub id, a folder or an open checkpoint.
        output: The folder to write; it appears when it is complete.
        dimensions: Width of the vectors, the first principal components: model2vec's `pca_dims`. By default 256, or
            the encoder's width where that is less.
        overwrite: Whether an existing folder may be replaced.
        command: The command to print on the card.
        trust_remote_code: Run code that the model brings.

    Raises:
        InputError: If the model is no sentence encoder, has modules behind its pooling or pools otherwise than a static
            table can, `dimensions` is out of range, a library is missing, the output cannot be written there, or the
            libraries differ.

    Example:
        >>> export_static("sentence-transformers/all-MiniLM-L6-v2", "minilm-static")  # doctest: +SKIP
    """
    checkpoint, declared = _opened(model, "static", trust_remote_code)
    _check_states_alone(checkpoint, declared)
    tokenizer = checkpoint.tokenizer()
    most = min(int(checkpoint.config.hidden_size), len(tokenizer) - 1)
    if dimensions is not None:
        require_whole("dimensions", dimensions, least=1, most=most)
    with atomic_folder(output, overwrite=overwrite, sources=[checkpoint.folder]) as folder:
        with _quiet(), _told(checkpoint, "model2vec"):
            from model2vec.distill import distill_from_model

            static: Any = distill_from_model(
                open_body(checkpoint),
                tokenizer,
                pca_dims=min(_USUAL_DIMENSIONS, most) if dimensions is None else dimensions,
                quantize_to="float32",
                pooling=_POOLINGS[declared.pooling],
            )
            static.max_length = None  # the libraries cut at different places
            if static.unk_token_id is not None:  # model2vec leaves it out of a mean, sentence-transformers does not
                static.embedding[static.unk_token_id] = 0
            static.tokenizer.normalizer = _normalizer(static.tokenizer, declared)
            static.base_model_name = static.config["tokenizer_name"] = public_name(checkpoint.name)
            static.save_pretrained(folder)
        card = _card(checkpoint, Path(output).name, command, "static", _static_text(Path(output).name, declared))
        card.save(folder / CARD)
        with _quiet():
            first, *others = _static_vectors(folder, _trial_sentences(tokenizer, _LONGEST_TRIAL))
        difference = max(_difference(first, other) for other in others)
        _check(difference, checkpoint, "model2vec and sentence-transformers open the table, but their vectors")
    return Export(Path(output), int(static.dim), difference)


@checked
def export_onnx(
    model: str | Path | Checkpoint,
    output: str | Path,
    *,
    overwrite: bool = False,
    command: str | None = None,
    trust_remote_code: bool = False,
) -> Export:
    """Write a sentence encoder as one ONNX graph, from token ids to sentence vectors, with its tokenizer.

    Pooling and all modules behind it are part of the graph. The tokenizer cuts sentences where the model does and pads
    them, so that `tokenizers` and `onnxruntime` are all that it takes to use the folder, as `onnx_vectors` does. Before
    the folder appears, sentences of several lengths get the vectors that the model itself gives them.

    The graph is made by `torch.onnx`. `optimum-onnx`, which sentence-transformers' own backend needs, cannot be
    installed beside transformers 5.

    Args are those of `export_static`; InputError is raised as there, and if the graph cannot be made or its vectors
    differ from the model's by more than `TOLERANCE`.

    Example:
        >>> export_onnx("sentence-transformers/all-MiniLM-L6-v2", "minilm-onnx")  # doctest: +SKIP
    """
    checkpoint, declared = _opened(model, "onnx", trust_remote_code)
    tokenizer = checkpoint.tokenizer()
    if tokenizer.pad_token_id is None:
        hint = "Give its tokenizer one, and save the model again."
        raise InputError(
            f"{checkpoint.name} has no padding token", expected="one, to encode several sentences", hint=hint
        )
    with atomic_folder(output, overwrite=overwrite, sources=[checkpoint.folder]) as folder:
        encoder = BodyEncoder(open_body(checkpoint).eval(), tokenizer, sentence_head(checkpoint, tokenizer).cpu())
        _write_graph(checkpoint, encoder, folder / ONNX)
        _whole_tokenizer(encoder).save(str(folder / "tokenizer.json"))
        shutil.copyfile(checkpoint.body / "config.json", folder / "config.json")
        text = _onnx_text(Path(output).name, declared)
        _card(checkpoint, Path(output).name, command, "onnx", text).save(folder / CARD)
        sentences = _trial_sentences(tokenizer, encoder.longest)
        found = onnx_vectors(folder, [declared.prompt + sentence for sentence in sentences])
        with _quiet():
            difference = _difference(sentence_encoder(checkpoint).vectors(sentences).numpy(), found)
        _check(difference, checkpoint, "The vectors of the exported graph")
    return Export(Path(output), found.shape[1], difference)


def onnx_vectors(folder: str | Path, sentences: Sequence[str]) -> np.ndarray:
    """float32 `(n, d)`, the vectors that a folder of `export_onnx` gives sentences; a model's prompt is not put before.

    Example:
        >>> onnx_vectors("minilm-onnx", ["The dog sleeps."]).shape  # doctest: +SKIP
        (1, 384)
    """
    import onnxruntime

    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(Path(folder) / ONNX), providers=["CPUExecutionProvider"])
    cut = tokenizer.encode_batch(list(sentences))
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    inputs = {
        each.name: np.array([getattr(encoding, columns[each.name]) for encoding in cut], np.int64)
        for each in session.get_inputs()
    }
    vectors: np.ndarray = session.run([OUTPUT], inputs)[0]
    return vectors


def _opened(model: str | Path | Checkpoint, form: str, trust_remote_code: bool) -> tuple[Checkpoint, SentenceModules]:
    """A sentence encoder and how it makes its vectors; everything else is refused."""
    if absent := [name for module, name in _LIBRARIES[form].items() if find_spec(module) is None]:
        told = f"An export as {form} needs {', '.join(absent)}"
        raise InputError(told, value=absent, hint="Install it: pip install 'hf-xlt[export]'.")
    checkpoint = Checkpoint.open(model, trust_remote_code=trust_remote_code)
    declared = SentenceModules.of(checkpoint.folder)
    if declared is None:
        kind = kind_of(checkpoint.config)
        if kind != ENCODER or has_other_head(checkpoint.config):
            saved_as = ", ".join(checkpoint.config.architectures or ()) or kind.name
            raise InputError(
                f"{checkpoint.name} is a {saved_as}, which makes no vectors of sentences",
                value=kind.name,
                expected="a sentence-transformers model or a plain encoder",
                hint="Choose another model, or tell sentence-transformers how to pool its states.",
                path=checkpoint.folder,
            )
        declared = SentenceModules(kinds=())
    return checkpoint, declared


def _check_states_alone(checkpoint: Checkpoint, declared: SentenceModules) -> None:
    """Refuse what a table of the body's own states is not like: other poolings, and modules that change a vector."""
    behind = [kind for kind in declared.kinds if kind not in ("Pooling", "Normalize")]
    if behind or declared.pooling not in _POOLINGS:
        raise InputError(
            f"{checkpoint.name} makes its vectors by {declared.label}, which a static table leaves out",
            value=declared.label,
            expected="one of mean, cls and lasttoken, and no module but Normalize behind it",
            hint="Export it as onnx.",
            path=checkpoint.folder,
        )


class _SentenceGraph(nn.Module):
    """From token ids to sentence vectors."""

    def __init__(self, body: nn.Module, head: SentenceHead) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        vectors: Tensor = self.head(self.body(**inputs), inputs)
        return vectors


def _write_graph(checkpoint: Checkpoint, encoder: BodyEncoder, path: Path) -> None:
    """Trace a body and its head for any number of sentences of any length."""
    tokenizer = encoder.tokenizer
    example = dict(tokenizer(["a b c", "a"], padding=True, return_tensors="pt"))
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with _quiet(), _told(checkpoint, "torch.onnx"), torch.no_grad():
        torch.onnx.export(
            _SentenceGraph(encoder.body, encoder.head).eval(),
            (example, {}),  # a last mapping is taken for arguments by name
            path,
            dynamo=True,
            input_names=list(example),
            output_names=[OUTPUT],
            dynamic_shapes=(dict.fromkeys(example, axes),),
            verbose=False,
        )


def _whole_tokenizer(encoder: BodyEncoder) -> Tokenizer:
    """A model's tokenizer, which also lowers where the model asks for it, cuts where it does, and pads."""
    tokenizer: Any = encoder.tokenizer
    whole = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    whole.normalizer = _normalizer(whole, encoder.head.declared)
    whole.enable_truncation(encoder.longest, direction=tokenizer.truncation_side)
    whole.enable_padding(
        direction=tokenizer.padding_side,
        pad_id=tokenizer.pad_token_id,
        pad_type_id=tokenizer.pad_token_type_id,
        pad_token=tokenizer.pad_token,
    )
    return whole


def _normalizer(tokenizer: Tokenizer, declared: SentenceModules) -> Any:
    if not declared.lowercase:
        return tokenizer.normalizer
    return Normalizers([Lowercase(), *([] if tokenizer.normalizer is None else [tokenizer.normalizer])])


def _static_vectors(folder: Path, sentences: list[str]) -> Iterator[np.ndarray]:
    """What each way of opening a static table gives sentences."""
    from model2vec import StaticModel
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, StaticEmbedding

    yield StaticModel.from_pretrained(folder).encode(sentences)
    modules = [StaticEmbedding.from_model2vec(str(folder)), Normalize()]
    for model in (SentenceTransformer(modules=modules, device="cpu"), SentenceTransformer(str(folder), device="cpu")):
        yield model.encode(sentences, show_progress_bar=False)


def _trial_sentences(tokenizer: PreTrainedTokenizerBase, longest: int) -> list[str]:
    """Texts of a tokenizer's own tokens: one, some, more than a model reads; and some with an unknown character."""
    ids = np.setdiff1d(np.array(list(tokenizer.get_vocab().values())), tokenizer.all_special_ids)
    draw = np.random.default_rng(0)
    lengths = (1, 7, 30, min(longest, _LONGEST_TRIAL) + 10)
    drawn = [str(tokenizer.decode(draw.choice(ids, length))) for length in lengths]
    return [*drawn, f"{drawn[1]} \N{SYMBOL FOR NULL}"]


def _difference(first: np.ndarray, second: np.ndarray) -> float:
    largest = np.abs(first).max()
    return float(np.abs(first - second).max() / largest) if largest else float(np.abs(second).max())


def _check(difference: float, checkpoint: Checkpoint, told: str) -> None:
    if not difference <= TOLERANCE:  # nor NaN
        raise InputError(
            f"{told} differ by {difference:.1e} of the largest number in them; nothing was written",
            value=difference,
            expected=f"at most {TOLERANCE:.0e}",
            hint=f"{checkpoint.name} cannot be exported so.",
            path=checkpoint.folder,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing of how libraries make and open their own models."""
    names = ("model2vec", "skeletoken", "sentence_transformers", "transformers", "torch.onnx", "onnxscript", "onnx_ir")
    with quiet(*names), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _told(checkpoint: Checkpoint, library: str) -> Iterator[None]:
    """A refusal in place of what a library raises of a model that it cannot work with."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())[:300]
        problem = f"{library} cannot export {checkpoint.name} ({type(cause).__name__}: {reason})"
        raise InputError(problem, hint="Choose the other format, or another model.", path=checkpoint.folder) from error


_MADE = {
    "static": "a static table of token vectors, distilled with model2vec from",
    "onnx": "one ONNX graph, from token ids to sentence vectors, of",
}


def _card(checkpoint: Checkpoint, title: str, command: str | None, form: str, use: str) -> ModelCard:
    """What a folder was made from and how it is used."""
    on_hub = not is_local(checkpoint.name) and is_repo_id(checkpoint.name.partition("@")[0])
    data = ModelCardData(
        base_model=checkpoint.name.partition("@")[0] if on_hub else None,
        library_name={"static": "model2vec"}.get(form),
        pipeline_tag="sentence-similarity",
        tags=["hf-xlt", {"static": "static-embeddings"}.get(form, form)],
        **_kept(checkpoint.folder / CARD),
    )
    installed = installed_versions(*_LIBRARIES[form].values())
    versions = ", ".join(f"{library} {version}" for library, version in installed.items())
    parts = [
        f"---\n{data}\n---\n\n# {plain(public_name(title))}",
        f"This is {_MADE[form]} {code(public_name(checkpoint.pinned_name))}.",
        f"## How to use\n\n{use}",
        *([] if command is None else [f"## How it was made\n\n{block(public_command(command), 'bash')}"]),
        f"## Versions\n\n{plain(versions)}\n",
    ]
    return ModelCard("\n\n".join(parts))


def _kept(card: Path) -> dict[str, Any]:
    """What the card of the original says that holds of the export as well."""
    if not card.is_file():
        return {}
    try:
        told = ModelCard.load(card).data.to_dict()
    except (ValueError, yaml.YAMLError):
        return {}
    return {name: told[name] for name in ("language", "license", "license_name", "license_link") if name in told}


def _static_text(title: str, declared: SentenceModules) -> str:
    name = json.dumps(public_name(title))
    snippet = f"""from model2vec import StaticModel

model = StaticModel.from_pretrained({name})  # the model's id on the Hub, or its folder
vectors = model.encode(["A sentence.", "Another one."])"""
    other = f"""from sentence_transformers import SentenceTransformer

model = SentenceTransformer({name})
vectors = model.encode(["A sentence.", "Another one."])"""
    prompt = "\n\nThe original's prompt is not used." if declared.prompt else ""
    return f"{block(snippet, 'python')}\n\nOr, with the same vectors:\n\n{block(other, 'python')}{prompt}"


def _onnx_text(title: str, declared: SentenceModules) -> str:
    snippet = f"""import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = {json.dumps(public_name(title))}  # where this folder is
tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")  # it truncates and pads
session = onnxruntime.InferenceSession(folder + "/{ONNX}")
prompt = {json.dumps(declared.prompt, ensure_ascii=False)}  # what the model expects before each sentence
cut = tokenizer.encode_batch([prompt + sentence for sentence in ["A sentence.", "Another one."]])
columns = {{"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}}
inputs = {{
    each.name: np.array([getattr(encoding, columns[each.name]) for encoding in cut]) for each in session.get_inputs()
}}
vectors = session.run(["{OUTPUT}"], inputs)[0]"""
    return block(snippet, "python")

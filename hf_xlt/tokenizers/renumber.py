"""Tokenizers that cut text as another does, and number their tokens otherwise or leave some out."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hf_xlt.errors import InputError

Settings = dict[str, Any]

# What a tokenizer was made of, and what would make it anew: the backend holds all of it.
_MADE_OF = (
    "vocab", "merges", "vocab_file", "merges_file", "spm_file", "tokenizer_file", "tokenizer_object", "post_processor",
    "added_tokens_decoder", "add_bos_token", "add_eos_token", "extra_special_tokens", "auto_map", "backend",
    "name_or_path",
)  # fmt: skip


def exchanged(tokenizer: PreTrainedTokenizerBase, first: int, second: int) -> PreTrainedTokenizerBase:
    """The same tokenizer with two tokens' ids exchanged; it cuts any text into the same tokens."""
    ids = {first: second, second: first}
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = tokenizer.get_vocab()
    settings["model"] = _renumbered_model(whole_model(settings["model"], vocab), ids)
    for token in settings["added_tokens"]:
        token["id"] = ids.get(token["id"], token["id"])
    settings["added_tokens"].sort(key=lambda token: token["id"])
    new_ids = {token: ids.get(id_, id_) for token, id_ in vocab.items()}
    settings["post_processor"] = renumbered(settings["post_processor"], new_ids)
    if settings["padding"] is not None:
        settings["padding"]["pad_id"] = ids.get(settings["padding"]["pad_id"], settings["padding"]["pad_id"])
    return _with_backend(tokenizer, settings)


def without_ids_from(tokenizer: PreTrainedTokenizerBase, rows: int) -> PreTrainedTokenizerBase:
    """A tokenizer without the tokens whose ids a table of `rows` has no row for; itself where there are none."""
    vocab = tokenizer.get_vocab()
    if max(vocab.values()) < rows:
        return tokenizer
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    settings["model"] = _cut_model(settings["model"], rows)
    settings["added_tokens"] = [token for token in settings["added_tokens"] if token["id"] < rows]
    return _with_backend(tokenizer, settings)


def whole_model(model: Settings, vocab: Mapping[str, int]) -> Settings:
    """A tokenizer's model with all its tokens in it, those added beside it too, so that ids can be given to them."""
    pieces = model["vocab"]
    if not isinstance(pieces, list):
        return model | {"vocab": dict(vocab)}
    beside = sorted((id_, token) for token, id_ in vocab.items() if id_ >= len(pieces))
    if [id_ for id_, _ in beside] != list(range(len(pieces), len(pieces) + len(beside))):
        raise InputError(
            f"The tokenizer's model has {len(pieces)} tokens, and tokens were added with ids that do not follow them",
            expected=f"ids from {len(pieces)} on, without a hole",
            hint="Save the tokenizer again with its tokens numbered one after the other.",
        )
    lowest = min(score for _, score in pieces)
    return model | {"vocab": [*pieces, *([token, lowest] for _, token in beside)]}


def _renumbered_model(model: Settings, ids: Mapping[int, int]) -> Settings:
    vocab = model["vocab"]
    if isinstance(vocab, list):
        unknown = model["unk_id"]
        pieces = [vocab[ids.get(id_, id_)] for id_ in range(len(vocab))]
        return model | {"vocab": pieces, "unk_id": None if unknown is None else ids.get(unknown, unknown)}
    return model | {"vocab": {token: ids.get(id_, id_) for token, id_ in vocab.items()}}


def renumbered(processor: Settings | None, ids: Mapping[str, int]) -> Settings | None:
    """A post-processor with the ids of its tokens in another vocabulary, which has all of them."""
    if processor is None:
        return None
    new = dict(processor)
    if "processors" in processor:
        new["processors"] = [renumbered(part, ids) for part in processor["processors"]]
    if "special_tokens" in processor:
        new["special_tokens"] = {
            name: {**entry, "ids": [ids[token] for token in entry["tokens"]]}
            for name, entry in processor["special_tokens"].items()
        }
    return new | {name: [processor[name][0], ids[processor[name][0]]] for name in ("cls", "sep") if name in processor}


def _cut_model(model: Settings, rows: int) -> Settings:
    vocab = model["vocab"]
    if isinstance(vocab, list):
        return model | {"vocab": vocab[:rows]}
    kept = {token: id_ for token, id_ in vocab.items() if id_ < rows}
    if "merges" not in model:
        return model | {"vocab": kept}
    merges = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    whole = [merge for merge in merges if {*merge, "".join(merge)} <= kept.keys()]
    return model | {"vocab": kept, "merges": whole}


def _with_backend(tokenizer: PreTrainedTokenizerBase, settings: Settings) -> PreTrainedTokenizerBase:
    """A tokenizer with another backend, and with no special token that this lacks: it would be added again."""
    backend = Tokenizer.from_str(json.dumps(settings))
    vocab, named = backend.get_vocab(), tokenizer.special_tokens_map
    gone = {name: None for name, token in named.items() if str(token) not in vocab}
    extra = [token for token in tokenizer.extra_special_tokens if str(token) in vocab]
    # A class of one of transformers' models makes its backend of a vocabulary when it opens, with ids of its own for
    # unknown tokens; so the result is a plain one, which opens what is saved.
    if type(tokenizer).__module__.startswith("transformers.models."):
        kept = {name: value for name, value in tokenizer.init_kwargs.items() if name not in _MADE_OF}
        kept |= {name: getattr(tokenizer, name) for name in ("model_input_names", "padding_side", "truncation_side")}
        kept |= {"model_max_length": tokenizer.model_max_length, "chat_template": tokenizer.chat_template}
        of_model = kept.pop("model_specific_special_tokens", {})
        kept["model_specific_special_tokens"] = {name: of_model[name] for name in of_model if name not in gone}
        kept |= {name: token for name, token in named.items() if name not in {*gone, *of_model}}
        kept |= {name: None for name in gone if name not in of_model}
        return PreTrainedTokenizerFast(tokenizer_object=backend, extra_special_tokens=extra, **kept)
    changed = copy.deepcopy(tokenizer, {id(tokenizer.backend_tokenizer): backend})
    changed.extra_special_tokens = extra
    for name in gone:
        setattr(changed, name, None)
    return changed

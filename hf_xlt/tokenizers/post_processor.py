"""What a tokenizer puts around a text, as tokenizer.json writes it: the tokens it names, and their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_xlt.tokenizers.vocabulary import STAND_INS

Processor = dict[str, Any]

FRAMING = ("bos", "eos", "cls", "sep")


def named_tokens(processor: Processor | None) -> set[str]:
    """The tokens that a post-processor adds."""
    parts = list(_parts(processor))
    of_templates = (entry["tokens"] for part in parts for entry in part.get("special_tokens", {}).values())
    of_pairs = ([part[name][0]] for part in parts for name in ("cls", "sep") if name in part)
    return {token for tokens in chain(of_templates, of_pairs) for token in tokens}


def renumbered(processor: Processor | None, ids: Mapping[str, int]) -> Processor | None:
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


def _parts(processor: Processor | None) -> Iterator[Processor]:
    if processor is not None:
        yield processor
        for part in processor.get("processors", ()):
            yield from _parts(part)


def frame_like(source: PreTrainedTokenizerBase, roles: Mapping[str, str]) -> Processor:
    """A template that puts around a text, and around a pair, what a tokenizer does, in the tokens of another one."""
    own = {getattr(source, f"{role}_token_id"): role for role in reversed(FRAMING)}
    counterparts = {id_: roles.get(role, roles.get(STAND_INS[role])) for id_, role in own.items() if id_ is not None}
    template: dict[str, list[Processor]] = {"single": [], "pair": []}
    used = set()
    for parts, texts in zip(template.values(), (("a",), ("a", "a")), strict=True):
        encoding, before = source.backend_tokenizer.encode(*texts), None
        for id_, type_id, text in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
            if text is not None and text != before:
                parts.append({"Sequence": {"id": "AB"[text], "type_id": type_id}})
            elif text is None and (token := counterparts.get(id_)) is not None:
                used.add(token)
                parts.append({"SpecialToken": {"id": token, "type_id": type_id}})
            before = text
    tokens = {token: {"id": token, "ids": [0], "tokens": [token]} for token in sorted(used)}
    return {"type": "TemplateProcessing", **template, "special_tokens": tokens}

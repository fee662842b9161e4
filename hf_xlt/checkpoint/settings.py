"""Token counts and special token ids in config.json and generation_config.json, for a new vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from hf_xlt.checkpoint.layout import SIZES
from hf_xlt.tokens import ROLES, STAND_INS

PRECEDENCE = ("pad", "bos", "cls", "eos", "sep", "mask", "unk")
DROPPED = (
    "suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "force_words_ids", "forced_decoder_ids",
    "sequence_bias", "tokenizer_class",
)  # fmt: skip


@dataclass(frozen=True)
class SpecialIds:
    """The special ids of the new tokenizer by role, and what each old special id becomes."""

    roles: Mapping[str, int | None]
    moved: Mapping[int, int]

    @classmethod
    def of(cls, new: PreTrainedTokenizerBase, old: Iterable[Mapping[str, Any]]) -> SpecialIds:
        """Match old and new ids by role.

        Args:
            new: The new tokenizer.
            old: Settings that hold old ids as `bos_token_id` and so on, the most trusted first.
        """
        ids = cls({role: getattr(new, f"{role}_token_id", None) for role in ROLES}, {})
        moved: dict[int, int] = {}
        for settings in old:
            for role in PRECEDENCE:
                target = ids.in_place_of(role)
                for held in _as_list(settings.get(f"{role}_token_id")):
                    if target is not None:
                        moved.setdefault(held, target)
        return replace(ids, moved=moved)

    def in_place_of(self, role: str) -> int | None:
        """The id of a role, or where the tokenizer lacks it of the one that serves for it: cls and bos, sep and eos."""
        own = self.roles[role]
        return own if own is not None else self.roles.get(STAND_INS.get(role, ""))

    def successor(self, name: str, held: Any) -> int | None:
        """The new value of a setting `name`, `…_token_id`, that held an old id, a list of them or None.

        A setting named by role takes the id of that role, or its stand-in if the setting was in use. Any other
        (`decoder_start_token_id`, …) follows the role of the id that it held, or becomes None.
        """
        role = name.removesuffix("_token_id")
        if role not in self.roles:
            return next((self.moved[old] for old in _as_list(held) if old in self.moved), None)
        return self.roles[role] if held is None else self.in_place_of(role)


def token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """The special ids of a tokenizer as settings: `bos_token_id` and so on, None where it lacks the role."""
    return {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id", None) for role in ROLES}


def keeps_ids(new: PreTrainedTokenizerBase, old: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer has another's tokens under the same ids, in the same roles, and more tokens."""
    return new.get_vocab().items() > old.get_vocab().items() and token_ids(new) == token_ids(old)


def renumbered(settings: Mapping[str, Any], defaults: object, ids: SpecialIds) -> dict[str, Any]:
    """Settings with the new tokenizer's special ids; keys unknown to us stay as they are.

    Args:
        settings: What config.json or generation_config.json holds.
        defaults: The object that transformers makes of it: ids by role that it has are written even if the file
            leaves them to the default, which is an id of the old vocabulary.
        ids: The new ids.
    """
    by_role = {f"{role}_token_id" for role in ROLES}
    implied = {name: getattr(defaults, name) for name in sorted(by_role) if hasattr(defaults, name)}
    result: dict[str, Any] = {}
    for name, value in {**settings, **{name: settings.get(name, held) for name, held in implied.items()}}.items():
        if name in DROPPED:
            continue
        if name.endswith("_token_id"):
            result[name] = ids.successor(name, value)
        elif isinstance(value, Mapping):
            result[name] = renumbered(value, getattr(defaults, name, None), ids)
        else:
            result[name] = value
    return result


def recounted(settings: Mapping[str, Any], config: PreTrainedConfig, old: int, new: int) -> dict[str, Any]:
    """Settings of config.json with `new` tokens for `old`, in sub-configurations too."""
    aliases = {alias for alias, field in config.attribute_map.items() if field in SIZES}
    result = dict(settings)
    if getattr(config, "vocab_size", None) == old:
        result["vocab_size"] = new
    for name, value in settings.items():
        part = getattr(config, name, None)
        if isinstance(value, Mapping) and isinstance(part, PreTrainedConfig):
            result[name] = recounted(value, part, old, new)
        elif value == old and name in aliases.union(SIZES):
            result[name] = new
    return result


def _as_list(value: Any) -> list[int]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

"""Token counts and token ids in config.json and generation_config.json, for a new vocabulary."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Self, TypeGuard

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedTokenizerBase

from hf_xlt.checkpoint.layout import SIZES, size_fields
from hf_xlt.tokenizers.vocabulary import ROLES, STAND_INS

PRECEDENCE = ("pad", "bos", "cls", "eos", "sep", "mask", "unk")
DROPPED = ("tokenizer_class",)

# Settings that are one id, or a list of ids or of sequences of ids.
_HOLDS_IDS = re.compile(
    rf"(.+_)?token_(ids?|index)|({'|'.join(ROLES)})_index|(begin_)?suppress_tokens|(bad|force)_words_ids"
)
# Settings that are pairs, and which half of a pair is ids: a position and an id, a sequence of ids and a bias.
_PAIRS = {"forced_decoder_ids": 1, "sequence_bias": 0}
_NO_TOKEN = -1


@dataclass(frozen=True)
class SpecialIds:
    """The special ids of the new tokenizer by role, and what each old special id becomes."""

    roles: Mapping[str, int | None]  # the new ids by role; None where the tokenizer lacks one
    moved: Mapping[int, int]  # old id → the new id of the same role
    respelled: Mapping[int, int] = field(default_factory=dict)  # old id → the new id of the same spelling
    old_roles: Mapping[str, int | None] = field(default_factory=dict)  # the old tokenizer's own ids by role
    names: Mapping[int, str] = field(default_factory=dict)  # old id → how the old tokenizer spells it

    @classmethod
    def of(
        cls,
        new: PreTrainedTokenizerBase,
        old: Iterable[Mapping[str, Any]],
        former: PreTrainedTokenizerBase | None = None,
    ) -> Self:
        """Match old and new ids by role and by spelling; `former` is trusted most, then the settings in their order."""
        roles = role_ids(new)
        old_roles = {} if former is None else role_ids(former)
        moved: dict[int, int] = {}
        for settings in ({f"{role}_token_id": id_ for role, id_ in old_roles.items()}, *old):
            for role in PRECEDENCE:
                target, held = in_place_of(roles, role), settings.get(f"{role}_token_id")
                if target is not None and _is_id(held):
                    moved.setdefault(held, target)
        before, after = ({} if former is None else special_tokens(former)), special_tokens(new)
        respelled = {id_: after[token] for token, id_ in before.items() if token in after}
        return cls(roles, moved, respelled, old_roles, {id_: token for token, id_ in before.items()})

    def successor(self, name: str, held: int | None) -> int | None:
        """The new value of a setting that held an old id or None.

        A setting named by role takes the id of that role, or its stand-in if the setting was in use, or of its
        spelling; only a stop id that is not the old tokenizer's own keeps its spelling, if it can. Any other
        (`decoder_start_token_id`, …) follows the role of the id that it held, then its spelling, or becomes None.
        """
        role = _role_of(name)
        if role is None:
            return None if held is None else self.counterpart(held)
        if held is None:
            return self.roles[role]
        own, respelled = in_place_of(self.roles, role), self.respelled.get(held)
        is_other_stop = role == "eos" and held != self.old_roles.get(role)
        return respelled if own is None or (is_other_stop and respelled is not None) else own

    def successors(self, name: str, held: Iterable[int]) -> list[int]:
        """The new ids for a list of old ones: all that the new tokenizer still has, by role or by spelling.

        A list that is named by role, such as stop ids, has the role's own id too: where the old one was, or first.
        """
        role = _role_of(name)
        if role is None:
            found = list(map(self.counterpart, held))
        else:
            own, former = in_place_of(self.roles, role), self.old_roles.get(role)
            found = [own if id_ == former else self.respelled.get(id_) for id_ in held]
            found = found if own in found else [own, *found]
        return list(dict.fromkeys(new for new in found if new is not None))

    def counterpart(self, id_: int) -> int | None:
        """The new id for an old one, by role or else by spelling."""
        return self.moved.get(id_, self.respelled.get(id_))

    def name(self, id_: int) -> str:
        """How a message calls an old id."""
        return f"{self.names[id_]!r} ({id_})" if id_ in self.names else str(id_)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids of special and added tokens by their spelling."""
    vocab = tokenizer.get_vocab()
    spelled = dict.fromkeys([*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()])
    return {token: vocab[token] for token in spelled if token in vocab}


def token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """The special ids of a tokenizer as settings: `bos_token_id` and so on, None where it lacks the role."""
    return {f"{role}_token_id": id_ for role, id_ in role_ids(tokenizer).items()}


def role_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """The same by role alone."""
    return {role: getattr(tokenizer, f"{role}_token_id", None) for role in ROLES}


def in_place_of(roles: Mapping[str, int | None], role: str) -> int | None:
    """The id of a role, or where there is none of the one that serves for it: cls and bos, sep and eos."""
    own = roles[role]
    return own if own is not None else roles.get(STAND_INS.get(role, ""))


def keeps_ids(new: PreTrainedTokenizerBase, old: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer has another's tokens under the same ids, in the same roles, and more tokens."""
    return new.get_vocab().items() > old.get_vocab().items() and token_ids(new) == token_ids(old)


class Renumbered(NamedTuple):
    """Settings with the new tokenizer's ids, and setting → the old ids that it loses, as messages call them."""

    settings: dict[str, Any]
    removed: Mapping[str, tuple[str, ...]]


def renumbered(settings: Mapping[str, Any], defaults: object, ids: SpecialIds) -> Renumbered:
    """Settings of config.json or generation_config.json with the new tokenizer's token ids.

    What held one id that has no counterpart holds None then, or −1 where the configuration wants a number. Of lists
    and mappings that survives which has a counterpart; empty ones go. Keys unknown to us stay as they are. Ids that
    `defaults`, the object that transformers makes of it, has and the file leaves out are written too.
    """
    result: dict[str, Any] = {}
    removed: dict[str, tuple[str, ...]] = {}
    for name, value in {**settings, **_implied(settings, defaults)}.items():
        if name in DROPPED:
            continue
        if isinstance(value, Mapping) and name not in _PAIRS and not _names_tokens(value, ids):
            inner = _renumbered_part(value, getattr(defaults, name, None), ids)
            result[name] = inner.settings
            removed |= {f"{name}.{nested}": gone for nested, gone in inner.removed.items()}
            continue
        new, gone = _new_value(name, value, ids)
        if gone:
            removed[name] = tuple(dict.fromkeys(map(ids.name, gone)))
        if new is None and gone and _is_id(value):
            new = _without_token(defaults, name)
        if not (gone and new is None and not _is_id(value)):  # a list or mapping of which nothing is left goes
            result[name] = new
    return Renumbered(result, removed)


def _renumbered_part(value: Mapping[str, Any], part: object, ids: SpecialIds) -> Renumbered:
    """A nested configuration; one of images or sounds, which counts no tokens, stays as it is."""
    if isinstance(part, PreTrainedConfig) and not size_fields(part):
        return Renumbered(dict(value), {})
    return renumbered(value, part, ids)


def _implied(settings: Mapping[str, Any], defaults: object) -> dict[str, Any]:
    """Ids that a configuration has and its file leaves to the default."""
    if not isinstance(defaults, PreTrainedConfig | GenerationConfig):
        return {}
    by_role = [f"{role}_token_id" for role in ROLES if hasattr(defaults, f"{role}_token_id")]
    others = [name for name, held in vars(defaults).items() if _is_id(held) and _HOLDS_IDS.fullmatch(name)]
    return {name: getattr(defaults, name) for name in dict.fromkeys([*by_role, *others]) if name not in settings}


def _new_value(name: str, value: Any, ids: SpecialIds) -> tuple[Any, list[int]]:
    """What a setting becomes, and which old ids it loses; None where nothing of it is left."""
    if isinstance(value, Mapping) and name not in _PAIRS:
        kept, gone = _survivors(value.items(), ids, 1)
        return kept and dict(kept), gone
    if name in _PAIRS and value:
        return _survivors(value.items() if isinstance(value, Mapping) else value, ids, _PAIRS[name])
    if not _HOLDS_IDS.fullmatch(name):
        return value, []
    if isinstance(value, list | tuple) and value:
        kept, gone = _survivors(value, ids)
        return (ids.successors(name, value) or None) if all(map(_is_id, value)) else kept, gone
    if value is not None and not _is_id(value):
        return value, []
    new = ids.successor(name, value)
    return new, [value] if new is None and value is not None and value != _NO_TOKEN else []


def _survivors(entries: Iterable[Any], ids: SpecialIds, half: int | None = None) -> tuple[list[Any] | None, list[int]]:
    """Entries, or that half of each, whose ids all have a counterpart, with it; and the ids that have none."""
    kept: list[Any] = []
    gone: list[int] = []
    for entry in entries:
        part = entry if half is None else entry[half]
        lost = [id_ for id_ in _ids_in(part) if ids.counterpart(id_) is None]
        gone += lost
        if not lost:
            new = _moved(part, ids)
            kept.append(new if half is None else [*entry[:half], new, *entry[half + 1 :]])
    return kept or None, gone


def _moved(entry: Any, ids: SpecialIds) -> Any:
    """An id, or a sequence of ids, all of which have a counterpart."""
    if _is_id(entry):
        return ids.counterpart(entry)
    return [_moved(part, ids) for part in entry] if isinstance(entry, list | tuple) else entry


def _ids_in(entry: Any) -> Iterator[int]:
    if _is_id(entry):
        yield entry
    elif isinstance(entry, list | tuple):
        for part in entry:
            yield from _ids_in(part)


def _names_tokens(value: Mapping[Any, Any], ids: SpecialIds) -> bool:
    """Whether a mapping leads from names to the ids of special tokens spelled like them, as Whisper's languages do."""
    return bool(value) and all(_is_id(id_) and str(key) in ids.names.get(id_, "") for key, id_ in value.items())


def _without_token(defaults: object, name: str) -> int | None:
    """What a setting holds where there is no token: None, or −1 where a number is wanted or compared with ids."""
    if not isinstance(defaults, PreTrainedConfig):
        return None
    declared = {entry.name: str(entry.type) for entry in fields(defaults)}
    is_compared = _role_of(name) is None and not name.startswith(("decoder_start_", "forced_"))
    return _NO_TOKEN if is_compared or "None" not in declared.get(name, "None") else None


def _role_of(name: str) -> str | None:
    role = name.removeprefix("_").removesuffix("_token_id").removesuffix("_index")  # Idefics 3 has _pad_token_id
    return role if role in ROLES and name != role else None


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def recounted(settings: Mapping[str, Any], config: PreTrainedConfig, old: int, new: int) -> dict[str, Any]:
    """Settings of config.json with `new` tokens for `old`, in sub-configurations too."""
    aliases = {alias for alias, field in config.attribute_map.items() if field in SIZES}
    result = dict(settings)
    if getattr(config, "vocab_size", None) == old:
        result["vocab_size"] = new
    for name, value in settings.items():
        if isinstance(value, Mapping):
            part = getattr(config, name, None)
            result[name] = recounted(value, part, old, new) if isinstance(part, PreTrainedConfig) else value
        elif value == old and name in aliases.union(SIZES):
            result[name] = new
    return result

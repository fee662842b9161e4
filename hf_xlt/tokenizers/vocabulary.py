"""What a token stands for, whatever its tokenizer's spelling, and which tokens two vocabularies share."""

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError

ROLES = ("pad", "unk", "bos", "eos", "cls", "sep", "mask")
STAND_INS = {"bos": "cls", "cls": "bos", "eos": "sep", "sep": "eos"}

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = sorted(set(range(0x100)) - set(_PRINTABLE))
# GPT-2's alphabet: a printable byte is spelled as itself, the n-th of the others as the character 256 + n.
_BYTE_OF = {byte: byte for byte in _PRINTABLE} | {256 + n: byte for n, byte in enumerate(_OTHERS)}


class Form(NamedTuple):
    """What a token stands for, however it is spelled: `##en`, `▁Hund`, `ĠHund`, `fÃ¼r`, `<0x0A>`.

    Two tokens are the same where their forms are equal. Joining the forms of a text, with a space wherever a word
    starts, gives the (normalized) text back.
    """

    text: bytes  # the bytes of text the token stands for, without any marker; perhaps half a UTF-8 character
    # whether a word starts here. Tokens of a tokenizer that has neither a space marker nor a continuing prefix all
    # count as starts, except single characters it cuts out of the middle of words
    starts_word: bool

    def __str__(self) -> str:
        """A readable name: `Hund` where a word starts, `-en` inside one; unprintable bytes are escaped."""
        name = self.text.decode("utf-8", "backslashreplace")
        if not name.isprintable():
            name = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
        name = name.replace(" ", "▁") or "▁"
        return name if self.starts_word or not name[0].isalnum() else f"-{name}"


@dataclass(frozen=True)
class Spelling:
    """How a tokenizer spells text in its tokens.

    It is found by watching its backend split a few characters and by what its model declares, never from class names.
    A backend either *keeps* spaces, as a marker or as they are (SentencePiece, byte-level BPE, characters), and a word
    starts at a leading space; or it *drops* them (WordPiece, WordLevel), and a word starts unless the token carries the
    continuing prefix, or is a single character that is cut out of the middle of words (in BERT: punctuation, CJK). Such
    a one tells nothing of a space before it, so it equals others' spaceless token.
    """

    space: str  # what a space turns into (`▁`, `Ġ`, or itself); empty where spaces are dropped
    prefix: str  # what a token inside a word begins with (`##`); empty if nothing
    suffix: str  # what a token at the end of a word ends with (`</w>`); empty if nothing
    byte_level: bool  # whether characters are bytes in GPT-2's alphabet
    byte_fallback: bool  # whether `<0x0A>` is the byte 0x0A
    standalone: frozenset[str]  # characters cut out of the middle of words; empty where spaces are kept

    @classmethod
    def of(cls, backend: Any, tokens: Iterable[str]) -> "Spelling":
        """Find how a backend spells its tokens."""
        model = json.loads(backend.model.__getstate__())
        spaced = "".join(split(backend, "a b"))
        space = spaced[spaced.find("a") + 1 : spaced.rfind("b")]
        suffix = model.get("end_of_word_suffix") or ""
        texts = () if space else (token.removesuffix(suffix) for token in tokens)
        characters = sorted({text for text in texts if len(text) == 1})
        decoded = "" if backend.decoder is None else backend.decoder.decode(["<0x41>"])
        return cls(
            space=space,
            prefix=model.get("continuing_subword_prefix") or "",
            suffix=suffix,
            byte_level="Ñı" in "".join(split(backend, "я")),
            byte_fallback=bool(model.get("byte_fallback")) or decoded == "A",
            standalone=frozenset(characters).intersection(split(backend, "xx".join(["", *characters, ""]))),
        )

    def is_byte(self, token: str) -> bool:
        """Whether a token is one byte that no other token spells."""
        return self.byte_fallback and _BYTE.fullmatch(token) is not None

    def form(self, token: str) -> Form:
        """The form of a token of the model's own vocabulary."""
        if self.is_byte(token):
            return Form(bytes.fromhex(token[3:5]), starts_word=False)
        if self.prefix and token.startswith(self.prefix) and token != self.prefix:
            return Form(self._bytes(token.removeprefix(self.prefix)), starts_word=False)
        token = token.removesuffix(self.suffix)
        return self.literal(token, self._bytes(token))

    def literal(self, token: str, text: bytes) -> Form:
        """The form of a token whose place in a word only its text tells."""
        if self.space:
            return Form(text[1:], True) if text[:1] == b" " else Form(text, False)
        return Form(text, starts_word=token not in self.standalone)

    def _bytes(self, token: str) -> bytes:
        if not self.byte_level:
            return (token.replace(self.space, " ") if self.space else token).encode()
        try:
            return token.translate(_BYTE_OF).encode("latin-1")
        except UnicodeEncodeError:  # not spelled in the alphabet, so plain text
            return token.encode()


def split(backend: Any, text: str) -> list[str]:
    """The pieces of a text that a backend's model gets, normalized; the whole text where nothing cuts it."""
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is None:
        return [text]
    return [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]


@checked
@dataclass(frozen=True)
class Vocabulary:
    """What every id of a tokenizer stands for.

    Attributes:
        forms: Ordinary tokens by id; holes in the ids are absent. In order of preference where several share a
            form: the lowest id, but byte-fallback tokens last, as they only serve where no other token does.
        roles: Special tokens by role, one of `ROLES`; one id may have several.
        extras: Special tokens without a role (T5's sentinels, language codes), by spelling.
        names: A readable name for every id, not always unique: `str(form)`, or a special token's spelling.
        size: Largest id + 1.
        marks_words: Whether tokens tell if a word starts; where not, `Form.starts_word` is a guess.
        ids: Every id by the tokenizer's own spelling.
    """

    forms: Mapping[int, Form]
    roles: Mapping[str, int]
    extras: Mapping[str, int]
    names: Mapping[int, str]
    size: int
    marks_words: bool
    ids: Mapping[str, int]

    def __post_init__(self) -> None:
        if not self.forms:
            raise InputError(
                "The tokenizer has no ordinary token",
                expected="a vocabulary beside the special tokens",
                hint="Check that its folder holds a complete tokenizer.json.",
            )

    @classmethod
    @checked
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Vocabulary":
        """Read the vocabulary of a tokenizer, which must have a fast backend; added tokens are included."""
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise InputError(
                f"{type(tokenizer).__name__} {tokenizer.name_or_path!r} has no fast backend",
                expected="a tokenizer with a tokenizer.json",
                hint="Take a checkpoint that has one, or train one with `hf-xlt tokenizer`.",
            )
        vocab = dict(sorted(tokenizer.get_vocab().items(), key=itemgetter(1)))
        added = backend.get_added_tokens_decoder()
        given = ((role, tokenizer.special_tokens_map.get(f"{role}_token")) for role in ROLES)
        spelled = {role: str(token) for role, token in given if token is not None}
        roles = {role: vocab[token] for role, token in spelled.items() if token in vocab}
        special = {vocab[token] for token in tokenizer.all_special_tokens if token in vocab}
        special |= {id_ for id_, token in added.items() if token.special}
        without_role = special.difference(roles.values())

        spelling = Spelling.of(backend, vocab)
        literal = {id_ for id_, token in added.items() if _is_literal(backend, token.content)}
        ordered = sorted(vocab, key=spelling.is_byte) if spelling.byte_fallback else vocab
        forms = {
            vocab[token]: spelling.literal(token, token.encode()) if vocab[token] in literal else spelling.form(token)
            for token in ordered
            if vocab[token] not in special
        }
        return cls(
            forms=forms,
            roles=roles,
            extras={token: id_ for token, id_ in vocab.items() if id_ in without_role},
            names={id_: str(forms.get(id_, token)) for token, id_ in vocab.items()},
            size=max(vocab.values(), default=-1) + 1,
            marks_words=bool(spelling.space or spelling.prefix),
            ids=vocab,
        )

    def __repr__(self) -> str:
        return f"Vocabulary({self.size:,} ids: {len(self.forms):,} ordinary tokens, {len(self.special)} special)"

    @property
    def special(self) -> dict[str, int]:
        """All special tokens by their spelling, with a role or without."""
        return {self.names[id_]: id_ for id_ in self.roles.values()} | dict(self.extras)

    def extends(self, source: "Vocabulary") -> bool:
        """Whether this has all tokens of a source, with their ids and spellings, and more."""
        return self.ids.items() > source.ids.items()


def _is_literal(backend: Any, content: str) -> bool:
    """Whether an added token is spelled as text is, and not as by the model, as Gemma's runs of spaces are."""
    return backend.model.token_to_id(content) is None or content not in "".join(split(backend, content))


@checked
@dataclass(frozen=True, eq=False)
class Overlap:
    """The tokens of a target vocabulary that a source vocabulary has as well.

    Attributes:
        source_ids: int64, `(o,)`; the source's id of each shared token.
        target_ids: int64, `(o,)`; the target's id of each, ascending.
        missing_ids: int64, `(n,)`; target ids in use that have no counterpart in the source, ascending.
        target_size: Largest target id + 1; ids in neither `target_ids` nor `missing_ids` are holes. Where the target
            extends the source, all of the source's ids are shared, holes among them.
    """

    source_ids: np.ndarray
    target_ids: np.ndarray
    missing_ids: np.ndarray
    target_size: int

    def __post_init__(self) -> None:
        used = np.bincount(np.concatenate([self.target_ids, self.missing_ids]), minlength=self.target_size)
        if self.source_ids.shape != self.target_ids.shape or len(used) > self.target_size or used.max(initial=0) > 1:
            raise InputError(
                f"An overlap of {len(self.source_ids)} source ids, {len(self.target_ids)} target ids and "
                f"{len(self.missing_ids)} missing ones in {self.target_size} rows does not fit together",
                expected="pairs, and each target id once and below the number of rows",
                hint="Build it with overlap().",
            )

    def __repr__(self) -> str:
        shared, missing = len(self.target_ids), len(self.missing_ids)
        return f"Overlap({shared:,} of {self.target_size:,} ids shared, {missing:,} missing)"

    def without(self, target_ids: np.ndarray) -> "Overlap":
        """The overlap in which some target tokens that are in use have no counterpart."""
        shared = ~np.isin(self.target_ids, target_ids)
        missing = np.union1d(self.missing_ids, target_ids)
        return Overlap(self.source_ids[shared], self.target_ids[shared], missing, self.target_size)

    @classmethod
    def of(cls, pairs: Mapping[int, int], target: Vocabulary) -> "Overlap":
        """The overlap that pairs target ids with source ids."""
        target_ids = sorted(pairs)
        return cls(
            source_ids=np.array([pairs[id_] for id_ in target_ids], dtype=np.int64),
            target_ids=np.array(target_ids, dtype=np.int64),
            missing_ids=np.array(sorted(target.names.keys() - pairs.keys()), dtype=np.int64),
            target_size=target.size,
        )


@checked
def overlap(
    source_tokenizer: PreTrainedTokenizerBase, target_tokenizer: PreTrainedTokenizerBase, ignore_case: bool = False
) -> Overlap:
    """Find the tokens two tokenizers share, as `match` does for their vocabularies."""
    return match(Vocabulary.of(source_tokenizer), Vocabulary.of(target_tokenizer), ignore_case)


def match(source: Vocabulary, target: Vocabulary, ignore_case: bool = False) -> Overlap:
    """Find the tokens two vocabularies share.

    Ordinary tokens match where their forms are equal; if one vocabulary does not mark words, those left without a
    counterpart match on their text alone. Special tokens never match ordinary ones. They match by role, whatever
    their spelling; bos and cls, eos and sep stand in for one another where the source lacks the role. If a target
    token has several roles, the last one in `ROLES` that the source can serve decides. Special tokens without such a
    role match those of the same spelling. Where the target extends the source, each of the source's tokens matches
    itself, even if others have its form.
    """
    pairs: dict[int, int] = {}
    # What tokens are compared by, the strictest first.
    keys: list[Callable[[Form], Hashable]] = [lambda form: form]
    marks_words = source.marks_words and target.marks_words
    if not marks_words:
        keys.append(lambda form: form.text)
    if ignore_case:
        keys.append(lambda form: (_casefold(form.text), form.starts_word))
    if ignore_case and not marks_words:
        keys.append(lambda form: _casefold(form.text))
    for key in keys:
        first: dict[Hashable, int] = {}
        for id_, form in source.forms.items():
            first.setdefault(key(form), id_)
        left = {id_: first.get(key(form)) for id_, form in target.forms.items() if id_ not in pairs}
        pairs |= {id_: counterpart for id_, counterpart in left.items() if counterpart is not None}
    if not pairs:
        raise InputError(
            f"There is no overlapping token between the source ({len(source.forms)} tokens) and the target ("
            f"{len(target.forms)} tokens)",
            expected="at least one",
            hint="Take a target tokenizer that has some script, digits or punctuation in common with the source, or a "
            "method that needs no overlap.",
        )
    return Overlap.of(pairs | kept_pairs(source, target), target)


def _casefold(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape").casefold()


def kept_pairs(source: Vocabulary, target: Vocabulary) -> dict[int, int]:
    """Target id → source id of what is copied whatever else is: special tokens, as `match` pairs them.

    Where the target extends the source, all ids of the source are paired with themselves.
    """
    spelled = source.special
    pairs = {id_: spelled[token] for token, id_ in target.special.items() if token in spelled}
    for role in (role for role in ROLES if role in target.roles):
        given = role if role in source.roles else STAND_INS.get(role, role)
        if given in source.roles:
            pairs[target.roles[role]] = source.roles[given]
    own = range(source.size) if target.extends(source) else ()
    return pairs | dict(zip(own, own, strict=True))

"""Train a tokenizer on a corpus: one of the three families the field uses, or one like an existing model's."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hf_xlt.arguments import checked, require_one_of, require_text, require_type
from hf_xlt.errors import InputError
from hf_xlt.tokenizers.normalization import CLEANED, NFC, adapted
from hf_xlt.tokenizers.pipeline import Pipeline
from hf_xlt.tokenizers.vocabulary import STAND_INS, Spelling

logger = logging.getLogger(__name__)

# Retrieval without training, by 6,000 pairs and a dictionary, with 1 and with 2: German 49.8 and 43.0, Indonesian 74.6
# and 73.0, Yoruba 82.0 and 82.1. What occurs once serves where a dictionary or a translation tells what it means.
MIN_FREQUENCY = 1
FEWEST_ENTRIES = 300
MOST_ENTRIES = 2**24

# Tokens of a source that nothing asks for, such as reserved ones, are kept where they take so little of a vocabulary.
_SHARE_OF_UNNAMED = 0.05
_SETTINGS = ("model_max_length", "padding_side", "truncation_side", "model_input_names",
             "clean_up_tokenization_spaces", "chat_template")  # fmt: skip
_ANGLED = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
_BRACKETED = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
# A word with its marks and joiners, or digits, or other visible characters, with the space before; or white space.
_WORDS = r" ?[\p{L}\p{M}\x{200C}\x{200D}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"


_FRAMING = ("bos", "eos", "cls", "sep")

Settings = dict[str, Any]


class _Family(NamedTuple):
    """A family: what is around its model, and its special tokens by role, in the order of their ids."""

    backend: Tokenizer
    normalizer: Settings
    roles: dict[str, str]


def _byte_level_bpe() -> _Family:
    backend = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(_WORDS), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    backend.decoder = decoders.ByteLevel()
    return _Family(backend, NFC, {role: _ANGLED[role] for role in ("bos", "eos", "pad", "unk", "mask")})


def _unigram() -> _Family:
    backend = Tokenizer(models.Unigram([("<unk>", 0.0)], 0, byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 0)]
    )
    return _Family(backend, NFC, _ANGLED)


def _wordpiece() -> _Family:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 0)]
    )
    chinese = {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": True,
               "strip_accents": False, "lowercase": False}  # fmt: skip
    return _Family(backend, {"type": "Sequence", "normalizers": [*CLEANED, NFC, chinese]}, _BRACKETED)


FAMILIES = {"byte-level-bpe": _byte_level_bpe, "unigram": _unigram, "wordpiece": _wordpiece}


@checked
def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    family: str,
    *,
    min_frequency: int = MIN_FREQUENCY,
    lowercase: bool = False,
    strip_accents: bool = False,
    framed_like: PreTrainedTokenizerBase | None = None,
) -> PreTrainedTokenizerFast:
    """Train a new tokenizer of one of `FAMILIES`.

    `byte-level-bpe` (GPT-2, RoBERTa) and `unigram` (T5, XLM-R; with bytes to fall back to) give any text back.
    `wordpiece` (BERT) does not tell kinds of white space apart and drops control characters; a word with a letter that
    the corpus does not have, or of more than 100 letters, becomes `[UNK]`. All compose letters and their accents (NFC),
    so that both spellings of a letter are the same tokens.

    Args:
        texts: The corpus, a line or document at a time. InputError is raised if there is none.
        vocab_size: Number of entries wanted, enough for the alphabet; a small corpus may yield fewer.
        family: One of `FAMILIES`.
        min_frequency: What the corpus has less often becomes no entry, letters apart.
        lowercase: Whether capital letters become small ones.
        strip_accents: Whether accents, vowel signs and tone marks are taken away.
        framed_like: A tokenizer that puts special tokens around a text, as the new one will with tokens of the family.
    """
    require_one_of("family", family, FAMILIES)
    check_numbers(vocab_size, min_frequency)
    backend, normalizer, roles = FAMILIES[family]()
    settings = json.loads(backend.to_str()) | {"normalizer": adapted(normalizer, lowercase, strip_accents)}
    named: dict[str, str | None] = {f"{role}_token": token for role, token in roles.items()}
    if framed_like is not None:
        settings["post_processor"] = _frame_like(framed_like, roles)
        asked = [role for role in _FRAMING if getattr(framed_like, f"{role}_token") is not None]
        named |= {f"{role}_token": roles.get(role, roles.get(STAND_INS[role])) for role in asked}
    tokens = tuple(AddedToken(token, special=True, normalized=False) for token in roles.values())
    unknown = None if family == "byte-level-bpe" else roles["unk"]
    trained = Pipeline(settings, tokens, unknown).trained(_some(texts), vocab_size, min_frequency)
    return PreTrainedTokenizerFast(tokenizer_object=trained, **named)


def train_tokenizer_like(
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    vocab_size: int,
    *,
    min_frequency: int = MIN_FREQUENCY,
    lowercase: bool | None = None,
    strip_accents: bool = False,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer with the pipeline and special tokens of an existing one on another language's text.

    It reads text as the other does, but keeps accents, which tell words apart in most languages, and joiners. Its model
    is of the same type, and has all bytes where the other's has. Special tokens are kept where they have a role, where
    the chat template or the post-processor names them, or where the tokenizer lists them as its own; the rest, reserved
    ones for instance, where they are few beside `vocab_size`. Its `tokenizer.json` says all: it opens as a
    `PreTrainedTokenizerFast` whatever class the other is of.

    The tokenizer to imitate has a fast backend of BPE, Unigram, WordPiece or WordLevel; where `lowercase` is None, the
    new one does as it does. The other arguments are as for `train_tokenizer`, and refused likewise.
    """
    check_numbers(vocab_size, min_frequency)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"{type(tokenizer).__name__} cannot be retrained: it has no fast backend",
            hint="Train a new one with --family instead of --like.",
        )
    settings = json.loads(backend.to_str())
    settings["normalizer"] = adapted(settings["normalizer"], lowercase, strip_accents)
    settings["model"], unknown = _unknown(settings["model"], tokenizer)
    kept = _kept_tokens(tokenizer, settings, vocab_size)
    trained = Pipeline(settings, kept, unknown).trained(_some(texts), vocab_size, min_frequency)
    given = {name: getattr(tokenizer, name, None) for name in _SETTINGS}
    return PreTrainedTokenizerFast(
        tokenizer_object=trained,
        extra_special_tokens=list(tokenizer.extra_special_tokens),
        **{name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)},
        **{name: value for name, value in given.items() if value is not None},
    )


def _frame_like(source: PreTrainedTokenizerBase, roles: Mapping[str, str]) -> Settings:
    """A template that puts around a text, and around a pair, what a tokenizer does, in the tokens of another one."""
    own = {getattr(source, f"{role}_token_id"): role for role in reversed(_FRAMING)}
    counterparts = {id_: roles.get(role, roles.get(STAND_INS[role])) for id_, role in own.items() if id_ is not None}
    template: dict[str, list[Settings]] = {"single": [], "pair": []}
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


def _unknown(model: Settings, tokenizer: PreTrainedTokenizerBase) -> tuple[Settings, str | None]:
    """A model that does not drop what it does not know, without its entries, and its unknown token."""
    known = {name: value for name, value in model.items() if name not in ("vocab", "merges")}
    if model["type"] == "Unigram":
        place = model["unk_id"]
        unknown = tokenizer.unk_token if place is None else model["vocab"][place][0]
    else:
        unknown = model["unk_token"]
    if unknown is None and (model.get("byte_fallback") or Spelling.of(tokenizer.backend_tokenizer, ()).byte_level):
        return known, None
    if unknown is None and tokenizer.unk_token is None:
        raise InputError(
            "The tokenizer drops what it does not know",
            expected="one with an unknown token, or with bytes",
            hint="Train a new one with --family instead of --like.",
        )
    unknown = unknown or tokenizer.unk_token
    return known | ({} if model["type"] == "Unigram" else {"unk_token": unknown}), unknown


def _kept_tokens(tokenizer: PreTrainedTokenizerBase, settings: Settings, vocab_size: int) -> tuple[AddedToken, ...]:
    """The added tokens that a new tokenizer has too, in the order of their ids."""
    decoder = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    added = {token.content: token for _, token in sorted(decoder.items())}
    templates = str(tokenizer.chat_template or "")
    asked = {*tokenizer.all_special_tokens, *_named_tokens(settings["post_processor"])}
    asked |= {content for content in added if content.strip() and content in templates}
    left_out: list[str] = []
    for special in (True, False):
        unnamed = {content: token for content, token in added.items() if content not in asked and content.strip()}
        others = [content for content, token in unnamed.items() if token.special == special]
        if len(asked) + len(others) <= _SHARE_OF_UNNAMED * vocab_size:
            asked |= set(others)
        else:
            left_out += others
    if left_out:
        logger.warning(
            f"{len(left_out)} added tokens of the source are left out, such as {left_out[0]}: nothing names them, and "
            f"they would be many of {vocab_size:,} entries."
        )
    beside = [AddedToken(content, special=True, normalized=False) for content in sorted(asked - added.keys())]
    return (*(token for content, token in added.items() if content in asked), *beside)


def _named_tokens(processor: Settings | None) -> set[str]:
    """The tokens that a post-processor adds."""
    if processor is None:
        return set()
    of_template = (entry["tokens"] for entry in processor.get("special_tokens", {}).values())
    of_pair = ([processor[name][0]] for name in ("cls", "sep") if name in processor)
    return set(chain(*of_template, *of_pair, *map(_named_tokens, processor.get("processors", ()))))


def check_numbers(vocab_size: int, min_frequency: int) -> None:
    """Refuse sizes that no tokenizer can be trained with: InputError."""
    if not FEWEST_ENTRIES <= vocab_size <= MOST_ENTRIES:
        expected = f"at least {FEWEST_ENTRIES} (256 bytes and special tokens), and no more than {MOST_ENTRIES:,}"
        raise InputError(f"vocab_size is {vocab_size}", value=vocab_size, expected=expected)
    if min_frequency < 0:
        raise InputError(f"min_frequency is {min_frequency}", value=min_frequency, expected="a number from 0")


def _some(texts: Iterable[str]) -> Iterator[str]:
    require_type("texts", texts, Iterable[str])
    kept = (text for text in texts if require_text(text).strip())
    first = next(kept, None)
    if first is None:
        raise InputError("There is no text to train a tokenizer on", hint="Give a corpus with text in it.")
    return chain([first], kept)

"""Train a tokenizer on a corpus: one of the three families the field uses, or one like an existing model's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from hf_xlt.checkpoint.contents import transformer_path
from hf_xlt.errors import InputError

_SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def _byte_level_bpe(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*_SPECIAL_TOKENS.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_SPECIAL_TOKENS)


def _unigram(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    eos = tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", eos)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_SPECIAL_TOKENS)


def _wordpiece(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    frame = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=frame
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


FAMILIES: dict[str, Callable[[Iterable[str], int], PreTrainedTokenizerFast]] = {
    "byte-level-bpe": _byte_level_bpe,
    "unigram": _unigram,
    "wordpiece": _wordpiece,
}


def train_tokenizer(texts: Iterable[str], vocab_size: int, family: str) -> PreTrainedTokenizerFast:
    """Train a new tokenizer of one of `FAMILIES`.

    Args:
        texts: The corpus, a line or document at a time.
        vocab_size: Number of entries wanted; a small corpus may yield fewer.
        family: `"byte-level-bpe"` (GPT-2, RoBERTa), `"unigram"` (XLM-R, T5) or `"wordpiece"` (BERT).

    Raises:
        InputError: If the family is not known, the vocabulary cannot hold the alphabet, or there is no text.
    """
    if family not in FAMILIES:
        raise InputError(f"Unknown tokenizer family {family!r}; choose one of {', '.join(FAMILIES)}.")
    _check_size(vocab_size)
    return FAMILIES[family](_some(texts), vocab_size)


def train_tokenizer_like(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], vocab_size: int
) -> PreTrainedTokenizerBase:
    """Train a tokenizer with the pipeline and special tokens of an existing one on another language's text.

    Raises:
        InputError: If the tokenizer has no trainable (fast) backend, the vocabulary is too small, or there is no text.
    """
    _check_size(vocab_size)
    retrain = getattr(tokenizer, "train_new_from_iterator", None)
    if retrain is None:
        raise InputError(
            f"{type(tokenizer).__name__} cannot be retrained: it has no fast backend. "
            "Train a new one with --family instead of --like."
        )
    return retrain(_some(texts), vocab_size=vocab_size, show_progress=False)


def _check_size(vocab_size: int) -> None:
    if vocab_size < 300:
        raise InputError(f"vocab_size is {vocab_size}; expected at least 300 (256 bytes and special tokens).")


def _some(texts: Iterable[str]) -> Iterator[str]:
    kept = (text for text in texts if text.strip())
    first = next(kept, None)
    if first is None:
        raise InputError("There is no text to train a tokenizer on; give a corpus with text in it.")
    return chain([first], kept)


def open_tokenizer(name_or_folder: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint, which may have no weights, or a transformer in a folder of its own.

    Raises:
        InputError: If there is none to open.
    """
    folder = Path(name_or_folder)
    place = folder / transformer_path(folder) if folder.is_dir() else name_or_folder
    try:
        return AutoTokenizer.from_pretrained(place)
    except Exception as error:  # whatever a broken file makes of it: tokenizers raises Exception itself
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"No tokenizer in {name_or_folder!r} ({reason}). Give a folder or Hub id that has a tokenizer.json."
        ) from error

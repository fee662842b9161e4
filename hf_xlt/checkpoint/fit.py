"""Fit a target tokenizer to a body: the tokens that the body cannot do without, the id that its padding must have.

Some bodies count positions from the padding id (RoBERTa, M2M100, ProphetNet, MPNet and others): with another one every
token would stand elsewhere.
"""

import copy
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from tokenizers import AddedToken
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from hf_xlt.arguments import short
from hf_xlt.checkpoint.open import Checkpoint
from hf_xlt.checkpoint.settings import SpecialIds, keeps_ids, role_ids, special_tokens
from hf_xlt.checkpoint.tokenizer import open_tokenizer, save_tokenizer
from hf_xlt.errors import InputError
from hf_xlt.tokenizers.renumber import exchanged

_START = "decoder_start_token_id"
_SAMPLE = 500  # tokens of the text that tells whether a tokenizer opens as it was
_PADS = ("<pad>", "[PAD]", "<|pad|>")


@dataclass(frozen=True)
class MissingToken:
    """A token that a body cannot do without and a tokenizer lacks."""

    role: str | None  # None for one that is known by its spelling, such as a language code
    token: str  # how to spell it
    reason: str  # what the body needs it for


@dataclass(frozen=True, eq=False)
class FittedTokenizer:
    """A target tokenizer that a body can work with; it cuts text into the same tokens as the one that was given."""

    tokenizer: PreTrainedTokenizerBase
    former_size: int  # largest id + 1 of the one that was given
    exchanged: tuple[int, int] | None = None  # two ids that tokens exchanged, that of the padding token first
    added: tuple[str, ...] = ()  # the tokens that were added, as they are spelled

    @classmethod
    def of(cls, checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, add_missing_tokens: bool = False) -> Self:
        """Fit a tokenizer to the body of a checkpoint."""
        size = max(tokenizer.get_vocab().values()) + 1
        found = (_missing_pad(checkpoint, tokenizer), _missing_start(checkpoint, tokenizer))
        missing = tuple(token for token in found if token is not None)
        if missing and not add_missing_tokens:
            raise _refused(missing[0])
        whole = _with_tokens(tokenizer, missing)
        wanted, held = checkpoint.layout.counted_from, whole.pad_token_id
        added = tuple(token.token for token in missing)
        if wanted is None or wanted == held:
            return cls(whole, size, None, added)
        if wanted >= max(whole.get_vocab().values()) + 1:
            raise InputError(
                f"{checkpoint.name} counts positions from id {wanted:,}, which the padding token has to have, but the "
                f"tokenizer has {size:,} ids",
                value=size,
                expected=f"more than {wanted:,}",
                hint="Take a larger vocabulary.",
            )
        return cls(exchanged(whole, held, wanted), size, (held, wanted), added)

    def __repr__(self) -> str:
        changes = f"exchanged {self.exchanged}, added {short(self.added)}"
        return f"FittedTokenizer({len(self.tokenizer):,} tokens{', ' + changes if self.changed else ''})"

    @property
    def changed(self) -> bool:
        """Whether anything is not as it was given."""
        return self.exchanged is not None or bool(self.added)

    @property
    def notices(self) -> tuple[str, ...]:
        """What was changed, a sentence each."""
        vocab = self.tokenizer.get_vocab()
        told = [f"Added to the tokenizer, as the body needs it: {new!r} (id {vocab[new]:,})." for new in self.added]
        if self.exchanged is not None:
            held, wanted = self.exchanged
            other = next((token for token, id_ in vocab.items() if id_ == held), None)
            instead = "" if other is None else f", and {other!r} has {held:,} instead"
            told.append(
                f"The body counts positions from the id of padding, {wanted:,}: in the tokenizer of the result "
                f"{self.tokenizer.pad_token!r} has this id{instead}. Text is cut as before."
            )
        return tuple(told)

    def rows(self, table: Tensor) -> Tensor:
        """Rows `(V, …)` of the tokenizer that was given, by the ids of this one; zeros for tokens that were added."""
        if not self.changed or len(table) < self.former_size:
            return table
        given = table[: self.former_size]
        grown = torch.cat([given, given.new_zeros(len(self.added), *given.shape[1:])])
        return grown[self.ids(torch.arange(len(grown), device=table.device))]

    def ids(self, ids: Tensor) -> Tensor:
        """Ids of the tokenizer that was given as ids of this one; int64, of any shape."""
        if self.exchanged is None:
            return ids
        first, second = self.exchanged
        return torch.where(ids == first, second, torch.where(ids == second, first, ids))


def check_padding(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that does not pad with the id that the body counts positions from."""
    wanted = checkpoint.layout.counted_from
    if wanted is not None and tokenizer.pad_token_id != wanted:
        raise InputError(
            f"{checkpoint.name} counts positions from id {wanted}; the tokenizer pads with {tokenizer.pad_token_id}",
            value=tokenizer.pad_token_id,
            expected=str(wanted),
            hint="Fit the tokenizer first: FittedTokenizer.of(checkpoint, tokenizer).tokenizer.",
        )


def check_opens(checkpoint: Checkpoint, own: PreTrainedTokenizerBase, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that transformers opens as another beside a model of this type, as it does beside a Qwen 2."""
    if type(tokenizer) is type(own):
        return
    runs_code = type(tokenizer)._auto_class is not None  # its own, which whoever opened it has allowed
    with TemporaryDirectory() as folder:
        checkpoint.config.save_pretrained(folder)
        save_tokenizer(tokenizer, folder)
        opened = open_tokenizer(folder, trust_remote_code=runs_code or checkpoint.trust_remote_code)
    ids = sorted(tokenizer.get_vocab().values())
    text = tokenizer.decode(ids[:: max(1, len(ids) // _SAMPLE)], skip_special_tokens=True)
    if opened.get_vocab() == tokenizer.get_vocab() and opened(text)["input_ids"] == tokenizer(text)["input_ids"]:
        return
    raise InputError(
        f"Beside a model of type {checkpoint.config.model_type!r} transformers opens any tokenizer as "
        f"{type(opened).__name__}, which cuts text otherwise than the target tokenizer",
        value=type(tokenizer).__name__,
        expected="a tokenizer of the same kind as the source's",
        hint="Train one with `hf-xlt tokenizer --like` the source.",
    )


def _missing_pad(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> MissingToken | None:
    config = checkpoint.config
    if checkpoint.layout.counted_from is not None:
        reason = "positions are counted from the padding token, which therefore is no other"
        lacking = tokenizer.pad_token_id is None or (_shares_pad(tokenizer) and not _shares_pad(checkpoint.tokenizer()))
    elif getattr(config, "is_encoder_decoder", False) or "pad_index" in config.attribute_map:
        reason = "the model finds the end of a text by padding"
        lacking = tokenizer.pad_token_id is None
    else:
        return None
    if not lacking:
        return None
    vocab, special = tokenizer.get_vocab(), special_tokens(tokenizer)
    taken = {token for token in vocab if token not in special} | set(tokenizer.all_special_tokens)
    names = (checkpoint.tokenizer().pad_token, *_PADS)
    return MissingToken("pad", next(name for name in names if name is not None and name not in taken), reason)


def _shares_pad(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the padding token is used for something else, such as the end of a text."""
    others = [id_ for role, id_ in role_ids(tokenizer).items() if role != "pad"]
    return tokenizer.pad_token_id is not None and tokenizer.pad_token_id in others


def _missing_start(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> MissingToken | None:
    config: Any = checkpoint.config
    start = getattr(config, _START, None)
    if not getattr(config, "is_encoder_decoder", False) or start is None:
        return None
    former = checkpoint.tokenizer()
    ids = SpecialIds.of(tokenizer, [vars(config)], former)
    is_pad = start in (config.pad_token_id, former.pad_token_id)
    is_ordinary = start not in special_tokens(former).values()
    if is_pad or is_ordinary or keeps_ids(tokenizer, former) or ids.successor(_START, start) is not None:
        return None
    role = next((role for role, id_ in role_ids(former).items() if id_ == start), None)
    return MissingToken(role, str(former.convert_ids_to_tokens(start)), "the decoder starts with it")


def _with_tokens(tokenizer: PreTrainedTokenizerBase, tokens: tuple[MissingToken, ...]) -> PreTrainedTokenizerBase:
    if not tokens:
        return tokenizer
    changed = copy.deepcopy(tokenizer)
    changed.add_tokens([AddedToken(token.token, special=True) for token in tokens], special_tokens=True)
    for token in tokens:
        if token.role is not None:
            setattr(changed, f"{token.role}_token", token.token)
    return changed


def _refused(first: MissingToken) -> InputError:
    called = f"token for {first.role}" if first.role is not None else f"token {first.token!r}"
    return InputError(
        f"The target tokenizer has no {called} of its own, but {first.reason}",
        value=first.role or first.token,
        expected=f"a special token such as {first.token!r}",
        hint="Give it one, or have it added with add_missing_tokens: --set add_missing_tokens=true for initialize, "
        "--set initializer.add_missing_tokens=true for run.",
    )

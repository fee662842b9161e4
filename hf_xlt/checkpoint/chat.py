"""Which chat template a model with a new tokenizer keeps: one whose special tokens the tokenizer has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import PreTrainedTokenizerBase

from hf_xlt.errors import InputError

SOURCE, TOKENIZER = "source", "tokenizer"
Templates = str | dict[str, str] | None
_ROLE = re.compile(r"\b((?:bos|eos|pad|unk|sep|cls|mask)_token)\b")
_QUESTION = [{"role": "user", "content": "?"}]


@dataclass(frozen=True)
class Chat:
    """The chat template, or several by name, of a model with a new tokenizer."""

    templates: Templates  # as a tokenizer holds them; None for no chat
    missing: tuple[str, ...] = ()  # special tokens that a template names and the tokenizer lacks
    lost: bool = False  # whether the source's template is left out for them

    @classmethod
    def choose(
        cls, asked: str | None, tokenizer: PreTrainedTokenizerBase, former: PreTrainedTokenizerBase | None
    ) -> Self:
        """Choose between the tokenizer's own, the source's (`former`) and one in a file.

        `asked` is `tokenizer`, `source` or a file; None: the tokenizer's own, or else those of the source that fit it.
        """
        own: Templates = tokenizer.chat_template
        old: Templates = None if former is None else former.chat_template
        if asked == TOKENIZER or (asked is None and (own is not None or old is None)):
            return cls(own)
        if asked == SOURCE and old is None:
            problem = "The source has no chat template"
            raise InputError(problem, value=asked, expected="a file, or `tokenizer` for the new one's own")
        templates = old if asked in (SOURCE, None) else _read(Path(str(asked)).expanduser(), tokenizer)
        named = templates if isinstance(templates, Mapping) else {"default": str(templates)}
        lacking = {name: missing_tokens(text, tokenizer, former) for name, text in named.items()}
        missing = tuple(dict.fromkeys(token for tokens in lacking.values() for token in tokens))
        if asked is not None or not missing:
            return cls(templates, missing)
        fitting = {name: text for name, text in named.items() if not lacking[name]}
        return cls(fitting or None, missing, lost=True)

    @property
    def notice(self) -> str | None:
        """What to tell the user of it; None where nothing is lost."""
        if not self.missing:
            return None
        tokens = ", ".join(self.missing)
        if not self.lost:
            return f"The chat template names {tokens}, which the new tokenizer has not: it will cut them into pieces."
        return (
            f"The source's chat template is left out: it names {tokens}, which the new tokenizer has not. Train the "
            "tokenizer with these tokens (hf-xlt tokenizer --like, --extend), or give --chat-template FILE, or "
            "--chat-template source to keep it all the same."
        )


def missing_tokens(
    template: str, tokenizer: PreTrainedTokenizerBase, former: PreTrainedTokenizerBase | None
) -> tuple[str, ...]:
    """Special tokens that a template names and a tokenizer lacks, by their spelling or by their role."""
    added = [] if former is None else [str(token) for token in former.added_tokens_decoder.values()]
    vocabulary = tokenizer.get_vocab()
    spelled = [token for token in added if token.strip() and token in template and token not in vocabulary]
    roles = dict.fromkeys(_ROLE.findall(template))
    return (*spelled, *(role for role in roles if getattr(tokenizer, role, None) is None))


def _read(path: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        template = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        problem = f"The chat template {path} cannot be read ({reason})"
        expected = f"a Jinja file, or `{SOURCE}` or `{TOKENIZER}`"
        raise InputError(problem, value=str(path), expected=expected, path=path) from error
    try:
        tokenizer.apply_chat_template(_QUESTION, chat_template=template, tokenize=False)
    except TemplateSyntaxError as error:
        problem = f"{path}, line {error.lineno}, is no Jinja template ({error.message})"
        raise InputError(problem, path=path, line=error.lineno) from error
    except (TemplateError, TypeError):
        return template  # it may refuse the roles or the variables that it is tried with
    return template

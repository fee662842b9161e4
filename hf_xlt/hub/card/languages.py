"""Codes of languages, as the Hub lists them."""

from __future__ import annotations

from langcodes import tag_is_valid
from langcodes.tag_parser import LanguageTagError

from hf_xlt.errors import InputError
from hf_xlt.files.printable import shortened

# What the Hub knows beside codes of languages.
SPECIAL = ("code", "multilingual")
_LONGEST = 35  # characters: RFC 5646, section 4.4.1


def check_language(code: str, where: str = "language") -> None:
    """Refuse what is no code of a language: BCP 47, such as `de`, `yor`, `pt-BR`, `zh-Hans` or `deu_Latn`.

    Args:
        code: The code.
        where: What messages call it.

    Raises:
        InputError: If it is none.
    """
    if isinstance(code, str) and (code in SPECIAL or _is_tag(code)):
        return
    shown = shortened(code, _LONGEST) if isinstance(code, str) else code
    raise InputError(
        f"{where} is {shown!r}",
        value=code,
        expected="a language code (BCP 47), such as de, yor, pt-BR or zh-Hans",
        hint="Codes are listed at https://huggingface.co/languages; for a language of your own take x- and a name.",
    )


def public_code(code: str) -> str:
    """The code as a card's metadata spells it."""
    return code.replace("_", "-")


def _is_tag(code: str) -> bool:
    if len(code) > _LONGEST or not code.isascii():
        return False
    try:
        return bool(tag_is_valid(code))
    except LanguageTagError:
        return False

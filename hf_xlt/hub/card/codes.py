"""Codes of languages and of licenses, as the Hub takes them in a card."""

import re
from difflib import get_close_matches

from langcodes import tag_is_valid
from langcodes.tag_parser import LanguageTagError

from hf_xlt.errors import InputError
from hf_xlt.files.printable import shortened

# What the Hub knows beside codes of languages.
SPECIAL = ("code", "multilingual")
_LONGEST = 35  # characters: RFC 5646, section 4.4.1

OTHER = "other"
# https://huggingface.co/docs/hub/repositories-licenses, and those that its own check of cards names besides.
LICENSES = (
    "afl-3.0", "agpl-3.0", "apache-2.0", "apple-amlr", "apple-ascl", "artistic-2.0", "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear",
    "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "creativeml-openrail-m", "deepfloyd-if-license", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0",
    "eupl-1.1", "eupl-1.2", "fair-noncommercial-research-license", "gemma", "gfdl", "gpl", "gpl-2.0", "gpl-3.0",
    "grok2-community", "h-research", "intel-research", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "llama2",
    "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl",
    "odc-by", "ofl-1.1", "openmdw-1.0", "openmdw-1.1", "openrail", "openrail++", OTHER, "osl-3.0", "pddl", "postgresql",
    "unknown", "unlicense", "wtfpl", "zlib",
)  # fmt: skip


def check_language(code: str, where: str = "language") -> str:
    """The code; refuse what is no code of a language: BCP 47, such as `de`, `yor`, `pt-BR`, `zh-Hans` or `deu_Latn`."""
    if isinstance(code, str) and (code in SPECIAL or _is_tag(code)):
        return code
    shown = shortened(code, _LONGEST) if isinstance(code, str) else code
    expected = "a language code (BCP 47), such as de, yor, pt-BR or zh-Hans"
    hint = "Codes are listed at https://huggingface.co/languages; for a language of your own take x- and a name."
    raise InputError(f"{where} is {shown!r}", value=code, expected=expected, hint=hint)


def _is_tag(code: str) -> bool:
    if len(code) > _LONGEST or not code.isascii():
        return False
    try:
        return bool(tag_is_valid(code))
    except LanguageTagError:
        return False


def check_license(license: str, where: str = "license") -> str:
    """The license; refuse what the Hub does not know as one: the message names the nearest one."""
    if license in LICENSES:
        return license
    shown = shortened(license, 60) if isinstance(license, str) else license
    bare = {_bare(known): known for known in LICENSES}
    close = get_close_matches(_bare(str(license)[:100]), bare, n=1)
    listed = "They are listed at https://huggingface.co/docs/hub/repositories-licenses."
    expected = f"an identifier of the Hub's, or {OTHER!r} for a license that it does not list"
    hint = f"Did you mean {bare[close[0]]!r}?" if close else listed
    raise InputError(f"{where} is {shown!r}", value=license, expected=expected, hint=hint)


def _bare(license: str) -> str:
    return re.sub("license|[^a-z0-9]", "", license.lower())

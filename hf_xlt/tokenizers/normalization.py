"""What a tokenizer's normalizer does to letters, and one that keeps what distinguishes the words of a language.

What a step takes away is found by trying it, as a step of any type may: `StripAccents`, a table of SentencePiece, …
"""

import json
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from tokenizers import Tokenizer

Step = dict[str, Any]

# The joiners U+200C and U+200D tell words apart in Persian, Sinhala and Malayalam, and hold emoji together.
JOINERS = "\u200c\u200d"
_CONTROLS = r"[[\p{Cc}\p{Cf}\x{FFFD}]&&[^\s\x{200C}\x{200D}]]"

NFC: Step = {"type": "NFC"}
NFKC: Step = {"type": "NFKC"}
# Control characters go and white space becomes a space, as BERT has it; but joiners stay.
CLEANED: tuple[Step, ...] = (
    {"type": "Replace", "pattern": {"Regex": _CONTROLS}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": r"\s"}, "content": " "},
)
_STRIPPED: tuple[Step, ...] = ({"type": "NFD"}, {"type": "StripAccents"}, NFC)


def adapted(normalizer: Step | None, lowercase: bool | None = None, strip_accents: bool = False) -> Step | None:
    """A normalizer that treats case and accents as asked and is the given one otherwise.

    Where accents are kept, a step that strips them becomes one that composes letters and their accents, so that both
    spellings of a letter are read alike, as they were before. BERT's normalizers compose them in any case, and no
    longer drop joiners. Where `lowercase` is None, case is treated as the normalizer does.
    """
    steps = [step for given in _steps(normalizer) for step in _spelled_out(given)]
    if lowercase is False:
        steps = _mended(steps, _lowercases, {"lowercase": False}, [])
    elif lowercase and not _lowercases(*steps):
        steps = [{"type": "Lowercase"}, *steps]
    if not strip_accents:
        steps = _mended(steps, _strips_accents, {"strip_accents": False}, [NFC])
    elif not _strips_accents(*steps):
        steps = [*_STRIPPED, *steps]
    return None if not steps else steps[0] if len(steps) == 1 else {"type": "Sequence", "normalizers": steps}


def _steps(normalizer: Step | None) -> list[Step]:
    if normalizer is None:
        return []
    if normalizer["type"] != "Sequence":
        return [normalizer]
    return [step for part in normalizer["normalizers"] for step in _steps(part)]


def _spelled_out(step: Step) -> list[Step]:
    """BERT's step with its default for accents written out, marks composed, and cleaned without loss of joiners."""
    if step["type"] != "BertNormalizer":
        return [step]
    strips = step["lowercase"] if step["strip_accents"] is None else step["strip_accents"]
    cleaned = CLEANED if step["clean_text"] else ()
    return [*cleaned, NFC, {**step, "clean_text": False, "strip_accents": strips}]


def _mended(steps: Sequence[Step], harms: Callable[[Step], bool], setting: Step, instead: Sequence[Step]) -> list[Step]:
    """The steps without the harm: BERT's by a setting, others replaced."""
    mended: list[Step] = []
    for step in steps:
        if not harms(step):
            mended.append(step)
        elif step["type"] == "BertNormalizer":
            mended.append({**step, **setting})
        else:
            mended += [NFKC] if step["type"] == "Precompiled" else instead
    return mended


def _lowercases(*steps: Step) -> bool:
    """Whether capital letters become small ones."""
    normalized = _normalized(steps, "QΩЖ")
    return "Q" not in normalized and "q" in normalized


def _strips_accents(*steps: Step) -> bool:
    """Whether accents, or vowel signs and tone marks of other scripts, are taken away."""
    return _marks(_normalized(steps, _marked())) < 0.99 * _marks(_marked())


def _normalized(steps: Sequence[Step], text: str) -> str:
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    return str(bare(empty, {"type": "Sequence", "normalizers": list(steps)}).normalizer.normalize_str(text))


def bare(model: Step, normalizer: Step | None = None) -> Tokenizer:
    """A tokenizer that is no more than a model, and perhaps a normalizer."""
    nothing: Step = dict.fromkeys(("truncation", "padding", "pre_tokenizer", "post_processor", "decoder"))
    settings = {"version": "1.0", "added_tokens": [], **nothing, "normalizer": normalizer, "model": model}
    return Tokenizer.from_str(json.dumps(settings))


@cache
def _marked() -> str:
    """Letters with each mark of the first 12,288 characters, composed where there is such a letter and decomposed."""
    characters = [chr(code) for code in range(0xC0, 0x3000)]
    composed = [character for character in characters if _marks(character)]
    decomposed = [unicodedata.normalize("NFD", character) for character in composed]
    return " ".join(f"o{text}" for text in (*composed, *decomposed))


def _marks(text: str) -> int:
    return sum(unicodedata.category(character)[0] == "M" for character in unicodedata.normalize("NFKD", text))

"""What there is of each language: text, translation pairs, a dictionary, and the files its tasks are done on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hf_xlt.evidence.translations import read_parallel
from hf_xlt.files.text import text_lines

LINES = 60_000  # of novels: more than any budget here trains on


@dataclass(frozen=True)
class Language:
    """Where the text of a language lies under the folder of data.

    Args:
        code: Of the language.
        text: Files of running text; of `.conllu` the words; without any, the target side of the pairs.
        pairs: Translation pairs to learn from, `FILE:english,target`.
        dictionary: English words and their translations.
        tasks: Kind → task → role → file; of retrieval role → file. `zero-shot` and `supervised` are probes of the
            frozen encoder; `fine-tuned` learns all of it, zero-shot too.
        steps: Training steps of every method.
    """

    code: str
    text: tuple[str, ...]
    pairs: tuple[str, ...]
    dictionary: str
    tasks: dict[str, dict[str, str]]
    steps: int


ENGLISH = "mono/en.eltec.txt.gz"
TOPICS = "eval/sib200.tsv.gz:{},category@split={}"
EWT = "ud/en_ewt-ud-{}.conllu.gz"


def _zero_shot(code: str, tagged: str | None = None) -> dict[str, dict[str, str]]:
    tasks = {"classification": {"train": TOPICS.format("en", "train"), "dev": TOPICS.format("en", "dev")}}
    tasks["classification"]["test"] = TOPICS.format(code, "test")
    if tagged is not None:
        files = {"train": EWT.format("train"), "dev": EWT.format("dev"), "test": tagged}
        tasks |= {"upos": files, "parsing": files}
    return tasks


def _questions(code: str) -> dict[str, dict[str, str]]:
    """XQuAD has no training part: other paragraphs of the English file serve."""
    english, own = "eval/xquad/xquad.en.json.gz", f"eval/xquad/xquad.{code}.json.gz"
    return {"question-answering": {"train": f"{english}#1-170", "dev": f"{english}#171-192", "test": f"{own}#193-240"}}


def _supervised(code: str) -> dict[str, dict[str, str]]:
    return {"classification": {role: TOPICS.format(code, role) for role in ("train", "dev", "test")}}


def _splits(pattern: str) -> dict[str, str]:
    return {role: pattern.format(role) for role in ("train", "dev", "test")}


LANGUAGES = {
    "de": Language(
        "de",
        ("mono/de.eltec.txt.gz",),
        ("terms_unstated/multi30k.en-de.tsv.gz:en,de", "parallel/ntrex128.tsv.gz:en,de"),
        "dict/wiktionary.en-de.tsv.gz",
        {
            "retrieval": {"dev": "parallel/pud_parallel.tsv.gz:en,de", "test": "eval/tatoeba/deu-eng.tsv.gz:eng,deu"},
            "zero-shot": _zero_shot("de", "ud/de_gsd-ud-test.conllu.gz"),
            "supervised": _supervised("de"),
            "fine-tuned": _zero_shot("de") | _questions("de"),
        },
        120,
    ),
    "id": Language(
        "id",
        (),
        ("terms_unstated/panl_bppt.en-id.tsv.gz:en,id", "parallel/ntrex128.tsv.gz:en,id"),
        "dict/wiktionary.en-id.tsv.gz",
        {
            "retrieval": {"dev": "parallel/pud_parallel.tsv.gz:en,id", "test": "eval/tatoeba/ind-eng.tsv.gz:eng,ind"},
            "zero-shot": _zero_shot("id", "ud/id_gsd-ud-test.conllu.gz"),
            "supervised": _supervised("id") | {"ner": _splits("eval/indonlu/nergrit.{}.conll.gz")},
            "fine-tuned": _zero_shot("id"),
        },
        80,
    ),
    "zh": Language(
        "zh",
        ("ud/zh_gsd_v1.3simp-ud-train.conllu.gz",),
        ("parallel/ntrex128.tsv.gz:en,zh",),
        "dict/wiktionary.en-zh.tsv.gz",
        {
            "retrieval": {
                "dev": "parallel/pud_parallel.tsv.gz:en,zh",
                "test": "eval/tatoeba/cmn_simp-eng.tsv.gz:eng,cmn",
            },
            "zero-shot": _zero_shot("zh", "ud/zh_gsdsimp-ud-test.conllu.gz"),
            "supervised": _supervised("zh"),
            "fine-tuned": _zero_shot("zh") | _questions("zh"),
        },
        60,
    ),
    "yo": Language(
        "yo",
        (),
        ("parallel/mafand.en-yo.tsv.gz:en,yo", "parallel/ntrex128.tsv.gz:en,yo"),
        "dict/wiktionary.en-yo.tsv.gz",
        {
            "retrieval": {"test": "eval/sib200.tsv.gz:en,yo"},
            "zero-shot": _zero_shot("yo"),
            "supervised": _supervised("yo") | {"ner": _splits("eval/masakhaner2/yo.{}.conll.gz")},
            "fine-tuned": _zero_shot("yo"),
        },
        60,
    ),
}


@dataclass(frozen=True)
class Prepared:
    """The files a language's methods learn from."""

    corpus: Path
    source_corpus: Path
    pairs: Path
    dictionary: Path


def prepare(language: Language, data: Path, folder: Path) -> Prepared:
    """Write text and pairs as plain files, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = folder / "pairs.tsv"
    if not pairs.exists():
        _write(pairs, (f"{source}\t{target}" for source, target in _pairs(language, data)))
    corpus, source_corpus = folder / "corpus.txt", folder.parent / "en.txt"
    if not corpus.exists():
        _write(corpus, _text(language, data))
    if not source_corpus.exists():
        _write(source_corpus, _first(text_lines(data / ENGLISH)))
    return Prepared(corpus, source_corpus, pairs, data / language.dictionary)


def _pairs(language: Language, data: Path) -> Iterator[tuple[str, str]]:
    for part in language.pairs:
        yield from read_parallel(data / part).pairs


def _text(language: Language, data: Path) -> Iterator[str]:
    for path in language.text:
        lines = text_lines(data / path)
        yield from _first(_words(lines) if ".conllu" in path else lines)
    if not language.text or language.code == "zh":
        yield from (target for _, target in _pairs(language, data))


def _words(lines: Iterator[str]) -> Iterator[str]:
    """The words of each sentence, a space between them: what word vectors need, and what WordPiece does not mind."""
    words: list[str] = []
    for line in lines:
        if line[:1].isdigit():
            words.append(line.split("\t")[1])
        elif not line and words:
            yield " ".join(words)
            words = []


def _first(lines: Iterator[str]) -> Iterator[str]:
    kept = (line for line in lines if line.strip())
    for _, line in zip(range(LINES), kept, strict=False):
        yield line


def _write(path: Path, lines: Iterator[str]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    partial.replace(path)

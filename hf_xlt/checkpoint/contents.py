"""Which files of a checkpoint folder hold its language, and which are carried over to a new one."""

import json
from fnmatch import fnmatch
from pathlib import Path

from hf_xlt.errors import InputError

ADAPTERS = "adapter_config.json"
CODE = ("*.py",)
TERMS = ("licen[sc]e*", "*licen[sc]e", "*licen[sc]e.*", "notice*", "copying*", "use_policy*", "copyright*")
SETTINGS = (
    "*preprocessor_config.json", "processor_config.json", "*_processor_config.json", "quant*_config.json",
    "hf_quant_config.json", "modules.json", "config_sentence_transformers.json", "sentence_*_config.json",
)  # fmt: skip
CARRIED = (*CODE, *TERMS, *SETTINGS)
CUSTOM_GENERATION = "custom_generate"
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "vocab.json", "merges.txt", "*.tiktoken",
    "tekken.json", "spiece.model", "*.spm", "spm.model", "sentencepiece.*", "vocab.bpe", "encoder.json", "bpe.codes",
    "dict.txt",
)  # fmt: skip
OF_THE_VOCABULARY = ("WordWeights", "BoW", "WordEmbeddings")  # modules of sentence-transformers that list its words


def modules(folder: Path) -> dict[str, str]:
    """Path → type of the modules of a sentence-transformers model; empty for any other."""
    listing = folder / "modules.json"
    if not listing.is_file():
        return {}
    try:
        found = {entry["path"]: entry["type"].rsplit(".", 1)[-1] for entry in json.loads(listing.read_text("utf-8"))}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{listing} is not a list of modules", hint="Download or save the model again.") from error
    for path in found:
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            problem = f"{listing} names the path {path!r}, which leads out of the folder"
            raise InputError(problem, hint="Do not use this model.")
    return found


def transformer_path(folder: Path) -> str:
    """Where in the folder the transformer is: `""` for the folder itself."""
    found = modules(folder)
    bodies = [path for path, kind in found.items() if kind == "Transformer"]
    if found and not bodies:
        problem = f"{folder} has no Transformer among its modules ({', '.join(found.values())})"
        raise InputError(problem, hint="Give one that has.")
    return bodies[0] if bodies else ""


def check_modules(folder: Path) -> None:
    """Refuse a sentence-transformers model that no other vocabulary can be given to."""
    if bound := [kind for kind in modules(folder).values() if kind in OF_THE_VOCABULARY]:
        problem = f"{folder} has a module {bound[0]}, which knows the words of its own vocabulary only"
        expected = "modules that serve any vocabulary"
        raise InputError(problem, value=bound[0], expected=expected, hint="Choose another model.", path=folder)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds any tokenizer file; without one transformers would make up an empty tokenizer."""
    return any(fnmatch(path.name, pattern) for path in folder.iterdir() for pattern in TOKENIZER)


def carried_files(folder: Path) -> list[Path]:
    """The files, relative to `folder`, that a model in another language keeps byte for byte.

    These are code, licenses, and settings that know nothing of a vocabulary; the folders of further
    sentence-transformers modules and of custom generation are kept whole. All else is written anew or stays behind.
    """
    check_modules(folder)
    body = transformer_path(folder)
    places = dict.fromkeys([Path(), Path(body)])
    names = [(place, path) for place in places for path in sorted((folder / place).iterdir()) if path.is_file()]
    carried = [
        place / path.name
        for place, path in names
        if not path.name.startswith(".") and any(fnmatch(path.name.lower(), pattern) for pattern in CARRIED)
    ]
    for whole in (*(path for path in modules(folder) if path not in ("", body)), str(Path(body, CUSTOM_GENERATION))):
        carried += sorted(
            path.relative_to(folder)
            for path in (folder / whole).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
    return carried


def left_behind(source: Path, output: Path) -> list[str]:
    """Names in a checkpoint's folder, and in that of its transformer, that the folder of a model made of it lacks."""
    places = dict.fromkeys([Path(), Path(transformer_path(source))])
    entries = (path for place in places for path in sorted((source / place).iterdir()))
    gone = (path.relative_to(source) for path in entries if not (output / path.relative_to(source)).exists())
    return [f"{path}/" if (source / path).is_dir() else str(path) for path in gone if not path.name.startswith(".")]

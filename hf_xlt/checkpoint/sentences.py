"""How a sentence-transformers folder says that it makes a sentence's vector."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hf_xlt.checkpoint.contents import modules, transformer_path
from hf_xlt.errors import InputError
from hf_xlt.files.text import json_settings

MEAN = ("mean",)
SENTENCE_TRANSFORMER = "SentenceTransformer"


@dataclass(frozen=True)
class SentenceModules:
    """What comes before and after the transformer of a sentence-transformers model."""

    kinds: tuple[str, ...]  # the modules after the transformer, in order, such as `Pooling`, `Dense`, `Normalize`
    pooling: tuple[str, ...] = MEAN  # `mean`, `cls`, `max`, `lasttoken`, …; several are put side by side
    prompt: str = ""  # put before every sentence
    include_prompt: bool = True  # whether its tokens are pooled with the sentence's
    max_seq_length: int | None = None  # tokens that are read of a sentence; None where the folder does not say
    lowercase: bool = False  # whether sentences are lowered first

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """Read a folder; None where sentence-transformers did not write it."""
        listed = modules(folder)
        if not listed:
            return None
        body = transformer_path(folder)
        after = {path: kind for path, kind in listed.items() if path != body}
        settings = json_settings(folder / "config_sentence_transformers.json")
        if (model_type := settings.get("model_type", SENTENCE_TRANSFORMER)) != SENTENCE_TRANSFORMER or not after:
            problem = f"{folder} is a {model_type} of {', '.join(listed.values())}, which makes no vector of a sentence"
            expected = f"a {SENTENCE_TRANSFORMER} that pools its tokens"
            raise InputError(problem, value=model_type, expected=expected, hint="Choose another model.", path=folder)
        for path in after:
            _check_weights(folder / path)
        names = settings.get("prompts") or {}
        pooled = next((json_settings(folder / path / "config.json") for path in after if after[path] == "Pooling"), {})
        reading = next((json_settings(file) for file in sorted((folder / body).glob("sentence_*_config.json"))), {})
        return cls(
            kinds=tuple(after.values()),
            pooling=_modes(pooled),
            prompt=names.get(settings.get("default_prompt_name")) or "",
            include_prompt=bool(pooled.get("include_prompt", True)),
            max_seq_length=reading.get("max_seq_length"),
            lowercase=bool(reading.get("do_lower_case", False)),
        )

    @property
    def label(self) -> str:
        """`mean`, `cls, Dense, Normalize` and so on: the pooling, what is done to a sentence's vector, the prompt."""
        others = [kind for kind in self.kinds if kind != "Pooling"]
        prompt = [f"after the prompt {self.prompt!r}"] if self.prompt else []
        return ", ".join([" and ".join(self.pooling), *others, *prompt])

    @property
    def only_mean(self) -> bool:
        """Whether a vector is the mean of all tokens' states, scaled to unit length or not, and nothing else."""
        plain = self.kinds in (("Pooling",), ("Pooling", "Normalize")) and self.pooling == MEAN
        return plain and (self.include_prompt or not self.prompt)

    @property
    def as_we_compute(self) -> bool:
        """Whether no sentence-transformers is needed: `only_mean` of sentences as they are."""
        return self.only_mean and not self.prompt and not self.lowercase

    def prepared(self, sentences: Sequence[str]) -> list[str]:
        """Sentences as they are tokenized."""
        texts = [self.prompt + sentence for sentence in sentences]
        return [text.lower() for text in texts] if self.lowercase else texts


def foreign_module(folder: Path) -> str | None:
    """The first module of a folder whose class is not of sentence-transformers itself, so that opening it runs code."""
    types = [entry["type"] for entry in json.loads((folder / "modules.json").read_text(encoding="utf-8"))]
    return next((name for name in types if not name.startswith("sentence_transformers.")), None)


def _modes(settings: dict[str, Any]) -> tuple[str, ...]:
    """How a Pooling module pools, whatever the age of its configuration."""
    mode = settings.get("pooling_mode")
    if mode is None:
        flags = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on is True]
        short = [name.removeprefix("pooling_mode_").removesuffix("s").removesuffix("_token") for name in flags]
        return tuple(short) or MEAN
    return tuple(mode) if isinstance(mode, list) else (mode,)


def _check_weights(module: Path) -> None:
    pickled = [path.name for path in sorted(module.glob("*.bin"))]
    if pickled and not list(module.glob("*.safetensors")):
        problem = f"{module / pickled[0]} is pickled, and a pickle runs code when it is opened"
        hint = "If you trust the model, save it anew: SentenceTransformer(folder).save(new_folder)."
        raise InputError(problem, expected="model.safetensors", hint=hint, path=module)

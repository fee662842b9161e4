"""A study of what makes structure emerge across languages, as data: a grid of bilingual models.

After "Emerging cross-lingual structure in pretrained language models" (Conneau et al., 2020, arXiv:1911.01464): small
masked language models of two languages, trained on monolingual text of both, with one factor changed at a time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from hf_xlt.arguments import checked
from hf_xlt.errors import InputError
from hf_xlt.evaluation.config import FineTuningConfig
from hf_xlt.files import plain_yaml
from hf_xlt.files.plain_yaml import plain_data
from hf_xlt.recipes.recipe import Code, NewTokenizer
from hf_xlt.recipes.settings import MOST, Count, Name, Seed, SettingError, Settings, Several, Share, one_of, unknown
from hf_xlt.recipes.stage import Stage, of_today

DEFAULT = Path(__file__).with_name("study.yaml")
NOTHING, EVERYTHING, EMBEDDINGS = "nothing", "everything", "embeddings"
_PRIVATE = re.compile(r"(?:(embeddings)\+)?layers-(\d+)")


def own_parts(private: str) -> tuple[bool, int]:
    """Whether each language has its own embeddings in a model of both, and how many of the lowest layers.

    What is private is `nothing`, `embeddings`, `layers-2` for the two lowest layers, `embeddings+layers-2`, or
    `everything`: two models, each trained on one language.
    """
    match = _PRIVATE.fullmatch(private)
    if match is None and private not in (NOTHING, EVERYTHING, EMBEDDINGS):
        known = f"{NOTHING}, {EMBEDDINGS}, layers-2, embeddings+layers-2 or {EVERYTHING}"
        raise SettingError("private", f"is {private!r}", value=private, expected=known)
    return private.startswith(EMBEDDINGS), int(match[2]) if match else 0


@dataclass(frozen=True)
class Cell:
    """One point of the grid, trained once."""

    private: str  # what each language has for itself, see `own_parts`
    anchors: str  # which tokens the languages share: `none`, `default` or `extra`
    domain: str  # whether both languages' texts are of the `same` kind or of `different` ones
    seed: int  # of the weights and of the order of the text

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.private}_{self.anchors}_{self.domain}_seed{self.seed}"

    @property
    def setting(self) -> tuple[str, str, str]:
        """The cell without its seed."""
        return self.private, self.anchors, self.domain


def _budget(given: Any) -> Any:
    """A budget of plain data."""
    if not isinstance(given, Mapping):
        return given
    known = [field.name for field in fields(FineTuningConfig)]
    for key in given:
        if key not in known:
            raise unknown(str(key), known)
    return FineTuningConfig(**given)


class Study(Settings):
    """A grid of models and what they are trained and measured on.

    Args:
        name: What the study is called.
        description: One sentence.
        corpora: Two languages → file or Hub dataset id. Tasks are learned in the first and done in the second.
        other_domain: File or Hub dataset id of the second language, of another kind than the first's text.
        held_out: Language → text to measure on; without one, lines of the corpus.
        parallel: File of translation pairs, first language first, that representations are compared on.
        dictionary: File of words of the first language and their translations, for extra anchors.
        tagging: `train` and `dev`, treebanks of the first language, and `test`, one of the second, for zero-shot
            transfer of parts of speech; empty for none.
        private: What each language has for itself, see `own_parts`.
        anchors: Some of `none`, `default` and `extra`.
        domains: `same`, `different` or both.
        crossed: Train every combination; else one factor is changed at a time, from the first of each list.
        seeds: Every cell is trained once a seed.
        model: Configuration of the models, fields of `TreLMConfig`.
        tokenizer: The joint tokenizer, which all cells share.
        training: How each model is trained; objective and languages are the study's.
        alpha: How far languages are sampled by their size.
        anchor_probability: Share of the words the dictionary knows that extra anchors replace.
        held_out_every: Hold out every n-th line of a corpus.
        held_out_lines: Hold out at most so many lines of a corpus.
        max_sequences: Read at most so many packed sequences of a language.
        sentences: The most sentence pairs to compare representations on.
        words: The most word pairs in them; 0 for sentences alone.
        budget: How a task is learned.

    Raises:
        InputError: If a value is out of range, or a factor lacks the file that it needs.
    """

    name: Name
    description: str = ""
    corpora: Mapping[Code, str] = {}
    other_domain: str | None = None
    held_out: Mapping[Code, str] = {}
    parallel: str | None = None
    dictionary: str | None = None
    tagging: Mapping[str, Any] = {}
    private: Annotated[Several[str], Field(min_length=1)] = (NOTHING,)
    anchors: Annotated[Several[Literal["none", "default", "extra"]], Field(min_length=1)] = ("default",)
    domains: Annotated[Several[Literal["same", "different"]], Field(min_length=1)] = ("same",)
    crossed: bool = False
    seeds: Annotated[Several[Seed], Field(min_length=1)] = (0,)
    model: Mapping[str, Any] = {}
    tokenizer: NewTokenizer = NewTokenizer(family="wordpiece", vocab_size=8000)
    training: Stage = Stage()
    alpha: Share = 0.7
    anchor_probability: Share = 0.3
    held_out_every: Annotated[int, Field(ge=2)] = 100
    held_out_lines: Count = 500
    max_sequences: Count = 1_000_000
    sentences: Annotated[int, Field(ge=4, le=MOST)] = 2000
    words: Annotated[int, Field(ge=0, le=MOST)] = 2000
    budget: Annotated[FineTuningConfig, BeforeValidator(_budget)] = FineTuningConfig()

    @model_validator(mode="after")
    def _fits(self) -> "Study":
        for name in ("private", "anchors", "domains", "seeds"):
            values = getattr(self, name)
            if len(values) != len(set(values)):
                raise SettingError(name, f"is {list(values)}", value=values, expected="each once")
        for private in self.private:
            (_, layers), there = own_parts(private), self.layers
            if layers > there:
                raise SettingError("private", f"is {private!r}", value=private, expected=f"at most {there} layers")
        if self.dictionary is not None and "extra" not in self.anchors:
            raise SettingError("dictionary", "is for extra anchors, of which there are none", hint="Leave it out.")
        if self.other_domain is not None and "different" not in self.domains:
            raise SettingError("other_domain", "is for the domain 'different', which is not asked for")
        self._check_files()
        return self

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {' and '.join(self.corpora)}, {len(self.cells)} cells)"[:180]

    @property
    def layers(self) -> int:
        """Layers of a model."""
        layers = self.model.get("num_hidden_layers", 12)
        if not isinstance(layers, int) or isinstance(layers, bool) or not 1 <= layers <= MOST:
            raise SettingError("model.num_hidden_layers", f"is {layers!r}", value=layers, expected="a whole number ≥ 1")
        return layers

    @property
    def languages(self) -> tuple[str, str]:
        """The two languages."""
        first, second = self.corpora
        return first, second

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All points of the grid, seed by seed."""
        factors = (self.private, self.anchors, self.domains)
        settings = list(product(*factors))
        if not self.crossed:
            base = settings[0]
            settings = [each for each in settings if sum(a != b for a, b in zip(each, base, strict=True)) < 2]
        return tuple(Cell(*setting, seed) for seed in self.seeds for setting in settings)

    def to_yaml(self) -> str:
        """The resolved study, which `load_study` reads back equal."""
        return plain_yaml.dump(self.model_dump(mode="json"))

    def _check_files(self) -> None:
        if len(self.corpora) != 2:
            raise InputError(
                f"The study has corpora of {len(self.corpora)} languages",
                value=tuple(self.corpora),
                expected="two",
                hint="Name them as corpora.en=FILE and corpora.de=FILE.",
            )
        for language in self.held_out:
            one_of("held_out", language, tuple(self.corpora))
        needed = {
            "parallel": (True, self.parallel, "representations are compared on translation pairs"),
            "dictionary": ("extra" in self.anchors, self.dictionary, "extra anchors come from a dictionary"),
            "other_domain": ("different" in self.domains, self.other_domain, "a different domain needs its own corpus"),
        }
        for name, (asked, given, why) in needed.items():
            if asked and given is None:
                raise InputError(f"The study has no {name}, but {why}", value=name, hint=f"Name it as {name}=FILE.")
        if self.tagging and (missing := [role for role in ("train", "dev", "test") if role not in self.tagging]):
            raise InputError(
                f"study: tagging has no {missing[0]}",
                value=dict(self.tagging),
                expected="train, dev and test, or none at all",
                hint=f"Name it as tagging.{missing[0]}=FILE.",
            )


@checked
def load_study(path: str | Path | None = None, overrides: Sequence[str] = ()) -> Study:
    """Read a study from a YAML file, or the one that is shipped.

    Args:
        path: Such as `my.yaml`; None for the shipped one.
        overrides: `dotted.key=value` each, the value in YAML: `training.steps=500`.

    Raises:
        InputError: If it does not exist, is not YAML, or has unknown keys or values out of range.
    """
    chosen = DEFAULT if path is None else Path(path)
    if not chosen.is_file():
        raise InputError(f"No study {str(path)!r}: expected a .yaml file; leave it out for the shipped one.")
    return Study(**plain_data(chosen, "Study", tuple(map(of_today, overrides))))

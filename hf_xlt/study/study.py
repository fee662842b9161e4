"""A study of what makes structure emerge across languages, as data: a grid of bilingual models.

After "Emerging cross-lingual structure in pretrained language models" (Conneau et al., 2020, arXiv:1911.01464): small
masked language models of two languages, trained on monolingual text of both, with one factor changed at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Self

from hf_xlt.arguments import MOST, checked, require_seeds, require_share, require_whole
from hf_xlt.data.anchors import ANCHORS
from hf_xlt.errors import InputError
from hf_xlt.evaluation.tasks.budget import Budget
from hf_xlt.evaluation.tasks.run import ROLES
from hf_xlt.files import plain_yaml
from hf_xlt.files.plain_yaml import plain_data
from hf_xlt.hub.card import check_language
from hf_xlt.recipes.recipe import NewTokenizer
from hf_xlt.recipes.schema import build, check_name, one_of, require
from hf_xlt.recipes.stage import Stage

DEFAULT = Path(__file__).with_name("study.yaml")
NOTHING, EVERYTHING, EMBEDDINGS = "nothing", "everything", "embeddings"
DOMAINS = ("same", "different")
_PRIVATE = re.compile(r"(?:(embeddings)\+)?layers-(\d+)")


@dataclass(frozen=True)
class Private:
    """What each language has for itself.

    Args:
        name: `nothing`, `embeddings`, `layers-2` for its own two lowest layers, `embeddings+layers-2`, or `everything`:
            two models, each trained on one language.
    """

    name: str

    def __post_init__(self) -> None:
        known = self.name in (NOTHING, EVERYTHING, EMBEDDINGS) or _PRIVATE.fullmatch(self.name) is not None
        require(known, "private", self.name, f"{NOTHING}, {EMBEDDINGS}, layers-2, embeddings+layers-2 or {EVERYTHING}")

    @property
    def embeddings(self) -> bool:
        """Whether each language has its own."""
        return self.name.startswith(EMBEDDINGS)

    @property
    def layers(self) -> int:
        """How many of the lowest layers each language has for itself in a model of both."""
        match = _PRIVATE.fullmatch(self.name)
        return int(match[2]) if match else 0


@dataclass(frozen=True)
class Cell:
    """One point of the grid, trained once.

    Args:
        private: What each language has for itself, see `Private`.
        anchors: Which tokens the languages share, one of `ANCHORS`.
        domain: Whether both languages' texts are of the `same` kind or of `different` ones.
        seed: Of the weights and of the order of the text.
    """

    private: str
    anchors: str
    domain: str
    seed: int

    @property
    def name(self) -> str:
        """What its file is called."""
        return f"{self.private}_{self.anchors}_{self.domain}_seed{self.seed}"

    @property
    def setting(self) -> tuple[str, str, str]:
        """The cell without its seed."""
        return self.private, self.anchors, self.domain


@checked
@dataclass(frozen=True)
class Study:
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
        private: What each language has for itself, see `Private`.
        anchors: Some of `none`, `default` and `extra`.
        domains: `same`, `different` or both.
        crossed: Train every combination; else one factor is changed at a time, from the first of each list.
        seeds: Every cell is trained once a seed.
        model: Configuration of the models, fields of `TreLMConfig`.
        tokenizer: The joint tokenizer, which all cells share.
        training: How each model is trained; objective and languages are the study's.
        alpha: How far languages are sampled by their size.
        anchor_probability: Share of the words the dictionary knows that extra anchors replace.
        held_out_every: Hold out every so many-th line of a corpus.
        held_out_lines: Hold out at most so many lines of a corpus.
        max_sequences: Read at most so many packed sequences of a language.
        sentences: The most sentence pairs to compare representations on.
        words: The most word pairs in them; 0 for sentences alone.
        budget: How a task is learned.

    Raises:
        InputError: If a value is out of range, or a factor lacks the file that it needs.
    """

    name: str
    description: str = ""
    corpora: Mapping[str, Any] = field(default_factory=dict)
    other_domain: str | None = None
    held_out: Mapping[str, Any] = field(default_factory=dict)
    parallel: str | None = None
    dictionary: str | None = None
    tagging: Mapping[str, Any] = field(default_factory=dict)
    private: tuple[str, ...] = (NOTHING,)
    anchors: tuple[str, ...] = ("default",)
    domains: tuple[str, ...] = ("same",)
    crossed: bool = False
    seeds: tuple[int, ...] = (0,)
    model: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: NewTokenizer = NewTokenizer("wordpiece", 8000)
    training: Stage = Stage()
    alpha: float = 0.7
    anchor_probability: float = 0.3
    held_out_every: int = 100
    held_out_lines: int = 500
    max_sequences: int = 1_000_000
    sentences: int = 2000
    words: int = 2000
    budget: Budget = Budget()

    def __post_init__(self) -> None:
        check_name("study: name", self.name)
        for name in ("private", "anchors", "domains", "seeds"):
            values = getattr(self, name)
            require(len(values) == len(set(values)) > 0, f"study: {name}", list(values), "one or more, each once")
        for anchors in self.anchors:
            one_of("study: anchors", anchors, ANCHORS)
        for domain in self.domains:
            one_of("study: domain", domain, DOMAINS)
        for private in self.private:
            layers, there = Private(private).layers, self.layers
            require(layers <= there, f"study: private {private!r}: layers", layers, f"at most the model's {there}")
        require_seeds("study: seeds", self.seeds)
        for name in ("alpha", "anchor_probability"):
            require_share(f"study: {name}", getattr(self, name))
        for name, least in (("held_out_every", 2), ("held_out_lines", 1), ("max_sequences", 1), ("sentences", 4)):
            require_whole(f"study: {name}", getattr(self, name), least=least, most=MOST)
        require_whole("study: words", self.words, least=0, most=MOST)
        if self.dictionary is not None and "extra" not in self.anchors:
            raise InputError("study: dictionary is for extra anchors, of which there are none; leave it out.")
        if self.other_domain is not None and "different" not in self.domains:
            raise InputError("study: other_domain is for the domain 'different', which is not asked for; leave it out.")
        self._check_files()

    @property
    def layers(self) -> int:
        """Layers of a model."""
        layers = self.model.get("num_hidden_layers", 12)
        require_whole("study: model.num_hidden_layers", layers, least=1, most=MOST)
        return int(layers)

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
        return plain_yaml.dump(asdict(self))

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Build a study from plain data, as YAML gives it.

        Raises:
            InputError: If a key is unknown or a value of the wrong type or out of range.
        """
        return build(cls, data, "study")

    def _check_files(self) -> None:
        if len(self.corpora) != 2:
            raise InputError(
                f"The study has corpora of {len(self.corpora)} languages; expected two. Name each as "
                "--set corpora.en=FILE --set corpora.de=FILE."
            )
        for language in self.corpora:
            check_language(language, "study: corpora: language")
        for language in self.held_out:
            one_of("study: held_out: language", language, tuple(self.corpora))
        needed = {
            "parallel": (True, self.parallel, "representations are compared on translation pairs"),
            "dictionary": ("extra" in self.anchors, self.dictionary, "extra anchors come from a dictionary"),
            "other_domain": ("different" in self.domains, self.other_domain, "a different domain needs its own corpus"),
        }
        for name, (asked, given, why) in needed.items():
            if asked and given is None:
                raise InputError(f"The study has no {name}, but {why}; name it as --set {name}=FILE.")
        if self.tagging and (missing := [role for role in ROLES if role not in self.tagging]):
            raise InputError(
                f"study: tagging has no {missing[0]}; expected the files {', '.join(ROLES)}, or none at all. Name it "
                f"as --set tagging.{missing[0]}=FILE."
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
    return Study.from_data(plain_data(chosen, "Study", overrides))

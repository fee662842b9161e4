"""What a recipe names: each checkpoint, tokenizer and text, opened once and kept."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from hf_xlt.checkpoint.chat import Chat
from hf_xlt.checkpoint.contents import modules
from hf_xlt.checkpoint.kind import TRAINED, has_other_head, kind_of
from hf_xlt.checkpoint.open import Checkpoint, check_body
from hf_xlt.checkpoint.rewrite import chat_of
from hf_xlt.checkpoint.tokenizer import open_tokenizer as opened_tokenizer
from hf_xlt.data.multilingual import smoothed_lines
from hf_xlt.data.pairs import TargetSide
from hf_xlt.errors import InputError
from hf_xlt.evidence.translations import Dictionary, ParallelText, read_dictionary, read_parallel
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.files.folders import atomic_folder
from hf_xlt.recipes.recipe import SOURCE_FAMILY, Data, NewTokenizer, Recipe
from hf_xlt.tokenizers.extend import extend_tokenizer
from hf_xlt.tokenizers.train import train_tokenizer, train_tokenizer_like

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a recipe names, opened when it is first asked for.

    Every property raises `InputError` where the recipe does not name what it stands for, or it cannot be read.
    """

    recipe: Recipe

    @property
    def data(self) -> Data:
        return self.recipe.data

    @cached_property
    def source(self) -> Checkpoint:
        """The source checkpoint; its own code runs where the recipe says so."""
        if self.recipe.source is None:
            problem = f"{self.recipe.name} needs a source checkpoint"
            raise InputError(problem, key="source", expected="a Hub id or a folder")
        return Checkpoint.open(self.recipe.source, trust_remote_code=self.recipe.trusts_code)

    @cached_property
    def source_tokenizer(self) -> PreTrainedTokenizerBase:
        return self.source.known_tokenizer()

    @cached_property
    def source_is_sentence_transformer(self) -> bool:
        """Whether the source is a folder of sentence-transformers, of modules."""
        return self.recipe.source is not None and bool(modules(self.source.folder))

    @cached_property
    def target_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The target tokenizer that the recipe names; None if it names none."""
        name = self.recipe.target_tokenizer
        return None if name is None else opened_tokenizer(name, trust_remote_code=self.recipe.trusts_code)

    @cached_property
    def split(self) -> Split:
        """The corpus and its validation lines."""
        data = self.data
        if data.corpus is None:
            key, expected = "data.corpus", "a .txt, .txt.gz, .jsonl, .parquet or a Hub dataset id"
            raise InputError("There is no corpus", key=key, expected=expected, hint=f"Name one as {key}.")
        corpus = TargetSide.of(data.corpus) if self._reads_pairs else Corpus.of(data.corpus)
        return self._split(corpus, data.held_out)

    @property
    def _reads_pairs(self) -> bool:
        """Whether the corpus is the target side of the translation pairs."""
        return self.data.corpus in (self.data.parallel, tuple(self.data.translations.values()))

    @cached_property
    def source_split(self) -> Split:
        """The corpus of the source language; its validation lines are not trained on either."""
        if self.data.source_corpus is None:
            key = "data.source_corpus"
            raise InputError("There is no corpus of the source language", key=key, hint=f"Name one as {key}.")
        return self._split(Corpus(self.data.source_corpus), None)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """Of many languages: language → its corpus and its validation lines."""
        if not self.data.corpora:
            hint = "Name them as data.corpora.en=FILE, data.corpora.de=FILE."
            raise InputError("There are no corpora", key="data.corpora", expected="one a language", hint=hint)
        held_out = self.data.held_out_corpora
        return {code: self._split(Corpus(name), held_out.get(code)) for code, name in self.data.corpora.items()}

    def _split(self, corpus: Corpus, held_out: str | None) -> Split:
        other = None if held_out is None else Corpus(held_out)
        return Split(corpus, other, self.data.held_out_every, self.data.held_out_lines)

    @cached_property
    def pairs(self) -> ParallelText:
        if self.data.parallel is None:
            key = "data.parallel"
            raise InputError("There are no translation pairs", key=key, hint=f"Name a file of them as {key}.")
        return read_parallel(self.data.parallel)

    @cached_property
    def pairs_to_train_on(self) -> ParallelText:
        """The translation pairs without the validation pairs."""
        return replace(self.pairs, pairs=self.split_pairs(self.pairs)[0], lines=())

    @property
    def validation_pairs(self) -> Pairs:
        """Translation pairs that are not trained on: every n-th, as with the lines of a corpus."""
        return self.split_pairs(self.pairs)[1]

    def split_pairs(self, text: ParallelText) -> tuple[Pairs, Pairs]:
        """Pairs to train on, and validation pairs; fewer than three are refused."""
        pairs, every = tuple(text.pairs), self.data.held_out_every
        if len(pairs) < 3:
            raise InputError(f"There are {len(pairs)} translation pairs", value=len(pairs), expected="3 or more")
        limit = every * self.data.held_out_lines
        training = tuple(pair for i, pair in enumerate(pairs) if i % every or i >= limit)
        return training, pairs[:limit:every]

    @cached_property
    def translations(self) -> dict[tuple[str, str], tuple[Pairs, Pairs]]:
        """Of many languages: two of them → translation pairs to train on, and validation pairs."""
        first, *others = self.data.corpora
        files: dict[str, Any] = dict(self.data.translations)
        if self.data.parallel is not None:
            if len(others) != 1 or files:
                problem = f"data.parallel is given for the languages {', '.join(self.data.corpora)}"
                hint = "Name the file of each language in its place, as data.translations.de=FILE."
                raise InputError(problem, expected="two languages and no data.translations", hint=hint)
            files = {others[0]: self.data.parallel}
        if first in files:
            problem = f"data.translations is given for {first!r}, the first language, which all translations are of"
            raise InputError(problem, expected=f"another of {', '.join(others) or 'several languages'}")
        return {(first, code): self.split_pairs(read_parallel(file)) for code, file in files.items()}

    @cached_property
    def sentence_pairs(self) -> dict[str, tuple[Pairs, Pairs]]:
        """Of a sentence encoder: language → translation pairs to train on, and validation pairs.

        The one language of `data.parallel` is that of the recipe, or has no name.
        """
        if not self.data.translations:
            return {self.recipe.language or "": self.split_pairs(self.pairs)}
        return {code: self.split_pairs(read_parallel(file)) for code, file in self.data.translations.items()}

    @cached_property
    def dictionary(self) -> Dictionary | None:
        return None if self.data.dictionary is None else read_dictionary(self.data.dictionary)

    def tokenizer_lines(self) -> Iterator[str]:
        """What a target tokenizer is trained on: the training lines, and the translations in the dictionary.

        A word that is one token gets all of its dictionary entry: measured on German, retrieval without training gains
        17 points by these words, where there are 6,000 sentences beside them. Of the pairs of several languages each
        target side is read as often as it is trained on.
        """
        entries = () if self.dictionary is None else self.dictionary.pairs
        lines = self.split.training_lines()
        if len(self.data.translations) > 1 and self._reads_pairs:
            sides = {code: self._split(TargetSide(file), None) for code, file in self.data.translations.items()}
            lines = smoothed_lines(sides, self.data.alpha)
        return chain(lines, (target for _, target in entries))

    def both_languages(self) -> Iterator[str]:
        """The training lines of source and target language."""
        return chain(self.source_split.training_lines(), self.split.training_lines())

    def trained_tokenizer(self, default: NewTokenizer, lines: Iterable[str], folder: Path) -> PreTrainedTokenizerBase:
        """The tokenizer that the recipe describes, or else `default`; trained once, and then read from `folder`.

        Trained again, as after a kill, it might number its tokens otherwise.
        """
        if not folder.exists():
            like = None if self.recipe.source is None else self.source.tokenizer()
            with atomic_folder(folder) as partial:
                trained(self.recipe.tokenizer or default, lines, like).save_pretrained(partial)
        return opened_tokenizer(str(folder))

    def chat(self, tokenizer: PreTrainedTokenizerBase) -> Chat:
        """The chat template that the model gets; one of a source is refused where there is no source."""
        if self.recipe.source is not None:
            return chat_of(self.source, tokenizer, self.recipe.chat_template)
        return Chat.choose(self.recipe.chat_template, tokenizer, None)

    def check_source(self) -> None:
        """Refuse a source that no run can train: with a head of another kind, or a body that is not finite or zero."""
        config = self.source.config
        saved_as = ", ".join(config.architectures or ()) or config.model_type
        if has_other_head(config) or kind_of(config) not in TRAINED:
            problem = f"{self.source.name} is a {saved_as}, whose head a run would lose"
            expected = "a masked, causal or sequence-to-sequence language model, or a bare encoder"
            hint = "`hf-xlt initialize` keeps the head: make the model with it, then train it on your task."
            raise InputError(problem, value=saved_as, expected=expected, hint=hint)
        check_body(self.source)


def trained(
    new: NewTokenizer, texts: Iterable[str], source: PreTrainedTokenizerBase | None = None
) -> PreTrainedTokenizerBase:
    """A tokenizer as a recipe describes it; `source` is what it is like, or what puts the same around a text."""
    options: dict[str, Any] = {"min_frequency": new.min_frequency, "strip_accents": new.strip_accents}
    if new.family != SOURCE_FAMILY or source is None:
        options |= {"lowercase": bool(new.lowercase), "framed_like": source}
        return train_tokenizer(texts, new.vocab_size, new.family, **options)
    if new.added:
        return extend_tokenizer(source, texts, new.added)
    return train_tokenizer_like(source, texts, new.vocab_size, lowercase=new.lowercase, **options)

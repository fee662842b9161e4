"""The text of a model of many languages, and what is measured of it: each language's quality, and retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_xlt.data.anchors import AnchoredSplit, DataCollatorForTokenIds, ExtraAnchors, TokenIds
from hf_xlt.data.multilingual import LanguagePair, MultilingualText, PackedLanguages
from hf_xlt.data.objectives import DataCollatorForMultilingualMLM, Objective
from hf_xlt.data.stream import Stream
from hf_xlt.errors import InputError
from hf_xlt.evaluation.curves import Point
from hf_xlt.evaluation.held_out import HeldOut
from hf_xlt.evaluation.language_model import measure
from hf_xlt.evaluation.retrieval import retrieval, sentence_vectors
from hf_xlt.evidence.translations import ParallelText, read_dictionary
from hf_xlt.files.corpora import Corpus, Split
from hf_xlt.recipes.recipe import Data, Multilingual, Recipe
from hf_xlt.recipes.stage import Stage
from hf_xlt.runs.kinds.distillation import RetrievalPoint, split_pairs

DEPTH = 7 / 12  # of the layer whose states are compared: that of XTREME (Hu et al., 2020) for BERT
Pairs = Mapping[LanguagePair, Sequence[tuple[str, str]]]


@dataclass(frozen=True)
class LanguagePoint(Point):
    """Held-out quality in one language."""

    language: str


@dataclass(frozen=True)
class TextReader:
    """A joint tokenizer that also tells the language of what it reads, in the ids of this language.

    Args:
        tokenizer: The joint one.
        ids: What the model reads.
        language: Id of the language.
    """

    tokenizer: PreTrainedTokenizerBase
    ids: TokenIds
    language: int

    @property
    def model_max_length(self) -> int:
        """The tokenizer's."""
        return self.tokenizer.model_max_length

    def __call__(self, texts: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """Inputs of the model; options as the tokenizer takes them."""
        inputs = self.tokenizer(list(texts), return_token_type_ids=False, **options)
        lang_ids = torch.full((len(texts),), self.language)
        return {**inputs, "input_ids": self.ids.of_languages(inputs["input_ids"], lang_ids), "lang_ids": lang_ids}


@dataclass(frozen=True)
class HeldOutTranslations:
    """Translation pairs that are not trained on.

    Args:
        pairs: Two languages → sentences of the first and their translations.
        readers: Language → how it is read.
    """

    pairs: Pairs
    readers: Mapping[str, TextReader]

    def measure(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, step: int) -> RetrievalPoint:
        """How well translations find each other, a mean over pairs of languages; the model's mode is restored."""
        training = model.training
        found = []
        for languages, pairs in self.pairs.items():
            sides = zip(*pairs, strict=True)
            vectors = [self._vectors(model, lang, side) for lang, side in zip(languages, sides, strict=True)]
            found.append(retrieval(*vectors))
        model.train(training)
        return RetrievalPoint(
            step,
            to_source=fmean(each.backward for each in found),
            from_source=fmean(each.forward for each in found),
        )

    def _vectors(self, model: PreTrainedModel, language: str, sentences: Sequence[str]) -> Tensor:
        layer = round(DEPTH * model.config.num_hidden_layers)
        reader = cast(PreTrainedTokenizerBase, self.readers[language])
        body = cast(PreTrainedModel, model.base_model)
        return sentence_vectors(body, reader, sentences, layers=slice(layer, layer + 1))[0]


@dataclass(frozen=True)
class LanguagesText:
    """What every stage and every method of a run on many languages shares.

    Args:
        tokenizer: The joint one.
        packed: What is trained on.
        lines: Language → held-out lines.
        length: Ids a sequence.
        ids: What the model reads and writes.
        position_offset: The model's row of the first position.
        translations: Pairs that are not trained on; None where there are none.
        source_tokenizer: The joint one once more, where the first language has a vocabulary of its own.
    """

    tokenizer: PreTrainedTokenizerBase
    packed: PackedLanguages
    lines: Mapping[str, tuple[str, ...]]
    length: int
    ids: TokenIds
    position_offset: int = 0
    translations: HeldOutTranslations | None = None
    source_tokenizer: PreTrainedTokenizerBase | None = None

    @property
    def held_out_lines(self) -> tuple[str, ...]:
        """Those of all languages."""
        return tuple(chain.from_iterable(self.lines.values()))

    @property
    def sequences(self) -> int:
        """Packed sequences of all languages."""
        return sum(map(len, self.packed.corpora.values()))

    def objective(self, name: str) -> Objective:
        """Masked language modelling, of pairs as translation language modelling."""
        collator = DataCollatorForMultilingualMLM(self.tokenizer, position_offset=self.position_offset)
        return DataCollatorForTokenIds(collator, self.ids)

    def held_out(self, name: str) -> HeldOut:
        """The held-out lines of all languages, each in its own."""
        parts = self._held_out.values()
        return HeldOut(
            examples=tuple(chain.from_iterable(part.examples for part in parts)),
            text_bytes=sum(part.text_bytes for part in parts),
            text_tokens=sum(part.text_tokens for part in parts),
            objective=self.objective(name),
        )

    def stream(self, stage: Stage, positions: int, seed: int) -> Stream:
        """What a stage trains on, in the order of use."""
        return self.packed.stream(positions, seed, languages_of(stage, tuple(self.lines)))

    def measure(self, model: PreTrainedModel, step: int) -> tuple[LanguagePoint, ...]:
        """Held-out quality in each language."""
        found = {language: measure(model, part, self.tokenizer) for language, part in self._held_out.items()}
        return tuple(
            LanguagePoint(**asdict(Point.at(step, quality)), language=language) for language, quality in found.items()
        )

    @cached_property
    def _held_out(self) -> dict[str, HeldOut]:
        objective = self.objective("mlm")
        cut = {
            language: HeldOut.cut(lines, self.tokenizer, self.length, objective)
            for language, lines in self.lines.items()
        }
        return {
            language: replace(part, examples=tuple(example | {"lang_ids": number} for example in part.examples))
            for number, (language, part) in enumerate(cut.items())
        }


def languages_of(stage: Stage, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages that a stage trains on: `source` is the first one, `target` all others, none named all.

    Raises:
        InputError: If it names some and there is only one.
    """
    first, *others = languages
    meant = {"source": (first,), "target": tuple(others)}
    if stage.languages and not others:
        raise InputError(
            f"stage {stage.name!r} is of some of the languages, but there is only {first}; add a corpus, as "
            "--set data.corpora.de=FILE."
        )
    return tuple(chain.from_iterable(meant[name] for name in stage.languages))


def languages_text(recipe: Recipe) -> MultilingualText:
    """The corpora and the translation pairs of a recipe that are trained on.

    Raises:
        InputError: If there is no corpus, a file cannot be read, or anchors lack what they need.
    """
    data, options = recipe.data, recipe.multilingual or Multilingual()
    if not data.corpora:
        raise InputError(
            "No corpora given; name one a language, as --set data.corpora.en=FILE --set data.corpora.de=FILE."
        )
    splits = [_split(data, language) for language in data.corpora]
    if options.anchors == "extra":
        splits[0] = _anchored(splits[0], data, options)
    parallel = {pair: ParallelText(tuple(training)) for pair, (training, _) in translations(data).items()}
    return MultilingualText(tuple(data.corpora), tuple(splits), parallel, options.alpha, options.pair_share)


def translations(data: Data) -> dict[LanguagePair, tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """Two languages → the translation pairs to train on, and those held out.

    Raises:
        InputError: If it is not clear which languages a file is of, or it cannot be read.
    """
    first, *others = data.corpora
    files = dict(data.translations)
    if data.parallel is not None:
        if len(others) != 1 or files:
            raise InputError(
                f"data.parallel is given for the languages {', '.join(data.corpora)}; expected two and no "
                "data.translations. Name the file of each language instead, as data.translations.de=FILE."
            )
        files = {others[0]: data.parallel}
    if first in files:
        raise InputError(
            f"data.translations is given for {first!r}, the first language, which all translations are of; name "
            f"another of {', '.join(others) or 'several languages'}."
        )
    found = {}
    for language, file in files.items():
        own = replace(data, parallel=file)
        own.pairs()
        found[first, language] = split_pairs(own)
    return found


def read_languages(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    ids: TokenIds,
    position_offset: int,
    cache: Path,
    source_tokenizer: PreTrainedTokenizerBase | None = None,
) -> LanguagesText:
    """Pack the corpora and the pairs of a recipe; arguments as in `LanguagesText`.

    Args:
        recipe: What to read.
        tokenizer: The joint one.
        ids: What the model reads.
        position_offset: The model's.
        cache: Folder for the Arrow files.
        source_tokenizer: See there.

    Raises:
        InputError: If one of them cannot be read or is too short.
    """
    text, length = languages_text(recipe), recipe.stages[0].sequence_length
    held_out = {pair: both[1] for pair, both in translations(recipe.data).items()}
    readers = {language: TextReader(tokenizer, ids, number) for number, language in enumerate(text.languages)}
    return LanguagesText(
        tokenizer,
        text.packed(tokenizer, length, recipe.data.max_sequences, cache),
        {language: tuple(split.held_out_lines()) for language, split in zip(text.languages, text.splits, strict=True)},
        length,
        ids,
        position_offset,
        HeldOutTranslations(held_out, readers) if held_out else None,
        source_tokenizer,
    )


def _split(data: Data, language: str) -> Split:
    held_out = data.held_out_corpora.get(language)
    other = None if held_out is None else Corpus(held_out)
    return Split(Corpus(data.corpora[language]), other, data.held_out_every, data.held_out_lines)


def _anchored(split: Split, data: Data, options: Multilingual) -> Split:
    if len(data.corpora) != 2 or data.dictionary is None:
        raise InputError(
            f"multilingual: anchors is 'extra' with {len(data.corpora)} languages and "
            f"{'no' if data.dictionary is None else 'a'} dictionary; expected two languages, and a dictionary of words "
            "of the first and their translations. Name its file as data.dictionary."
        )
    extra = ExtraAnchors(read_dictionary(data.dictionary), options.anchor_probability)
    return AnchoredSplit.of(split, extra)
